/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway says of itself: Mist's Status object.
 *
 * Mist ran in a JVM and its Status tells of one; clients read those members, so they are there:
 * memory is this process's, in MiB, and the collectors are an empty object. */
#include "core/private.h"

#include <string.h>
#include <time.h>

#include "base/metrics/process.h"
#include "core/outbox/backlog.h"

enum { MIB = 1 << 20 };

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
	int mib = process_resident_bytes() / MIB, threads = process_count("/proc/self/task");
	return json_pack(
		"{s:s, s:s, s:s, s:{}, s:{s:{s:i, s:i, s:i, s:i}, s:{s:i, s:i, s:i, s:i}}, "
		"s:{s:i, s:i, s:i, s:i}, s:{s:s, s:s}, s:i, s:i}",
		"mistVersion", MIST_VERSION, "sparkVersion", spark_version(c), "started", started,
		"gc", "memory", "heap", "used", mib, "commited", mib, "max", mib, "init", 0,
		"nonHeap", "used", 0, "commited", 0, "max", 0, "init", 0, "threads", "count",
		threads, "daemon", 0, "peak", threads, "startedTotal", threads, "javaVersion",
		"runtimeVersion", "none", "vmVendor", "none", "jobs", (int)c->jobs.count, "workers",
		(int)c->n_processes);
}

struct transport_state door_state(const struct core *c, const struct transport *door)
{
	struct transport_state s = { 0 };
	if (door->ops->state)
		door->ops->state(door->self, &s);
	s.waiting += backlog_count(c, door);
	return s;
}

char *status_transports(const struct core *c)
{
	_cleanup_(json_decrefp) json_t *all = json_array();
	for (size_t i = 0; i < c->n_doors; i++) {
		const struct transport *door = c->doors[i];
		const struct transport_state s = door_state(c, door);
		json_t *one = json_pack("{s:s, s:o, s:b, s:b}", "name", door->name, "type",
			json_string_lossy(door->ops->scheme ? door->ops->scheme : ""), "required",
			door->is_required, "up", !s.is_down);
		if (s.why[0])
			json_object_set_new(one, "detail", json_string_lossy(s.why));
		json_array_append_new(all, one);
	}
	return json_text(all);
}
