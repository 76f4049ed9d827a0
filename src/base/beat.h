/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread that must never stand still is doing, for whoever watches it from another thread.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct beat {
	_Atomic(const char *) doing; /* static text; NULL: nothing yet */
	_Atomic uint64_t turns;      /* written by the thread alone */
	_Atomic bool is_stuck;       /* the watcher's word */
	pthread_t thread;
	pid_t tid;
};

/* The calling thread is the one that `b` is of, from now on. `b` must outlive its use. */
void beat_begin(struct beat *b);

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
