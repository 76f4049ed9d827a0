/* SPDX-License-Identifier: Apache-2.0 */
/* mistd: the gateway's program. Options, signals, and the one line on stdout that says where it
 * listens.
 *
 * SIGTERM: no new jobs, idle workers end, busy ones stay for the next gateway. SIGINT (a Ctrl-C):
 * every worker ends. A second one of them: nobody is waited for any more. Both are bounded in time
 * (deadline.c). SIGHUP: the configuration is read again (reread.c); when it is not right, the old
 * one stays. */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/fail_point.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "mistd/deadline.h"
#include "mistd/reread.h"
#include "mistd/settings.h"
#include "mistd/wiring.h"
#include "store/check.h"

struct program {
	uv_loop_t loop;
	uv_async_t hangup;
	uv_async_t asked; /* to end; sent by the thread that takes the signals */
	_Atomic int n_asked, last_signal;
	struct gateway *gateway;
	const struct settings *settings; /* that it was started with */
	const char *config;
	const char **sets;
	size_t n_sets;
	bool is_stopping;
	struct reread *reread;
	const char *checked_directory;
};

enum mode { MODE_SERVE, MODE_CHECK, MODE_CHECK_DATA, MODE_DONE };

static const char help[] =
	"usage: mistd [--config FILE] [--set PATH=VALUE]... [--check-config]\n"
	"       mistd --check-data DIR\n"
	"       mistd --help-config | --list-fail-points | --version | --help\n"
	"\n"
	"The Mist job gateway.\n"
	"\n"
	"  -c, --config FILE  settings, in libconfig's syntax\n"
	"  -s, --set PATH=VALUE\n"
	"                     one setting, over the file's: http.port=0, "
	"contexts.spark.max-jobs=4\n"
	"  --check-data DIR   look through the data directory of a gateway that is stopped, say "
	"what\n"
	"                     is wrong with it, and change nothing\n"
	"  --check-config     read the settings, say what is wrong with them, and end\n"
	"  --list-fail-points places that MIST_FAIL_POINTS can make fail, in a build for tests\n"
	"  --help-config      every setting with its type, default, range and meaning\n"
	"  --version\n"
	"  -h, --help\n"
	"\n"
	"When it is ready it prints one line: ready http://HOST:PORT\n";

static enum mode read_options(struct program *p, int argc, char **argv, int *ret_status)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "set", required_argument, NULL, 's' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "check-data", required_argument, NULL, 'd' },
		{ "list-fail-points", no_argument, NULL, 'F' },
		{ "help-config", no_argument, NULL, 'H' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	enum mode mode = MODE_SERVE;
	int o;
	while ((o = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			p->config = optarg;
			break;
		case 's':
			p->sets[p->n_sets++] = optarg;
			break;
		case 'k':
			mode = MODE_CHECK;
			break;
		case 'd':
			mode = MODE_CHECK_DATA;
			p->checked_directory = optarg;
			break;
		case 'H':
			conf_help(stdout, settings_sections);
			return MODE_DONE;
		case 'F':
			if (!fail_points_list(stdout)) {
				fputs("mistd: this build has no fail points (-Dfail_points)\n",
					stderr);
				*ret_status = 1;
			}
			return MODE_DONE;
		case 'v':
			puts("mistd " MIST_VERSION);
			return MODE_DONE;
		case 'h':
			fputs(help, stdout);
			return MODE_DONE;
		default:
			*ret_status = 2;
			return MODE_DONE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "mistd: %s is not an option; see mistd --help\n", argv[optind]);
		*ret_status = 2;
		return MODE_DONE;
	}
	return mode;
}

static void print_line(void *arg, const char *sentence)
{
	(void)arg;
	puts(sentence);
}

static int check_data(const char *directory)
{
	struct store_census n;
	struct fault f;
	_cleanup_(closep) int lock = gateway_lock(directory, false, &f);
	if (lock < 0) {
		fprintf(stderr, "mistd: %s\n", f.text);
		return 1;
	}
	size_t problems = store_check_data(directory, print_line, NULL, &n);
	if (n.set_aside)
		printf("%zu row%s could not be read earlier and %s set aside: see mist store "
		       "check\n",
			n.set_aside, plural(n.set_aside), by_count(n.set_aside, "is", "are"));
	printf("%s: %zu job%s, %zu reply target%s, %zu definition%s, %zu log%s, %zu artifact%s, "
	       "%zu worker%s: %s\n",
		directory, n.jobs, plural(n.jobs), n.reply_targets, plural(n.reply_targets),
		n.definitions, plural(n.definitions), n.logs, plural(n.logs), n.artifacts,
		plural(n.artifacts), n.workers, plural(n.workers),
		problems ? "something is wrong" : "all is well");
	return problems ? 1 : 0;
}

/* On the thread that takes the signals. */
static void asked_to_end(void *arg, int signal)
{
	struct program *p = arg;
	p->last_signal = signal;
	p->n_asked++;
	log_info("stopping on %s", strsignal(signal));
	uv_async_send(&p->asked);
}

/* The loop is over; that somebody is in a hurry the deadline knows. */
static void asked_while_it_ends(void *arg, int signal)
{
	(void)arg;
	log_info("it is ending already, and was asked to again: %s", strsignal(signal));
}

static void on_asked(uv_async_t *handle)
{
	struct program *p = handle->data;
	if (p->n_asked > 1) /* asked twice: now */
		uv_stop(&p->loop);
	if (!p->is_stopping || p->last_signal == SIGINT)
		gateway_stop(p->gateway, p->last_signal == SIGINT);
	p->is_stopping = true;
}

/* One entry for each line of `text`, which may be NULL. */
static void log_lines(enum log_level level, const char *what, const char *text)
{
	for (const char *p = text ? text : ""; *p; p += strcspn(p, "\n"), p += *p == '\n')
		log_write(level, "%s: %.*s", what, (int)strcspn(p, "\n"), p);
}

static void print_lines(const char *text)
{
	for (const char *p = text ? text : ""; *p; p += strcspn(p, "\n"), p += *p == '\n')
		fprintf(stderr, "mistd: %.*s\n", (int)strcspn(p, "\n"), p);
}

static void take_settings(void *owner, struct settings *s)
{
	struct program *p = owner;
	_cleanup_(freep) char *restart = settings_need_restart(p->settings, s);
	gateway_reload(p->gateway, s);
	log_info("the configuration was read again");
	if (restart)
		log_warn("the configuration: what needs a restart is as it was: %s", restart);
}

/* On the thread that takes the signals. */
static void hung_up(void *arg)
{
	struct program *p = arg;
	uv_async_send(&p->hangup);
}

static void on_hangup(uv_async_t *handle)
{
	struct program *p = handle->data;
	reread_ask(p->reread);
}

/* The exit status. For a person, or for whoever reads the log as JSON. */
__attribute__((format(printf, 1, 2))) static int not_started(const char *format, ...)
{
	char why[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	if (log_format() == LOG_FORMAT_JSON)
		log_error("%s", why);
	else
		fprintf(stderr, "mistd: %s\n", why);
	return 1;
}

static int serve(struct program *p, struct settings *s)
{
	_cleanup_(freep) char *references = settings_check_references(s);
	struct fault f;
	log_set_level(s->mist.log_level);
	log_set_format(s->mist.log_format);
	int r = deadline_start(s->mist.stop_timeout_ms);
	if (r < 0)
		return not_started("the thread for signals cannot be started: %s", strerror(-r));
	p->settings = s;
	log_lines(LOG_LEVEL_WARN, "the configuration", references);
	must(uv_loop_init(&p->loop) == 0);
	if (gateway_start(&p->gateway, &p->loop, s, &f) < 0) {
		uv_loop_close(&p->loop);
		deadline_end();
		return not_started("%s", f.text);
	}
	uv_async_init(&p->loop, &p->asked, on_asked);
	p->asked.data = p;
	deadline_serve(asked_to_end, p);
	p->reread =
		reread_new(&p->loop, p->config, p->sets, p->n_sets, s->is_empty, take_settings, p);
	uv_async_init(&p->loop, &p->hangup, on_hangup);
	p->hangup.data = p;
	deadline_serve_hangups(hung_up, p);
	printf("ready %s\n", gateway_url(p->gateway));
	fflush(stdout);
	gateway_run(p->gateway);

	reread_close(p->reread);
	deadline_serve(asked_while_it_ends, NULL);
	uv_close((uv_handle_t *)&p->asked, NULL);
	deadline_serve_hangups(NULL, NULL);
	uv_close((uv_handle_t *)&p->hangup, NULL);
	gateway_free(p->gateway);
	uv_loop_close(&p->loop);
	deadline_end();
	return 0;
}

/* Connections are descriptors, and the usual soft limit of 1024 is for programs that select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	struct program p = { 0 };
	struct settings s;
	struct fault f;
	_cleanup_(freep) char *problems = NULL;
	int status = 0;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk to us, not an end */
	raise_descriptor_limit();
	p.sets = xcalloc(argc, sizeof *p.sets);
	enum mode mode = read_options(&p, argc, argv, &status);
	if (mode == MODE_SERVE)
		deadline_hold_hangups();
	if (mode != MODE_DONE && fail_points_read(getenv("MIST_FAIL_POINTS"), &f) < 0) {
		fprintf(stderr, "mistd: %s\n", f.text);
		status = 1;
	} else if (mode == MODE_CHECK_DATA) {
		status = check_data(p.checked_directory);
	} else if (mode != MODE_DONE &&
		   settings_read(&s, p.config, p.sets, p.n_sets, &problems) < 0) {
		print_lines(problems);
		status = 1;
	} else if (mode == MODE_CHECK) {
		problems = settings_check_references(&s);
		print_lines(problems);
		status = problems != NULL;
		if (!problems)
			puts("the configuration is right");
		settings_done(&s);
	} else if (mode == MODE_SERVE) {
		status = serve(&p, &s);
		settings_done(&s);
	}
	free(p.sets);
	return status;
}
