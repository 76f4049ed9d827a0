/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at artifacts, which lie where users put them: a network's file system may be slow, or never
 * answer.
 *
 * Each look has a thread of its own, since it may stay in the kernel for ever: threads that others
 * wait for, as those of the loop's pool, would be lost with it, and the end of the loop would wait
 * for it. A few are under way at a time. One that takes LOOK_MS is late: whoever waits for it is
 * told so, and it gives its place to another one, but when LOOKS_MAX are late on one file system,
 * as the table of mounts has it, no other on that is begun until one of them ends. So one that does
 * not answer costs a few threads, and all of them together LATE_MAX. Not the first that is late:
 * what it does not get may lie behind a link, on another file system than the others.
 *
 * One that is not begun is late when for LOOK_MS no other has ended or given its place: as long as
 * they get on it comes to its turn, but nobody waits longer for that than for a describer. It is
 * begun later all the same. Those whose file system does not answer stand in a list of their own,
 * which is walked only when that may have changed: thousands of them cost those behind them
 * nothing.
 */
#include "core/artifact/look.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/thread/detach.h"
#include "core/artifact/mounts.h"
#include "core/private.h"

/* QUEUE_MS: a little later than those that stand before it, which may give it their place. */
enum { LOOK_MS = 2000, QUEUE_MS = LOOK_MS + 100, LOOKS_MAX = 2, LATE_MAX = 32 };

struct looker {
	pthread_mutex_t lock;
	struct core *core; /* NULL: it is gone */
	unsigned n_refs;   /* its own, and one of each thread */
	/* The loop's thread: */
	struct list queued, held, begun, late;
	unsigned n_begun, n_late;
	int64_t moved_ms;      /* when the last one ended, or became late, monotonic; 0: none */
	struct mounts *mounts; /* while there are late ones */
};

enum look_state { LOOK_QUEUED, LOOK_HELD, LOOK_BEGUN, LOOK_LATE };

struct look {
	struct mail mail;
	struct list node; /* in one of the looker's lists */
	struct timer timer;
	struct looker *looker;
	char *key, *path;
	const char *point; /* of its looker's mounts, and only while there are any; NULL: none */
	enum look_state state; /* HELD: not to be begun, since others on its file system are late */
	bool is_told;          /* that it is late */
	int64_t queued_ms;     /* monotonic */
	struct artifact_mark mark;
	const char *why;
	bool is_undelivered; /* under the looker's lock: its thread has ended, and nobody heard */
};

static void looker_unref(struct looker *l)
{
	pthread_mutex_lock(&l->lock);
	bool is_last = --l->n_refs == 0;
	pthread_mutex_unlock(&l->lock);
	if (!is_last)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* It is in no list, and its timer is not set. */
static void look_free(struct look *look)
{
	free(look->key);
	free(look->path);
	free(look);
}

static void look_drop(struct look *look)
{
	list_remove(&look->node);
	timer_clear(&look->looker->core->timers, &look->timer);
	look_free(look);
}

/* To be compared only: a time that the file system made up may be out of range, and wraps. */
static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)((uint64_t)t->tv_sec * UINT64_C(1000000000) + (uint64_t)t->tv_nsec);
}

static void look_at(struct look *look)
{
	struct stat st = { 0 };
	int r = fail_point(FAIL_ARTIFACT_LOOK);
	if (r == 0 && (stat(look->path, &st) || access(look->path, R_OK)))
		r = -errno;
	/* A worker that opened a pipe would wait for ever. */
	look->why = r ? strerror(-r) : S_ISREG(st.st_mode) ? NULL : "it is no file";
	/* The time of the last change of anything: a copy that keeps size and times has another. */
	look->mark = (struct artifact_mark){ .device = st.st_dev,
		.inode = st.st_ino,
		.size = st.st_size,
		.changed_ns = ns_of(&st.st_ctim),
		.modified_ns = ns_of(&st.st_mtim) };
}

/* Its own thread, which may outlive the core. */
static void *look_run(void *arg)
{
	struct look *look = arg;
	struct looker *l = look->looker;
	look_at(look);
	pthread_mutex_lock(&l->lock);
	bool is_taken = l->core && mailbox_post_always(&l->core->mailbox, &look->mail) == 0;
	bool is_mine = !l->core;
	if (!is_taken && !is_mine) /* else it may be gone */
		look->is_undelivered = true;
	pthread_mutex_unlock(&l->lock);
	if (is_mine)
		look_free(look);
	looker_unref(l);
	return NULL;
}

static int start(struct look *look)
{
	struct looker *l = look->looker;
	pthread_mutex_lock(&l->lock);
	l->n_refs++;
	pthread_mutex_unlock(&l->lock);
	int r = thread_detach(look_run, look);
	if (r < 0)
		looker_unref(l);
	return r;
}

static void find_points(struct looker *l, struct list *looks)
{
	list_each (n, looks) {
		struct look *look = container_of(n, struct look, node);
		look->point = mounts_of(l->mounts, look->path);
	}
}

/* Again for each that becomes late: it may be on what was mounted since. */
static void read_mounts(struct looker *l)
{
	mounts_free(l->mounts);
	l->mounts = mounts_read();
	find_points(l, &l->queued);
	find_points(l, &l->held);
	find_points(l, &l->begun);
	find_points(l, &l->late);
}

static bool has_to_be_held(const struct looker *l, const struct look *look)
{
	unsigned n_there = 0;
	if (l->n_late < LOOKS_MAX || !look->point)
		return false;
	list_each (n, &l->late)
		n_there += container_of(n, struct look, node)->point == look->point;
	return n_there >= LOOKS_MAX;
}

/* One that was late has ended, or the mounts are others. Whatever is queued came after what was
 * held, and so stays behind it. */
static void release_held(struct looker *l)
{
	struct list *first = l->queued.next;
	list_each (n, &l->held) {
		struct look *look = container_of(n, struct look, node);
		if (has_to_be_held(l, look))
			continue;
		look->state = LOOK_QUEUED;
		list_remove(n);
		list_append(first, n); /* in front of that */
	}
}

static void begin_queued(struct looker *l)
{
	struct core *c = l->core;
	list_each (n, &l->queued) {
		struct look *look = container_of(n, struct look, node);
		if (l->n_begun == LOOKS_MAX || l->n_late == LATE_MAX || c->is_let_go)
			return;
		if (has_to_be_held(l, look)) {
			if (!look->is_told)
				timer_set(&c->timers, &look->timer, 0);
			look->state = LOOK_HELD;
			list_remove(&look->node);
			list_append(&l->held, &look->node);
			continue;
		}
		if (start(look) < 0) { /* there is no thread now: again when it is late */
			if (!timer_is_set(&look->timer))
				timer_set(&c->timers, &look->timer, LOOK_MS);
			return;
		}
		list_remove(&look->node);
		list_append(&l->begun, &look->node);
		look->state = LOOK_BEGUN;
		l->n_begun++;
		timer_set(&c->timers, &look->timer, LOOK_MS);
	}
}

static void look_deliver(struct mail *mail, void *owner)
{
	struct look *look = container_of(mail, struct look, mail);
	struct looker *l = look->looker;
	beat_doing("an artifact that was looked at");
	list_remove(&look->node);
	if (look->state == LOOK_BEGUN) {
		l->n_begun--;
	} else {
		if (--l->n_late == 0)
			mounts_free(TAKE_PTR(l->mounts));
		release_held(l);
	}
	l->moved_ms = clock_mono_ms();
	describe_looked(
		owner, &(struct looked){ look, look->key, look->path, look->mark, look->why });
	look_drop(look);
	begin_queued(l);
}

/* When nobody waits for it any longer. */
static int64_t until_ms(const struct look *look)
{
	int64_t turn_ms = look->looker->moved_ms + LOOK_MS;
	int64_t max_ms = look->queued_ms + look->looker->core->limits.describe_timeout_ms;
	return turn_ms < max_ms ? turn_ms : max_ms;
}

static void timed_out(struct timers *t, struct timer *timer)
{
	struct look *look = container_of(timer, struct look, timer);
	struct looker *l = look->looker;
	int64_t left_ms = look->state == LOOK_QUEUED ? until_ms(look) - clock_mono_ms() : 0;
	if (left_ms > 0) {
		timer_set(t, timer, left_ms);
		return;
	}
	if (look->state == LOOK_BEGUN) {
		look->state = LOOK_LATE;
		list_remove(&look->node);
		list_append(&l->late, &look->node);
		l->n_begun--;
		l->n_late++;
		l->moved_ms = clock_mono_ms();
		read_mounts(l);
		release_held(l);
	}
	bool is_told = look->is_told, is_held = look->state == LOOK_HELD;
	look->is_told = true;
	if (!is_told)
		describe_look_late(l->core, look, look->key); /* which may forget it */
	if (!is_held)
		begin_queued(l);
}

struct look *look_begin(struct core *c, const char *key, const char *path)
{
	struct look *look = xcalloc(1, sizeof *look);
	list_init(&look->node);
	look->mail.deliver = look_deliver;
	look->timer.fire = timed_out;
	look->looker = c->looker;
	look->key = xstrdup(key);
	look->path = xstrdup(path);
	look->queued_ms = clock_mono_ms();
	look->point = mounts_of(c->looker->mounts, path);
	timer_set(&c->timers, &look->timer, QUEUE_MS);
	list_append(&c->looker->queued, &look->node);
	begin_queued(c->looker);
	return look;
}

bool look_is_begun(const struct look *look)
{
	return look->state == LOOK_BEGUN || look->state == LOOK_LATE;
}

void look_forget(struct look *look)
{
	if (!look_is_begun(look))
		look_drop(look);
}

struct looker *looker_new(struct core *c)
{
	struct looker *l = xcalloc(1, sizeof *l);
	must(pthread_mutex_init(&l->lock, NULL) == 0);
	l->core = c;
	l->n_refs = 1;
	list_init(&l->queued);
	list_init(&l->held);
	list_init(&l->begun);
	list_init(&l->late);
	return l;
}

/* Holding the lock. Those whose threads are still there are theirs. */
static void abandon(struct looker *l, struct list *looks)
{
	struct list *n;
	while ((n = list_pop(looks))) {
		struct look *look = container_of(n, struct look, node);
		timer_clear(&l->core->timers, &look->timer);
		if (look->is_undelivered)
			look_free(look);
	}
}

static void drop_all(struct list *looks)
{
	while (!list_empty(looks))
		look_drop(container_of(looks->next, struct look, node));
}

void looker_free(struct looker *l)
{
	drop_all(&l->queued);
	drop_all(&l->held);
	pthread_mutex_lock(&l->lock);
	abandon(l, &l->begun);
	abandon(l, &l->late);
	l->core = NULL;
	pthread_mutex_unlock(&l->lock);
	mounts_free(TAKE_PTR(l->mounts));
	looker_unref(l);
}
