/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of libuv's loop without threads: a harness that is linked with
 * -Wl,--wrap=uv_queue_work runs the work where it is queued, and hears of its end when it calls
 * works_deliver(), as another thread might have been so slow. What would have a thread of its own
 * is run in the same way, with -Wl,--wrap=thread_detach. An execution takes less time so, and the
 * same input does the same. */
#pragma once

#include <uv.h>

#include "base/cleanup.h"
#include "base/thread/detach.h"

struct queued_work {
	struct queued_work *next;
	uv_work_t *work;
	uv_after_work_cb after;
};

static struct queued_work *works, **last_work = &works;

int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb after);
int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb after)
{
	struct queued_work *q = xcalloc(1, sizeof *q);
	work->loop = loop;
	run(work);
	q->work = work;
	q->after = after;
	*last_work = q;
	last_work = &q->next;
	return 0;
}

int __wrap_thread_detach(void *(*run)(void *), void *arg);
int __wrap_thread_detach(void *(*run)(void *), void *arg)
{
	run(arg);
	return 0;
}

/* What was queued up to now is over. False: nothing was. */
static bool works_deliver(void)
{
	struct queued_work *q = works;
	bool is_any = q;
	works = NULL;
	last_work = &works;
	while (q) {
		struct queued_work *next = q->next;
		q->after(q->work, 0);
		free(q);
		q = next;
	}
	return is_any;
}

/* At the end: until nothing is left to be done. */
static inline void works_finish(uv_loop_t *loop)
{
	do
		uv_run(loop, UV_RUN_DEFAULT);
	while (works_deliver());
}
