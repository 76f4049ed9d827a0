/* SPDX-License-Identifier: Apache-2.0 */
/* The room of workers: what the core asks for (room_crew), who may come in (the door), and who was
 * there before us (scan). */
#include "worker/private.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "worker/leavings.h"

enum { TICK_MS = 1000 };

#define SETTING(m) offsetof(struct room_settings, m)

const struct conf_field room_conf[] = {
	{ "heartbeat", CONF_DURATION, SETTING(heartbeat_ms), "5s", .min = 100, .max = 3600000,
		.live = true,
		.help = "a worker that is silent for three of these and has no living process is "
			"taken for lost" },
	{ "mute", CONF_DURATION, SETTING(mute_ms), "5 minutes", .min = 100, .max = INT64_MAX,
		.live = true,
		.help = "a worker that is silent though its process lives, as one whose job holds "
			"the interpreter's lock, is ended after this time" },
	{ "gateway-grace", CONF_DURATION, SETTING(gateway_grace_ms), "2 minutes", .min = 100,
		.max = INT64_MAX, .live = true,
		.help = "a worker that cannot reach the gateway for this time ends by itself" },
	{ "reconnect-grace", CONF_DURATION, SETTING(reconnect_grace_ms), "30s", .min = 100,
		.max = INT64_MAX, .live = true,
		.help = "a worker whose connection broke, or that an earlier gateway left behind, "
			"has this time to come back" },
	{ "start-timeout", CONF_DURATION, SETTING(start_timeout_ms), "2 minutes", .min = 100,
		.max = INT64_MAX, .live = true,
		.help = "from the start of a worker's process to its hello; and before that for "
			"its files to be written" },
	{ "kill-grace", CONF_DURATION, SETTING(kill_grace_ms), "5s", .min = 0, .max = INT64_MAX,
		.live = true, .help = "from SIGTERM to SIGKILL for a worker that has to go" },
	{ "frame", CONF_SIZE, SETTING(frame_max), "64m", .min = 1024, .max = 1 << 30,
		.unit = "bytes", .live = true,
		.help = "longest message of the worker protocol, and so the largest result" },
	{ "protocol-errors", CONF_INT, SETTING(mistakes_max), "10", .min = 1, .max = INT32_MAX,
		.live = true,
		.help = "a worker that breaks the protocol so often in a row is ended" },
	{ "output", CONF_SIZE, SETTING(output_max), "64m", .min = 64 * 1024,
		.max = INT64_C(1) << 40, .unit = "bytes", .live = true,
		.help = "what is kept of all that one worker prints: the newest, in two files" },
	{ "outputs", CONF_INT, SETTING(outputs_kept), "100", .min = 0, .max = 100000, .live = true,
		.help = "of so many workers that ended badly is kept what they printed" },
	{ "pass-environment", CONF_STR, SETTING(pass_environment),
		"PATH HOME USER LOGNAME SHELL TMPDIR LANG LC_* TZ LD_LIBRARY_PATH JAVA_HOME "
		"JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS SPARK_* PYSPARK_* HADOOP_* HDFS_* YARN_* "
		"HIVE_* KRB5* SSL_CERT_* *_proxy *_PROXY PYTHON*",
		.live = true,
		.help = "variables of the gateway's environment that workers get, with * and ?; a "
			"runtime's own environment is added" },
	{ "runner", CONF_PATH, SETTING(runner), "", .live = true,
		.help = "folder of the Python package mist; empty: where it was built or "
			"installed" },
	{ 0 },
};

static char *read_boot(void)
{
	char text[64] = "";
	_cleanup_(fclosep) FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (f && fgets(text, sizeof text, f))
		text[strcspn(text, "\n")] = '\0';
	return xstrdup(text);
}

/* Looks after what workers print. */
struct rotation {
	uv_work_t work;
	struct room *room;
	int64_t max;
	size_t n;
	char **paths, **directories;
};

static void rotate(uv_work_t *work)
{
	struct rotation *t = work->data;
	for (size_t i = 0; i < t->n; i++) {
		output_rotate(t->paths[i], t->max);
		output_bound_unread(t->directories[i], t->max);
	}
}

static void rotated(uv_work_t *work, int status)
{
	struct rotation *t = work->data;
	(void)status;
	t->room->is_rotating = false;
	for (size_t i = 0; i < t->n; i++) {
		free(t->paths[i]);
		free(t->directories[i]);
	}
	free(t->paths);
	free(t->directories);
	free(t);
}

static void rotate_outputs(struct room *r)
{
	struct rotation *t = xcalloc(1, sizeof *t);
	size_t n = 0;
	list_each (it, &r->members)
		n++;
	*t = (struct rotation){ .room = r, .max = r->settings.output_max };
	t->work.data = t;
	t->paths = xcalloc(n, sizeof *t->paths);
	t->directories = xcalloc(n, sizeof *t->directories);
	list_each (it, &r->members) {
		const struct member *m = container_of(it, struct member, node);
		t->paths[t->n] = xstrdup(m->output);
		t->directories[t->n++] = xstrdup(m->directory);
	}
	r->is_rotating = true;
	must(uv_queue_work(r->loop, &t->work, rotate, rotated) == 0);
}

static void on_tick(struct timers *t, struct timer *timer)
{
	struct room *r = container_of(timer, struct room, tick);
	(void)t;
	bool is_noisy = log_limit_tick(&r->protocol_errors);
	is_noisy |= log_limit_tick(&r->refusals);
	if (!list_empty(&r->members) && !r->is_rotating)
		rotate_outputs(r);
	if (!list_empty(&r->members) || is_noisy)
		room_tick_soon(r);
}

char *output_path(const struct room *r, const char *id)
{
	return xasprintf("%s/worker-%s.log", r->logs, id);
}

void room_tick_soon(struct room *r)
{
	if (!timer_is_set(&r->tick) && !r->is_closing)
		timer_set(core_timers(r->core), &r->tick, TICK_MS);
}

struct room *room_new(uv_loop_t *loop, const char *data_directory)
{
	struct room *r = xcalloc(1, sizeof *r);
	r->loop = loop;
	r->directory = xasprintf("%s/workers", data_directory);
	r->logs = xasprintf("%s/logs", data_directory);
	list_init(&r->members);
	list_init(&r->sessions);
	list_init(&r->dirty);
	r->boot = read_boot();
	r->tick.fire = on_tick;
	return r;
}

void room_free(struct room *r)
{
	if (!r)
		return;
	conf_done(room_conf, &r->settings);
	free(r->directory);
	free(r->logs);
	free(r->url);
	free(r->boot);
	free(r);
}

void room_configure(struct room *r, const struct room_settings *s)
{
	conf_done(room_conf, &r->settings);
	conf_copy(room_conf, &r->settings, s);
}

/* A process that never was, and why. */
static void launch_failed(struct member *m)
{
	_cleanup_(freep) char *why = TAKE_PTR(m->spawn_error);
	if (m->worker && m->is_hindered)
		crew_start_hindered(m->room->core, m->worker, why);
	else if (m->worker)
		crew_start_failed(m->room->core, m->worker, why);
	member_clear(m, false);
	member_free(m);
}

/* The same, where nothing was written and the disk is better left alone. */
static void launch_refused(struct member *m)
{
	_cleanup_(freep) char *why = TAKE_PTR(m->spawn_error);
	if (m->worker)
		crew_start_failed(m->room->core, m->worker, why);
	member_free(m);
}

static void recorded(struct member *m, const char *path, int status)
{
	(void)path;
	if (status == 0 && m->worker)
		crew_launched(m->room->core, m->worker);
	if (status == 0 || !m->is_running)
		return;
	/* A gateway after us would not know it, and run its jobs again beside it. */
	_cleanup_(freep) char *why = xasprintf("the worker was ended by the gateway because its "
					       "record in %s cannot be written: %s",
		m->directory, strerror(-status));
	log_warn("worker %s: %s", m->id, why);
	m->is_hindered = is_of_machine(-status);
	if (m->worker)
		crew_ending(m->room->core, m->worker, why);
	process_signal(m, SIGKILL);
}

static void prepared(struct member *m, const char *path, int status)
{
	struct fault f;
	m->is_preparing = false;
	int r = status;
	if (m->spawn_error) {
		launch_failed(m);
		return;
	}
	if (r < 0) {
		m->is_hindered = is_of_machine(-r);
		fault_set(&f, FAULT_UNAVAILABLE, "%s cannot be written: %s", path, strerror(-r));
	} else if (m->is_unwanted || !m->worker) {
		r = fault_set(&f, FAULT_UNAVAILABLE, "%s",
			m->worker && m->worker->end_reason ? m->worker->end_reason
							   : "it was not needed any more");
	} else {
		r = process_spawn(m, &f);
	}
	if (r < 0) {
		m->spawn_error = xasprintf("The worker did not start: %s", f.text);
		launch_failed(m);
		return;
	}
	member_record(m, recorded);
	member_await_ready(m);
}

static void crew_room_launch(
	void *room, struct worker *w, const struct runtime_settings *runtime, bool is_describer)
{
	char *why_not = member_why_not(room, w->context->settings.runtime);
	struct member *m = member_new(room, w);
	m->is_describer = is_describer;
	if (why_not) { /* told on the next turn, as the seam promises */
		m->spawn_error = why_not;
		m->overdue = launch_refused;
		timer_set(core_timers(m->room->core), &m->deadline, 0);
		return;
	}
	m->is_preparing = true;
	member_prepare(m, runtime, prepared);
}

static struct session *session_of(const struct worker *w)
{
	const struct member *m = w->process;
	return m ? m->session : NULL;
}

/* `,"name":"text"` for a JSON object; "" for NULL. */
static char *optional_member(const char *name, const char *text)
{
	if (!text)
		return xstrdup("");
	_cleanup_(json_decrefp) json_t *value = json_string(text);
	if (!value) /* not UTF-8: intake refuses it, but what is kept must not be able to stop us */
		return xstrdup("");
	_cleanup_(freep) char *quoted = json_text(value);
	return xasprintf(",\"%s\":%s", name, quoted);
}

/* Put together as text: the parameters are JSON text already, and this is done for every job. */
static void crew_room_start(void *room, struct worker *w, const struct job *j)
{
	struct session *s = session_of(w);
	char id[UUID_TEXT];
	(void)room;
	/* Without a connection it just lost it: its hello will not name the job, and the core gives
	 * it out again. */
	if (!s)
		return;
	uuid_format(&j->id, id);
	_cleanup_(freep) char *external_id = optional_member("externalId", j->external_id);
	_cleanup_(freep) char *trace = optional_member("trace", j->trace);
	_cleanup_(freep) char *frame = xasprintf(
		"{\"type\":\"start\",\"job\":\"%s\",%s,\"attempt\":%u%s%s,\"parameters\":%s}", id,
		j->function->start_members, j->attempt, external_id, trace, j->parameters);
	session_send_text(s, frame, strlen(frame));
}

static void crew_room_cancel(
	void *room, struct worker *w, const struct uuid *job, const char *reason)
{
	struct session *s = session_of(w);
	char id[UUID_TEXT];
	(void)room;
	uuid_format(job, id);
	if (s)
		session_send(s, json_pack("{s:s, s:s, s:s}", "type", "cancel", "job", id, "reason",
					reason));
}

static void crew_room_describe(
	void *room, struct worker *w, const char *id, const char *path, const char *class_name)
{
	struct session *s = session_of(w);
	(void)room;
	if (s)
		session_send(s, json_pack("{s:s, s:s, s:s, s:s}", "type", "describe", "id", id,
					"path", path, "className", class_name));
}

static void crew_room_ack(void *room, struct worker *w, json_t *job_ids)
{
	struct session *s = session_of(w);
	(void)room;
	if (s)
		session_send(s, json_pack("{s:s, s:O}", "type", "ack", "jobs", job_ids));
}

static void crew_room_drain(void *room, struct worker *w)
{
	struct session *s = session_of(w);
	(void)room;
	if (!s)
		return;
	session_send(s, json_pack("{s:s}", "type", "drain"));
	member_drains(w->process);
}

static void crew_room_kill(void *room, struct worker *w)
{
	(void)room;
	if (w->process)
		member_kill(w->process);
}

static void crew_room_forget(void *room, struct worker *w)
{
	struct member *m = w->process;
	(void)room;
	if (!m)
		return;
	if (m->session)
		session_end(m->session);
	m->worker = NULL;
}

static void crew_room_flush(void *room)
{
	struct room *r = room;
	struct list *n;
	while ((n = list_pop(&r->dirty)))
		session_flush_dirty(n);
}

const struct crew_ops room_crew = {
	.launch = crew_room_launch,
	.start = crew_room_start,
	.cancel = crew_room_cancel,
	.describe = crew_room_describe,
	.ack = crew_room_ack,
	.drain = crew_room_drain,
	.kill = crew_room_kill,
	.forget = crew_room_forget,
	.flush = crew_room_flush,
};

/* The time of the comparison must not tell how much of a guess was right. */
static bool is_same_secret(const char *a, const char *b)
{
	size_t n = strlen(a);
	unsigned char difference = 0;
	if (strlen(b) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

static void admission_deliver(struct mail *mail, void *owner)
{
	struct admission *a = container_of(mail, struct admission, mail);
	struct room *r = a->room;
	struct worker *w = crew_find(owner, a->worker);
	const struct member *m = w ? w->process : NULL;
	a->is_stopping = r->is_closing;
	a->is_admitted = m && m->secret && !r->is_closing && !member_is_ending(m) &&
			 is_same_secret(m->secret, a->secret);
	if (!a->is_admitted) {
		log_limited(&r->refusals, LOG_LEVEL_WARN,
			"a worker that calls itself %.80s was refused", a->worker);
		room_tick_soon(r);
	}
	a->answered(a);
}

static void arrival_deliver(struct mail *mail, void *owner)
{
	struct arrival *a = container_of(mail, struct arrival, mail);
	struct room *r = a->room;
	struct worker *w = crew_find(owner, a->worker);
	struct member *m = w ? w->process : NULL;
	if (r->is_closing || !m || m->is_gone)
		a->release(a);
	else
		session_begin(r, m, a);
}

static int door_admit(void *room, struct admission *a)
{
	struct room *r = room;
	a->room = r;
	a->mail.deliver = admission_deliver;
	return mailbox_post(core_mailbox(r->core), &a->mail);
}

static int door_arrive(void *room, struct arrival *a)
{
	struct room *r = room;
	a->room = r;
	a->mail.deliver = arrival_deliver;
	return mailbox_post_always(core_mailbox(r->core), &a->mail);
}

const struct worker_door *room_door(struct room *r)
{
	return &r->door;
}

void room_attach(struct room *r, struct core *c, const char *url)
{
	r->core = c;
	r->url = xstrdup(url);
	r->door = (struct worker_door){ .admit = door_admit, .arrive = door_arrive, .room = r };
}

/* An id begins with the name of a context or runtime, and may be longer than a name. */
static bool is_id(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return name[strspn(name, allowed)] == '\0';
}

/* Not a worker of any gateway: what somebody put there. A link is removed, what it leads to stays,
 * as does a directory whose name no worker has, whatever is in it. */
static bool is_foreign(const char *directory, const char *name)
{
	struct stat st;
	bool is_directory = lstat(directory, &st) == 0 && S_ISDIR(st.st_mode);
	if (is_directory && is_id(name))
		return false;
	if (is_directory) {
		log_warn("%s is no directory of a worker, and is left alone", directory);
		return true;
	}
	log_warn("%s is no directory of a worker, and is removed", directory);
	unlink(directory);
	return true;
}

/* A worker found by its record. One that only described is not worth keeping. What is to be ended
 * is known by its environment: since the record was written its pid may have come to a stranger. */
static void scan_one(struct room *r, const char *id)
{
	_cleanup_(freep) char *directory = xasprintf("%s/%s", r->directory, id);
	if (is_foreign(directory, id))
		return;
	_cleanup_(json_decrefp) json_t *record = member_read_json(directory, "worker.json");
	const char *context = json_string_of(record, "context"),
		   *boot = json_string_of(record, "boot");
	json_int_t pid = json_integer_value(json_object_get(record, "pid"));
	long long born = json_integer_value(json_object_get(record, "born"));
	bool is_alive = pid > 1 && pid <= INT32_MAX && (!boot || strcmp(boot, r->boot) == 0) &&
			process_is_of((int)pid, born, directory);
	bool is_describer = json_is_true(json_object_get(record, "describer"));
	struct worker *w =
		is_alive && !is_describer && context
			? crew_expect(r->core, id, context, json_string_of(record, "settings"))
			: NULL;
	if (!w) {
		if (is_alive)
			kill((pid_t)-pid, SIGKILL);
		_cleanup_(freep) char *output = output_path(r, id);
		leavings_clear(r->loop, &(struct leavings){ .directory = directory,
						.output = output,
						.keeps_output = true,
						.logs = r->logs });
		return;
	}
	struct member *m = member_new(r, w);
	m->pid = (int)pid;
	m->born = born;
	m->is_running = m->has_been_ready = true;
	if (member_rewrite_url(m) < 0)
		log_warn("worker %s: its file cannot be written; it may not find the gateway", id);
	member_expect_back(m);
	log_info("worker %s of an earlier gateway is expected back", id);
}

void room_scan(struct room *r)
{
	DIR *d = opendir(r->directory);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			scan_one(r, e->d_name);
	if (d)
		closedir(d);
}

void room_close(struct room *r)
{
	r->is_closing = true;
	if (r->core)
		timer_clear(core_timers(r->core), &r->tick);
	list_each (n, &r->members)
		member_free(container_of(n, struct member, node));
}
