/* SPDX-License-Identifier: Apache-2.0 */
/* How other threads reach the thread of a loop: they post letters, it reads them in the order
 * posted. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct mail {
	struct mail *next;
	void (*deliver)(struct mail *mail, void *owner); /* on the loop's thread; owns the mail */
};

struct mailbox {
	uv_async_t wake;
	pthread_mutex_t lock;
	struct mail *first, **last;
	struct mail *batch; /* taken out, being delivered; the loop's thread only */
	size_t count, max;
	bool closed;
	void *owner;
	void (*after)(void *owner); /* once after each batch of letters, may be NULL */
};

int mailbox_init(
	struct mailbox *m, uv_loop_t *loop, size_t max, void *owner, void (*after)(void *));

/* Any thread. 0: the mail will be delivered. -EAGAIN: full, -ESHUTDOWN: closed; the mail is still
 * the caller's. */
int mailbox_post(struct mailbox *m, struct mail *mail);

/* As above, and never full: for letters that answer something we asked. */
int mailbox_post_always(struct mailbox *m, struct mail *mail);

/* Loop's thread: delivers what is in it, then refuses letters. The loop must run once more to
 * forget the handle. */
void mailbox_close(struct mailbox *m);
void mailbox_done(struct mailbox *m);

/* What a thread that must never stand still is doing, for whoever watches it from another one. */
struct beat {
	_Atomic(const char *) doing; /* static text; NULL: nothing yet, or it waits for work */
	_Atomic uint64_t turns;      /* written by the thread alone */
	_Atomic bool is_stuck;       /* the watcher's word */
	pthread_t thread;
	pid_t tid;
	/* Of those that are watched by a name: */
	const char *name;
	struct beat *next;
	uint64_t seen; /* the watcher's: turns when it looked last */
	unsigned n_still;
};

/* The calling thread is the one that `b` is of, from now on. `b` must outlive its use. */
void beat_begin(struct beat *b);

/* The calling thread is `b`'s, as above, and is watched under that name ("HTTP thread 1", which the
 * caller keeps) until the thread calls beat_unwatch. It says by beat_rest that it waits for work.
 */
void beat_watch(struct beat *b, const char *name);
void beat_unwatch(struct beat *b);

/* Calls with each beat that is watched, under a lock that keeps it and its thread there. Any
 * thread.
 */
void beats_each(void (*call)(struct beat *b, void *arg), void *arg);

/* The watcher's: `b` stands still. */
void beat_set_stuck(struct beat *b);
uint64_t beats_count_standstills(void); /* since the start; any thread */

extern _Thread_local struct beat *beat_of_thread;

/* Two stores: cheap enough for each message and timer. `what` is static text: "a job request". Of a
 * thread that nobody watches it does nothing. */
static inline void beat_doing(const char *what)
{
	struct beat *b = beat_of_thread;
	if (!b)
		return;
	atomic_store_explicit(&b->doing, what, memory_order_relaxed);
	uint64_t turns = atomic_load_explicit(&b->turns, memory_order_relaxed);
	atomic_store_explicit(&b->turns, turns + 1, memory_order_relaxed);
}

/* The thread has done what there was. */
static inline void beat_rest(void)
{
	beat_doing(NULL);
}
