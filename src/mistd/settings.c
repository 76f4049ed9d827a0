/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: which sections there are, and what must hold between them. Each section's rows are in
 * the room they belong to. */
#include "mistd/settings.h"

#include <string.h>

#include "base/log.h"
#include "domain/params.h"
#include "mistd/plugin.h"
#include "transport/kafka/kafka.h"
#include "transport/mqtt/mqtt.h"
#include "transport/registry.h"

#define MIST(m)  offsetof(struct mist_settings, m)
#define LIMIT(m) offsetof(struct core_limits, m)

static const char *const unknown_arguments_names[] = {
	[UNKNOWN_REFUSE] = "refuse", [UNKNOWN_IGNORE] = "ignore", NULL
};
static const char *const compatibilities[] = { "", "mist-1.1", NULL };
static const char *const unknown_contexts[] = { "refuse", "default", NULL };
static const char *const broken_functions[] = { "show", "hide", NULL };
static const char *const used_artifacts[] = { "keep", "delete", NULL };

static const char *const watchdog_actions[] = { "log", "exit", NULL };

const struct conf_field mist_conf[] = {
	{ "data-directory", CONF_PATH, MIST(data_directory), "mist-data",
		.help = "where jobs, logs and the records of workers are kept; made if it is not "
			"there" },
	{ "log-level", CONF_ENUM, MIST(log_level), "info", .choices = log_level_names, .live = true,
		.help = "what mistd writes to stderr" },
	{ "log-format", CONF_ENUM, MIST(log_format), "text", .choices = log_format_names,
		.live = true,
		.help = "lines of text, or JSON: one object a line with time, level, message and "
			"what it is about. Times are UTC" },
	{ "log-job-ends", CONF_ENUM, MIST(log_job_ends), "debug", .choices = job_ends_names,
		.live = true,
		.help = "the level of a line for each job's end: its outcome, how long it ran and "
			"where; off: none" },
	{ "unknown-arguments", CONF_ENUM, MIST(unknown_arguments), "refuse",
		.choices = unknown_arguments_names, .live = true,
		.help = "what becomes of arguments that a function does not have: refuse, or "
			"ignore, and name them in the answer. Functions written for Mist's own "
			"library ignore them, those that take **kwargs get them" },
	{ "watchdog", CONF_DURATION, MIST(watchdog_ms), "30s", .min = 100, .max = INT64_MAX,
		.help = "a core that stands still for longer than this is logged, with the place "
			"where it stands, and /health/live says so; an HTTP thread that does is "
			"logged, too" },
	{ "watchdog-action", CONF_ENUM, MIST(watchdog_action), "log", .choices = watchdog_actions,
		.help = "exit: mistd also ends then, with status 70, for its supervisor to start "
			"it again; what it accepted is on the disk" },
	{ "stop-timeout", CONF_DURATION, MIST(stop_timeout_ms), "30s", .min = 100, .max = INT64_MAX,
		.help = "from SIGTERM to the end at the latest, whatever hangs; what hangs is "
			"named and left behind, and the status is 71" },
	{ "mailbox", CONF_INT, MIST(mailbox_max), "100000", .min = 16, .max = 10000000,
		.unit = "requests",
		.help = "requests that may wait for the core; more are answered with 429" },
	{ "compatibility", CONF_ENUM, MIST(compatibility), "", .choices = compatibilities,
		.live = true,
		.help = "mist-1.1: where Mist 1.1 is less strict, so are we: other defaults for "
			"the settings that proto/mist-1.1.md names; what is written wins over it" },
	{ "unknown-contexts", CONF_ENUM, MIST(unknown_contexts), "refuse",
		.choices = unknown_contexts, .live = true,
		.help = "a request for a context that does not exist is refused, or runs in one "
			"of that name made on the spot with context-defaults" },
	{ "broken-functions", CONF_ENUM, MIST(broken_functions), "show",
		.choices = broken_functions, .live = true,
		.help = "functions that do not load are shown with their error, or left out of "
			"lists" },
	{ "used-artifacts", CONF_ENUM, MIST(used_artifacts), "keep", .choices = used_artifacts,
		.live = true,
		.help = "an artifact that functions use is deleted with force=true only, or in any "
			"case" },
	{ 0 },
};

static const struct conf_field limits_conf[] = {
	{ "queue", CONF_INT, LIMIT(queue_max), "100000", .min = 1, .max = 100000000, .unit = "jobs",
		.live = true,
		.help = "jobs that may wait in one context; more are answered with 429" },
	{ "queue-bytes", CONF_SIZE, LIMIT(queue_bytes_max), "256m", .min = 1 << 16,
		.max = INT64_C(1) << 40, .unit = "bytes", .live = true,
		.help = "memory for the arguments of jobs that wait, and as much for requests that "
			"are "
			"not jobs yet; more are answered with 429. Long arguments stay in the "
			"store "
			"until their job starts, and do not count then; what is to be sent back "
			"with an answer counts where it is over 1 KB" },
	{ "jobs", CONF_INT, LIMIT(jobs_max), "1000000", .min = 1, .max = 100000000, .unit = "jobs",
		.live = true, .help = "jobs that may wait and run altogether" },
	{ "workers", CONF_INT, LIMIT(workers_max), "256", .min = 1, .max = 100000,
		.unit = "processes", .live = true,
		.help = "worker processes over all contexts, besides one of each runtime that only "
			"describes functions; jobs for which there would have to be more wait" },
	{ "worker-turn", CONF_DURATION, LIMIT(worker_turn_ms), "30s", .min = 100, .max = INT64_MAX,
		.live = true,
		.help = "a context that has waited so long for one of them, and has fewer than "
			"another, gets the next that has finished what it runs" },
	{ "contexts", CONF_INT, LIMIT(contexts_max), "1000", .min = 1, .max = 1000000, .live = true,
		.help = "contexts that may be in use at once when requests name ones that are "
			"configured nowhere" },
	{ "backlog", CONF_INT, LIMIT(backlog_max), "200000", .min = 16, .max = 100000000,
		.unit = "operations", .live = true,
		.help = "writes that may wait for the disk before jobs are answered with 429" },
	{ "backlog-bytes", CONF_SIZE, LIMIT(backlog_bytes_max), "512m", .min = 1 << 16,
		.max = INT64_C(1) << 40, .unit = "bytes", .live = true,
		.help = "memory of those writes before jobs are answered with 429" },
	{ "job-log", CONF_SIZE, LIMIT(log_max), "64m", .min = 1024, .max = INT64_C(1) << 40,
		.unit = "bytes", .live = true, .help = "longest log of one job" },
	{ "progress-interval", CONF_DURATION, LIMIT(progress_ms), "250ms", .min = 10,
		.max = 3600000, .live = true,
		.help = "events progress of one job are told so far apart at least; of what it "
			"says "
			"in between, the newest is" },
	{ "cancel-grace", CONF_DURATION, LIMIT(cancel_grace_ms), "30s", .min = 0, .max = INT64_MAX,
		.live = true,
		.help = "a job that does not end in this time after a cancel is ended with its "
			"worker" },
	{ "neighbour-grace", CONF_DURATION, LIMIT(neighbour_grace_ms), "2 minutes", .min = 0,
		.max = INT64_MAX, .live = true,
		.help = "how long that end waits for other jobs of the same worker; those that are "
			"not done by then are run again" },
	{ "describe-timeout", CONF_DURATION, LIMIT(describe_timeout_ms), "60s", .min = 100,
		.max = INT64_MAX, .live = true,
		.help = "how long a worker may take to say what arguments a function has" },
	{ "idempotency-keys", CONF_INT, LIMIT(keys_max), "100000", .min = 1, .max = 100000000,
		.live = true,
		.help = "idempotency keys remembered; one more, and the oldest is forgotten" },
	{ "idempotency-time", CONF_DURATION, LIMIT(key_ms), "24h", .min = 1000,
		.max = INT64_C(31536000000), .live = true,
		.help = "how long a request with the same idempotency key is answered with the "
			"same job" },
	{ "job-series", CONF_INT, LIMIT(job_series_max), "200", .min = 1, .max = 10000,
		.live = true,
		.help = "sets of function, context and transport that /metrics tells apart; jobs "
			"of further ones are counted as function other of context other" },
	{ "history", CONF_DURATION, LIMIT(history_ms), "Inf", .min = 1000, .max = INT64_MAX,
		.live = true,
		.help = "ended jobs older than this are forgotten, and their logs removed" },
	{ "broken-retry", CONF_DURATION, LIMIT(broken_retry_ms), "10s", .min = 100, .max = 86400000,
		.live = true,
		.help = "pause before a broken context is tried again; doubles up to about 30 "
			"times it" },
	{ 0 },
};

enum {
	MIST_SECTION,
	HTTP_SECTION,
	TRANSPORTS_SECTION,
	DEFAULTS_SECTION,
	CONTEXTS_SECTION,
	FUNCTIONS_SECTION,
	RUNTIMES_SECTION,
	WORKERS_SECTION,
	LIMITS_SECTION,
	_SECTION_MAX
};

static const struct conf_section transport_kinds[] = {
	{ "kafka", kafka_conf, sizeof(struct kafka_settings),
		.help = "Requests and events by Kafka; one is one cluster." },
	{ "mqtt", mqtt_conf, sizeof(struct mqtt_settings),
		.help = "Requests and events by MQTT; one is one broker." },
	{ "plugin", plugin_conf, sizeof(struct plugin_settings),
		.help = "A transport that was built outside Mist." },
	{ 0 },
};

const struct conf_section settings_sections[] = {
	[MIST_SECTION] = { "mist", mist_conf, sizeof(struct mist_settings), false,
		"The gateway itself." },
	[HTTP_SECTION] = { "http", http_conf, sizeof(struct http_settings), false,
		"The HTTP transport." },
	[TRANSPORTS_SECTION] = { "transports", .named = true, .kinds = transport_kinds,
		.help = "Other transports." },
	[DEFAULTS_SECTION] = { "context-defaults", context_conf, sizeof(struct context_settings),
		false, "The context `default`, and what the others have where they say nothing." },
	[CONTEXTS_SECTION] = { "contexts", context_conf, sizeof(struct context_settings), true,
		"How workers for a set of functions are made and limited, by name." },
	[FUNCTIONS_SECTION] = { "functions", function_conf, sizeof(struct function_settings), true,
		"Names for callables in artifacts." },
	[RUNTIMES_SECTION] = { "runtimes", runtime_conf, sizeof(struct runtime_settings), true,
		"What workers are started with, by name; `default` (spark) and `plain` (python) "
		"are there without being written." },
	[WORKERS_SECTION] = { "workers", room_conf, sizeof(struct room_settings), false,
		"Worker processes and their connections." },
	[LIMITS_SECTION] = { "limits", limits_conf, sizeof(struct core_limits), false,
		"Everything that can grow." },
	{ 0 },
};

static int add_context(void *arg, const char *name, const void *settings, struct fault *f)
{
	const struct context_settings *s = settings;
	if (strcmp(name, "default") == 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"contexts.default: the context default is set in context-defaults");
	if (catalog_check_runtime(arg, s->runtime, f) < 0)
		return fault_prefix(f, "contexts.%s.runtime", name);
	if (run_options_check(s->run_options, f) < 0)
		return fault_prefix(f, "contexts.%s.run-options", name);
	if (spark_conf_check(s->spark_conf, f) < 0)
		return fault_prefix(f, "contexts.%s.spark-conf", name);
	if (s->max_jobs > 1 && s->worker_mode == WORKER_EXCLUSIVE && s->jobs_per_worker > 1)
		return fault_set(f, FAULT_BAD_REQUEST,
			"contexts.%s.jobs-per-worker: an exclusive worker runs one job; expected "
			"worker-mode shared",
			name);
	return catalog_add_context(arg, name, s);
}

static int add_function(void *arg, const char *name, const void *settings, struct fault *f)
{
	const struct function_settings *s = settings;
	if (!name_is_good(s->context))
		return fault_set(f, FAULT_BAD_REQUEST,
			"functions.%s.context: expected a name of letters, digits, '.', '_' and "
			"'-', got \"%.64s\"",
			name, s->context);
	if (path_check(s->path, f) < 0) {
		const struct fault why = *f;
		return fault_set(f, FAULT_BAD_REQUEST, "functions.%s.%s", name, why.text);
	}
	return catalog_add_function(arg, name, s);
}

/* Runtimes that are always there: what the configuration says of them is added to this. */
static const struct {
	const char *name;
	int kind;
} builtin[] = { { "default", RUNTIME_SPARK }, { "plain", RUNTIME_PYTHON } };

struct runtimes {
	struct catalog *catalog;
	struct runtime_settings builtin[ARRAY_SIZE(builtin)];
};

static const void *runtime_base(void *arg, const char *name)
{
	const struct runtimes *r = arg;
	for (size_t i = 0; i < ARRAY_SIZE(builtin); i++)
		if (strcmp(builtin[i].name, name) == 0)
			return &r->builtin[i];
	return NULL;
}

/* Of several calls the first failure counts: `result` is that of one more. */
static void first(int *r, struct fault *f, int result, const struct fault *own)
{
	if (result < 0 && *r == 0) {
		*r = result;
		*f = *own;
	}
}

static int add_runtime(void *arg, const char *name, const void *settings, struct fault *f)
{
	const struct runtimes *r = arg;
	const struct runtime_settings *s = settings;
	if (run_options_check(s->command, f) < 0)
		return fault_prefix(f, "runtimes.%s.command", name);
	return catalog_add_runtime(r->catalog, name, settings);
}

static int read_runtimes(struct conf *conf, struct catalog *c, struct fault *f)
{
	struct conf_section plain = settings_sections[RUNTIMES_SECTION];
	_cleanup_(conf_freep) struct conf *empty = NULL;
	struct runtimes all = { .catalog = c };
	plain.named = false;
	must(conf_open(&empty, NULL, NULL, 0, f) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(builtin); i++) {
		must(conf_read(empty, &plain, NULL, &all.builtin[i], f) == 0);
		all.builtin[i].kind = builtin[i].kind;
	}
	int r = conf_read_named_on(
		conf, &settings_sections[RUNTIMES_SECTION], runtime_base, add_runtime, &all, f);
	for (size_t i = 0; i < ARRAY_SIZE(builtin); i++)
		if (!catalog_runtime(
			    c, builtin[i].name)) /* also where what is said of it is wrong */
			(void)catalog_add_runtime(c, builtin[i].name, &all.builtin[i]);
	for (size_t i = 0; i < ARRAY_SIZE(builtin); i++)
		conf_done(runtime_conf, &all.builtin[i]);
	return r;
}

/* What is not right in the file is left out, so that what follows can be read. */
static void read_defaults(struct context_settings *ret)
{
	struct fault f;
	_cleanup_(conf_freep) struct conf *empty = NULL;
	must(conf_open(&empty, NULL, NULL, 0, &f) == 0 &&
		conf_read(empty, &settings_sections[DEFAULTS_SECTION], NULL, ret, &f) == 0);
}

static int check_defaults(struct conf *conf, const struct catalog *c,
	const struct context_settings *defaults, struct fault *f)
{
	int r = run_options_check(defaults->run_options, f);
	if (r < 0) {
		fault_prefix(f, "context-defaults.run-options");
	} else if ((r = spark_conf_check(defaults->spark_conf, f)) < 0) {
		fault_prefix(f, "context-defaults.spark-conf");
	} else {
		r = catalog_check_runtime(c, defaults->runtime, f);
		if (r < 0)
			fault_prefix(f, "context-defaults.runtime");
	}
	if (r < 0)
		conf_add_problem(conf, f);
	return r;
}

static int read_catalog(
	struct conf *conf, const char *artifacts, struct catalog **ret, struct fault *f)
{
	struct context_settings defaults;
	struct fault own;
	int r = conf_read(conf, &settings_sections[DEFAULTS_SECTION], NULL, &defaults, f);
	if (r < 0)
		read_defaults(&defaults);
	struct catalog *c = *ret = catalog_new(&defaults, artifacts);
	first(&r, f, read_runtimes(conf, c, &own), &own);
	first(&r, f, check_defaults(conf, c, &defaults, &own), &own);
	(void)catalog_add_context(c, "default", &defaults);
	first(&r, f,
		conf_read_named(conf, &settings_sections[CONTEXTS_SECTION], &defaults, add_context,
			c, &own),
		&own);
	first(&r, f,
		conf_read_named(
			conf, &settings_sections[FUNCTIONS_SECTION], NULL, add_function, c, &own),
		&own);
	conf_done(context_conf, &defaults);
	return r;
}

/* Every kind has it. */
static bool is_required(const struct conf_section *kind, const void *settings)
{
	const struct conf_field *field = kind->fields;
	while (strcmp(field->name, "required") != 0)
		field++;
	return *(const bool *)((const char *)settings + field->offset);
}

static int add_transport(void *arg, const struct conf_section *kind, const char *name,
	const void *settings, struct fault *f)
{
	struct settings *s = arg;
	const struct transport_ops *ops = transport_find(kind->name);
	if (strcmp(name, http_transport.scheme) == 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"transports.http: the name belongs to the section http");
	s->transports = xrealloc(s->transports, (s->n_transports + 1) * sizeof *s->transports);
	struct transport_setting *t = &s->transports[s->n_transports++];
	*t = (struct transport_setting){ xstrdup(name), kind, ops, xcalloc(1, kind->size) };
	conf_copy(kind->fields, t->settings, settings);
	t->is_required = is_required(kind, settings);
	return 0;
}

/* The settings that mist.compatibility changes have other defaults then. */
static int read_mist(struct conf *conf, struct mist_settings *ret, struct fault *f)
{
	const struct conf_section *section = &settings_sections[MIST_SECTION];
	int r = conf_read(conf, section, NULL, ret, f);
	if (r < 0 || ret->compatibility != COMPATIBLE_WITH_MIST_11)
		return r;
	struct mist_settings base = *ret;
	base.unknown_arguments = UNKNOWN_IGNORE;
	base.unknown_contexts = base.broken_functions = base.used_artifacts = 1;
	r = conf_read(conf, section, &base, ret, f);
	conf_done(mist_conf, &base);
	return r;
}

static int read_http(struct conf *conf, struct http_settings *ret, struct fault *f)
{
	int r = conf_read(conf, &settings_sections[HTTP_SECTION], NULL, ret, f);
	return r < 0 ? r : http_check_settings(ret, f);
}

static int read_all(struct settings *s, struct conf *conf, struct fault *f)
{
	struct fault own;
	int r = conf_check_sections(conf, settings_sections, f);
	first(&r, f, read_mist(conf, &s->mist, &own), &own);
	first(&r, f, read_http(conf, &s->http, &own), &own);
	first(&r, f,
		conf_read_kinds(
			conf, &settings_sections[TRANSPORTS_SECTION], add_transport, s, &own),
		&own);
	first(&r, f, conf_read(conf, &settings_sections[LIMITS_SECTION], NULL, &s->limits, &own),
		&own);
	first(&r, f, conf_read(conf, &settings_sections[WORKERS_SECTION], NULL, &s->room, &own),
		&own);
	s->limits.ignores_unknown = s->mist.unknown_arguments == UNKNOWN_IGNORE;
	s->limits.job_ends = s->mist.log_job_ends;
	_cleanup_(freep) char *artifacts =
		xasprintf("%s/artifacts", s->mist.data_directory ? s->mist.data_directory : "");
	first(&r, f, read_catalog(conf, artifacts, &s->catalog, &own), &own);
	catalog_set_rules(s->catalog,
		&(struct catalog_rules){ .takes_unknown_contexts = s->mist.unknown_contexts,
			.hides_broken_functions = s->mist.broken_functions,
			.deletes_used_artifacts = s->mist.used_artifacts });
	return r;
}

int settings_read(struct settings *s, const char *path, const char *const *sets, size_t n_sets,
	char **ret_problems)
{
	_cleanup_(conf_freep) struct conf *conf = NULL;
	struct fault f;
	memset(s, 0, sizeof *s);
	int r = conf_open(&conf, path, sets, n_sets, &f);
	if (r == 0) {
		s->is_empty = conf_is_empty(conf);
		r = read_all(s, conf, &f);
	}
	if (r < 0) {
		*ret_problems = conf && conf_problems(conf)[0] ? xstrdup(conf_problems(conf))
							       : xasprintf("%s\n", f.text);
		settings_done(s);
	}
	return r;
}

void settings_done(struct settings *s)
{
	conf_done(mist_conf, &s->mist);
	conf_done(http_conf, &s->http);
	for (size_t i = 0; i < s->n_transports; i++) {
		conf_done(s->transports[i].kind->fields, s->transports[i].settings);
		free(s->transports[i].settings);
		free(s->transports[i].name);
	}
	free(TAKE_PTR(s->transports));
	s->n_transports = 0;
	conf_done(limits_conf, &s->limits);
	conf_done(room_conf, &s->room);
	catalog_free(s->catalog);
	s->catalog = NULL;
}
