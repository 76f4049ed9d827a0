/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's connection: the gateway's side of proto/README.md.
 *
 * A session begins with an upgraded socket, waits for `hello`, and is READY after its `welcome`.
 * Frames from the worker are checked against the table and handed to the core; a frame that breaks
 * the protocol ends the connection with `error` and a close, and is logged once. Frames to the
 * worker are queued and written when the core has finished its batch (room_crew.flush).
 *
 * The socket is the HTTP transport's: it is polled here and closed through the arrival's release,
 * after the poll handle is gone. */
#include "worker/private.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "frame.h"

enum { HELLO_MS = 10000, HEARTBEATS_LOST = 3, HELLO_TEXT_MAX = 2000, RESUMES_MAX = 100000 };
#define OUT_MAX ((size_t)1 << 30)

struct session {
	struct room *room;
	struct member *member; /* NULL once it ended */
	struct arrival *arrival;
	struct ws *ws;
	uv_poll_t poll;
	struct list node, dirty;
	struct timer pulse; /* the next ping; before hello: the time it has */
	bool is_ready, is_failed;
	int polled;
	int n_unheard; /* pings since the last byte came: counted, not timed, so that a pause of
			  ours is nobody's death */
};

static void session_lost(struct session *s);
static void session_refuse(struct session *s, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void session_closed(uv_handle_t *handle)
{
	struct session *s = handle->data;
	s->arrival->release(s->arrival);
	free(s);
}

void session_end(struct session *s)
{
	ws_flush(s->ws);
	list_remove(&s->node);
	list_remove(&s->dirty);
	timer_clear(core_timers(s->room->core), &s->pulse);
	if (s->member)
		s->member->session = NULL;
	s->member = NULL;
	ws_free(s->ws);
	s->ws = NULL;
	uv_close((uv_handle_t *)&s->poll, session_closed);
}

/* The connection is over, the process perhaps not. */
static void session_lost(struct session *s)
{
	struct member *m = s->member;
	session_end(s);
	if (!m->has_been_ready)
		return; /* its start timeout still runs */
	if (m->worker)
		crew_away(m->room->core, m->worker);
	member_expect_back(m);
}

/* A frame that is not to be. The connection ends when the loop comes round: we may be inside
 * ws_read. The sentence quotes the worker, whose text may be cut inside of a character: a fault
 * holds UTF-8 whatever goes in. */
static void session_refuse(struct session *s, int code, const char *format, ...)
{
	struct fault f;
	va_list args;
	if (s->is_failed)
		return;
	s->is_failed = true;
	va_start(args, format);
	_cleanup_(freep) char *text = NULL;
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	fault_set(&f, FAULT_BAD_REQUEST, "%s", text ? text : "protocol error");
	log_warn("worker %s broke the protocol: %s", s->member->id, f.text);
	session_send(s, json_pack("{s:s, s:s}", "type", "error", "reason", f.text));
	ws_close(s->ws, code, "protocol error");
}

void session_send_text(struct session *s, const char *text, size_t len)
{
	int r = ws_send(s->ws, text, len);
	if (r == -ENOBUFS && !s->is_failed) {
		s->is_failed = true;
		log_warn("worker %s does not read what it is sent", s->member->id);
	}
	if (list_empty(&s->dirty))
		list_append(&s->room->dirty, &s->dirty);
}

void session_send(struct session *s, json_t *frame)
{
	_cleanup_(json_decrefp) json_t *mine = frame;
	if (!mine) { /* jansson refuses what is not UTF-8: a path of the configuration may be that
		      */
		log_error("worker %s is not sent a frame whose text is not UTF-8", s->member->id);
		return;
	}
	_cleanup_(freep) char *text = json_text(mine);
	session_send_text(s, text, strlen(text));
}

/* What it says of itself is kept and shown as long as it lives. */
static bool is_good_hello(struct session *s, const json_t *frame)
{
	static const char *const shown[] = { "lang", "version", "sparkVersion", "sparkUi" };
	int64_t capacity = json_integer_value(json_object_get(frame, "capacity"));
	size_t n_resumes = json_array_size(json_object_get(frame, "resumes"));
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		size_t len = json_string_length(json_object_get(frame, shown[i]));
		if (len > HELLO_TEXT_MAX) {
			session_refuse(s, WS_CLOSE_PROTOCOL,
				"frame hello: member %s: expected at most %d bytes, got %zu",
				shown[i], HELLO_TEXT_MAX, len);
			return false;
		}
	}
	if (capacity < 1)
		session_refuse(s, WS_CLOSE_PROTOCOL,
			"frame hello: member capacity: expected at least 1, got %lld",
			(long long)capacity);
	else if (n_resumes > RESUMES_MAX)
		session_refuse(s, WS_CLOSE_PROTOCOL,
			"frame hello: member resumes: expected at most %d jobs, got %zu",
			RESUMES_MAX, n_resumes);
	return !s->is_failed;
}

static void on_hello(struct session *s, const json_t *frame)
{
	struct room *r = s->room;
	struct member *m = s->member;
	json_t *forget = NULL;
	int64_t protocol = json_integer_value(json_object_get(frame, "protocol"));
	if (s->is_ready) {
		session_refuse(s, WS_CLOSE_PROTOCOL, "hello came twice");
		return;
	}
	if (protocol != FRAME_PROTOCOL) {
		session_refuse(s, WS_CLOSE_VERSION,
			"this gateway speaks version %d of the protocol, not %lld", FRAME_PROTOCOL,
			(long long)protocol);
		return;
	}
	if (!is_good_hello(s, frame))
		return;
	s->is_ready = true;
	member_ready(m);
	free(m->worker->address);
	m->worker->address = xstrdup(s->arrival->peer);
	timer_set(core_timers(r->core), &s->pulse, r->settings.heartbeat_ms);
	crew_hello(r->core, m->worker, frame, &forget);
	session_send(s, json_pack("{s:s, s:i, s:f, s:I, s:o}", "type", "welcome", "protocol",
				FRAME_PROTOCOL, "heartbeat", r->settings.heartbeat_ms / 1000.0,
				"maxFrame", (json_int_t)r->settings.frame_max, "forget", forget));
	crew_settled(r->core, m->worker);
}

/* A message as it came. */
struct message {
	const char *text;
	size_t len;
};

/* As the worker wrote it: a long result is not written a second time, and its numbers stay as they
 * are. */
static char *result_text(const json_t *frame, const struct message *m)
{
	size_t len;
	const char *text = json_member_text(m->text, m->len, "result", &len);
	return text ? strndup(text, len) : json_text(json_object_get(frame, "result"));
}

static int on_job_frame(
	struct session *s, enum frame_type type, json_t *frame, const struct message *m)
{
	struct core *c = s->room->core;
	struct worker *w = s->member->worker;
	const char *job = json_string_of(frame, "job");
	switch (type) {
	case FRAME_STARTED:
		return crew_started(c, w, job, json_integer_value(json_object_get(frame, "at")));
	case FRAME_DOWNLOADING:
		return crew_downloading(c, w, job);
	case FRAME_LOG:
		return crew_log(c, w, job, json_object_get(frame, "entries"));
	case FRAME_PROGRESS:
		return crew_progress(c, w, job, json_number_value(json_object_get(frame, "value")),
			json_string_of(frame, "note"));
	case FRAME_FINISHED:
		return crew_ended(c, w, job, result_text(frame, m), NULL);
	case FRAME_FAILED:
		return crew_ended(c, w, job, NULL, json_string_of(frame, "error"));
	case FRAME_CANCELLED:
		return crew_ended(c, w, job, NULL, NULL);
	default:
		return CREW_E_ORDER;
	}
}

static void on_ready_frame(
	struct session *s, enum frame_type type, json_t *frame, const struct message *m)
{
	struct core *c = s->room->core;
	struct worker *w = s->member->worker;
	int r = 0;
	switch (type) {
	case FRAME_PONG:
		break;
	case FRAME_BYE:
		crew_left(c, w);
		break;
	case FRAME_ERROR:
		log_warn("worker %s says: %s", s->member->id, json_string_of(frame, "reason"));
		break;
	case FRAME_DESCRIBED:
		r = crew_described(c, w, json_string_of(frame, "id"),
			json_object_get(frame, "signature"), json_string_of(frame, "error"));
		break;
	default:
		r = on_job_frame(s, type, frame, m);
	}
	if (r == 0)
		return;
	const char *job = json_string_of(frame, "job");
	session_refuse(s, WS_CLOSE_PROTOCOL, "frame %s of job %.40s: %s", frame_type_name(type),
		job ? job : "-",
		r == CREW_E_ORDER ? "it is not its turn" : "a member has a value it cannot have");
}

static void on_message(void *owner, const char *text, size_t len)
{
	struct session *s = owner;
	_cleanup_(json_decrefp) json_t *frame = NULL;
	enum frame_type type;
	struct fault f;
	if (s->is_failed || !s->member || !s->member->worker)
		return;
	if (frame_parse(text, len, FRAME_FROM_WORKER, &type, &frame, &f) < 0) {
		session_refuse(s, WS_CLOSE_PROTOCOL, "%s", f.text);
		return;
	}
	if (type == FRAME_HELLO) {
		on_hello(s, frame);
	} else if (!s->is_ready && type == FRAME_ERROR) {
		log_warn("worker %s cannot start: %s", s->member->id,
			json_string_of(frame, "reason"));
	} else if (!s->is_ready) {
		session_refuse(s, WS_CLOSE_PROTOCOL, "the first frame must be hello");
	} else {
		on_ready_frame(s, type, frame, &(struct message){ text, len });
	}
}

static void session_poll(struct session *s, int events);

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct session *s = poll->data;
	int r = status < 0 ? status : 0;
	if (r == 0 && events & UV_READABLE) {
		s->n_unheard =
			0; /* bytes are a sign of life, also in the middle of a long message */
		r = ws_read(s->ws);
		if (r < 0 && r != -ECONNRESET && r != -ESHUTDOWN && !s->is_failed)
			log_warn("worker %s broke the protocol: %s", s->member->id,
				r == -EMSGSIZE ? "a message over workers.frame"
					       : "no WebSocket text messages");
	}
	if (s->is_failed && r == 0)
		r = -EPROTO;
	session_flush(s);
	if (r < 0)
		session_lost(s);
}

static void session_poll(struct session *s, int events)
{
	if (s->polled == events)
		return;
	s->polled = events;
	uv_poll_start(&s->poll, events, on_poll);
}

void session_flush(struct session *s)
{
	int r = ws_flush(s->ws);
	list_remove(&s->dirty);
	/* A broken connection shows at the next read. */
	session_poll(s, r == WS_E_PENDING ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

void session_flush_dirty(struct list *dirty)
{
	session_flush(container_of(dirty, struct session, dirty));
}

void session_drain_input(struct session *s)
{
	/* Its process is gone: what it sent is all there, and the end of it comes soon. */
	for (int i = 0; i < 1024 && s->ws && !s->is_failed && ws_read(s->ws) == 0; i++)
		;
}

static void on_pulse(struct timers *t, struct timer *timer)
{
	struct session *s = container_of(timer, struct session, pulse);
	struct member *m = s->member;
	int64_t beat = s->room->settings.heartbeat_ms;
	if (!s->is_ready) {
		session_refuse(s, WS_CLOSE_PROTOCOL, "hello did not come in time");
		session_lost(s);
	} else if (s->n_unheard++ == HEARTBEATS_LOST) {
		char heartbeat[32];
		duration_print(beat, heartbeat, sizeof heartbeat);
		_cleanup_(freep) char *why =
			xasprintf("the worker was given up as lost and ended by the gateway: "
				  "nothing was heard "
				  "of it for %d heartbeats of %s (workers.heartbeat)",
				HEARTBEATS_LOST, heartbeat);
		log_warn("worker %s: %s", m->id, why);
		if (m->worker)
			crew_ending(m->room->core, m->worker, why);
		session_lost(s);
		process_signal(m, SIGKILL);
	} else {
		session_send(s, json_pack("{s:s}", "type", "ping"));
		timer_set(t, timer, beat);
	}
}

void session_begin(struct room *r, struct member *m, struct arrival *a)
{
	struct session *s = xcalloc(1, sizeof *s);
	if (m->session) /* it comes back before we noticed that it was gone */
		session_lost(m->session);
	s->room = r;
	s->member = m;
	s->arrival = a;
	s->ws = ws_new(a->fd, true, r->settings.frame_max, OUT_MAX, on_message, s);
	s->pulse.fire = on_pulse;
	s->poll.data = s;
	list_init(&s->dirty);
	list_append(&r->sessions, &s->node);
	m->session = s;
	must(uv_poll_init_socket(r->loop, &s->poll, a->fd) == 0);
	timer_set(core_timers(r->core), &s->pulse, HELLO_MS);
	session_poll(s, UV_READABLE);
	if (a->extra_len && ws_feed(s->ws, a->extra, a->extra_len) < 0)
		session_lost(s);
}
