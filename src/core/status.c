/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway says of itself: Mist's Status object, and metrics in the OpenMetrics text
 * format.
 *
 * Mist ran in a JVM and its Status tells of one; clients read those members, so they are there:
 * memory is this process's, in MiB, and the collectors are an empty object. */
#include "core/private.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"

enum { METRICS_MAX = 8 << 20, MIB = 1 << 20 };

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

static int64_t resident_bytes(void)
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/statm", "re");
	long long size, resident;
	if (!f || fscanf(f, "%lld %lld", &size, &resident) != 2)
		return 0;
	return resident * sysconf(_SC_PAGESIZE);
}

static int thread_count(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;
	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* A ready worker knows best. */
static const char *spark_version(struct core *c)
{
	map_each (n, &c->workers) {
		const struct worker *w = container_of(n, struct worker, by_id);
		if (w->spark_version)
			return w->spark_version;
	}
	return "unknown";
}

json_t *status_json(struct core *c)
{
	char started[32];
	time_t seconds = c->started_ms / 1000;
	struct tm local;
	localtime_r(&seconds, &local);
	size_t n = strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%S", &local);
	snprintf(started + n, sizeof started - n, ".%03d", (int)(c->started_ms % 1000));
	int mib = resident_bytes() / MIB, threads = thread_count();
	return json_pack(
		"{s:s, s:s, s:s, s:{}, s:{s:{s:i, s:i, s:i, s:i}, s:{s:i, s:i, s:i, s:i}}, "
		"s:{s:i, s:i, s:i, s:i}, s:{s:s, s:s}, s:i, s:i}",
		"mistVersion", MIST_VERSION, "sparkVersion", spark_version(c), "started", started,
		"gc", "memory", "heap", "used", mib, "commited", mib, "max", mib, "init", 0,
		"nonHeap", "used", 0, "commited", 0, "max", 0, "init", 0, "threads", "count",
		threads, "daemon", 0, "peak", threads, "startedTotal", threads, "javaVersion",
		"runtimeVersion", "none", "vmVendor", "none", "jobs", (int)c->jobs.count, "workers",
		(int)c->workers.count);
}

static void print_lanes(struct core *c, struct buf *out)
{
	static const char *const names[] = { "queued", "running", "workers", "broken" };
	static const char *const help[] = { "Jobs that wait for a worker.", "Jobs on a worker.",
		"Workers, starting ones included.", "1 while the context is broken." };
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		buf_printf(out, "# TYPE mist_context_%s gauge\n# HELP mist_context_%s %s\n",
			names[k], names[k], help[k]);
		map_each (it, &c->lanes) {
			const struct lane *lane = container_of(it, struct lane, by_name);
			size_t n_workers = 0;
			list_each (w, &lane->workers)
				n_workers++;
			const size_t values[] = { lane_length(lane), lane->n_running, n_workers,
				lane->is_broken };
			if (!lane->is_describer)
				buf_printf(out, "mist_context_%s{context=\"%s\"} %zu\n", names[k],
					lane->name, values[k]);
		}
	}
}

struct transport_state door_state(const struct transport *door)
{
	struct transport_state s = { 0 };
	if (door->ops->state)
		door->ops->state(door->self, &s);
	return s;
}

char *status_transports(const struct core *c)
{
	_cleanup_(json_decrefp) json_t *all = json_array();
	for (size_t i = 0; i < c->n_doors; i++) {
		const struct transport *door = c->doors[i];
		const struct transport_state s = door_state(door);
		json_t *one = json_pack("{s:s, s:o, s:b, s:b}", "name", door->name, "type",
			json_string_lossy(door->ops->scheme ? door->ops->scheme : ""), "required",
			door->is_required, "up", !s.is_down);
		if (s.why[0])
			json_object_set_new(one, "detail", json_string_lossy(s.why));
		json_array_append_new(all, one);
	}
	return json_text(all);
}

static void print_doors(struct core *c, struct buf *out)
{
	static const struct {
		const char *name, *type, *suffix, *help;
	} rows[] = {
		{ "up", "gauge", "", "1 while the transport is connected." },
		{ "requests_accepted", "counter", "_total", "Requests that became jobs." },
		{ "requests_refused", "counter", "_total", "Requests that became none." },
		{ "events_told", "counter", "_total", "Events that the broker has taken." },
		{ "events_waiting", "gauge", "", "Events that wait for the broker." },
		{ "events_dropped", "counter", "_total", "Events for which there was no room." },
		{ "outbox_bytes", "gauge", "", "Memory for outcomes that wait for the broker." },
		{ "stuck_partitions", "gauge", "", "Partitions of a log that cannot be read on." },
	};
	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		buf_printf(out, "# TYPE mist_transport_%s %s\n# HELP mist_transport_%s %s\n",
			rows[k].name, rows[k].type, rows[k].name, rows[k].help);
		for (size_t i = 0; i < c->n_doors; i++) {
			const struct transport_state s = door_state(c->doors[i]);
			const uint64_t values[] = { !s.is_down, s.accepted, s.refused, s.told,
				s.waiting, s.dropped, s.outbox_bytes, s.n_stuck };
			if (c->doors[i]->ops->state)
				buf_printf(out,
					"mist_transport_%s%s{transport=\"%s\"} %" PRIu64 "\n",
					rows[k].name, rows[k].suffix, c->doors[i]->name, values[k]);
		}
	}
}

static void print_errors(struct core *c, struct buf *out)
{
	static const char *const kinds[] = { "connection", "authentication", "authorization",
		"protocol", "topic", "group", "partition", "commit", "delivery", "fatal" };
	buf_puts(out, "# TYPE mist_transport_errors counter\n# HELP mist_transport_errors What "
		      "brokers refused, and connections that were lost.\n");
	for (size_t i = 0; i < c->n_doors; i++) {
		const struct transport_state s = door_state(c->doors[i]);
		for (size_t k = 0; c->doors[i]->ops->state && k < _TRANSPORT_ERROR_MAX; k++)
			buf_printf(out,
				"mist_transport_errors_total{transport=\"%s\",kind=\"%s\"} "
				"%" PRIu64 "\n",
				c->doors[i]->name, kinds[k], s.errors[k]);
	}
}

static size_t n_waiting_contexts(const struct core *c)
{
	size_t n = 0;
	list_each (it, &c->process_waiters)
		n++;
	return n;
}

/* Where: of the first partitions of each transport. */
static void print_stuck(struct core *c, struct buf *out)
{
	buf_puts(out,
		"# TYPE mist_transport_stuck_offset gauge\n# HELP mist_transport_stuck_offset "
		"The offset at which a partition cannot be read on.\n");
	for (size_t i = 0; i < c->n_doors; i++) {
		const struct transport_state s = door_state(c->doors[i]);
		for (size_t k = 0; k < s.n_stuck && k < STUCK_MAX; k++)
			buf_printf(out,
				"mist_transport_stuck_offset{transport=\"%s\",topic=\"%s\","
				"partition=\"%d\"} %" PRId64 "\n",
				c->doors[i]->name, s.stuck[k].topic, s.stuck[k].partition,
				s.stuck[k].offset);
	}
}

char *status_metrics(struct core *c)
{
	struct buf out;
	buf_init(&out, METRICS_MAX);
	buf_puts(&out, "# TYPE mist_job_events counter\n# HELP mist_job_events What happened to "
		       "jobs since the start.\n");
	for (int i = 0; i < _EVENT_MAX; i++)
		buf_printf(&out, "mist_job_events_total{event=\"%s\"} %" PRIu64 "\n",
			event_names[i], c->counts[i]);
	print_lanes(c, &out);
	print_doors(c, &out);
	print_stuck(c, &out);
	print_errors(c, &out);
	buf_printf(&out,
		"# TYPE mist_jobs gauge\n# HELP mist_jobs Jobs that have not ended.\nmist_jobs "
		"%zu\n"
		"# TYPE mist_argument_bytes gauge\n# UNIT mist_argument_bytes bytes\n"
		"# HELP mist_argument_bytes Memory for the arguments of jobs.\n"
		"mist_argument_bytes %zu\n"
		"# TYPE mist_workers_started counter\n# HELP mist_workers_started Worker processes "
		"started.\n"
		"mist_workers_started_total %" PRIu64 "\n"
		"# TYPE mist_workers_lost counter\n# HELP mist_workers_lost Workers that went "
		"without being asked to.\n"
		"mist_workers_lost_total %" PRIu64 "\n"
		"# TYPE mist_worker_processes gauge\n# HELP mist_worker_processes Worker processes "
		"that count for limits.workers.\n"
		"mist_worker_processes %u\n"
		"# TYPE mist_worker_processes_limit gauge\n"
		"# HELP mist_worker_processes_limit The setting limits.workers.\n"
		"mist_worker_processes_limit %" PRId64 "\n"
		"# TYPE mist_contexts_waiting gauge\n# HELP mist_contexts_waiting Contexts that "
		"wait for one of them.\n"
		"mist_contexts_waiting %zu\n"
		"# TYPE mist_subscribers gauge\n# HELP mist_subscribers Who listens to events of "
		"jobs.\nmist_subscribers %u\n"
		"# TYPE mist_events_dropped counter\n# HELP mist_events_dropped Events that "
		"subscribers lost because they did not read.\n"
		"mist_events_dropped_total %" PRIu64 "\n"
		"# TYPE mist_store_backlog gauge\n# HELP mist_store_backlog Operations that wait "
		"for the disk.\n"
		"mist_store_backlog %zu\n"
		"# TYPE mist_store_backlog_bytes gauge\n# UNIT mist_store_backlog_bytes bytes\n"
		"# HELP mist_store_backlog_bytes What those operations hold in memory.\n"
		"mist_store_backlog_bytes %zu\n"
		"# TYPE mist_store_unreadable gauge\n# HELP mist_store_unreadable Rows of the "
		"store "
		"that could not be read and were set aside.\n"
		"mist_store_unreadable %" PRId64 "\n"
		"# TYPE mist_store_healthy gauge\n# HELP mist_store_healthy 1 while the store can "
		"write.\nmist_store_healthy %d\n"
		"# TYPE process_resident_memory_bytes gauge\n# UNIT process_resident_memory_bytes "
		"bytes\n"
		"process_resident_memory_bytes %" PRId64 "\n# EOF\n",
		c->jobs.count, c->parameter_bytes, c->workers_started, c->workers_lost,
		c->n_processes, c->limits.workers_max, n_waiting_contexts(c), c->n_watches,
		c->events_dropped, store_backlog(c->store), store_backlog_bytes(c->store),
		store_unreadable_count(c->store), store_health(c->store) == 0, resident_bytes());
	return buf_take(&out);
}
