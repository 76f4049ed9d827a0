/* SPDX-License-Identifier: Apache-2.0 */
/* The moves of one job: each changes the state by the table of domain/job.c, tells the store, and
 * tells whoever asked.
 *
 * An asynchronous job exists for its sender once its row is durable: it is posted, and goes into
 * its lane when the store says so. A synchronous one goes into its lane at once and its row is
 * written with its outcome, in one operation; if it lasts longer than RECORD_AFTER_MS it is
 * recorded as it is, so that history shows it and a restart knows it.
 *
 * Every later write is posted without waiting, once before the loop sleeps: of a job that starts
 * and ends in one batch only the end is written. The store keeps the order and tries until it is
 * durable. A live job is freed where it ends, in life_end(), and nowhere else. */
#include "core/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "base/utf8.h"

enum {
	RECORD_AFTER_MS = 100,
	UNASKED_MS = 10 * 1000, /* a worker that was told to end from outside ends in less */
};

static void job_move(struct job *j, enum job_state to)
{
	must(job_may(j->state, to));
	j->state = to;
}

static void job_timer_fired(struct timers *t, struct timer *timer);
static void life_durable(struct mail *mail, void *owner);

struct live_job *life_begin(struct core *c, struct job *j, struct lane *lane)
{
	struct live_job *l = xcalloc(1, sizeof *l);
	l->core = c;
	l->job = j;
	l->lane = lane;
	lane->n_jobs++;
	l->born_ms = clock_mono_ms();
	l->timer.fire = job_timer_fired;
	l->durable.deliver = life_durable;
	list_init(&l->on_worker);
	list_init(&l->unrecorded);
	list_init(&l->cancels);
	j->live = l;
	parameters_count(l);
	c->parameter_bytes += reply_bytes(j->reply_to);
	map_add(&c->jobs, &l->by_id, &j->id, sizeof j->id);
	return l;
}

struct live_job *life_find(struct core *c, const struct uuid *id)
{
	struct map_node *n = map_find(&c->jobs, id, sizeof *id);
	return n ? container_of(n, struct live_job, by_id) : NULL;
}

static void life_free(struct live_job *l)
{
	struct core *c = l->core;
	timer_clear(&c->timers, &l->timer);
	progress_forget(l);
	parameters_leave(l);
	parameters_uncount(l);
	c->parameter_bytes -= reply_bytes(l->job->reply_to);
	list_remove(&l->unrecorded);
	map_remove(&c->jobs, &l->by_id);
	l->lane->n_jobs--;
	lane_touch(l->lane);
	free(l->cancel_reason);
	free(l->worker_id);
	l->job->live = NULL;
	job_unref(l->job);
	free(l);
}

void publish(struct live_job *l, enum event_kind kind, const char *result, size_t result_len,
	const char *error)
{
	struct core *c = l->core;
	bool is_wanted = outbox_wants(l, kind);
	c->counts[kind]++;
	if (!is_wanted && !c->n_watches)
		return;
	const struct progress *progress = kind == EVENT_PROGRESS ? progress_now(l) : NULL;
	const struct job_event ev = { .kind = kind,
		.job = l->job,
		.at_ms = progress ? progress->at_ms : clock_wall_ms(),
		.worker = l->worker_id,
		.result = result,
		.result_len = result_len,
		.is_compact = true, /* as crew_ended has it */
		.error = error,
		.progress = progress };
	if (is_wanted)
		outbox_tell(l, &ev);
	if (c->n_watches)
		watch_tell(c, &ev);
}

/* An operation that brings the store to where the job is now. */
static struct store_op *life_op(struct live_job *l)
{
	struct job *j = l->job;
	struct store_op *op = store_op_new(j->is_recorded ? STORE_JOB_UPDATE : STORE_JOB_INSERT, j);
	op->change =
		(struct job_change){ .state = j->state == JOB_INITIALIZED ? JOB_QUEUED : j->state,
			.attempt = j->attempt,
			.started_ms = j->started_ms,
			.ended_ms = j->ended_ms,
			.is_owed = job_state_is_final(j->state) && l->to.is_owed,
			.worker = l->worker_id ? xstrdup(l->worker_id) : NULL,
			.error = l->cancel_reason ? xstrdup(l->cancel_reason) : NULL,
			.progress = progress_of(l) };
	j->is_recorded = true;
	list_remove(&l->unrecorded);
	return op;
}

void life_record(struct live_job *l)
{
	store_post(l->core->store, life_op(l));
}

/* After a move: jobs that the store does not know yet stay unknown to it. */
static void life_moved(struct live_job *l)
{
	if (l->job->is_recorded && list_empty(&l->unrecorded))
		list_append(&l->core->moved, &l->unrecorded);
}

void life_record_moved(struct core *c)
{
	list_each (n, &c->moved)
		life_record(container_of(n, struct live_job, unrecorded));
}

void life_record_all(struct core *c)
{
	list_each (n, &c->unrecorded)
		life_record(container_of(n, struct live_job, unrecorded));
}

void life_record_tick(struct timers *t, struct timer *timer)
{
	struct core *c = container_of(timer, struct core, record_tick);
	int64_t old = clock_mono_ms() - RECORD_AFTER_MS;
	list_each (n, &c->unrecorded) {
		struct live_job *l = container_of(n, struct live_job, unrecorded);
		if (l->born_ms > old)
			break;
		life_record(l);
	}
	if (!list_empty(&c->unrecorded))
		timer_set(t, timer, RECORD_AFTER_MS);
}

/* On the store's thread. */
static void life_inserted(void *owner, struct store_op *op, int status)
{
	struct live_job *l = owner;
	(void)op;
	l->durable_status = status;
	mailbox_post_always(&l->core->mailbox, &l->durable);
}

static void life_durable(struct mail *mail, void *owner)
{
	struct live_job *l = container_of(mail, struct live_job, durable);
	beat_doing("a job that has become durable");
	(void)owner;
	if (l->durable_status == 0) {
		publish(l, EVENT_ACCEPTED, NULL, 0, NULL);
		parameters_are_durable(l);
		life_queue(l);
		return;
	}
	struct fault f;
	fault_of_write(&f, l->durable_status, "the job was not accepted", "the job was accepted");
	outbox_tell(l, &(struct job_event){
			       .kind = EVENT_REFUSED, .fault = &f, .at_ms = clock_wall_ms() });
	l->core->counts[EVENT_REFUSED]++;
	keys_drop(l->core, l->job);
	life_free(l);
}

void life_accept(struct live_job *l)
{
	struct core *c = l->core;
	if (!l->job->is_sync) {
		struct store_op *op = life_op(l);
		op->done = life_inserted;
		op->owner = l;
		store_post(c->store, op);
		return;
	}
	if (list_empty(&c->unrecorded) && !timer_is_set(&c->record_tick))
		timer_set(&c->timers, &c->record_tick, RECORD_AFTER_MS);
	list_append(&c->unrecorded, &l->unrecorded);
	publish(l, EVENT_ACCEPTED, NULL, 0, NULL);
	life_queue(l);
}

void life_queue(struct live_job *l)
{
	struct lane *lane = l->lane;
	if (lane->is_broken) {
		lane_ask_broken(lane);
		life_end(l, JOB_FAILED, NULL, lane_broken_text(lane));
		return;
	}
	if (l->job->state != JOB_QUEUED)
		job_move(l->job, JOB_QUEUED);
	l->job->queued_ms = clock_wall_ms();
	timer_set(&l->core->timers, &l->timer, l->job->start_timeout_ms);
	lane_push(lane, l);
	publish(l, EVENT_QUEUED, NULL, 0, NULL);
	if (l->is_log_begun)
		joblog_begin(l);
}

static void life_take(struct live_job *l, struct worker *w)
{
	lane_remove(l->lane, l);
	l->worker = w;
	if (!l->worker_id || strcmp(l->worker_id, w->id) != 0) {
		free(l->worker_id);
		l->worker_id = xstrdup(w->id);
	}
	list_append(&w->jobs, &l->on_worker);
	if (w->context->settings.worker_mode == WORKER_EXCLUSIVE)
		w->is_draining = true;
	w->has_mixed = w->n_jobs > 0;
	w->n_jobs++;
	l->lane->n_running++;
	worker_room_changed(w);
	timer_set(&l->core->timers, &l->timer,
		l->job->state == JOB_CANCELLING ? l->core->limits.cancel_grace_ms
						: l->job->perform_timeout_ms);
}

void life_assign(struct live_job *l, struct worker *w)
{
	l->job->attempt++;
	life_take(l, w);
	publish(l, EVENT_WORKER_ASSIGNED, NULL, 0, NULL);
	if (l->log_bytes) {
		_cleanup_(freep) char *line = xasprintf("WorkerAssigned(workerId=%s)", w->id);
		joblog_event(l, line);
	}
	parameters_start(l);
}

void life_resume(struct live_job *l, struct worker *w)
{
	if (l->job->attempt == 0)
		l->job->attempt = 1;
	life_take(l, w);
	w->has_mixed = true; /* others may have ended before */
}

/* Takes it off its worker, if it is on one. */
static void life_leave_worker(struct live_job *l)
{
	struct worker *w = l->worker;
	if (!w)
		return;
	parameters_leave(l);
	l->worker = NULL;
	list_remove(&l->on_worker);
	w->n_jobs--;
	w->idle_since_ms = clock_mono_ms();
	l->lane->n_running--;
	worker_room_changed(w);
	lane_touch(l->lane);
	if (w->is_closed)
		worker_check_overdue(l->core, w);
}

void life_downloading(struct live_job *l)
{
	job_move(l->job, JOB_DOWNLOADING);
	publish(l, EVENT_DOWNLOADING, NULL, 0, NULL);
	life_moved(l);
}

void life_started(struct live_job *l, int64_t at_ms)
{
	struct job *j = l->job;
	int64_t now = clock_wall_ms();
	j->started_ms = at_ms < j->created_ms || at_ms > now ? now : at_ms;
	if (j->state != JOB_CANCELLING)
		job_move(j, JOB_STARTED);
	job_series_started(l);
	publish(l, EVENT_STARTED, NULL, 0, NULL);
	joblog_event(l, "StartedEvent");
	life_moved(l);
}

/* What the gateway does with a job, in its own log, in the words of the job's. `outcome` NULL: it
 * goes on. */
static void life_log(
	const struct live_job *l, enum log_level level, const char *outcome, const char *text)
{
	const struct job *j = l->job;
	const struct log_field fields[] = { { "outcome", outcome }, { "context", j->context },
		{ "worker", l->worker_id }, { "transport", l->door ? l->door->name : NULL },
		{ "request", j->request } };
	char id[UUID_TEXT];
	uuid_format(&j->id, id);
	log_write_fields(level, fields, ARRAY_SIZE(fields), "job %s of function %s: %s", id,
		j->function->name, text);
}

void life_stopped_unasked(struct live_job *l)
{
	if (l->is_stopped_unasked) /* said more than once, it gets no more time */
		return;
	l->is_stopped_unasked = true;
	timer_set(&l->core->timers, &l->timer, UNASKED_MS);
}

void life_requeue(struct live_job *l, const char *why)
{
	life_leave_worker(l);
	life_log(l, LOG_LEVEL_WARN, NULL, why);
	joblog_add(l, "WARN", clock_wall_ms(), why);
	l->job->started_ms = 0;
	l->is_stopped_unasked = false;
	progress_forget(l); /* it begins anew */
	if (l->job->state != JOB_QUEUED)
		job_move(l->job, JOB_QUEUED);
	life_moved(l);
	life_queue(l);
}

/* It was to end, and does now. */
static void life_cancelled(struct live_job *l, const char *why)
{
	joblog_add(l, "WARN", clock_wall_ms(), why);
	life_end(l, JOB_CANCELLED, NULL, xstrdup(l->cancel_reason));
}

static void life_fail_lost(struct live_job *l, const char *why)
{
	int64_t retries = l->job->function->settings.retries;
	char *error = retries && l->job->state != JOB_CANCELLING
			      ? xasprintf("Executor was terminated: %s; this was attempt %u, and "
					  "the function has %" PRId64 " %s",
					why, l->job->attempt, retries,
					by_count((uint64_t)retries, "retry", "retries"))
			      : xasprintf("Executor was terminated: %s", why);
	life_log(l, LOG_LEVEL_WARN, NULL, error);
	life_end(l, JOB_FAILED, NULL, error);
}

void life_lost_worker(struct live_job *l, const char *why)
{
	const struct job *j = l->job;
	if (j->state == JOB_CANCELLING && l->is_overdue)
		life_cancelled(l, why);
	else if (j->state == JOB_CANCELLING || j->attempt > j->function->settings.retries)
		life_fail_lost(l, why);
	else
		life_requeue(l, why);
}

void life_spared(struct live_job *l, const char *why)
{
	if (l->job->state == JOB_CANCELLING) {
		life_cancelled(l, why);
		return;
	}
	_cleanup_(freep) char *text =
		xasprintf("%s; this job runs again, and has lost none of its attempts", why);
	if (l->job->attempt)
		l->job->attempt--;
	life_requeue(l, text);
}

void life_cancel(struct live_job *l, const char *reason, const char *by)
{
	struct core *c = l->core;
	struct job *j = l->job;
	if (j->state == JOB_CANCELLING || j->state == JOB_INITIALIZED)
		return;
	_cleanup_(freep) char *text = by ? xasprintf("%s, by %s", reason, by) : xstrdup(reason);
	life_log(l, LOG_LEVEL_INFO, NULL, text);
	l->cancel_reason = xstrdup(reason);
	job_move(j, JOB_CANCELLING);
	publish(l, EVENT_CANCELLING, NULL, 0, NULL);
	joblog_add(l, "WARN", clock_wall_ms(), reason);
	if (!l->worker) {
		lane_remove(l->lane, l);
		life_end(l, JOB_CANCELLED, NULL, xstrdup(reason));
		return;
	}
	if (l->is_stopped_unasked || l->fetch) { /* it is done, or was not begun */
		life_end(l, JOB_CANCELLED, NULL, xstrdup(reason));
		return;
	}
	life_moved(l);
	timer_set(&c->timers, &l->timer, c->limits.cancel_grace_ms);
	c->crew->cancel(c->room, l->worker, &j->id, reason);
}

static void job_timer_fired(struct timers *t, struct timer *timer)
{
	struct live_job *l = container_of(timer, struct live_job, timer);
	struct core *c = l->core;
	(void)t;
	if (l->job->state == JOB_CANCELLING) {
		l->is_overdue = true;
		worker_check_overdue(c, l->worker);
	} else if (l->is_stopped_unasked) {
		life_fail_lost(l, "the worker stopped the job by itself");
	} else if (l->worker) {
		l->is_timed_out = true;
		life_cancel(l, "Job was cancelled: timeout", NULL);
	} else {
		char timeout[32];
		duration_print(l->job->start_timeout_ms, timeout, sizeof timeout);
		_cleanup_(freep) char *reason =
			xasprintf("Job was cancelled: start timeout was exceeded: %s", timeout);
		life_cancel(l, reason, NULL);
	}
}

static void life_log_end(struct live_job *l, enum job_state how, const char *error)
{
	if (how == JOB_FAILED) {
		_cleanup_(freep) char *line = xasprintf("FailedEvent with Error: %s", error);
		joblog_add(l, "ERROR", l->job->ended_ms, line);
	} else {
		joblog_event(l, how == JOB_FINISHED ? "FinishedEvent" : "CancelledEvent");
	}
}

const char *const job_ends_names[] = { "off", "debug", "info", NULL };

/* The last line that is not empty: of a traceback what it is about. */
static const char *last_line(const char *text, size_t *ret_len)
{
	size_t len = strlen(text), at;
	while (len && strchr("\r\n ", text[len - 1]))
		len--;
	for (at = len; at && text[at - 1] != '\n';)
		at--;
	*ret_len = len - at;
	return text + at;
}

/* One line for each job, where a setting wants it. */
static void life_log_outcome(const struct live_job *l, const char *error)
{
	enum { ERROR_MAX = 300 };
	const struct job *j = l->job;
	int wanted = l->core->limits.job_ends;
	enum log_level level = wanted == JOB_ENDS_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
	if (wanted == JOB_ENDS_OFF || !log_is_on(level))
		return;
	char ran[64] = "";
	if (j->started_ms)
		snprintf(ran, sizeof ran, ", ran for %" PRId64 " ms", j->ended_ms - j->started_ms);
	size_t len = 0;
	const char *why = error ? last_line(error, &len) : "";
	if (len > ERROR_MAX)
		len = utf8_whole(why, ERROR_MAX);
	int64_t waited_ms = (j->started_ms ? j->started_ms : j->ended_ms) - j->created_ms;
	_cleanup_(freep) char *text =
		xasprintf("%s, waited for %" PRId64
			  " ms%s, attempt %u, context %s, worker %s, by %s%s%s%s%.*s",
			job_state_name(j->state), waited_ms, ran, j->attempt, j->context,
			l->worker_id ? l->worker_id : "none", l->door ? l->door->name : "nobody",
			j->request ? " as " : "", j->request ? j->request : "", len ? ": " : "",
			(int)len, why);
	life_log(l, level, job_state_name(j->state), text);
}

void life_end(struct live_job *l, enum job_state how, char *result, char *error)
{
	struct core *c = l->core;
	struct job *j = l->job;
	struct worker *w = l->worker;

	progress_tell(l);
	job_move(j, how);
	j->ended_ms = clock_wall_ms();
	lane_remove(l->lane, l);
	life_leave_worker(l);
	job_series_ended(l, how);
	life_log_end(l, how, error);
	life_log_outcome(l, error);
	publish(l, job_final_event(how), result, result ? strlen(result) : 0, error);

	struct store_op *op = life_op(l);
	free(op->change.error);
	op->change.result = result;
	op->change.error = error;
	store_post(c->store, op);

	if (w)
		acks_add(c, w, &j->id);
	cancel_answer_all(l);
	life_free(l);
	core_check_stopped(c);
}
