/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a worker's process: spark-submit, a Python interpreter, or the runtime's own command.
 *
 * The process gets a session of its own, so that neither a Ctrl-C at the gateway's terminal nor the
 * gateway's end reaches it, and so that it can be ended with all its children. What it prints goes
 * to a file, not a pipe: it outlives the gateway. The secret is not on the command line and not in
 * the environment: only the path of the file that has it.
 *
 * The command is made on a thread of the loop's pool, from a copy of what was said: where the
 * runner is and what Spark's own properties are is looked up in files, on disks that may take their
 * time.
 *
 * A process is started on the core's thread, which its handle belongs to: libuv allows no other,
 * and returns when exec has succeeded or failed. A program on a file system that hangs holds the
 * core up for so long, and the watchdog says so (mist.watchdog).
 *
 * Of the gateway's environment a worker gets what workers.pass-environment names: what the gateway
 * was started with may hold secrets that are no function's business. */
#include "worker/private.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "base/buf.h"
#include "base/fail_point.h"
#include "worker/leavings.h"
#include "worker/spark_local.h"

extern char **environ;

/* A growing NULL-ended vector of owned strings. */
struct words {
	char **v;
	size_t n;
};

struct command {
	char *id, *directory, *pass_environment, *runner; /* owned */
	struct runtime_settings runtime;
	const struct context *context; /* a reference */
	bool is_describer;
	struct words args, env;
	int status;
	struct fault fault;
};

static void words_add(struct words *w, char *word)
{
	w->v = xrealloc(w->v, (w->n + 2) * sizeof *w->v);
	w->v[w->n++] = word;
	w->v[w->n] = NULL;
}

static void words_done(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
}

/* Mist's rule for run-options: split at spaces, '…' and "…" group, no escapes. */
static void words_split(struct words *w, const char *text)
{
	while (*text) {
		struct buf word;
		char quote = '\0';
		text += strspn(text, " \t\n");
		if (!*text)
			return;
		buf_init(&word, strlen(text) + 1);
		for (; *text && (quote || !isspace((unsigned char)*text)); text++) {
			if (quote ? *text == quote : *text == '\'' || *text == '"')
				quote = quote ? '\0' : *text;
			else
				buf_add(&word, text, 1);
		}
		words_add(w, buf_take(&word));
	}
}

static void env_set(struct words *env, const char *name, const char *value)
{
	size_t len = strlen(name);
	char *text = xasprintf("%s=%s", name, value);
	for (size_t i = 0; i < env->n; i++) {
		if (strncmp(env->v[i], name, len) == 0 && env->v[i][len] == '=') {
			free(env->v[i]);
			env->v[i] = text;
			return;
		}
	}
	words_add(env, text);
}

static const char *env_get(const struct words *env, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], name, len) == 0 && env->v[i][len] == '=')
			return env->v[i] + len + 1;
	return NULL;
}

/* Is the variable "NAME=…" one of the list's names, which are patterns? */
static bool is_passed(const char *list, const char *variable)
{
	_cleanup_(freep) char *name = strndup(variable, strcspn(variable, "="));
	_cleanup_(freep) char *patterns = xstrdup(list);
	char *rest = NULL;
	must(name);
	for (char *p = strtok_r(patterns, " \t\n,", &rest); p; p = strtok_r(NULL, " \t\n,", &rest))
		if (fnmatch(p, name, 0) == 0)
			return true;
	return false;
}

/* What of the gateway's own environment is none of its secrets, then what the runtime says. */
static void add_environment(const struct command *c, struct words *env)
{
	_cleanup_(freep) char *file = worker_file(c->directory);
	const char *key;
	json_t *value;
	for (char **e = environ; *e; e++)
		if (is_passed(c->pass_environment, *e))
			words_add(env, xstrdup(*e));
	json_object_foreach (c->runtime.environment, key, value)
		env_set(env, key, json_string_value(value));
	env_set(env, WORKER_MARK, file);
	if (c->runtime.java[0])
		env_set(env, "JAVA_HOME", c->runtime.java);
}

static void env_prepend(struct words *env, const char *name, const char *path)
{
	const char *old = env_get(env, name);
	_cleanup_(freep) char *value = old && *old ? xasprintf("%s:%s", path, old) : xstrdup(path);
	env_set(env, name, value);
}

static const char *or_env(const char *setting, const char *name, const char *otherwise)
{
	const char *value = getenv(name);
	if (setting[0])
		return setting;
	return value && *value ? value : otherwise;
}

/* The first of the places that has the file. */
static char *find_folder(const char *const places[], size_t n, const char *file)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_(freep) char *path = xasprintf("%s/%s", places[i], file);
		if (places[i][0] && access(path, R_OK) == 0)
			return xstrdup(places[i]);
	}
	return NULL;
}

/* Where the installed program that runs has `path`: also below another root, where a package is
 * made or a tree of files was copied to. "": it was not installed. */
static char *installed(const char *path)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n < 0 ? 0 : n] = '\0';
	char *slash = strrchr(self, '/');
	size_t len = slash ? (size_t)(slash - self) : 0, own = strlen(MIST_INSTALLED_IN);
	if (len < own || strncmp(self + len - own, MIST_INSTALLED_IN, own) != 0)
		return xstrdup("");
	return xasprintf("%.*s%s", (int)(len - own), self, path);
}

static int add_python(
	const struct command *c, struct words *env, char **ret_runner, struct fault *f)
{
	/* Workers of an installed gateway run what was installed with it, those of one that is
	 * being worked on run the source. */
	_cleanup_(freep) char *own_runner = installed(MIST_INSTALLED_RUNNER),
			      *own_proto = installed(MIST_INSTALLED_PROTO);
	const char *const runners[] = { c->runner, own_runner, MIST_SOURCE_RUNNER,
		MIST_INSTALLED_RUNNER };
	const char *const protos[] = { own_proto, MIST_SOURCE_PROTO, MIST_INSTALLED_PROTO };
	_cleanup_(freep) char *proto = find_folder(protos, ARRAY_SIZE(protos), "frames.json");
	*ret_runner = find_folder(runners, ARRAY_SIZE(runners), "mist/worker.py");
	if (!*ret_runner || !proto)
		return fault_set(f, FAULT_INTERNAL,
			"the Python runner is not installed: %s has no mist/worker.py "
			"(workers.runner)",
			MIST_INSTALLED_RUNNER);
	const char *python = or_env(c->runtime.python, "PYSPARK_PYTHON", "python3");
	env_set(env, "PYSPARK_PYTHON", python);
	env_set(env, "PYSPARK_DRIVER_PYTHON", python);
	env_set(env, "PYTHONUNBUFFERED", "1");
	env_set(env, "MIST_PROTO", proto);
	env_prepend(env, "PYTHONPATH", *ret_runner);
	return 0;
}

/* `--conf KEY=VALUE` for Spark on this machine only, where nothing else was said. */
static void add_local_defaults(const struct context_settings *s, const struct words *options,
	struct words *args, struct words *env, const char *spark_home)
{
	static const struct {
		const char *key, *value;
	} defaults[] = {
		{ "spark.driver.host", "127.0.0.1" },
		{ "spark.driver.bindAddress", "127.0.0.1" },
		{ "spark.ui.enabled", "false" },
	};
	const struct spark_said said = { .conf = s->spark_conf,
		.options = (const char *const *)options->v,
		.n_options = options->n,
		.home = spark_home,
		.conf_folder = env_get(env, "SPARK_CONF_DIR"),
		.master = env_get(env, "MASTER") };
	if (!spark_is_local(&said))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		/* Who binds to an address of his own is found at it. */
		const char *other = i == 1 ? defaults[0].key : defaults[i].key;
		if (spark_says(&said, defaults[i].key) || spark_says(&said, other))
			continue;
		words_add(args, xstrdup("--conf"));
		words_add(args, xasprintf("%s=%s", defaults[i].key, defaults[i].value));
	}
	if (!env_get(env, "SPARK_LOCAL_IP"))
		env_set(env, "SPARK_LOCAL_IP", "127.0.0.1");
}

static void add_spark_words(const struct command *c, struct words *args, struct words *env,
	const char *spark_home, const char *runner)
{
	const struct context_settings *s = &c->context->settings;
	struct words options = { 0 };
	const char *key;
	json_t *value;
	words_split(&options, s->run_options);
	words_add(args, xasprintf("%s/bin/spark-submit", spark_home));
	add_local_defaults(s, &options, args, env, spark_home);
	words_done(&options);
	json_object_foreach (s->spark_conf, key, value) {
		words_add(args, xstrdup("--conf"));
		words_add(args, xasprintf("%s=%s", key, json_string_value(value)));
	}
	if (!json_object_get(s->spark_conf, "spark.app.name")) { /* --name would win over it */
		words_add(args, xstrdup("--name"));
		words_add(args, xstrdup(c->id));
	}
	words_split(args, s->run_options);
	words_add(args, xasprintf("%s/mist/worker.py", runner));
}

static int build_command(
	const struct command *c, struct words *args, struct words *env, struct fault *f)
{
	const struct runtime_settings *rt = &c->runtime;
	_cleanup_(freep) char *runner = NULL;
	int r = fail_point(FAIL_LAUNCHER_COMMAND);
	if (r < 0)
		return fault_set(
			f, FAULT_UNAVAILABLE, "its command cannot be made: %s", strerror(-r));
	add_environment(c, env);
	if (rt->kind == RUNTIME_PROGRAM) {
		words_split(args, rt->command);
		return args->n ? 0
			       : fault_set(f, FAULT_BAD_REQUEST,
					 "its runtime is a program and has no command");
	}
	r = add_python(c, env, &runner, f);
	if (r < 0)
		return r;
	const char *spark_home = or_env(rt->spark_home, "SPARK_HOME", "");
	if (rt->kind == RUNTIME_SPARK && spark_home[0])
		env_set(env, "SPARK_HOME", spark_home);
	if (rt->kind == RUNTIME_PYTHON || c->is_describer) {
		words_add(args, xstrdup(or_env(c->runtime.python, "PYSPARK_PYTHON", "python3")));
		words_add(args, xstrdup("-m"));
		words_add(args, xstrdup("mist.worker"));
		return 0;
	}
	if (!spark_home[0])
		return fault_set(f, FAULT_BAD_REQUEST,
			"its runtime has no spark-home and the gateway's environment no "
			"SPARK_HOME: where is Spark?");
	env_set(env, "MIST_SPARK", "1");
	add_spark_words(c, args, env, spark_home, runner);
	return 0;
}

/* The number of a child of ours is nobody else's until we have asked how it ended. That of a
 * process which an earlier gateway started may have been given to a stranger, whose group has it
 * too. */
void process_signal(const struct member *m, int signal)
{
	if (m->pid > 0 && (m->is_child || process_is_of(m->pid, m->born, m->directory)))
		kill(-m->pid, signal);
}

/* As far as the gateway had no part in it: else the core has its reason, and says that. */
static char *how_it_ended(int status, int signal)
{
	enum { BY_SIGNAL = 128 }; /* what a shell, and our runners, say of a signal they ended by */
	switch (signal) {
	case 0:
		break;
	case SIGKILL:
	case SIGTERM:
	case SIGINT:
	case SIGHUP:
		return xasprintf(
			"the worker was ended from outside by signal %d (%s): by somebody on "
			"its machine%s",
			signal, strsignal(signal),
			signal == SIGKILL ? ", or by the kernel because memory ran out" : "");
	default:
		return xasprintf("the worker crashed: signal %d (%s)", signal, strsignal(signal));
	}
	if (status == BY_SIGNAL + SIGTERM || status == BY_SIGNAL + SIGKILL ||
		status == BY_SIGNAL + SIGINT)
		return xasprintf(
			"the worker was ended from outside by signal %d (%s), and left with "
			"exit code %d",
			status - BY_SIGNAL, strsignal(status - BY_SIGNAL), status);
	return xasprintf("the worker ended by itself with exit code %d", status);
}

static void process_exited(uv_process_t *process, int64_t status, int signal)
{
	struct member *m = process->data;
	_cleanup_(freep) char *how = how_it_ended((int)status, signal);
	process_signal(m, SIGKILL); /* children that stayed behind */
	member_gone(m, how);
}

struct command *command_new(const struct member *m, const struct runtime_settings *runtime)
{
	struct command *c = xcalloc(1, sizeof *c);
	c->id = xstrdup(m->id);
	c->directory = xstrdup(m->directory);
	c->pass_environment = xstrdup(m->room->settings.pass_environment);
	c->runner = xstrdup(m->room->settings.runner);
	conf_copy(runtime_conf, &c->runtime, runtime);
	c->context = context_ref(m->worker->context);
	c->is_describer = m->is_describer;
	return c;
}

int command_make(struct command *c)
{
	c->status = build_command(c, &c->args, &c->env, &c->fault);
	return c->status;
}

int command_end(struct command *c, struct member *m, struct fault *f)
{
	int status = c->status;
	if (status < 0)
		*f = c->fault;
	m->args = c->args.v;
	m->env = c->env.v;
	context_unref(c->context);
	conf_done(runtime_conf, &c->runtime);
	free(c->id);
	free(c->directory);
	free(c->pass_environment);
	free(c->runner);
	free(c);
	return status;
}

void process_forget_command(struct member *m)
{
	char **both[] = { m->args, m->env };
	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		for (char **p = both[i]; p && *p; p++)
			free(*p);
		free(both[i]);
	}
	m->args = m->env = NULL;
	closep(&m->out);
	m->out = -1;
}

bool is_of_machine(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EROFS:
	case EIO:
	case EMFILE:
	case ENFILE:
	case EAGAIN: /* no process or thread left */
	case ENOMEM:
		return true;
	}
	return false;
}

int process_spawn(struct member *m, struct fault *f)
{
	int r = fail_point(FAIL_LAUNCHER_SPAWN);
	if (r < 0) {
		m->is_hindered = is_of_machine(-r);
		r = fault_set(
			f, FAULT_UNAVAILABLE, "%s cannot be started: %s", m->args[0], strerror(-r));
	} else {
		uv_stdio_container_t stdio[] = { { .flags = UV_IGNORE },
			{ .flags = UV_INHERIT_FD, .data.fd = m->out },
			{ .flags = UV_INHERIT_FD, .data.fd = m->out } };
		const uv_process_options_t options = { .exit_cb = process_exited,
			.file = m->args[0],
			.args = m->args,
			.env = m->env,
			.cwd = m->directory,
			.flags = UV_PROCESS_DETACHED,
			.stdio_count = 3,
			.stdio = stdio };
		m->process.data = m;
		m->is_child = true; /* also when it fails: the handle is in the loop then */
		r = uv_spawn(m->room->loop, &m->process, &options);
		if (r) {
			m->is_hindered = is_of_machine(-r);
			r = fault_set(f, FAULT_UNAVAILABLE, "%s cannot be started: %s", m->args[0],
				uv_strerror(r));
		}
	}
	if (r == 0) {
		m->pid = m->process.pid;
		m->born = process_born(m->pid);
		m->is_running = true;
		(void)fail_point(FAIL_LAUNCHER_SPAWNED);
	}
	process_forget_command(m);
	return r;
}
