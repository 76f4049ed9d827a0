/* SPDX-License-Identifier: Apache-2.0 */
/* The one door into a loop's thread.
 *
 * Threads that are not ours (HTTP, the store's writer, brokers' clients) never touch what the loop
 * owns: they fill a letter and post it. Letters are embedded in larger messages, so posting
 * allocates nothing; a posted letter belongs to its deliver function. The first letter into an
 * empty box wakes the loop, later ones find it woken already: a burst costs one wake-up, and the
 * loop takes everything that came meanwhile as one batch. No wake is lost, since the loop empties
 * the box under the same lock that the poster held when it saw that the box was not empty. The
 * wake-up is sent under the lock too: once `closed` is set, nobody touches the handle again, and it
 * may be closed. `batch` belongs to the loop's thread alone, and is in the struct so that a letter
 * may close the box and the rest is still delivered in its order. */
#include "base/mailbox.h"

#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"

_Thread_local struct beat *beat_of_thread;

/* The mark is of the thread and not of the loop, so that code which several threads run (timers,
 * mailboxes) marks whichever of them is watched. */
void beat_begin(struct beat *b)
{
	b->thread = pthread_self();
	b->tid = gettid();
	beat_of_thread = b;
}

static pthread_mutex_t watched_lock = PTHREAD_MUTEX_INITIALIZER;
static struct beat *watched;

void beat_watch(struct beat *b, const char *name)
{
	beat_begin(b);
	b->name = name;
	pthread_mutex_lock(&watched_lock);
	b->next = watched;
	watched = b;
	pthread_mutex_unlock(&watched_lock);
}

void beat_unwatch(struct beat *b)
{
	pthread_mutex_lock(&watched_lock);
	for (struct beat **p = &watched; *p; p = &(*p)->next)
		if (*p == b) {
			*p = b->next;
			break;
		}
	pthread_mutex_unlock(&watched_lock);
	beat_of_thread = NULL;
}

static _Atomic uint64_t n_standstills;

void beat_set_stuck(struct beat *b)
{
	atomic_store(&b->is_stuck, true);
	atomic_fetch_add(&n_standstills, 1);
}

uint64_t beats_count_standstills(void)
{
	return atomic_load(&n_standstills);
}

void beats_each(void (*call)(struct beat *b, void *arg), void *arg)
{
	pthread_mutex_lock(&watched_lock);
	for (struct beat *b = watched; b; b = b->next)
		call(b, arg);
	pthread_mutex_unlock(&watched_lock);
}

/* Empties the box into the batch; the lock is held. */
static void take_all(struct mailbox *m)
{
	struct mail **end = &m->batch;
	while (*end)
		end = &(*end)->next;
	*end = m->first;
	m->first = NULL;
	m->last = &m->first;
	m->count = 0;
}

static void deliver_batch(struct mailbox *m)
{
	if (!m->batch)
		return;
	while (m->batch) {
		struct mail *mail = m->batch;
		m->batch = mail->next;
		mail->next = NULL;
		beat_doing("a message from another thread");
		mail->deliver(mail, m->owner);
	}
	if (m->after)
		m->after(m->owner);
}

static void on_wake(uv_async_t *wake)
{
	struct mailbox *m = container_of(wake, struct mailbox, wake);
	pthread_mutex_lock(&m->lock);
	take_all(m);
	pthread_mutex_unlock(&m->lock);
	deliver_batch(m);
}

int mailbox_init(struct mailbox *m, uv_loop_t *loop, size_t max, void *owner, void (*after)(void *))
{
	*m = (struct mailbox){ .max = max, .owner = owner, .after = after };
	m->last = &m->first;
	int r = uv_async_init(loop, &m->wake, on_wake);
	if (r < 0)
		return r; /* libuv's codes are negative errnos here */
	must(pthread_mutex_init(&m->lock, NULL) == 0);
	return 0;
}

static int post(struct mailbox *m, struct mail *mail, bool always)
{
	int r = 0;
	pthread_mutex_lock(&m->lock);
	if (m->closed) {
		r = -ESHUTDOWN;
	} else if (!always && m->count >= m->max) {
		r = -EAGAIN;
	} else {
		bool was_empty = !m->first;
		mail->next = NULL;
		*m->last = mail;
		m->last = &mail->next;
		m->count++;
		if (was_empty)
			uv_async_send(&m->wake);
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

int mailbox_post(struct mailbox *m, struct mail *mail)
{
	return post(m, mail, false);
}

int mailbox_post_always(struct mailbox *m, struct mail *mail)
{
	return post(m, mail, true);
}

void mailbox_close(struct mailbox *m)
{
	pthread_mutex_lock(&m->lock);
	bool was_closed = m->closed;
	m->closed = true;
	take_all(m);
	pthread_mutex_unlock(&m->lock);
	deliver_batch(m);
	if (!was_closed)
		uv_close((uv_handle_t *)&m->wake, NULL);
}

void mailbox_done(struct mailbox *m)
{
	must(!m->first && !m->batch);
	pthread_mutex_destroy(&m->lock);
}
