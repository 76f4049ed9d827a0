/* SPDX-License-Identifier: Apache-2.0 */
/* The core's picture of the workers: which there are, what they hold, and what becomes of their
 * jobs when they go.
 *
 *   launch → STARTING ─ hello ─▶ READY ⇄ AWAY (connection broken, process maybe alive)
 *                 └ start failed            └ lost: its jobs fail or are retried
 *   found by record after a restart → EXPECTED ─ hello ─▶ READY, or lost
 *
 * A worker that should end is retired: it gets no more jobs, and is told to drain when it has none.
 * An exclusive worker is retired by its first job. The object is freed by crew_lost,
 * crew_start_failed and crew_start_hindered only.
 *
 * Where the gateway ends a process, it says first why: that sentence, and not the signal that the
 * process died of, is what the jobs' outcomes, their logs and the gateway's log have in common.
 *
 * A job that does not heed its cancel can only be ended with its process. Others that run in the
 * same one have nothing to do with that: the worker is closed for new jobs, they get
 * limits.neighbour-grace to end, and what is left then runs again elsewhere. */
#include "core/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "domain/tag.h"

enum { LOG_ENTRIES_MAX = 1000 }; /* of one frame, as the protocol says */

static void neighbours_are_late(struct timers *t, struct timer *timer);

/* By which a later gateway knows whether the worker is still as it should be. */
static char *settings_of(const struct core *c, const struct context *context)
{
	const struct runtime_settings *rt = catalog_runtime(c->catalog, context->settings.runtime);
	if (!rt)
		return NULL;
	_cleanup_(json_decrefp) json_t *json = json_pack("{s:o, s:{s:i, s:s, s:s, s:s, s:s, s:O}}",
		"context", context_stored_json(context), "runtime", "kind", rt->kind, "spark-home",
		rt->spark_home, "python", rt->python, "java", rt->java, "command", rt->command,
		"environment", rt->environment);
	return json ? tag_new(json, NULL) : NULL;
}

static void worker_log(const struct worker *w, enum log_level level, const char *what)
{
	const struct log_field fields[] = { { "context", w->lane->name } };
	log_write_fields(level, fields, ARRAY_SIZE(fields), "worker %s %s (context %s)", w->id,
		what, w->lane->name);
}

struct worker *worker_new(
	struct core *c, struct lane *lane, const char *id, enum worker_state state)
{
	struct worker *w = xcalloc(1, sizeof *w);
	w->id = xstrdup(id);
	w->context = context_ref(lane->context);
	w->settings = lane->is_describer ? NULL : settings_of(c, lane->context);
	w->lane = lane;
	w->state = state;
	w->capacity = context_capacity(lane->context);
	w->started_ms = clock_wall_ms();
	list_init(&w->jobs);
	list_init(&w->in_free);
	w->neighbour_timer.fire = neighbours_are_late;
	list_append(&lane->workers, &w->in_lane);
	map_add_str(&c->workers, &w->by_id, w->id);
	c->n_processes += !lane->is_describer;
	if (state == WORKER_STARTING)
		lane->n_starting += w->capacity;
	else
		lane->n_expected++;
	return w;
}

void worker_free(struct core *c, struct worker *w)
{
	must(list_empty(&w->jobs));
	if (w->state == WORKER_STARTING)
		w->lane->n_starting -= w->capacity;
	else if (w->state == WORKER_EXPECTED)
		w->lane->n_expected--;
	timer_clear(&c->timers, &w->neighbour_timer);
	c->n_processes -= !w->lane->is_describer;
	acks_forget(c, w);
	c->crew->forget(c->room, w);
	list_remove(&w->in_free);
	list_remove(&w->in_lane);
	map_remove(&c->workers, &w->by_id);
	lane_touch(w->lane);
	context_unref(w->context);
	free(w->spark_ui);
	free(w->address);
	free(w->lang);
	free(w->spark_version);
	free(w->end_reason);
	free(w->settings);
	free(w->id);
	free(w);
	core_check_stopped(c);
}

void worker_room_changed(struct worker *w)
{
	struct core *c = w->lane->core;
	bool has_room = w->state == WORKER_READY && w->is_entered && !w->is_draining &&
			!w->is_killed && !w->is_closed && !w->is_behind && !w->lane->is_describer &&
			w->n_jobs < w->capacity;
	if (has_room && list_empty(&w->in_free))
		list_append(&w->lane->free_workers, &w->in_free);
	else if (!has_room)
		list_remove(&w->in_free);
	if (w->is_draining && w->n_jobs == 0 && w->state == WORKER_READY && w->is_entered &&
		!w->is_drain_sent) {
		w->is_drain_sent = true;
		c->crew->drain(c->room, w);
	}
}

void worker_retire(struct core *c, struct worker *w, const char *why)
{
	if (!w->is_draining && !w->is_killed)
		log_info("worker %s takes no more jobs: %s", w->id, why);
	w->is_draining = true;
	if (w->state == WORKER_STARTING) {
		_cleanup_(freep) char *text =
			xasprintf("the worker was ended before it was ready: %s", why);
		worker_end(c, w, text);
	}
	worker_room_changed(w);
}

void crew_ending(struct core *c, struct worker *w, const char *why)
{
	(void)c;
	if (!w->end_reason)
		w->end_reason = xstrdup(why);
}

void worker_end(struct core *c, struct worker *w, const char *why)
{
	if (w->is_killed)
		return;
	crew_ending(c, w, why);
	w->is_killed = true;
	worker_room_changed(w);
	c->crew->kill(c->room, w);
}

static void end_for(struct core *c, struct worker *w, const struct live_job *overdue)
{
	char id[UUID_TEXT], grace[32];
	uuid_format(&overdue->job->id, id);
	duration_print(c->limits.cancel_grace_ms, grace, sizeof grace);
	_cleanup_(freep) char *why = xasprintf(
		"the worker was ended by the gateway because job %s did not end within %s "
		"(limits.cancel-grace) of its cancel (%s)",
		id, grace, overdue->cancel_reason);
	w->is_ended_for_a_job = true;
	worker_end(c, w, why);
}

static struct live_job *first_overdue(const struct worker *w, unsigned *ret_n)
{
	struct live_job *first = NULL;
	*ret_n = 0;
	list_each (n, &w->jobs) {
		struct live_job *l = container_of(n, struct live_job, on_worker);
		if (!l->is_overdue)
			continue;
		first = first ? first : l;
		++*ret_n;
	}
	return first;
}

static void neighbours_are_late(struct timers *t, struct timer *timer)
{
	struct worker *w = container_of(timer, struct worker, neighbour_timer);
	unsigned n;
	const struct live_job *overdue = first_overdue(w, &n);
	(void)t;
	if (overdue)
		end_for(w->lane->core, w, overdue);
}

void worker_check_overdue(struct core *c, struct worker *w)
{
	unsigned n;
	const struct live_job *overdue = first_overdue(w, &n);
	if (w->is_killed)
		return;
	if (!overdue) { /* it ended after all: nothing is wrong with its worker */
		w->is_closed = false;
		timer_clear(&c->timers, &w->neighbour_timer);
		worker_room_changed(w);
		lane_touch(w->lane);
	} else if (n == w->n_jobs) {
		end_for(c, w, overdue);
	} else if (!w->is_closed) {
		char id[UUID_TEXT];
		uuid_format(&overdue->job->id, id);
		w->is_closed = true;
		log_warn("worker %s takes no more jobs and will be ended: job %s did not end when "
			 "it was cancelled; %u other%s limits.neighbour-grace to end",
			w->id, id, w->n_jobs - n, by_count(w->n_jobs - n, " has", "s have"));
		timer_set(&c->timers, &w->neighbour_timer, c->limits.neighbour_grace_ms);
		worker_room_changed(w);
		lane_touch(w->lane); /* what waits needs another one */
	}
}

void worker_launch(struct core *c, struct lane *lane)
{
	const char *runtime_name = lane->context->settings.runtime;
	const struct runtime_settings *runtime = catalog_runtime(c->catalog, runtime_name);
	struct uuid u;
	char text[UUID_TEXT];
	if (!runtime) {
		_cleanup_(freep) char *why = xasprintf("there is no runtime %s", runtime_name);
		lane_break(c, lane, why);
		return;
	}
	uuid_make(&u, clock_wall_ms());
	uuid_format(&u, text);
	_cleanup_(freep) char *id =
		lane->is_describer
			? xasprintf("describer-%s_%s", runtime_name, text)
			: xasprintf("%s_%s%s%" PRIu64, lane->name, text,
				  lane->context->settings.worker_mode == WORKER_SHARED ? "-pool-"
										       : "_",
				  ++lane->worker_count);
	struct worker *w = worker_new(c, lane, id, WORKER_STARTING);
	c->workers_started++;
	worker_log(w, LOG_LEVEL_DEBUG, "is started");
	c->crew->launch(c->room, w, runtime, lane->is_describer);
}

struct worker *crew_find(struct core *c, const char *id)
{
	struct map_node *n = map_find_str(&c->workers, id);
	return n ? container_of(n, struct worker, by_id) : NULL;
}

struct worker *crew_expect(
	struct core *c, const char *id, const char *context, const char *settings)
{
	struct lane *lane =
		name_is_good(context) && !crew_find(c, id) ? lane_get_always(c, context) : NULL;
	struct fault f;
	if (!lane)
		return NULL;
	struct worker *w = worker_new(c, lane, id, WORKER_EXPECTED);
	bool is_gone = catalog_check_context(c->catalog, context, &f) < 0;
	if (is_gone || (settings && (!w->settings || strcmp(settings, w->settings) != 0))) {
		_cleanup_(freep) char *why = xasprintf("context %s %s while no gateway ran",
			context, is_gone ? "was deleted" : "or its runtime got new settings");
		worker_retire(c, w, why);
	}
	return w;
}

static void worker_set(char **field, const json_t *hello, const char *name)
{
	const char *text = json_string_of(hello, name);
	free(*field);
	*field = text ? xstrdup(text) : NULL;
}

/* A page makes a link of it. */
static void worker_set_ui(struct worker *w, const json_t *hello)
{
	worker_set(&w->spark_ui, hello, "sparkUi");
	if (!w->spark_ui || strncmp(w->spark_ui, "http://", 7) == 0 ||
		strncmp(w->spark_ui, "https://", 8) == 0)
		return;
	log_warn("worker %s: sparkUi is not shown: expected an address of http or https, got "
		 "\"%.200s\"",
		w->id, w->spark_ui);
	free(TAKE_PTR(w->spark_ui));
}

static void worker_enter(struct worker *w)
{
	struct lane *lane = w->lane;
	struct core *c = lane->core;
	if (w->state == WORKER_STARTING) {
		lane->n_starting -= w->capacity;
		lane_unhinder(lane);
		lane_heal(c, lane);
	} else if (w->state == WORKER_EXPECTED) {
		lane->n_expected--;
	}
	w->state = WORKER_READY;
}

/* It holds this job, as far as it knows. Do we know it too? */
static bool worker_resumes(struct core *c, struct worker *w, const char *id)
{
	struct uuid u;
	struct live_job *l = id && uuid_parse(id, &u) ? life_find(c, &u) : NULL;
	if (!l || l->lane != w->lane)
		return false;
	if (!l->worker && l->job->state == JOB_QUEUED) /* its start was sent, the row of it not yet
							  written, by the process before us */
		life_resume(l, w);
	if (l->worker != w)
		return false;
	l->is_resumed = true;
	if (!l->job->started_ms) /* told to the process before us, perhaps; never again to us */
		life_started(l, clock_wall_ms());
	return true;
}

/* A job we gave it, that it never got. */
static void worker_never_had(struct live_job *l)
{
	if (l->job->state == JOB_CANCELLING) {
		life_end(l, JOB_CANCELLED, NULL, xstrdup(l->cancel_reason));
		return;
	}
	if (l->job->started_ms) { /* it did have it */
		life_lost_worker(l, "the worker came back without the job");
		return;
	}
	if (l->job->attempt)
		l->job->attempt--;
	life_requeue(l, "The worker did not get the job; it is queued again");
}

void crew_hello(struct core *c, struct worker *w, const json_t *hello, json_t **ret_forget)
{
	const json_t *id;
	size_t i;
	const json_t *resumes = json_object_get(hello, "resumes");
	if (w->state == WORKER_EXPECTED && json_array_size(resumes) &&
		w->context->settings.worker_mode == WORKER_EXCLUSIVE)
		w->is_draining = true; /* it has had its job */
	worker_enter(w);
	w->is_entered = w->is_drain_sent = w->has_left = false;
	int64_t capacity = json_integer_value(json_object_get(hello, "capacity"));
	if (capacity >= 1 && capacity < w->capacity)
		w->capacity = capacity;
	worker_set(&w->lang, hello, "lang");
	worker_set_ui(w, hello);
	worker_set(&w->spark_version, hello, "sparkVersion");
	worker_log(w, LOG_LEVEL_INFO, "is connected");

	*ret_forget = json_array();
	list_each (n, &w->jobs)
		container_of(n, struct live_job, on_worker)->is_resumed = false;
	json_array_foreach ((json_t *)resumes, i, id)
		if (!worker_resumes(c, w, json_string_value(id)))
			json_array_append(*ret_forget, (json_t *)id);
	list_each (n, &w->jobs) {
		struct live_job *l = container_of(n, struct live_job, on_worker);
		if (!l->is_resumed)
			worker_never_had(l);
	}
}

void crew_settled(struct core *c, struct worker *w)
{
	w->is_entered = true;
	w->idle_since_ms = clock_mono_ms();
	list_each (n, &w->jobs) {
		struct live_job *l = container_of(n, struct live_job, on_worker);
		if (l->job->state == JOB_CANCELLING)
			c->crew->cancel(c->room, w, &l->job->id, l->cancel_reason);
	}
	if (!w->is_draining)
		describe_worker_ready(c, w);
	worker_room_changed(w);
	lane_touch(w->lane);
}

void crew_away(struct core *c, struct worker *w)
{
	(void)c;
	if (w->state == WORKER_READY)
		w->state = WORKER_AWAY;
	worker_room_changed(w);
}

void crew_behind(struct core *c, struct worker *w, bool is_behind)
{
	(void)c;
	w->is_behind = is_behind;
	worker_room_changed(w);
	lane_touch(w->lane);
}

bool crew_is_congested(struct core *c)
{
	return store_backlog(c->store) > (size_t)c->limits.backlog_max ||
	       store_backlog_bytes(c->store) > (size_t)c->limits.backlog_bytes_max;
}

void crew_left(struct core *c, struct worker *w)
{
	(void)c;
	w->has_left = w->is_draining = true;
	worker_room_changed(w);
}

void crew_output_tail(struct core *c, struct worker *w, const char *lines)
{
	_cleanup_(freep) char *text =
		xasprintf("The last lines that the worker printed:\n%s", lines);
	(void)c;
	/* Also of one that is not known to have started: what a process sent just before it crashed
	 * may be lost with its connection. */
	list_each (n, &w->jobs)
		joblog_add(
			container_of(n, struct live_job, on_worker), "WARN", clock_wall_ms(), text);
}

void crew_lost(struct core *c, struct worker *w, const char *why)
{
	struct lane *lane = w->lane;
	if (w->end_reason)
		why = w->end_reason;
	w->state = w->state == WORKER_EXPECTED ? WORKER_EXPECTED : WORKER_AWAY;
	w->is_closed = false;
	worker_room_changed(w);
	if (w->is_killed)
		log_info("worker %s has ended with %u job%s: %s", w->id, w->n_jobs,
			plural(w->n_jobs), why);
	else if (!w->is_drain_sent) {
		c->workers_lost++;
		log_warn("worker %s is lost with %u job%s: %s", w->id, w->n_jobs, plural(w->n_jobs),
			why);
		int64_t lived = clock_wall_ms() - w->started_ms;
		if (lived < 2000) { /* do not start the next one in a tight loop */
			lane->not_before_ms = clock_mono_ms() + 250;
			timer_set(&c->timers, &lane->retry, 250);
		}
	}
	if (!w->is_killed && w->is_drain_sent)
		worker_log(w, LOG_LEVEL_INFO, "has ended, as it was told to");
	list_each (n, &w->jobs) {
		struct live_job *l = container_of(n, struct live_job, on_worker);
		if (w->has_left || l->fetch)
			worker_never_had(l);
		else if (w->is_ended_for_a_job)
			life_spared(l, why);
		else
			life_lost_worker(l, why);
	}
	describe_lost(w, why);
	worker_free(c, w);
}

void crew_start_failed(struct core *c, struct worker *w, const char *why)
{
	struct lane *lane = w->lane;
	if (w->is_killed) {
		worker_free(c, w);
		return;
	}
	c->worker_start_failures++;
	log_warn("worker %s did not start: %s", w->id, why);
	if (!lane->is_describer)
		lane_break(c, lane, why);
	describe_failed(lane, why);
	worker_free(c, w);
}

void crew_start_hindered(struct core *c, struct worker *w, const char *why)
{
	if (!w->is_killed) {
		c->worker_start_failures++;
		log_debug("worker %s did not start: %s", w->id, why);
		lane_hinder(w->lane, why);
	}
	worker_free(c, w);
}

void crew_launched(struct core *c, struct worker *w)
{
	(void)c;
	lane_unhinder(w->lane);
}

static struct live_job *held(struct core *c, const struct worker *w, const char *job)
{
	struct uuid u;
	struct live_job *l = uuid_parse(job, &u) ? life_find(c, &u) : NULL;
	return l && l->worker == w ? l : NULL;
}

int crew_downloading(struct core *c, struct worker *w, const char *job)
{
	struct live_job *l = held(c, w, job);
	if (!l || l->job->state == JOB_CANCELLING)
		return 0;
	if (l->job->state != JOB_QUEUED)
		return CREW_E_ORDER;
	life_downloading(l);
	return 0;
}

int crew_started(struct core *c, struct worker *w, const char *job, int64_t at_ms)
{
	struct live_job *l = held(c, w, job);
	if (!l)
		return 0;
	if (l->job->started_ms)
		return l->is_resumed ? 0 : CREW_E_ORDER;
	life_started(l, at_ms);
	return 0;
}

int crew_log(struct core *c, struct worker *w, const char *job, const json_t *entries)
{
	static const char *const levels[] = { "DEBUG", "INFO", "WARN", "ERROR" };
	struct live_job *l = held(c, w, job);
	json_t *entry;
	size_t i;
	if (json_array_size(entries) > LOG_ENTRIES_MAX)
		return CREW_E_VALUE;
	json_array_foreach ((json_t *)entries, i, entry) {
		const char *level = json_string_of(entry, "level"),
			   *message = json_string_of(entry, "message");
		const json_t *at = json_object_get(entry, "at");
		size_t k = 0;
		while (level && k < ARRAY_SIZE(levels) && strcmp(level, levels[k]) != 0)
			k++;
		if (!level || k == ARRAY_SIZE(levels) || !message || !json_is_integer(at))
			return CREW_E_VALUE;
		if (l)
			joblog_add(l, levels[k], json_integer_value(at), message);
	}
	return 0;
}

int crew_progress(
	struct core *c, struct worker *w, const char *job, const double *value, const char *note)
{
	struct live_job *l = held(c, w, job);
	if (value && !(*value >= 0 && *value <= 1))
		return CREW_E_VALUE;
	if (l && (value || note)) /* else it is about a member that is not known here */
		progress_say(
			l, &(struct progress){
				   .has_value = value, .value = value ? *value : 0, .note = note });
	return 0;
}

/* Its function did not mind being cancelled. What it returned stands, as in Mist, but not silently.
 */
static void warn_of_finish(struct live_job *l)
{
	char timeout[32];
	duration_print(l->job->perform_timeout_ms, timeout, sizeof timeout);
	_cleanup_(freep) char *text =
		l->is_timed_out
			? xasprintf("The function returned after its performTimeout of %s "
				    "was over, although it was told to stop",
				  timeout)
			: xasprintf("The function returned although it was told to stop (%s)",
				  l->cancel_reason);
	joblog_add(l, "WARN", clock_wall_ms(), text);
}

int crew_ended(struct core *c, struct worker *w, const char *job, char *result, const char *error)
{
	_cleanup_(freep) char *mine = result;
	struct live_job *l = held(c, w, job);
	struct uuid u;
	if (!l) {
		if (uuid_parse(job, &u))
			acks_add(c, w, &u);
		return 0;
	}
	if (result) {
		if (!l->job->started_ms)
			return CREW_E_ORDER;
		if (l->job->state == JOB_CANCELLING)
			warn_of_finish(l);
		life_end(l, JOB_FINISHED, TAKE_PTR(mine), NULL);
	} else if (l->job->state == JOB_CANCELLING && !error) {
		life_end(l, JOB_CANCELLED, NULL, xstrdup(l->cancel_reason));
	} else if (w->is_killed) { /* it did not end the job because of anything in the job */
		if (w->is_ended_for_a_job)
			life_spared(l, w->end_reason);
		else
			life_lost_worker(l, w->end_reason);
	} else if (error) {
		life_end(l, JOB_FAILED, NULL, xstrdup(error));
	} else {
		life_stopped_unasked(l);
	}
	return 0;
}
