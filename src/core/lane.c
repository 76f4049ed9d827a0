/* SPDX-License-Identifier: Apache-2.0 */
/* A lane: the queue of one context, its workers, and whether the context works at all.
 *
 * A lane comes with the first job for a context (or at start, for a precreated one) and goes when
 * its context's downtime passed with nothing to do. Order inside: priority, then age; ids are
 * UUIDv7, so the smaller id is the older job.
 *
 * A context whose workers fail max-conn-failures times in a row is broken: what waits fails with
 * the last failure's text, new jobs fail at once, and after a pause, doubled each time, one worker
 * is tried; if it gets ready the context is whole again. While jobs come for it the pause has a
 * limit; while nobody wants it (a precreated context tries to get ready for nobody yet) it has
 * none, and the next who asks makes it short again.
 *
 * A start that the gateway's own machine hinders, by a full disk or for want of a descriptor or a
 * process, says nothing of the context: it is not counted, the jobs wait as they do for the store,
 * and the start is tried again for as long as it lasts. */
#include "core/private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text/plural.h"

enum { START_PAUSE_MS = 100, START_PAUSE_MAX_MS = 5000, BROKEN_PAUSE_TIMES = 30 };

static bool queued_before(const struct heap_node *a, const struct heap_node *b)
{
	const struct job *x = container_of(a, struct live_job, queued)->job;
	const struct job *y = container_of(b, struct live_job, queued)->job;
	if (x->priority != y->priority)
		return x->priority > y->priority;
	return memcmp(&x->id, &y->id, sizeof x->id) < 0;
}

void lane_retire_workers(struct lane *lane, const char *why)
{
	list_each (n, &lane->workers)
		worker_retire(lane->core, container_of(n, struct worker, in_lane), why);
}

static void lane_retry(struct timers *t, struct timer *timer)
{
	(void)t;
	lane_touch(container_of(timer, struct lane, retry));
}

static void lane_down(struct timers *t, struct timer *timer)
{
	struct lane *lane = container_of(timer, struct lane, downtime);
	char downtime[32];
	(void)t;
	duration_print(lane->context->settings.downtime_ms, downtime, sizeof downtime);
	_cleanup_(freep) char *why = xasprintf(
		"context %s had nothing to do for its downtime of %s", lane->name, downtime);
	lane_retire_workers(lane, why);
	lane_touch(lane);
}

struct lane *lane_find(struct core *c, const char *name)
{
	struct map_node *n = map_find_str(&c->lanes, name);
	return n ? container_of(n, struct lane, by_name) : NULL;
}

static const struct context *describer_context(const char *name)
{
	/* The name is "~" and the runtime's. */
	struct context_settings s;
	_cleanup_(conf_freep) struct conf *empty = NULL;
	struct fault f;
	const struct conf_section section = { "context", context_conf, sizeof s, false, "" };
	must(conf_open(&empty, NULL, NULL, 0, &f) == 0 &&
		conf_read(empty, &section, NULL, &s, &f) == 0);
	free(s.runtime);
	s.runtime = xstrdup(name + 1);
	s.worker_mode = WORKER_SHARED;
	s.downtime_ms = 60 * 1000;
	const struct context *context = context_new(name, &s);
	conf_done(context_conf, &s);
	return context;
}

struct lane *lane_get(struct core *c, const char *name, bool is_describer)
{
	struct lane *lane = lane_find(c, name);
	if (lane)
		return lane;
	if (c->lanes.count >= (size_t)c->limits.contexts_max &&
		!catalog_has_context(c->catalog, name))
		return NULL;
	lane = xcalloc(1, sizeof *lane);
	lane->core = c;
	lane->name = xstrdup(name);
	lane->is_describer = is_describer;
	lane->context = is_describer ? describer_context(name) : catalog_context(c->catalog, name);
	lane->broken_pause_ms = c->limits.broken_retry_ms;
	heap_init(&lane->queue, queued_before);
	list_init(&lane->workers);
	list_init(&lane->free_workers);
	list_init(&lane->dirty);
	list_init(&lane->old);
	list_init(&lane->describes);
	list_init(&lane->process_wait);
	lane->retry.fire = lane_retry;
	lane->downtime.fire = lane_down;
	map_add_str(&c->lanes, &lane->by_name, lane->name);
	return lane;
}

struct lane *lane_get_always(struct core *c, const char *name)
{
	int64_t contexts_max = c->limits.contexts_max;
	c->limits.contexts_max = INT64_MAX;
	struct lane *lane = lane_get(c, name, false);
	c->limits.contexts_max = contexts_max;
	return lane;
}

/* Only when nothing refers to it. */
void lane_free(struct core *c, struct lane *lane)
{
	must(list_empty(&lane->workers));
	timer_clear(&c->timers, &lane->retry);
	timer_clear(&c->timers, &lane->downtime);
	list_remove(&lane->dirty);
	scheduler_wait_no_more(lane);
	list_remove(&lane->old);
	if (!lane->is_deleted)
		map_remove(&c->lanes, &lane->by_name);
	heap_done(&lane->queue);
	context_unref(lane->context);
	function_unref(lane->series_function);
	free(lane->last_failure);
	free(lane->hindrance);
	free(lane->name);
	free(lane);
}

void lane_touch(struct lane *lane)
{
	if (list_empty(&lane->dirty))
		list_append(&lane->core->dirty, &lane->dirty);
}

size_t lane_length(const struct lane *lane)
{
	return lane->queue.len;
}

void lane_push(struct lane *lane, struct live_job *l)
{
	heap_add(&lane->queue, &l->queued);
	lane_touch(lane);
}

void lane_remove(struct lane *lane, struct live_job *l)
{
	heap_remove(&lane->queue, &l->queued);
}

char *lane_broken_text(const struct lane *lane)
{
	return xasprintf("Context %s is broken: %u worker%s in a row failed; it is tried again by "
			 "itself, and at once when it is updated. "
			 "The last failure: %s",
		lane->name, lane->failures, plural(lane->failures),
		lane->last_failure ? lane->last_failure : "unknown");
}

char *lane_hindered_text(const struct lane *lane)
{
	return xasprintf("the gateway's own machine lets no worker of context %s start, which is "
			 "no fault of the context: jobs wait, and it is tried again by itself. "
			 "The last failure: %s",
		lane->name, lane->hindrance);
}

static void lane_fail_queue(struct lane *lane)
{
	struct heap_node *first;
	while ((first = heap_first(&lane->queue))) {
		struct live_job *l = container_of(first, struct live_job, queued);
		life_end(l, JOB_FAILED, NULL, lane_broken_text(lane));
	}
}

/* One that works says that the context does: the others are tried on and on. */
static bool has_ready_worker(const struct lane *lane)
{
	list_each (n, &lane->workers) {
		const struct worker *w = container_of(n, struct worker, in_lane);
		if (w->state == WORKER_READY && !w->is_draining && !w->is_killed)
			return true;
	}
	return false;
}

static int64_t broken_pause_max(const struct lane *lane)
{
	bool is_wanted = lane->n_tries_unasked == 0;
	return is_wanted ? lane->core->limits.broken_retry_ms * BROKEN_PAUSE_TIMES : INT64_MAX / 4;
}

void lane_ask_broken(struct lane *lane)
{
	struct core *c = lane->core;
	unsigned n = lane->n_tries_unasked;
	lane->n_tries_unasked = 0;
	if (n < 2) /* somebody asked since the last but one, too: the pause is what it should be */
		return;
	int64_t left = lane->not_before_ms - clock_mono_ms();
	lane->broken_pause_ms = c->limits.broken_retry_ms;
	if (left <= lane->broken_pause_ms)
		return;
	lane->not_before_ms -= left - lane->broken_pause_ms;
	timer_set(&c->timers, &lane->retry, lane->broken_pause_ms);
}

/* After that many failures in a row. */
static int64_t start_pause(unsigned n)
{
	int64_t pause = START_PAUSE_MS << (n < 7 ? n - 1 : 6);
	return pause < START_PAUSE_MAX_MS ? pause : START_PAUSE_MAX_MS;
}

static void lane_pause(struct core *c, struct lane *lane, int64_t pause)
{
	lane->not_before_ms = clock_mono_ms() + pause;
	timer_set(&c->timers, &lane->retry, pause);
	lane_touch(lane);
}

void lane_hinder(struct lane *lane, const char *why)
{
	bool is_new = !lane->hindrance;
	free(lane->hindrance);
	lane->hindrance = xstrdup(why);
	lane->n_hindered++;
	if (is_new) {
		_cleanup_(freep) char *text = lane_hindered_text(lane);
		log_warn("%s", text);
	}
	lane_pause(lane->core, lane, start_pause(lane->n_hindered));
}

void lane_unhinder(struct lane *lane)
{
	if (!lane->hindrance)
		return;
	log_info("workers of context %s can be started again", lane->name);
	free(TAKE_PTR(lane->hindrance));
	lane->n_hindered = 0;
}

/* A worker of it did not get ready. */
void lane_break(struct core *c, struct lane *lane, const char *why)
{
	free(lane->last_failure);
	lane->last_failure = xstrdup(why);
	lane->failures++;
	lane_unhinder(lane);
	int64_t pause = start_pause(lane->failures);
	if (lane->is_broken || (lane->failures >= lane->context->settings.max_conn_failures &&
				       !has_ready_worker(lane))) {
		if (!lane->is_broken)
			log_warn("context %s is broken after %u failure%s: %s", lane->name,
				lane->failures, plural(lane->failures), why);
		pause = lane->broken_pause_ms;
		if (lane->broken_pause_ms < broken_pause_max(lane))
			lane->broken_pause_ms *= 2;
		lane->n_tries_unasked++;
		lane->is_broken = true;
		lane_fail_queue(lane);
	}
	lane_pause(c, lane, pause);
}

void lane_heal(struct core *c, struct lane *lane)
{
	if (lane->is_broken)
		log_info("context %s works again", lane->name);
	lane->failures = 0;
	lane->is_broken = false;
	lane->n_tries_unasked = 0;
	lane->broken_pause_ms = c->limits.broken_retry_ms;
	lane->not_before_ms = 0;
	timer_clear(&c->timers, &lane->retry);
	lane_touch(lane);
}

void lane_delete(struct core *c, struct lane *lane)
{
	log_info("context %s was deleted; %u job%s of it %s still to end", lane->name, lane->n_jobs,
		plural(lane->n_jobs), by_count(lane->n_jobs, "is", "are"));
	map_remove(&c->lanes, &lane->by_name);
	list_append(&c->old_lanes, &lane->old);
	lane->is_deleted = true;
	lane_touch(lane);
}

static bool is_same_runtime(const struct catalog *a, const struct catalog *b, const char *name)
{
	const struct runtime_settings *x = catalog_runtime(a, name), *y = catalog_runtime(b, name);
	return x && y && conf_equal(runtime_conf, x, y);
}

/* Takes the catalog's context. If it or its runtime changed since `old`, workers of before finish
 * what they run; a broken context is tried at once in any case. */
void lane_update(struct core *c, struct lane *lane, const struct catalog *old)
{
	lane->series = NULL; /* its context may be one that is registered by now */
	if (old && catalog_has_context(old, lane->name) &&
		!catalog_has_context(c->catalog, lane->name)) {
		lane_delete(c, lane); /* what waits for it was accepted for its settings */
		return;
	}
	_cleanup_(context_unrefp) const struct context *now =
		lane->is_describer ? context_ref(lane->context)
				   : catalog_context(c->catalog, lane->name);
	const char *runtime = now->settings.runtime;
	bool is_same = conf_equal(context_conf, &now->settings, &lane->context->settings) &&
		       (!old || is_same_runtime(old, c->catalog, runtime));
	if (!is_same) {
		context_unref(lane->context);
		lane->context = TAKE_PTR(now);
		_cleanup_(freep) char *why = xasprintf("context %s has new settings", lane->name);
		log_info("%s", why);
		lane_retire_workers(lane, why);
	}
	if (!is_same || lane->is_broken)
		lane_heal(c, lane);
}

void lane_start_precreated(void *core, const struct context *context)
{
	if (context->settings.precreated && context->settings.worker_mode == WORKER_SHARED)
		lane_touch(lane_get(core, context->name, false));
}
