/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the core, and of the store and the transports as the core sees them.
 *
 * The names and labels are a promise: dashboards and alerts are written against them, so they are
 * added to and never changed. deploy/metrics.md lists them all. */
#include "core/metrics/metrics.h"

#include <string.h>

#include "base/disk/folder_watch.h"
#include "base/log.h"
#include "base/metrics/exposition.h"
#include "core/private.h"

enum {
	BUILD,
	EVENTS,
	ACTIVE,
	PARAMETERS,
	KEYS,
	QUEUED,
	RUNNING,
	CONTEXT_WORKERS,
	BROKEN,
	STARTED,
	START_FAILED,
	LOST,
	PROCESSES,
	PROCESSES_LIMIT,
	SIGNATURES,
	WAITING,
	SUBSCRIBERS,
	EVENTS_DROPPED,
	BACKLOG,
	BACKLOG_BYTES,
	UNREADABLE,
	HEALTHY,
	FOLDER_WRITABLE,
	STANDSTILLS,
	LOG_LINES,
	LOG_DROPPED,
};

static const struct metric families[] = {
	[BUILD] = { METRIC_INFO, "mist_build_info", "The version of this gateway; always 1." },
	[EVENTS] = { METRIC_COUNTER, "mist_job_events_total",
		"Events of jobs, and requests that became no job (refused)." },
	[ACTIVE] = { METRIC_GAUGE, "mist_active_jobs", "Jobs that have not ended." },
	[PARAMETERS] = { METRIC_GAUGE, "mist_active_job_parameters_bytes",
		"Memory for the parameters of jobs that have not ended, and for long texts that go "
		"back with their answers." },
	[KEYS] = { METRIC_GAUGE, "mist_idempotency_keys", "Idempotency keys that are remembered." },
	[QUEUED] = { METRIC_GAUGE, "mist_context_queued_jobs", "Jobs that wait for a worker." },
	[RUNNING] = { METRIC_GAUGE, "mist_context_running_jobs", "Jobs on a worker." },
	[CONTEXT_WORKERS] = { METRIC_GAUGE, "mist_context_workers",
		"Workers of a context by what they do." },
	[BROKEN] = { METRIC_GAUGE, "mist_context_broken",
		"1 while workers of the context do not start and its jobs fail." },
	[STARTED] = { METRIC_COUNTER, "mist_workers_started_total",
		"Worker processes that were started." },
	[START_FAILED] = { METRIC_COUNTER, "mist_worker_start_failures_total",
		"Worker processes that did not get ready." },
	[LOST] = { METRIC_COUNTER, "mist_workers_lost_total",
		"Workers that ended without being asked to." },
	[PROCESSES] = { METRIC_GAUGE, "mist_worker_processes",
		"Worker processes that count for limits.workers." },
	[PROCESSES_LIMIT] = { METRIC_GAUGE, "mist_worker_processes_limit",
		"The setting limits.workers." },
	[SIGNATURES] = { METRIC_GAUGE, "mist_signature_processes",
		"Worker processes that only load functions for their signatures." },
	[WAITING] = { METRIC_GAUGE, "mist_contexts_waiting",
		"Contexts that wait for a worker process, since limits.workers is reached." },
	[SUBSCRIBERS] = { METRIC_GAUGE, "mist_subscribers",
		"Who listens to events of jobs: clients, and transports that tell all of them." },
	[EVENTS_DROPPED] = { METRIC_COUNTER, "mist_subscriber_events_dropped_total",
		"Events that subscribers lost because they did not read." },
	[BACKLOG] = { METRIC_GAUGE, "mist_store_backlog_operations",
		"Operations that wait for the disk." },
	[BACKLOG_BYTES] = { METRIC_GAUGE, "mist_store_backlog_bytes",
		"Memory of the operations that wait for the disk." },
	[UNREADABLE] = { METRIC_GAUGE, "mist_store_unreadable_rows",
		"Rows of the store that could not be read and were set aside." },
	[HEALTHY] = { METRIC_GAUGE, "mist_store_healthy", "1 while the store can write." },
	[FOLDER_WRITABLE] = { METRIC_GAUGE, "mist_data_folder_writable",
		"1 while files can be written in the folder of the data directory." },
	[STANDSTILLS] = { METRIC_COUNTER, "mist_watchdog_standstills_total",
		"Times that a thread stood still for longer than mist.watchdog." },
	[LOG_LINES] = { METRIC_COUNTER, "mist_log_lines_total",
		"Lines of the gateway's own log, by level." },
	[LOG_DROPPED] = { METRIC_COUNTER, "mist_log_lines_dropped_total",
		"Lines of it that were left out: of one cause too often, or because nobody read." },
};

enum {
	UP,
	REQUESTS,
	REQUESTS_IN_FLIGHT,
	DELIVERIES,
	DELIVERIES_WAITING,
	DELIVERIES_IN_FLIGHT,
	DELIVERY_TIME,
	OUTBOX,
	ERRORS,
	STALLED,
	STUCK,
	STUCK_OFFSET,
};

static const struct metric transport_families[] = {
	[UP] = { METRIC_GAUGE, "mist_transport_up",
		"1 while the transport works: it is connected, and nothing it needs is missing." },
	[REQUESTS] = { METRIC_COUNTER, "mist_transport_requests_total",
		"Requests that came by a broker." },
	[REQUESTS_IN_FLIGHT] = { METRIC_GAUGE, "mist_transport_requests_in_flight",
		"Requests that were taken from a broker and are not acknowledged to it." },
	[DELIVERIES] = { METRIC_COUNTER, "mist_transport_deliveries_total",
		"Events that a broker has taken, or that were given up." },
	[DELIVERIES_WAITING] = { METRIC_GAUGE, "mist_transport_deliveries_waiting",
		"Events that a broker has not taken yet, outcomes that wait in the store among "
		"them." },
	[DELIVERIES_IN_FLIGHT] = { METRIC_GAUGE, "mist_transport_deliveries_in_flight",
		"Those of them that were sent and are not acknowledged." },
	[DELIVERY_TIME] = { METRIC_HISTOGRAM, "mist_transport_delivery_seconds",
		"Time from the end of a job until a broker had its outcome." },
	[OUTBOX] = { METRIC_GAUGE, "mist_transport_outbox_bytes",
		"Memory for outcomes that wait for a broker." },
	[ERRORS] = { METRIC_COUNTER, "mist_transport_errors_total",
		"What brokers refused, and connections to them that were lost." },
	[STALLED] = { METRIC_GAUGE, "mist_transport_stalled_partitions",
		"Partitions of a log that have messages, and make no progress." },
	[STUCK] = { METRIC_GAUGE, "mist_transport_stuck_partitions",
		"Partitions that cannot be read any further." },
	[STUCK_OFFSET] = { METRIC_GAUGE, "mist_transport_stuck_offset",
		"The offset at which a partition cannot be read any further." },
};

static const char *const error_names[_TRANSPORT_ERROR_MAX] = { "connection", "authentication",
	"authorization", "protocol", "topic", "group", "partition", "commit", "delivery", "fatal" };

static const char *const event_names[_EVENT_MAX] = {
	[EVENT_REFUSED] = "refused",
	[EVENT_ACCEPTED] = "accepted",
	[EVENT_QUEUED] = "queued",
	[EVENT_WORKER_ASSIGNED] = "worker-assigned",
	[EVENT_DOWNLOADING] = "job-file-downloading",
	[EVENT_STARTED] = "started",
	[EVENT_PROGRESS] = "progress",
	[EVENT_CANCELLING] = "cancelling",
	[EVENT_FINISHED] = "finished",
	[EVENT_CANCELLED] = "cancelled",
	[EVENT_FAILED] = "failed",
};

enum shown_state { EXPECTED, STARTING, IDLE, BUSY, DRAINING, AWAY, _SHOWN_STATE_MAX };
static const char *const state_names[_SHOWN_STATE_MAX] = { "expected", "starting", "idle", "busy",
	"draining", "away" };

static enum shown_state state_of(const struct worker *w)
{
	switch (w->state) {
	case WORKER_EXPECTED:
		return EXPECTED;
	case WORKER_STARTING:
		return STARTING;
	case WORKER_AWAY:
		return AWAY;
	case WORKER_READY:
		break;
	}
	return w->n_jobs ? BUSY : w->is_draining || w->is_killed || w->has_left ? DRAINING : IDLE;
}

/* Of one context, or of all that are not registered. */
struct context_figures {
	const char *name;
	int64_t queued, running, broken, workers[_SHOWN_STATE_MAX];
};

static void context_add(struct context_figures *sum, const struct lane *lane)
{
	list_each (n, &lane->workers)
		sum->workers[state_of(container_of(n, struct worker, in_lane))]++;
	sum->queued += (int64_t)lane_length(lane);
	sum->running += lane->n_running;
	sum->broken |= lane->is_broken;
}

static void context_put(const struct context_figures *sum, struct exposition *e)
{
	const char *const labels[] = { "context", sum->name, NULL };
	exposition_put(e, &families[QUEUED], labels, sum->queued);
	exposition_put(e, &families[RUNNING], labels, sum->running);
	exposition_put(e, &families[BROKEN], labels, sum->broken);
	for (size_t i = 0; i < _SHOWN_STATE_MAX; i++)
		exposition_put(e, &families[CONTEXT_WORKERS],
			LABELS("context", sum->name, "state", state_names[i]), sum->workers[i]);
}

/* A client may name any context in the forms of Mist's first generation: those are one, as in
 * job_series.c. */
static void put_contexts(struct core *c, struct exposition *e)
{
	struct context_figures others = { .name = JOB_SERIES_UNREGISTERED };
	bool has_others = false;
	map_each (n, &c->lanes) {
		const struct lane *lane = container_of(n, struct lane, by_name);
		struct context_figures own = { .name = lane->name };
		bool is_other = !job_series_has_context(c, lane->name) ||
				strcmp(lane->name, others.name) == 0;
		if (lane->is_describer)
			continue;
		context_add(is_other ? &others : &own, lane);
		has_others |= is_other;
		if (!is_other)
			context_put(&own, e);
	}
	if (has_others)
		context_put(&others, e);
}

static void put_stuck(const char *name, const struct transport_state *s, struct exposition *e)
{
	for (size_t i = 0; i < s->n_stuck && i < STUCK_MAX; i++) {
		const struct stuck_place *at = &s->stuck[i];
		char partition[16];
		snprintf(partition, sizeof partition, "%d", at->partition);
		exposition_put(e, &transport_families[STUCK_OFFSET],
			LABELS("transport", name, "topic", at->topic, "partition", partition),
			at->offset);
	}
}

static void put_transport(const struct core *c, const struct transport *t, struct exposition *e)
{
	const char *const labels[] = { "transport", t->name, NULL };
	if (t->ops->metrics)
		t->ops->metrics(t->self, e);
	if (!t->ops->state)
		return;
	const struct transport_state s = door_state(c, t);
	const struct {
		int family;
		const char *outcome;
		uint64_t value;
	} rows[] = {
		{ UP, NULL, !s.is_down },
		{ REQUESTS, "accepted", s.accepted },
		{ REQUESTS, "refused", s.refused },
		{ REQUESTS, "unreadable", s.skipped },
		{ REQUESTS_IN_FLIGHT, NULL, s.in_flight },
		{ DELIVERIES, "delivered", s.told },
		{ DELIVERIES, "dropped", s.dropped },
		{ DELIVERIES_WAITING, NULL, s.waiting },
		{ DELIVERIES_IN_FLIGHT, NULL, s.sent },
		{ OUTBOX, NULL, s.outbox_bytes },
		{ STALLED, NULL, s.n_stalled },
		{ STUCK, NULL, s.n_stuck },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		exposition_put(e, &transport_families[rows[i].family],
			rows[i].outcome ? LABELS("transport", t->name, "outcome", rows[i].outcome)
					: labels,
			(int64_t)rows[i].value);
	for (size_t i = 0; i < _TRANSPORT_ERROR_MAX; i++)
		exposition_put(e, &transport_families[ERRORS],
			LABELS("transport", t->name, "kind", error_names[i]), (int64_t)s.errors[i]);
	exposition_put_histogram(e, &transport_families[DELIVERY_TIME], labels, &s.deliveries,
		&histogram_job_bounds);
	put_stuck(t->name, &s, e);
}

static int64_t n_waiting_contexts(const struct core *c)
{
	int64_t n = 0;
	list_each (it, &c->process_waiters)
		n++;
	return n;
}

static void put_folder(void *arg, const char *name, bool is_writable)
{
	exposition_put(arg, &families[FOLDER_WRITABLE], LABELS("folder", name), is_writable);
}

static void put_log(struct exposition *e)
{
	for (size_t i = 0; i < _LOG_LEVEL_MAX; i++)
		exposition_put(e, &families[LOG_LINES], LABELS("level", log_level_names[i]),
			(int64_t)log_count(i));
	exposition_put(e, &families[LOG_DROPPED], NO_LABELS, (int64_t)log_count_dropped());
}

void core_metrics_put(struct core *c, struct exposition *e)
{
	exposition_declare(e, families, ARRAY_SIZE(families));
	exposition_put(e, &families[BUILD], LABELS("version", MIST_VERSION), 1);
	for (size_t i = 0; i < _EVENT_MAX; i++)
		exposition_put(e, &families[EVENTS], LABELS("event", event_names[i]),
			(int64_t)c->counts[i]);
	const struct {
		int family;
		int64_t value;
	} rows[] = {
		{ ACTIVE, (int64_t)c->jobs.count },
		{ PARAMETERS, (int64_t)c->parameter_bytes },
		{ KEYS, (int64_t)c->keys.count },
		{ STARTED, (int64_t)c->workers_started },
		{ START_FAILED, (int64_t)c->worker_start_failures },
		{ LOST, (int64_t)c->workers_lost },
		{ PROCESSES, c->n_processes },
		{ PROCESSES_LIMIT, c->limits.workers_max },
		{ SIGNATURES, (int64_t)c->workers.count - c->n_processes },
		{ WAITING, n_waiting_contexts(c) },
		{ SUBSCRIBERS, c->n_watches },
		{ EVENTS_DROPPED, (int64_t)c->events_dropped },
		{ BACKLOG, (int64_t)store_backlog(c->store) },
		{ BACKLOG_BYTES, (int64_t)store_backlog_bytes(c->store) },
		{ UNREADABLE, store_unreadable_count(c->store) },
		{ HEALTHY, store_health(c->store) == 0 },
		{ STANDSTILLS, (int64_t)beats_count_standstills() },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		exposition_put(e, &families[rows[i].family], NO_LABELS, rows[i].value);
	folder_watch_each(c->folders, put_folder, e);
	put_contexts(c, e);
	put_log(e);
	job_series_put(c, e);
	store_metrics_put(c->store, e);
	exposition_declare(e, transport_families, ARRAY_SIZE(transport_families));
	for (size_t i = 0; i < c->n_doors; i++)
		put_transport(c, c->doors[i], e);
}
