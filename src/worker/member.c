/* SPDX-License-Identifier: Apache-2.0 */
/* One worker process, from its files to its end.
 *
 * Its directory `<data>/workers/<id>` is the record of it: `connect.json` (mode 0600) is what the
 * worker reads, `worker.json` what a later gateway reads to know it again. Both are written before
 * (or, the pid, right after) the process starts, and go when it is gone.
 *
 * One deadline runs at a time: to become ready, to come back after its connection broke, or to end
 * after it was told to. The member tells the core exactly once that the worker is lost or did not
 * start, and frees itself when the process is gone and the core has forgotten the worker. */
#include "worker/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "worker/leavings.h"

enum {
	LAST_LINES = 25,
	LAST_BYTES = 16 * 1024,
	WATCH_MS = 500,
	SECRET_BYTES = 24,
	RECORD_MAX = 16 << 20
};

static void member_late(struct timers *t, struct timer *timer)
{
	struct member *m = container_of(timer, struct member, deadline);
	(void)t;
	m->overdue(m);
}

static void set_deadline(struct member *m, int64_t in_ms, void (*overdue)(struct member *m))
{
	m->overdue = overdue;
	timer_set(core_timers(m->room->core), &m->deadline, in_ms);
}

static void overdue_kill(struct member *m)
{
	process_signal(m, SIGKILL);
}

/* Ends it, and says why to whoever was interested: the core has it for the jobs on it. */
static void kill_late(struct member *m, const char *what, const char *setting, int64_t limit_ms)
{
	char limit[32];
	duration_print(limit_ms, limit, sizeof limit);
	_cleanup_(freep) char *why =
		xasprintf("the worker was ended by the gateway because it %s within %s (%s)", what,
			limit, setting);
	log_warn("worker %s: %s", m->id, why);
	if (m->worker)
		crew_ending(m->room->core, m->worker, why);
	member_kill(m);
}

static void overdue_start(struct member *m)
{
	kill_late(m, "was not ready", "workers.start-timeout", m->room->settings.start_timeout_ms);
}

static void overdue_back(struct member *m)
{
	kill_late(m, "did not come back", "workers.reconnect-grace",
		m->room->settings.reconnect_grace_ms);
}

static void overdue_drain(struct member *m)
{
	kill_late(m, "did not end by itself", "workers.reconnect-grace",
		m->room->settings.reconnect_grace_ms);
}

static void watch(struct timers *t, struct timer *timer)
{
	struct member *m = container_of(timer, struct member, watch);
	if (process_born(m->pid) != m->born) {
		member_gone(m, "the worker's process ended, and who or what ended it is not known");
	} else {
		timer_set(t, timer, WATCH_MS);
	}
}

struct member *member_new(struct room *r, struct worker *w)
{
	struct member *m = xcalloc(1, sizeof *m);
	m->room = r;
	m->worker = w;
	w->process = m;
	m->id = xstrdup(w->id);
	m->directory = xasprintf("%s/%s", r->directory, w->id);
	m->output = xasprintf("%s/worker-%s.log", r->logs, w->id);
	m->deadline.fire = member_late;
	m->watch.fire = watch;
	list_append(&r->members, &m->node);
	room_tick_soon(r);
	return m;
}

static void member_free_now(struct member *m)
{
	free(m->id);
	free(m->secret);
	free(m->directory);
	free(m->output);
	free(m->spawn_error);
	free(m->gone_why);
	free(m);
}

static void process_closed(uv_handle_t *handle)
{
	member_free_now(handle->data);
}

void member_free(struct member *m)
{
	timer_clear(core_timers(m->room->core), &m->deadline);
	timer_clear(core_timers(m->room->core), &m->watch);
	if (m->session)
		session_end(m->session);
	if (m->worker)
		m->worker->process = NULL;
	list_remove(&m->node);
	if (m->is_child)
		uv_close((uv_handle_t *)&m->process, process_closed);
	else
		member_free_now(m);
}

/* The last lines of what it printed, or NULL. */
char *member_last_words(const struct member *m)
{
	char text[LAST_BYTES + 1];
	struct stat st;
	_cleanup_(closep) int fd = open(m->output, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	off_t from = st.st_size > LAST_BYTES ? st.st_size - LAST_BYTES : 0;
	ssize_t n = pread(fd, text, LAST_BYTES, from);
	while (n > 0 && text[n - 1] == '\n')
		n--;
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	char *start = text + n;
	for (int lines = 0; start > text; start--)
		if (start[-1] == '\n' && ++lines == LAST_LINES)
			break;
	for (char *c = start; *c; c++) /* programs print anything; what follows is told in JSON */
		if ((unsigned char)*c >= 0x80 ||
			((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t'))
			*c = '?';
	return xstrdup(start);
}

static void gone_before_ready(struct member *m, const char *why)
{
	_cleanup_(freep) char *words = member_last_words(m);
	if (m->worker->end_reason)
		why = m->worker->end_reason;
	_cleanup_(freep) char *text =
		words ? xasprintf("The worker did not start: %s. The last lines it printed:\n%s",
				why, words)
		      : xasprintf("The worker did not start: %s; it printed nothing", why);
	crew_start_failed(m->room->core, m->worker, text);
}

void member_gone(struct member *m, const char *why)
{
	/* The end of what it printed is in the text of a worker that did not start. */
	bool is_clean = !m->worker || m->worker->has_left || m->worker->is_killed ||
			m->worker->state == WORKER_STARTING;
	m->is_running = false;
	if (m->session && !session_drain_input(m->session)) { /* an outcome may stand in it still */
		free(m->gone_why);
		m->gone_why = xstrdup(why);
		return;
	}
	if (m->session)
		session_end(m->session);
	if (m->worker && m->worker->state == WORKER_STARTING)
		gone_before_ready(m, why);
	else if (m->worker)
		crew_lost(m->room->core, m->worker, why);
	member_clear(m, !is_clean);
	member_free(m);
}

void member_kill(struct member *m)
{
	if (!m->is_running || member_is_ending(m))
		return;
	process_signal(m, SIGTERM);
	set_deadline(m, m->room->settings.kill_grace_ms, overdue_kill);
}

bool member_is_ending(const struct member *m)
{
	return m->overdue == overdue_kill;
}

void member_drains(struct member *m)
{
	if (!member_is_ending(m))
		set_deadline(m, m->room->settings.reconnect_grace_ms, overdue_drain);
}

/* One that comes and goes gets no new grace each time: its lane may be waiting for it. */
void member_expect_back(struct member *m)
{
	if (!member_is_ending(m) && !(m->overdue == overdue_back && timer_is_set(&m->deadline)))
		set_deadline(m, m->room->settings.reconnect_grace_ms, overdue_back);
	if (!m->is_child)
		timer_set(core_timers(m->room->core), &m->watch, WATCH_MS);
}

void member_await_ready(struct member *m)
{
	set_deadline(m, m->room->settings.start_timeout_ms, overdue_start);
}

void member_ready(struct member *m)
{
	m->has_been_ready = true;
	if (!member_is_ending(m))
		timer_clear(core_timers(m->room->core), &m->deadline);
}

static int write_json(const char *directory, const char *name, json_t *json)
{
	_cleanup_(json_decrefp) json_t *mine = json;
	_cleanup_(freep) char *path = xasprintf("%s/%s", directory, name),
			      *part = xasprintf("%s/%s.part", directory, name);
	_cleanup_(freep) char *text = json_dumps(mine, JSON_INDENT(1));
	size_t len = text ? strlen(text) : 0;
	int r = text ? fail_point(FAIL_LAUNCHER_RECORD) : -EILSEQ; /* a path that is not UTF-8 */
	if (r < 0)
		return r;
	unlink(part);
	_cleanup_(closep) int fd =
		open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, text, len);
	if (n != (ssize_t)len)
		return n < 0 ? -errno : -ENOSPC;
	r = fail_point(FAIL_LAUNCHER_RENAME);
	if (r < 0)
		return r;
	return rename(part, path) < 0 ? -errno : 0;
}

static char *make_secret(void)
{
	unsigned char random[SECRET_BYTES];
	char *text = xcalloc(1, 2 * sizeof random + 1);
	must(getrandom(random, sizeof random, 0) == sizeof random);
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(text + 2 * i, 3, "%02x", random[i]);
	return text;
}

static int write_record(struct member *m)
{
	return write_json(m->directory, "worker.json",
		json_pack("{s:s, s:s, s:i, s:I, s:s, s:b, s:s*}", "worker", m->id, "context",
			m->worker->context->name, "pid", m->pid, "born", (json_int_t)m->born,
			"boot", m->room->boot, "describer", (int)m->is_describer, "settings",
			m->worker->settings));
}

int member_write_files(struct member *m, const struct context *context)
{
	const struct room_settings *s = &m->room->settings;
	if (m->secret) /* the second time, when the pid is known */
		return write_record(m);
	int r = fail_point(FAIL_LAUNCHER_DIRECTORY);
	if (r < 0)
		return r;
	if (mkdir(m->directory, 0750) < 0)
		return -errno;
	m->secret = make_secret();
	r = write_record(m);
	if (r < 0)
		return r;
	return write_json(m->directory, "connect.json",
		json_pack("{s:s, s:s, s:s, s:s, s:f, s:s, s:O, s:f, s:i, s:b}", "url", m->room->url,
			"worker", m->id, "secret", m->secret, "context", context->name, "grace",
			s->gateway_grace_ms / 1000.0, "name", context->name, "sparkConf",
			context->settings.spark_conf, "streamingDuration",
			context->settings.streaming_ms / 1000.0, "capacity",
			(int)m->worker->capacity, "describer", (int)m->is_describer));
}

json_t *member_read_json(const char *directory, const char *name)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", directory, name);
	struct stat st;
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > RECORD_MAX)
		return NULL;
	return json_loadfd(fd, 0, NULL);
}

int member_rewrite_url(struct member *m)
{
	json_t *json = member_read_json(m->directory, "connect.json");
	const char *secret = json_string_of(json, "secret");
	if (!secret) {
		json_decref(json);
		return -ENOENT;
	}
	m->secret = xstrdup(secret);
	json_object_set_new(json, "url", json_string(m->room->url));
	return write_json(m->directory, "connect.json", json);
}

/* Of the members but this one. NULL-ended; the strings are the members'. */
static const char **outputs_in_use(const struct member *but)
{
	const struct room *r = but->room;
	size_t n = 0;
	list_each (it, &r->members)
		n++;
	const char **paths = xcalloc(n + 1, sizeof *paths);
	n = 0;
	list_each (it, &r->members) {
		const struct member *m = container_of(it, struct member, node);
		if (m != but)
			paths[n++] = m->output;
	}
	return paths;
}

void member_clear(struct member *m, bool keep_output)
{
	int64_t keep = m->room->settings.outputs_kept;
	_cleanup_(freep) const char **in_use = keep_output ? outputs_in_use(m) : NULL;
	(void)fail_point(FAIL_LAUNCHER_REMOVE);
	leavings_clear(m->room->loop, &(struct leavings){ .directory = m->directory,
					      .output = keep_output && keep ? NULL : m->output,
					      .logs = m->room->logs,
					      .in_use = in_use,
					      .keep = keep });
}
