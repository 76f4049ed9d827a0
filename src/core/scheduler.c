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
 * twice.
 *
 * Contexts that want a process when limits.workers are there already wait in
 * core->process_waiters, and each that gets one goes behind the others: so none starves, however
 * long the queue of another is. Those with jobs come before those that only keep workers ready
 * (precreated). Where nothing ends by itself, processes are taken over. A worker of another context
 * that has nothing to do, and that is not kept ready, is ended after IDLE_GRACE_MS. One that has is
 * let finish what it runs, when a context has waited for limits.worker-turn and has fewer; if that
 * does not help the next is asked after twice that time, since a job may be without an end. Workers
 * that only describe functions are not counted: there is one of a runtime at most, and a request
 * waits for it before there is a job. */
#include "core/private.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/text/plural.h"

enum { IDLE_GRACE_MS = 1000, TICK_MS = 250, DOUBLINGS_MAX = 10 };

static bool lane_is_idle(const struct lane *lane)
{
	return lane->n_jobs == 0 && lane->n_expected == 0 && list_empty(&lane->describes);
}

static bool lane_is_configured(const struct lane *lane)
{
	return !lane->is_deleted && catalog_has_context(lane->core->catalog, lane->name);
}

static bool keeps_workers(const struct lane *lane)
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

/* For what waits. */
static int64_t slots_needed(const struct lane *lane)
{
	int64_t waiting = lane->queue.len,
		room = lane->context->settings.max_jobs - lane->n_running;
	int64_t needed = (waiting < room ? waiting : room) - lane->n_starting;
	if (needed <= 0 && !list_empty(&lane->describes) && slots_alive(lane) == 0)
		needed = 1;
	return needed;
}

static int64_t slots_wanted(const struct lane *lane)
{
	const struct context_settings *s = &lane->context->settings;
	int64_t wanted = slots_needed(lane);
	if (lane->is_describer)
		return !list_empty(&lane->describes) && list_empty(&lane->workers);
	if (lane->is_broken) /* one try */
		return lane->n_starting == 0;
	if (keeps_workers(lane) && s->max_jobs - slots_alive(lane) > wanted)
		wanted = s->max_jobs - slots_alive(lane);
	return wanted;
}

static bool wants_worker(const struct lane *lane)
{
	/* One that only a request named is tried again when the next one names it. */
	bool is_given_up = lane->is_broken && lane_is_idle(lane) && !lane_is_configured(lane);
	return !is_given_up && slots_wanted(lane) > 0 && lane->not_before_ms <= clock_mono_ms();
}

static bool needs_worker(const struct lane *lane)
{
	return !lane->is_broken && slots_needed(lane) > 0 && wants_worker(lane);
}

static bool is_full(const struct core *c)
{
	return c->n_processes >= (uint64_t)c->limits.workers_max;
}

static void enlist(struct lane *lane)
{
	struct core *c = lane->core;
	if (!list_empty(&lane->process_wait))
		return;
	list_append(&c->process_waiters, &lane->process_wait);
	lane->process_since_ms = clock_mono_ms();
	lane->n_retired_for = 0;
	if (!timer_is_set(&c->process_tick))
		timer_set(&c->timers, &c->process_tick, TICK_MS);
}

static bool may_start_process(struct lane *lane)
{
	struct core *c = lane->core;
	if (lane->is_describer || (!is_full(c) && list_empty(&c->process_waiters)))
		return true;
	enlist(lane);
	return false;
}

void scheduler_wait_no_more(struct lane *lane)
{
	list_remove(&lane->process_wait);
}

static struct lane *next_lane(struct core *c)
{
	list_each (n, &c->process_waiters) {
		struct lane *lane = container_of(n, struct lane, process_wait);
		if (needs_worker(lane))
			return lane;
	}
	return list_empty(&c->process_waiters)
		       ? NULL
		       : container_of(c->process_waiters.next, struct lane, process_wait);
}

void scheduler_grant(struct core *c)
{
	struct lane *lane;
	while (!c->is_stopping && !is_full(c) && (lane = next_lane(c))) {
		scheduler_wait_no_more(lane);
		if (wants_worker(lane))
			worker_launch(c, lane);
		if (wants_worker(lane))
			enlist(lane);
	}
}

static bool can_be_taken(const struct worker *w)
{
	return w->state == WORKER_READY && w->is_entered && !w->is_draining && !w->is_killed &&
	       !w->is_closed && !w->lane->is_describer && list_empty(&w->lane->describes);
}

/* The one that has had nothing to do for the longest time, and long enough. */
static struct worker *find_idle(struct core *c, const struct lane *wanting)
{
	struct worker *best = NULL;
	int64_t before = clock_mono_ms() - IDLE_GRACE_MS;
	map_each (n, &c->workers) {
		struct worker *w = container_of(n, struct worker, by_id);
		if (w->lane == wanting || w->n_jobs || w->idle_since_ms > before ||
			!can_be_taken(w) || keeps_workers(w->lane))
			continue;
		if (!best || w->idle_since_ms < best->idle_since_ms)
			best = w;
	}
	return best;
}

/* Processes that work for the context: those of an exclusive one take no more jobs from their first
 * one on. */
static unsigned count_processes(const struct lane *lane)
{
	bool is_exclusive = lane->context->settings.worker_mode == WORKER_EXCLUSIVE;
	unsigned n = 0;
	list_each (it, &lane->workers) {
		const struct worker *w = container_of(it, struct worker, in_lane);
		n += !w->is_killed && (is_exclusive || !w->is_draining);
	}
	return n;
}

/* The one of the context that has least to do; NULL: none may be taken. */
static struct worker *find_least_busy(const struct lane *lane)
{
	struct worker *best = NULL;
	list_each (it, &lane->workers) {
		struct worker *w = container_of(it, struct worker, in_lane);
		if (can_be_taken(w) && (!best || w->n_jobs < best->n_jobs))
			best = w;
	}
	return best;
}

struct busiest {
	const struct lane *wanting;
	unsigned own, most; /* processes */
	struct worker *worker;
};

static void busiest_offer(struct busiest *b, const struct lane *lane)
{
	unsigned theirs = lane == b->wanting ? 0 : count_processes(lane);
	if (!theirs || theirs < b->most || (b->own && theirs < b->own + 2))
		return;
	struct worker *w = find_least_busy(lane);
	if (!w || (theirs == b->most && w->n_jobs >= b->worker->n_jobs))
		return;
	b->most = theirs;
	b->worker = w;
}

/* One of the context that has most of them, if that is more than its share. Each context's are
 * counted once. */
static struct worker *find_busy(struct core *c, const struct lane *wanting)
{
	struct busiest b = { .wanting = wanting, .own = count_processes(wanting) };
	map_each (n, &c->lanes)
		busiest_offer(&b, container_of(n, struct lane, by_name));
	list_each (n, &c->old_lanes)
		busiest_offer(&b, container_of(n, struct lane, old));
	return b.worker;
}

/* Those that were told to end and run nothing: a process is about to be free. */
static unsigned count_ending(struct core *c)
{
	unsigned n_ending = 0;
	map_each (n, &c->workers) {
		const struct worker *w = container_of(n, struct worker, by_id);
		n_ending += !w->lane->is_describer && w->n_jobs == 0 &&
			    (w->is_draining || w->is_killed);
	}
	return n_ending;
}

static void take_over(struct core *c, struct worker *w, const struct lane *wanting)
{
	_cleanup_(freep) char *why =
		xasprintf("context %s waits for one of the %" PRId64
			  " worker processes that there may be (limits.workers)",
			wanting->name, c->limits.workers_max);
	worker_retire(c, w, why);
	lane_touch(w->lane);
}

void scheduler_tick(struct timers *t, struct timer *timer)
{
	struct core *c = container_of(timer, struct core, process_tick);
	unsigned n_ending = count_ending(c);
	int64_t now = clock_mono_ms();
	bool is_any_idle = true;
	if (list_empty(&c->process_waiters) || c->is_stopping)
		return;
	timer_set(t, timer, TICK_MS);
	list_each (n, &c->process_waiters) {
		struct lane *lane = container_of(n, struct lane, process_wait);
		if (!needs_worker(lane))
			continue;
		if (n_ending) {
			n_ending--;
			continue;
		}
		/* Where one waiter finds none, no other does: its own would have its jobs. */
		struct worker *w = is_any_idle ? find_idle(c, lane) : NULL;
		is_any_idle = w;
		int64_t turn = c->limits.worker_turn_ms;
		unsigned doublings =
			lane->n_retired_for < DOUBLINGS_MAX ? lane->n_retired_for : DOUBLINGS_MAX;
		bool is_its_turn = turn <= INT64_MAX >> DOUBLINGS_MAX &&
				   now - lane->process_since_ms >= turn << doublings;
		if (!w && is_its_turn && (w = find_busy(c, lane)))
			lane->n_retired_for++;
		if (w)
			take_over(c, w, lane);
	}
}

static char *process_wait_text(const struct lane *lane)
{
	const struct core *c = lane->core;
	unsigned place = 0, n_waiting = 0;
	list_each (n, &c->process_waiters) {
		n_waiting++;
		if (n == &lane->process_wait)
			place = n_waiting;
	}
	return xasprintf("%u worker process%s there and limits.workers is %" PRId64
			 ": context %s is number %u of %u that wait for one",
		c->n_processes, by_count(c->n_processes, " is", "es are"), c->limits.workers_max,
		lane->name, place, n_waiting);
}

static void ask_for_workers(struct lane *lane)
{
	while (wants_worker(lane)) {
		if (!may_start_process(lane))
			return;
		worker_launch(lane->core, lane);
	}
	scheduler_wait_no_more(lane);
}

json_t *scheduler_waiting_json(const struct live_job *l)
{
	const struct lane *lane = l->lane;
	const struct context_settings *s = &lane->context->settings;
	const char *reason;
	_cleanup_(freep) char *detail = NULL;
	if (l->worker || l->job->state != JOB_QUEUED)
		return NULL;
	int64_t pause = lane->not_before_ms - clock_mono_ms();
	bool is_first = heap_first(&lane->queue) == &l->queued;
	if (lane->core->is_stopping) {
		reason = "stopping";
		detail = xstrdup("the gateway is stopping: the job runs when it is started again");
	} else if (lane->n_expected) {
		reason = "workers-expected";
		detail = xasprintf("%u worker%s of context %s that an earlier gateway started may "
				   "come back, and hold the job",
			lane->n_expected, plural(lane->n_expected), lane->name);
	} else if (lane->is_broken) {
		reason = "context-broken";
		detail = lane_broken_text(lane);
	} else if (lane->n_running >= s->max_jobs) {
		reason = "max-jobs";
		detail = xasprintf(
			"%u job%s of context %s %s, and its max-jobs is %d; %zu job%s %s there",
			lane->n_running, plural(lane->n_running), lane->name,
			by_count(lane->n_running, "runs", "run"), (int)s->max_jobs, lane->queue.len,
			plural(lane->queue.len), by_count(lane->queue.len, "waits", "wait"));
	} else if (!list_empty(&lane->process_wait) && !(is_first && lane->n_starting)) {
		reason = "workers";
		detail = process_wait_text(lane);
	} else if (lane->hindrance) {
		reason = "gateway-machine";
		detail = lane_hindered_text(lane);
	} else if (pause > 0 && !lane->n_starting) {
		reason = "pause";
		detail = xasprintf("a worker of context %s did not start or ended at once, and the "
				   "next is started in %d ms",
			lane->name, (int)pause);
	} else {
		reason = "worker-starting";
		detail = xasprintf("a worker of context %s is starting; %zu job%s %s there",
			lane->name, lane->queue.len, plural(lane->queue.len),
			by_count(lane->queue.len, "waits", "wait"));
	}
	return json_pack("{s:s, s:o}", "reason", reason, "detail", json_string_lossy(detail));
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
	ask_for_workers(lane);
	if (!lane_is_idle(lane) || keeps_workers(lane)) {
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
