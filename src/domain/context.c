/* SPDX-License-Identifier: Apache-2.0 */
/* A context, the rows of its settings, and Mist's JSON of it. */
#include "domain/context.h"

#include <string.h>

#include "base/clock.h"
#include "base/ignored.h"
#include "base/near.h"

static const char *const worker_modes[] = { "exclusive", "shared", NULL };

const struct conf_field context_conf[] = {
	{ "runtime", CONF_STR, offsetof(struct context_settings, runtime), "default", .live = true,
		.help = "the runtime its workers are started with" },
	{ "spark-conf", CONF_MAP, offsetof(struct context_settings, spark_conf), NULL, .live = true,
		.help = "Spark properties, as nested groups or as a list of \"key=value\"" },
	{ "run-options", CONF_STR, offsetof(struct context_settings, run_options), "", .live = true,
		.help = "more words for spark-submit, split at spaces; '…' and \"…\" keep words "
			"together" },
	{ "worker-mode", CONF_ENUM, offsetof(struct context_settings, worker_mode), "exclusive",
		.choices = worker_modes, .live = true,
		.help = "exclusive: a new worker for every job; shared: workers are used again" },
	{ "max-jobs", CONF_INT, offsetof(struct context_settings, max_jobs), "1", .min = 1,
		.max = 100000, .live = true, .help = "how many jobs of the context run at once" },
	{ "jobs-per-worker", CONF_INT, offsetof(struct context_settings, jobs_per_worker), "1",
		.min = 1, .max = 10000, .live = true,
		.help = "how many jobs one shared worker runs at once" },
	{ "precreated", CONF_BOOL, offsetof(struct context_settings, precreated), "false",
		.live = true,
		.help = "start the workers of a shared context before the first job, and keep "
			"them" },
	{ "downtime", CONF_DURATION, offsetof(struct context_settings, downtime_ms), "1h",
		.live = true, .help = "how long a context with nothing to do keeps its workers" },
	{ "streaming-duration", CONF_DURATION, offsetof(struct context_settings, streaming_ms),
		"1s", .live = true, .help = "batch interval of streaming functions" },
	{ "max-conn-failures", CONF_INT, offsetof(struct context_settings, max_conn_failures), "5",
		.min = 1, .max = INT32_MAX, .live = true,
		.help = "failed workers in a row after which the context is broken" },
	{ 0 },
};

struct context *context_new(const char *name, const struct context_settings *s)
{
	struct context *c = xcalloc(1, sizeof *c);
	atomic_init(&c->refs, 1);
	c->name = xstrdup(name);
	conf_copy(context_conf, &c->settings, s);
	return c;
}

struct context *context_ref(const struct context *c)
{
	struct context *shared = (struct context *)c;
	atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
	return shared;
}

void context_unref(const struct context *c)
{
	struct context *shared = (struct context *)c;
	if (!c || atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) != 1)
		return;
	conf_done(context_conf, &shared->settings);
	free(shared->name);
	free(shared);
}

unsigned context_capacity(const struct context *c)
{
	const struct context_settings *s = &c->settings;
	if (s->worker_mode == WORKER_EXCLUSIVE)
		return 1;
	return s->jobs_per_worker < s->max_jobs ? s->jobs_per_worker : s->max_jobs;
}

json_t *context_json(const struct context *c)
{
	const struct context_settings *s = &c->settings;
	char downtime[32], streaming[32];
	duration_format(s->downtime_ms, downtime, sizeof downtime);
	duration_format(s->streaming_ms, streaming, sizeof streaming);
	return json_pack("{s:s, s:O, s:s, s:I, s:I, s:b, s:s, s:s, s:s, s:I, s:s}", "name", c->name,
		"sparkConf", s->spark_conf, "downtime", downtime, "maxJobs",
		(json_int_t)s->max_jobs, "jobsPerWorker", (json_int_t)s->jobs_per_worker,
		"precreated", (int)s->precreated, "runOptions", s->run_options, "workerMode",
		worker_modes[s->worker_mode], "streamingDuration", streaming, "maxConnFailures",
		(json_int_t)s->max_conn_failures, "runtime", s->runtime);
}

static void note_ignored(
	const struct conf_section *section, const json_t *object, bool has_max_jobs, char **list)
{
	const char *name;
	json_t *value;
	json_object_foreach ((json_t *)object, name, value) {
		bool is_known = strcmp(name, "name") == 0 || conf_json_has(section, name) ||
				(!has_max_jobs && strcmp(name, "maxParallelJobs") == 0);
		if (!is_known)
			ignored_add(list, name);
	}
}

static bool is_given(const json_t *value)
{
	return value && !json_is_null(value);
}

int run_options_check(const char *text, struct fault *f)
{
	char quote = '\0';
	for (const char *p = text; *p; p++) {
		if (quote ? *p == quote : *p == '\'' || *p == '"')
			quote = quote ? '\0' : *p;
	}
	return quote ? fault_set(f, FAULT_BAD_REQUEST,
			       "expected every quote to be closed, but a %c is not", quote)
		     : 0;
}

/* Properties of ours among those of Spark. */
int spark_conf_check(const json_t *conf, struct fault *f)
{
	static const char ours[] = "spark.mist.", decimals[] = "spark.mist.decimals";
	static const char *const values[] = { "auto", "number", "string", NULL };
	const char *name;
	json_t *value;
	char hint[NEAR_HINT];
	json_object_foreach ((json_t *)conf, name, value) {
		const char *text = json_string_value(value);
		if (strncmp(name, ours, strlen(ours)) != 0)
			continue;
		if (strcmp(name, decimals) != 0)
			return fault_set(f, FAULT_BAD_REQUEST,
				"%.64s is not known here: of Mist's own there is %s", name,
				decimals);
		bool is_known = false;
		for (size_t i = 0; values[i] && text; i++)
			is_known |= strcmp(text, values[i]) == 0;
		if (!is_known)
			return fault_set(f, FAULT_BAD_REQUEST,
				"%s: expected auto, number or string, got \"%.64s\"%s", decimals,
				text ? text : json_kind(value),
				text ? near_hint_of(text, values, hint) : "");
	}
	return 0;
}

/* The names that the faults begin with are the API's. */
static int check_spark_conf(const json_t *conf, struct fault *f)
{
	int r = spark_conf_check(conf, f);
	return r < 0 ? fault_prefix(f, "sparkConf") : 0;
}

static int check_run_options(const char *text, struct fault *f)
{
	int r = run_options_check(text, f);
	return r < 0 ? fault_prefix(f, "runOptions") : 0;
}

int context_read_json(const json_t *object, const struct context_settings *base,
	struct context_settings *ret, char **ignored, struct fault *f)
{
	const struct conf_section section = { "context", context_conf, sizeof *ret, false, "" };
	_cleanup_(json_decrefp) json_t *copy = json_copy((json_t *)object);
	json_t *parallel = json_object_get(object, "maxParallelJobs");
	const char *mode = json_string_of(object, "workerMode");
	bool has_max_jobs = is_given(json_object_get(object, "maxJobs"));
	char hint[NEAR_HINT];
	if (is_given(parallel) && !has_max_jobs)
		json_object_set(copy, "maxJobs", parallel);
	if (mode && strcmp(mode, worker_modes[WORKER_EXCLUSIVE]) != 0 &&
		strcmp(mode, worker_modes[WORKER_SHARED]) != 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"workerMode: Unknown mode %.64s, expected exclusive or shared%s", mode,
			near_hint_of(mode, worker_modes, hint));
	int r = conf_read_json(&section, copy, base, ret, f);
	if (r == 0 && ((r = check_run_options(ret->run_options, f)) < 0 ||
			      (r = check_spark_conf(ret->spark_conf, f)) < 0))
		conf_done(context_conf, ret);
	if (r == 0 && ignored)
		note_ignored(&section, object, has_max_jobs, ignored);
	if (r < 0 || ret->worker_mode != WORKER_EXCLUSIVE || ret->jobs_per_worker == 1)
		return r;
	if (is_given(json_object_get(object, "jobsPerWorker"))) {
		conf_done(context_conf, ret);
		return fault_set(f, FAULT_BAD_REQUEST,
			"jobsPerWorker: an exclusive worker runs one job; expected workerMode "
			"shared");
	}
	ret->jobs_per_worker = 1; /* of `base`, for another mode */
	return 0;
}

json_t *context_stored_json(const struct context *c)
{
	const struct context_settings *s = &c->settings;
	json_t *json = context_json(c);
	char text[32];
	duration_print(s->downtime_ms, text, sizeof text);
	json_object_set_new(json, "downtime", json_string(text));
	duration_print(s->streaming_ms, text, sizeof text);
	json_object_set_new(json, "streamingDuration", json_string(text));
	return json;
}
