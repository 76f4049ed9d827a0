/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs next, and how many workers there should be.
 *
 * Called for each lane that something happened to, once before the loop sleeps, so a burst of
 * events costs one look. Jobs go to ready workers with room, in the order of the lane's queue, as
 * long as fewer than max-jobs run. For what then still waits, workers are asked for, in slots: a
 * worker of a context with jobs-per-worker n counts n.
 *
 * An exclusive context keeps no workers: one that is ready and that no job waits for any more,
 * since the job was cancelled while it started, ends. So do those of a context that was deleted.
 *
 * After a restart a lane is held until the workers that the earlier process left behind are back or
 * given up: one of them may hold the very job that stands first in the queue, and it must not run
 * twice. */
#include "core/private.h"

#include "base/clock.h"

static bool lane_is_idle(const struct lane *lane)
{
	return lane->n_jobs == 0 && lane->n_expected == 0 && list_empty(&lane->describes);
}

static bool lane_is_configured(const struct lane *lane)
{
	return !lane->is_deleted && catalog_has_context(lane->core->catalog, lane->name);
}

static bool lane_is_kept(const struct lane *lane)
{
	const struct context_settings *s = &lane->context->settings;
	return s->precreated && s->worker_mode == WORKER_SHARED && lane_is_configured(lane);
}

static void assign(struct lane *lane)
{
	while (lane->queue.len && lane->n_running < lane->context->settings.max_jobs &&
		!list_empty(&lane->free_workers)) {
		struct live_job *l =
			container_of(heap_first(&lane->queue), struct live_job, queued);
		struct worker *w = container_of(lane->free_workers.next, struct worker, in_free);
		/* The next job goes to the next worker: spreads work over them. */
		list_remove(&w->in_free);
		life_assign(l, w);
	}
}

static int64_t slots_alive(const struct lane *lane)
{
	int64_t n = lane->n_starting;
	list_each (it, &lane->workers) {
		const struct worker *w = container_of(it, struct worker, in_lane);
		if (w->state != WORKER_STARTING && !w->is_draining && !w->is_closed)
			n += w->capacity;
	}
	return n;
}

static int64_t slots_wanted(const struct lane *lane)
{
	const struct context_settings *s = &lane->context->settings;
	int64_t waiting = lane->queue.len, room = s->max_jobs - lane->n_running;
	int64_t wanted = (waiting < room ? waiting : room) - lane->n_starting;
	if (lane->is_describer)
		return !list_empty(&lane->describes) && list_empty(&lane->workers);
	if (lane->is_broken) /* one try */
		return lane->n_starting == 0;
	if (wanted <= 0 && !list_empty(&lane->describes) && slots_alive(lane) == 0)
		wanted = 1;
	if (lane_is_kept(lane) && s->max_jobs - slots_alive(lane) > wanted)
		wanted = s->max_jobs - slots_alive(lane);
	return wanted;
}

static void ask_for_workers(struct lane *lane)
{
	int64_t wanted = slots_wanted(lane);
	unsigned capacity = context_capacity(lane->context);
	if (wanted <= 0 || lane->not_before_ms > clock_mono_ms())
		return;
	for (; wanted > 0; wanted -= capacity)
		worker_launch(lane->core, lane);
}

/* Jobs that a worker will be needed for, those too whose row is being written. */
static size_t n_waiting(const struct lane *lane)
{
	return lane->n_jobs - lane->n_running;
}

/* Those that nobody needs any more: started for jobs that were cancelled meanwhile. */
static void retire_unneeded(struct lane *lane)
{
	if (lane->is_describer || lane->is_broken || !list_empty(&lane->describes))
		return;
	if (lane->is_deleted && lane_is_idle(lane)) {
		_cleanup_(freep) char *why = xasprintf("context %s was deleted", lane->name);
		lane_retire_workers(lane, why);
		return;
	}
	if (lane->context->settings.worker_mode != WORKER_EXCLUSIVE)
		return;
	size_t needed = n_waiting(lane);
	list_each (n, &lane->workers) {
		struct worker *w = container_of(n, struct worker, in_lane);
		if (w->is_draining || w->is_killed || w->n_jobs ||
			(w->state != WORKER_READY && w->state != WORKER_STARTING))
			continue;
		if (needed)
			needed--;
		else
			worker_retire(lane->core, w,
				"the job that it was started for does not need it any more");
	}
}

void scheduler_run(struct lane *lane)
{
	struct core *c = lane->core;
	if (!c->is_started || c->is_stopping || lane->n_expected)
		return;
	assign(lane);
	retire_unneeded(lane);
	if (!lane->is_broken || !lane_is_idle(lane) || lane_is_configured(lane))
		ask_for_workers(lane);
	if (!lane_is_idle(lane) || lane_is_kept(lane)) {
		timer_clear(&c->timers, &lane->downtime);
	} else if (list_empty(&lane->workers)) {
		/* A configured context stays broken until it works again; one that only a request
		 * named is tried when the next request names it. */
		if (!lane->is_broken || !lane_is_configured(lane))
			lane_free(c, lane);
	} else if (!timer_is_set(&lane->downtime)) {
		timer_set(&c->timers, &lane->downtime, lane->context->settings.downtime_ms);
	}
}
