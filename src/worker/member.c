/* SPDX-License-Identifier: Apache-2.0 */
/* One worker process, from its files to its end.
 *
 * Its directory `<data>/workers/<id>` is the record of it: `connect.json` (mode 0600) is what the
 * worker reads, `worker.json` what a later gateway reads to know it again. Both are written before
 * (or, the pid, right after) the process starts, and go when it is gone. A disk may take its time,
 * so they are written, what starts the process is looked up, and what it printed last is read, on
 * threads of the loop's pool. What happens to the worker meanwhile is done when that is over.
 *
 * One deadline runs at a time: to have its files, to become ready, to come back after its
 * connection broke, to end after it was told to, or to have its last output read. The member tells
 * the core exactly once that the worker is lost or did not start, and frees itself when the process
 * is gone and the core has forgotten the worker. What hangs on a disk cannot be ended: as long as
 * it does, no other worker is started that would wait for the same, and only take one more thread
 * of the pool. */
#include "worker/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
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
	TAIL_MS = 30 * 1000, /* for its last output, after which its job is told without */
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
	m->output = output_path(r, w->id);
	m->deadline.fire = member_late;
	m->watch.fire = watch;
	m->out = -1;
	m->n_refs = 1;
	list_append(&r->members, &m->node);
	room_tick_soon(r);
	return m;
}

static void member_put(struct member *m)
{
	if (--m->n_refs)
		return;
	process_forget_command(m);
	free(m->id);
	free(m->secret);
	free(m->directory);
	free(m->output);
	free(m->spawn_error);
	free(m->runtime);
	free(m->gone_why);
	free(m->lost_why);
	free(m);
}

static void process_closed(uv_handle_t *handle)
{
	member_put(handle->data);
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
	m->is_freed = true;
	if (m->is_child)
		uv_close((uv_handle_t *)&m->process, process_closed);
	else
		member_put(m);
}

/* The last lines of what a worker printed, or NULL. */
static char *tail_of_output(const char *output)
{
	char text[LAST_BYTES + 1];
	struct stat st;
	_cleanup_(closep) int fd = open(output, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
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

struct output_tail {
	uv_work_t work;
	struct member *member;
	char *why, *directory, *output, *lines;
};

/* On a thread of the pool. */
static void output_tail_read(uv_work_t *work)
{
	struct output_tail *w = container_of(work, struct output_tail, work);
	(void)fail_point(FAIL_LAUNCHER_OUTPUT);
	output_collect(w->directory, w->output);
	w->lines = tail_of_output(w->output);
}

/* `lines`: what it printed last, after a sentence that says so; NULL: it printed nothing. */
static void gone_before_ready(struct member *m, const char *why, const char *lines)
{
	if (m->worker->end_reason)
		why = m->worker->end_reason;
	_cleanup_(freep) char *text = xasprintf(
		"The worker did not start: %s%s", why, lines ? lines : "; it printed nothing");
	if (m->is_hindered)
		crew_start_hindered(m->room->core, m->worker, text);
	else
		crew_start_failed(m->room->core, m->worker, text);
}

static void gone_at_work(struct member *m, const char *why, const char *lines)
{
	if (lines)
		crew_output_tail(m->room->core, m->worker, lines);
	crew_lost(m->room->core, m->worker, why);
}

static void output_tail_done(uv_work_t *work, int status)
{
	struct output_tail *w = container_of(work, struct output_tail, work);
	struct member *m = w->member;
	(void)status;
	beat_doing("the last output of a worker");
	if (!m->is_freed) {
		bool was_ready = m->has_been_ready;
		_cleanup_(freep) char *said =
			w->lines ? xasprintf(". The last lines it printed:\n%s", w->lines) : NULL;
		if (m->worker && was_ready)
			gone_at_work(m, w->why, w->lines);
		else if (m->worker)
			gone_before_ready(m, w->why, said);
		member_clear(m, was_ready);
		member_free(m);
	}
	member_put(m);
	free(w->why);
	free(w->directory);
	free(w->output);
	free(w->lines);
	free(w);
}

/* A disk that does not answer, or others like it on all threads of the pool, holds up no job. */
static void overdue_tail(struct member *m)
{
	log_warn("worker %s: what it printed last cannot be read: its disk does not answer", m->id);
	if (m->worker && m->has_been_ready)
		gone_at_work(m, m->lost_why, NULL);
	else if (m->worker)
		gone_before_ready(m, m->lost_why, "; what it printed cannot be read");
}

/* Its process is gone: what it printed last is in the text of that if it was never ready, and in
 * the log of its job if it had one. */
static void read_output_tail(struct member *m, const char *why)
{
	struct output_tail *w = xcalloc(1, sizeof *w);
	*w = (struct output_tail){ .member = m,
		.why = xstrdup(why),
		.directory = xstrdup(m->directory),
		.output = xstrdup(m->output) };
	m->is_gone = true;
	m->n_refs++;
	free(m->lost_why);
	m->lost_why = xstrdup(why);
	set_deadline(m, TAIL_MS, overdue_tail);
	must(uv_queue_work(m->room->loop, &w->work, output_tail_read, output_tail_done) == 0);
}

void member_gone(struct member *m, const char *why)
{
	bool is_clean = !m->worker || m->worker->has_left || m->worker->is_killed;
	m->is_running = false;
	if (m->session && !session_drain_input(m->session)) { /* an outcome may stand in it still */
		free(m->gone_why);
		m->gone_why = xstrdup(why);
		return;
	}
	if (m->session)
		session_end(m->session);
	if (m->worker && m->worker->state == WORKER_STARTING) {
		read_output_tail(m, why);
		return;
	}
	/* The last lines: of several jobs nobody knows whose they are. */
	if (m->worker && !is_clean && m->worker->n_jobs == 1 &&
		(m->worker->capacity == 1 || !m->worker->has_mixed)) {
		crew_away(m->room->core, m->worker);
		read_output_tail(m, why);
		return;
	}
	if (m->worker)
		crew_lost(m->room->core, m->worker, why);
	member_clear(m, !is_clean);
	member_free(m);
}

void member_kill(struct member *m)
{
	m->is_unwanted |= m->is_preparing;
	if (!m->is_running || member_is_ending(m))
		return;
	process_signal(m, SIGTERM);
	set_deadline(m, m->room->settings.kill_grace_ms, overdue_kill);
}

bool member_is_ending(const struct member *m)
{
	return m->overdue == overdue_kill || m->is_gone;
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

/* One that is there already is replaced as a whole. */
static int write_text(const char *directory, const char *name, const char *text)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", directory, name),
			      *part = xasprintf("%s/%s.part", directory, name);
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

static char *text_of(json_t *json)
{
	char *text = json_dumps(json, JSON_INDENT(1));
	json_decref(json);
	return text;
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

static char *record_of(const struct member *m)
{
	return text_of(json_pack("{s:s, s:s, s:i, s:I, s:s, s:b, s:s*}", "worker", m->id, "context",
		m->worker->context->name, "pid", m->pid, "born", (json_int_t)m->born, "boot",
		m->room->boot, "describer", (int)m->is_describer, "settings", m->worker->settings));
}

static char *connect_of(const struct member *m, const struct context *context)
{
	const struct room_settings *s = &m->room->settings;
	return text_of(json_pack("{s:s, s:s, s:s, s:s, s:f, s:s, s:O, s:f, s:i, s:b}", "url",
		m->room->url, "worker", m->id, "secret", m->secret, "context", context->name,
		"grace", s->gateway_grace_ms / 1000.0, "name", context->name, "sparkConf",
		context->settings.spark_conf, "streamingDuration",
		context->settings.streaming_ms / 1000.0, "capacity", (int)m->worker->capacity,
		"describer", (int)m->is_describer));
}

/* What is written for a member on another thread; it looks at nothing of the member there. */
struct file_work {
	uv_work_t work;
	struct member *member;
	void (*written)(struct member *m, const char *path, int status);
	char *directory, *record;
	char *connect, *output;  /* of one that is prepared; NULL: the record only */
	struct command *command; /* the same */
	_Atomic bool is_writing; /* in the data directory; before that the command is made */
	const char *path;        /* which of them could not be written */
	int out, status;
};

static int write_files(struct file_work *f)
{
	int r = f->command ? command_make(f->command) : 0;
	if (r < 0)
		return r;
	f->path = f->directory;
	atomic_store(&f->is_writing, true);
	r = f->connect ? fail_point(FAIL_LAUNCHER_DIRECTORY) : 0;
	if (r == 0 && f->connect && mkdir(f->directory, 0750) < 0)
		r = -errno;
	if (r == 0)
		r = write_text(f->directory, "worker.json", f->record);
	if (r == 0 && f->connect)
		r = write_text(f->directory, "connect.json", f->connect);
	if (r == 0 && f->output) {
		f->path = f->output;
		f->out = output_make(f->output);
		r = f->out < 0 ? f->out : 0;
	}
	return r;
}

static void files_work(uv_work_t *work)
{
	struct file_work *f = container_of(work, struct file_work, work);
	f->status = write_files(f);
}

static void clear_now(struct member *m, bool keep_output);

static void files_done(uv_work_t *work, int status)
{
	struct file_work *f = container_of(work, struct file_work, work);
	struct member *m = f->member;
	struct fault fault;
	(void)status;
	beat_doing("the files of a worker that were written");
	m->writing = NULL;
	m->out = f->out;
	if (f->command && command_end(f->command, m, &fault) < 0)
		m->spawn_error = xasprintf("The worker did not start: %s", fault.text);
	m->is_late = false;
	if (m->clears != CLEAR_NOT)
		clear_now(m, m->clears == CLEAR_BUT_OUTPUT);
	if (!m->is_freed)
		f->written(m, f->path, f->status);
	member_put(m);
	free(f->directory);
	free(f->record);
	free(f->connect);
	free(f->output);
	free(f);
}

static void begin_files(struct member *m, struct file_work *f)
{
	f->member = m;
	f->directory = xstrdup(m->directory);
	f->record = record_of(m);
	f->out = -1;
	m->writing = f;
	m->n_refs++;
	must(uv_queue_work(m->room->loop, &f->work, files_work, files_done) == 0);
}

/* What is under way ends by itself, and finds that nobody needs the worker. */
static void overdue_files(struct member *m)
{
	char limit[32];
	duration_print(m->room->settings.start_timeout_ms, limit, sizeof limit);
	bool is_writing = atomic_load(&m->writing->is_writing);
	_cleanup_(freep) char *what =
		is_writing ? xasprintf("its files in %s were not written", m->directory)
			   : xasprintf("the programs of runtime %s were not found", m->runtime);
	_cleanup_(freep) char *why = xasprintf("The worker did not start: %s within %s "
					       "(workers.start-timeout): the disk does not answer",
		what, limit);
	m->is_late = true;
	if (m->worker)
		crew_start_failed(m->room->core, m->worker, why);
}

char *member_why_not(const struct room *r, const char *runtime)
{
	list_each (n, &r->members) {
		const struct member *m = container_of(n, struct member, node);
		if (m->is_late && atomic_load(&m->writing->is_writing))
			return xasprintf("The worker did not start: the disk does not answer, and "
					 "the files of an earlier one in %s are still not written",
				m->directory);
		if (m->is_late && strcmp(m->runtime, runtime) == 0)
			return xasprintf(
				"The worker did not start: the disk does not answer, and "
				"the programs of runtime %s, for an earlier one, are still "
				"not found",
				runtime);
	}
	return NULL;
}

void member_prepare(struct member *m, const struct runtime_settings *runtime,
	void (*written)(struct member *m, const char *path, int status))
{
	struct file_work *f = xcalloc(1, sizeof *f);
	m->secret = make_secret();
	m->runtime = xstrdup(m->worker->context->settings.runtime);
	f->written = written;
	f->connect = connect_of(m, m->worker->context);
	f->command = command_new(m, runtime);
	f->output = xstrdup(m->output);
	set_deadline(m, m->room->settings.start_timeout_ms, overdue_files);
	begin_files(m, f);
}

void member_record(
	struct member *m, void (*written)(struct member *m, const char *path, int status))
{
	struct file_work *f = xcalloc(1, sizeof *f);
	f->written = written;
	begin_files(m, f);
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
	_cleanup_(freep) char *text = text_of(json);
	return write_text(m->directory, "connect.json", text);
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

static void clear_now(struct member *m, bool keep_output)
{
	int64_t keep = m->room->settings.outputs_kept;
	_cleanup_(freep) const char **in_use = keep_output ? outputs_in_use(m) : NULL;
	leavings_clear(m->room->loop, &(struct leavings){ .directory = m->directory,
					      .output = m->output,
					      .keeps_output = keep_output && keep,
					      .logs = m->room->logs,
					      .in_use = in_use,
					      .keep = keep });
}

void member_clear(struct member *m, bool keep_output)
{
	if (m->writing)
		m->clears = keep_output ? CLEAR_BUT_OUTPUT : CLEAR_ALL;
	else
		clear_now(m, keep_output);
}
