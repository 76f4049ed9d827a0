/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: a heap ordered by due time under one libuv timer that is set to the first of them.
 *
 * Jobs, lanes and workers embed their timers and are freed at any moment, which libuv's own handles
 * (closed asynchronously) make awkward; and a job whose timer is cleared before it fires, the usual
 * case, costs no call into libuv: the handle may wake up early and finds nothing due. */
#include "base/timers.h"

#include "base/mailbox.h"
#include "base/cleanup.h"
#include "base/clock.h"

static bool timer_less(const struct heap_node *a, const struct heap_node *b)
{
	return container_of(a, struct timer, node)->due_ms <
	       container_of(b, struct timer, node)->due_ms;
}

static void timers_arm(struct timers *t);

static void timers_fire(uv_timer_t *handle)
{
	struct timers *t = handle->data;
	int64_t now = clock_mono_ms();
	struct heap_node *first;
	t->armed_ms = 0;
	while ((first = heap_first(&t->heap))) {
		struct timer *timer = container_of(first, struct timer, node);
		if (timer->due_ms > now)
			break;
		heap_remove(&t->heap, first);
		beat_doing("a timer");
		timer->fire(t, timer);
	}
	timers_arm(t);
}

static void timers_arm(struct timers *t)
{
	struct heap_node *first = heap_first(&t->heap);
	if (!first)
		return;
	int64_t due = container_of(first, struct timer, node)->due_ms, now = clock_mono_ms();
	if (t->armed_ms && t->armed_ms <= due)
		return;
	t->armed_ms = due;
	uv_update_time(t->handle.loop);
	uv_timer_start(&t->handle, timers_fire, due > now ? due - now : 0, 0);
}

void timers_init(struct timers *t, uv_loop_t *loop)
{
	uv_timer_init(loop, &t->handle);
	t->handle.data = t;
	t->armed_ms = 0;
	heap_init(&t->heap, timer_less);
}

void timers_close(struct timers *t)
{
	struct heap_node *first;
	uv_close((uv_handle_t *)&t->handle, NULL);
	while ((first = heap_first(&t->heap))) /* their owners may still clear them */
		heap_remove(&t->heap, first);
	heap_done(&t->heap);
}

void timer_set(struct timers *t, struct timer *timer, int64_t in_ms)
{
	heap_remove(&t->heap, &timer->node);
	if (in_ms == DURATION_INF)
		return;
	int64_t now = clock_mono_ms();
	timer->due_ms = in_ms > INT64_MAX - now ? INT64_MAX : now + in_ms;
	heap_add(&t->heap, &timer->node);
	timers_arm(t);
}

void timer_clear(struct timers *t, struct timer *timer)
{
	heap_remove(&t->heap, &timer->node);
}
