/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's connection: the gateway's side of proto/README.md.
 *
 * A session begins with an upgraded socket, waits for `hello`, and is READY after its `welcome`.
 * Frames from the worker are checked against the table and handed to the core; a frame that breaks
 * the protocol ends the connection with `error` and a close, and is logged once. Frames to the
 * worker are queued and written when the core has finished its batch (room_crew.flush).
 *
 * A large message is read on the loop's pool. Until that is done nothing more is read of its
 * connection, and what had come with it waits in `incoming`, so that frames keep their order and a
 * worker cannot send faster than it is read. Reading also pauses while the worker does not take
 * what it is sent, and while the store is behind.
 *
 * A worker that is silent is lost when its process is gone. One whose process lives may be held up
 * by a job that keeps the interpreter to itself: it gets no more jobs, and has workers.mute.
 *
 * The socket is the HTTP transport's: it is polled here and closed through the arrival's release,
 * after the poll handle is gone. */
#include "worker/private.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "base/mailbox.h"
#include "base/clock.h"
#include "base/json_scan.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "frame.h"
#include "worker/leavings.h"

enum {
	HELLO_MS = 10000,
	HEARTBEATS_LOST = 3,
	HELLO_TEXT_MAX = 2000,
	RESUMES_MAX = 100000,
	LARGE = 64 * 1024,         /* a message that is read off the core's thread */
	CLOGGED = 1024 * 1024,     /* so much waits to be written: what it says can wait, too */
	BEHIND = 16 * 1024 * 1024, /* so much: it gets no more jobs */
	CONGESTED_MS = 50,
};
#define OUT_MAX ((size_t)256 << 20)

struct session {
	struct room *room;
	struct member *member; /* NULL once it ended */
	struct arrival *arrival;
	struct ws *ws;
	uv_poll_t poll;
	struct list node, dirty;
	struct timer pulse; /* the next ping; before hello: the time it has */
	struct timer later; /* reads again: the store was behind */
	bool is_ready, is_failed, is_mute, is_behind;
	bool is_over;               /* nothing more comes */
	bool is_closed, is_reading; /* its handle is; a message of it is on another thread */
	struct list incoming; /* messages that wait for a large one before them, and that one */
	int polled;
	int n_unheard; /* pings since the last byte came: counted, not timed, so that a pause of
			  ours is nobody's death */
};

/* A message that could not be read where it came. */
struct incoming {
	struct list node;
	struct session *session;
	uv_work_t work;
	char *text;
	size_t len;
	bool is_read;
	int r; /* of frame_read */
	struct frame frame;
	struct fault fault;
	char *result; /* `text` once it is a result and nothing else */
};

static void session_lost(struct session *s);
static void incoming_next(struct session *s);
static void session_refuse(struct session *s, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void incoming_free(struct incoming *i)
{
	list_remove(&i->node);
	frame_done(&i->frame);
	free(i->text);
	free(i->result);
	free(i);
}

/* Once its handle is closed and no other thread has anything of it. */
static void session_free(struct session *s)
{
	if (!s->is_closed || s->is_reading)
		return;
	list_each (n, &s->incoming)
		incoming_free(container_of(n, struct incoming, node));
	free(s);
}

static void session_closed(uv_handle_t *handle)
{
	struct session *s = handle->data;
	s->arrival->release(s->arrival);
	s->is_closed = true;
	session_free(s);
}

void session_end(struct session *s)
{
	struct member *m = s->member;
	ws_flush(s->ws);
	list_remove(&s->node);
	list_remove(&s->dirty);
	timer_clear(core_timers(s->room->core), &s->pulse);
	timer_clear(core_timers(s->room->core), &s->later);
	if (m && m->worker && (s->is_behind || s->is_mute))
		crew_behind(s->room->core, m->worker, false);
	if (m)
		m->session = NULL;
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

/* It broke the protocol. One that does nothing else is ended. */
static void session_blame(struct session *s, const char *how)
{
	struct member *m = s->member;
	int64_t most = s->room->settings.mistakes_max;
	log_limited(&s->room->protocol_errors, LOG_LEVEL_WARN, "worker %s broke the protocol: %s",
		m->id, how);
	room_tick_soon(s->room);
	if (++m->n_mistakes != most)
		return;
	_cleanup_(freep) char *why = xasprintf("the worker was ended by the gateway because it "
					       "broke the protocol %lld time%s in a "
					       "row (workers.protocol-errors), at last so: %s",
		(long long)most, plural((uint64_t)most), how);
	log_warn("worker %s: %s", m->id, why);
	if (m->worker)
		crew_ending(s->room->core, m->worker, why);
	member_kill(m);
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
	session_blame(s, f.text);
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

/* As the worker wrote it, without the blanks: its numbers stay as they are, and one line is one
 * event. `text` is the message that the frame was read of, which becomes the result. Any thread. */
static char *take_result(char *text, const struct frame *frame)
{
	size_t len = json_compact(memmove(text, frame->any, frame->any_len), frame->any_len);
	text[len] = '\0';
	return text;
}

static int on_job_frame(struct session *s, enum frame_type type, const json_t *frame, char *result)
{
	struct core *c = s->room->core;
	struct worker *w = s->member->worker;
	const char *job = json_string_of(frame, "job");
	const json_t *value = json_object_get(frame, "value");
	double number;
	switch (type) {
	case FRAME_STARTED:
		return crew_started(c, w, job, json_integer_value(json_object_get(frame, "at")));
	case FRAME_DOWNLOADING:
		return crew_downloading(c, w, job);
	case FRAME_LOG:
		return crew_log(c, w, job, json_object_get(frame, "entries"));
	case FRAME_PROGRESS:
		number = json_number_value(value);
		return crew_progress(
			c, w, job, value ? &number : NULL, json_string_of(frame, "note"));
	case FRAME_FINISHED:
		return crew_ended(c, w, job, result, NULL);
	case FRAME_FAILED:
		return crew_ended(c, w, job, NULL, json_string_of(frame, "error"));
	case FRAME_CANCELLED:
		return crew_ended(c, w, job, NULL, NULL);
	default:
		return CREW_E_ORDER;
	}
}

/* result: taken, of a frame `finished`. */
static void on_ready_frame(
	struct session *s, enum frame_type type, const json_t *frame, char *result)
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
		r = on_job_frame(s, type, frame, result);
	}
	if (r == 0) {
		bool is_useful = type == FRAME_FINISHED || type == FRAME_FAILED ||
				 type == FRAME_CANCELLED || type == FRAME_DESCRIBED;
		if (is_useful)
			s->member->n_mistakes = 0;
		return;
	}
	const char *job = json_string_of(frame, "job");
	session_refuse(s, WS_CLOSE_PROTOCOL, "frame %s of job %.40s: %s", frame_type_name(type),
		job ? job : "-",
		r == CREW_E_ORDER ? "it is not its turn" : "a member has a value it cannot have");
}

/* What frame_read said of a message. result: taken, NULL if the frame has none. */
static void on_frame(
	struct session *s, int r, const struct frame *frame, const struct fault *f, char *result)
{
	_cleanup_(freep) char *mine = result;
	if (s->is_failed || !s->member || !s->member->worker)
		return;
	beat_doing(r < 0 ? "a bad frame of a worker" : frame_type_name(frame->type));
	if (r < 0)
		session_refuse(s, WS_CLOSE_PROTOCOL, "%s", f->text);
	else if (frame->type == FRAME_HELLO)
		on_hello(s, frame->members);
	else if (!s->is_ready && frame->type == FRAME_ERROR)
		log_limited(&s->room->protocol_errors, LOG_LEVEL_WARN, "worker %s cannot start: %s",
			s->member->id, json_string_of(frame->members, "reason"));
	else if (!s->is_ready)
		session_refuse(s, WS_CLOSE_PROTOCOL, "the first frame must be hello");
	else
		on_ready_frame(s, frame->type, frame->members, TAKE_PTR(mine));
}

/* On a thread of the pool: takes as long as the message is large. */
static void read_incoming(uv_work_t *work)
{
	struct incoming *i = work->data;
	i->r = frame_read(i->text, i->len, FRAME_FROM_WORKER, &i->frame, &i->fault);
	if (i->r == 0 && i->frame.any)
		i->result = take_result(TAKE_PTR(i->text), &i->frame);
}

static void incoming_read(uv_work_t *work, int status)
{
	struct incoming *i = work->data;
	struct session *s = i->session;
	(void)status;
	i->is_read = true;
	s->is_reading = false;
	if (!s->ws) {
		session_free(s);
		return;
	}
	incoming_next(s);
	session_flush(s);
	struct member *m = s->member;
	if (s->is_reading) {
		return;
	} else if (m->gone_why) {
		_cleanup_(freep) char *why = TAKE_PTR(m->gone_why);
		member_gone(m, why); /* that was what it had waited for */
	} else if (s->is_failed || s->is_over) {
		session_lost(s);
	}
}

/* Handles what waits, in order, up to a message that takes longer. */
static void incoming_next(struct session *s)
{
	while (!list_empty(&s->incoming) && !s->is_reading) {
		struct incoming *i = container_of(s->incoming.next, struct incoming, node);
		if (!i->is_read && i->len > LARGE) {
			i->work.data = i;
			s->is_reading = true;
			must(uv_queue_work(s->room->loop, &i->work, read_incoming, incoming_read) ==
				0);
			return;
		}
		if (!i->is_read)
			read_incoming(&(uv_work_t){ .data = i });
		on_frame(s, i->r, &i->frame, &i->fault, TAKE_PTR(i->result));
		incoming_free(i);
	}
}

static void incoming_add(struct session *s, const char *text, size_t len)
{
	struct incoming *i = xcalloc(1, sizeof *i);
	i->session = s;
	i->len = len;
	if (len > LARGE) {
		i->text = ws_take_message(s->ws);
	} else {
		i->text = xcalloc(1, len + 1);
		memcpy(i->text, text, len);
	}
	list_append(&s->incoming, &i->node);
	incoming_next(s);
}

static void on_message(void *owner, const char *text, size_t len)
{
	struct session *s = owner;
	struct frame frame;
	struct fault f;
	if (s->is_failed || !s->member || !s->member->worker)
		return;
	if (len > LARGE || !list_empty(&s->incoming)) {
		incoming_add(s, text, len);
		return;
	}
	int r = frame_read(text, len, FRAME_FROM_WORKER, &frame, &f);
	char *result = NULL;
	if (r == 0 && frame.any) {
		result = xcalloc(1, frame.any_len + 1);
		memcpy(result, frame.any, frame.any_len);
		result[json_compact(result, frame.any_len)] = '\0';
	}
	on_frame(s, r, &frame, &f, result);
	if (r == 0)
		frame_done(&frame);
}

static void on_heard(struct session *s)
{
	/* Bytes are a sign of life, also in the middle of a long message. */
	s->n_unheard = 0;
	if (!s->is_mute)
		return;
	s->is_mute = false;
	log_info("worker %s is heard of again", s->member->id);
	if (s->member->worker && !s->is_behind)
		crew_behind(s->room->core, s->member->worker, false);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct session *s = poll->data;
	int r = status < 0 ? status : 0;
	if (r == 0 && events & UV_READABLE) {
		on_heard(s);
		r = ws_read(s->ws);
		if (r < 0 && r != -ECONNRESET && r != -ESHUTDOWN && !s->is_failed)
			session_blame(
				s, r == -EMSGSIZE
					   ? "a message over workers.frame"
					   : "no WebSocket text messages, or nothing but pings");
	}
	if (s->is_failed && r == 0)
		r = -EPROTO;
	session_flush(s);
	if (r < 0 && s->is_reading)
		uv_poll_stop(&s->poll); /* what it said before is handled first */
	else if (r < 0)
		session_lost(s);
	s->is_over = r < 0;
}

static void session_poll(struct session *s, int events)
{
	if (s->polled == events || s->is_over)
		return;
	s->polled = events;
	if (events)
		uv_poll_start(&s->poll, events, on_poll);
	else
		uv_poll_stop(&s->poll);
}

static void read_later(struct timers *t, struct timer *timer)
{
	(void)t;
	session_flush(container_of(timer, struct session, later));
}

/* May more of it be read now? */
static bool is_read_on(struct session *s)
{
	if (s->is_reading || ws_waiting(s->ws) > CLOGGED)
		return false;
	if (!crew_is_congested(s->room->core))
		return true;
	timer_set(core_timers(s->room->core), &s->later, CONGESTED_MS);
	return false;
}

static void note_behind(struct session *s)
{
	bool is_behind = ws_waiting(s->ws) > BEHIND;
	if (is_behind == s->is_behind || !s->member || !s->member->worker)
		return;
	s->is_behind = is_behind;
	if (!s->is_mute)
		crew_behind(s->room->core, s->member->worker, is_behind);
}

void session_flush(struct session *s)
{
	int r = ws_flush(s->ws);
	list_remove(&s->dirty);
	note_behind(s);
	/* A broken connection shows at the next read. */
	session_poll(s,
		(is_read_on(s) || r < 0 ? UV_READABLE : 0) | (r == WS_E_PENDING ? UV_WRITABLE : 0));
}

void session_flush_dirty(struct list *dirty)
{
	session_flush(container_of(dirty, struct session, dirty));
}

bool session_drain_input(struct session *s)
{
	/* Its process is gone: what it sent is all there, and the end of it comes soon. */
	for (int i = 0; i < 1024 && s->ws && !s->is_failed && !s->is_reading && !s->is_over; i++)
		if (ws_read(s->ws))
			break;
	return !s->is_reading;
}

/* Its process lives, and it says nothing. False: for too long. */
static bool is_mute_only(struct session *s)
{
	struct member *m = s->member;
	int64_t beat = s->room->settings.heartbeat_ms, limit = s->room->settings.mute_ms;
	if (process_born(m->pid) != m->born || s->n_unheard > limit / beat + HEARTBEATS_LOST)
		return false;
	if (s->is_mute)
		return true;
	char text[32];
	duration_print(limit, text, sizeof text);
	log_warn(
		"worker %s has not been heard of for %d heartbeats, but its process lives: it gets "
		"no more jobs, and is ended when it is silent for %s (workers.mute)",
		m->id, HEARTBEATS_LOST, text);
	s->is_mute = true;
	if (m->worker)
		crew_behind(s->room->core, m->worker, true);
	return true;
}

static void give_up(struct session *s)
{
	struct member *m = s->member;
	char time[32];
	duration_print(s->is_mute ? s->room->settings.mute_ms
				  : HEARTBEATS_LOST * s->room->settings.heartbeat_ms,
		time, sizeof time);
	_cleanup_(freep) char *why =
		xasprintf("the worker was given up as lost and ended by the gateway: it was not "
			  "heard of for %s (%s)",
			time, s->is_mute ? "workers.mute" : "workers.heartbeat");
	log_warn("worker %s: %s", m->id, why);
	if (m->worker)
		crew_ending(m->room->core, m->worker, why);
	session_lost(s);
	process_signal(m, SIGKILL);
}

/* While we read nothing of it, for reasons of ours, it cannot be heard. */
static bool is_listened_to(const struct session *s)
{
	return !s->is_reading && !timer_is_set(&s->later);
}

static void on_pulse(struct timers *t, struct timer *timer)
{
	struct session *s = container_of(timer, struct session, pulse);
	int64_t beat = s->room->settings.heartbeat_ms;
	if (!s->is_ready) {
		session_refuse(s, WS_CLOSE_PROTOCOL, "hello did not come in time");
		session_lost(s);
	} else if (s->is_failed && !s->is_reading) {
		session_lost(s); /* and it reads nothing, not even why */
	} else if (is_listened_to(s) && s->n_unheard++ >= HEARTBEATS_LOST && !is_mute_only(s)) {
		give_up(s);
	} else {
		/* One that does not read is asked no more: an answer to the last is enough. */
		if (!s->is_mute)
			session_send(s, json_pack("{s:s}", "type", "ping"));
		timer_set(t, timer, beat);
	}
}

void session_begin(struct room *r, struct member *m, struct arrival *a)
{
	struct session *s = xcalloc(1, sizeof *s);
	if (m->session) /* it comes back before we noticed that it was gone */
		session_lost(m->session);
	/* The kernel may be out of memory or of epoll watches: the worker tries again. */
	int error = uv_poll_init_socket(r->loop, &s->poll, a->fd);
	if (error < 0) {
		log_limited(&r->refusals, LOG_LEVEL_WARN,
			"the connection of worker %s is closed: it cannot be polled: %s", m->id,
			uv_strerror(error));
		room_tick_soon(r);
		a->release(a);
		free(s);
		return;
	}
	s->room = r;
	s->member = m;
	s->arrival = a;
	s->ws = ws_new(a->fd, true, r->settings.frame_max, OUT_MAX, on_message, s);
	s->pulse.fire = on_pulse;
	s->later.fire = read_later;
	list_init(&s->incoming);
	s->poll.data = s;
	list_init(&s->dirty);
	list_append(&r->sessions, &s->node);
	m->session = s;
	timer_set(core_timers(r->core), &s->pulse, HELLO_MS);
	session_poll(s, UV_READABLE);
	if (a->extra_len && ws_feed(s->ws, a->extra, a->extra_len) < 0)
		session_lost(s);
}
