/* SPDX-License-Identifier: Apache-2.0 */
/* Many timers on one loop handle. A timer is embedded in what it is about. Loop's thread only. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "base/heap.h"

struct timers;

struct timer {
	struct heap_node node;
	int64_t due_ms; /* monotonic */
	void (*fire)(struct timers *t, struct timer *timer);
};

struct timers {
	uv_timer_t handle;
	struct heap heap;
	int64_t armed_ms; /* what the handle is set to; 0: nothing */
};

void timers_init(struct timers *t, uv_loop_t *loop);
void timers_close(struct timers *t); /* the loop must run once more to forget the handle */

/* In `in_ms` from now; moves it if it is set. DURATION_INF: clears it. */
void timer_set(struct timers *t, struct timer *timer, int64_t in_ms);
void timer_clear(struct timers *t, struct timer *timer);
static inline int timer_is_set(const struct timer *timer)
{
	return timer->node.at != 0;
}
