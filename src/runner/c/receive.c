/* SPDX-License-Identifier: Apache-2.0 */
/* One frame of the gateway, one handler.
 *
 * Called by the ws while a thread reads, with the session's lock held; so a handler answers into
 * the output, moves jobs, and never frees the connection it is called from. A frame the book does
 * not know, or one out of order, ends the connection with a sentence (session_refuse); the worker
 * then connects again. */
#include "runner/c/receive.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "frame.h"
#include "runner/c/say.h"
#include "runner/c/session.h"

enum {
	UNACKED_MAX = 1000 * 1000, /* ended jobs that a gateway may leave without an ack */
	HEARTBEAT_MAX_S = 3600,
	FRAME_LEAST = 1024,
};

typedef void handler_fn(struct session *s, json_t *frame);

static struct mist_job *find(const struct session *s, const json_t *id)
{
	struct map_node *n = map_find(&s->held, json_string_value(id), json_string_length(id));
	return n ? container_of(n, struct mist_job, node) : NULL;
}

static void refuse(struct session *s, const char *why)
{
	session_refuse(s, WS_CLOSE_PROTOCOL, why);
}

static void forget(struct session *s, struct mist_job *job)
{
	if (job == s->running) {
		job->is_forgotten = true;
		atomic_store(&job->cancelled, true);
	} else {
		session_drop_job(s, job);
	}
}

static void on_welcome(struct session *s, json_t *frame)
{
	double heartbeat_s = json_number_value(json_object_get(frame, "heartbeat"));
	json_int_t frame_max = json_integer_value(json_object_get(frame, "maxFrame"));
	const json_t *ids = json_object_get(frame, "forget");
	if (s->state == SESSION_READY) {
		refuse(s, "a second welcome");
		return;
	}
	if (json_integer_value(json_object_get(frame, "protocol")) != FRAME_PROTOCOL) {
		session_refuse(s, WS_CLOSE_VERSION, "this worker speaks version 1 of the protocol");
		session_end(s, SESSION_REFUSED);
		return;
	}
	if (!(heartbeat_s > 0 && heartbeat_s <= HEARTBEAT_MAX_S) || frame_max < FRAME_LEAST) {
		refuse(s, "frame welcome: heartbeat or maxFrame is out of range");
		return;
	}
	s->heartbeat_ms = (int64_t)ceil(heartbeat_s * 1000);
	s->frame_max = frame_max < SESSION_OUT_MAX / 2 ? (size_t)frame_max : SESSION_OUT_MAX / 2;
	s->state = SESSION_READY;
	s->retry_ms = 0;
	for (size_t i = 0; i < json_array_size(ids); i++) {
		struct mist_job *job = find(s, json_array_get(ids, i));
		if (job)
			forget(s, job);
	}
}

static void on_start(struct session *s, json_t *frame)
{
	const char *id = json_string_value(json_object_get(frame, "job"));
	struct uuid parsed;
	if (!uuid_parse(id, &parsed))
		refuse(s, "frame start: member job: expected a UUID");
	else if (find(s, json_object_get(frame, "job")))
		refuse(s, "frame start: the job is held already");
	else if (s->n_active >= (size_t)s->capacity)
		refuse(s, "frame start: more jobs than the capacity");
	else if (s->held.count >= UNACKED_MAX)
		refuse(s, "frame start: too many ended jobs without an ack");
	else
		session_add(s, job_new(s, id, frame));
}

static void on_cancel(struct session *s, json_t *frame)
{
	struct mist_job *job = find(s, json_object_get(frame, "job"));
	if (!job || job->is_ended)
		return;
	atomic_store(&job->cancelled, true);
	if (job != s->running)
		session_end_job(s, job);
}

static void on_ack(struct session *s, json_t *frame)
{
	const json_t *ids = json_object_get(frame, "jobs");
	for (size_t i = 0; i < json_array_size(ids); i++) {
		struct mist_job *job = find(s, json_array_get(ids, i));
		if (job && job->told_end)
			session_drop_job(s, job);
	}
}

static int say_described(struct session *s, struct buf *b, const json_t *frame)
{
	const json_t *id = json_object_get(frame, "id");
	const char *name = json_string_value(json_object_get(frame, "className"));
	const struct function *f = functions_find(s->functions, name);
	_cleanup_(buf_done) struct buf miss;
	buf_init(&miss, s->frame_max / 8); /* escaped it may grow sixfold */
	int r = buf_puts(b, "{\"type\":\"described\",\"id\":");
	if (r == 0)
		r = say_string(b, json_string_value(id), json_string_length(id));
	if (r || f)
		return r ? r : buf_printf(b, ",\"signature\":%s}", f->signature);
	functions_miss(s->functions, name, &miss);
	r = buf_puts(b, ",\"error\":");
	if (r == 0)
		r = say_string(b, miss.data ? miss.data : "", miss.len);
	return r ? r : buf_puts(b, "}");
}

static void on_describe(struct session *s, json_t *frame)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, s->frame_max);
	if (say_described(s, &b, frame))
		log_error("a signature does not fit into the gateway's frames of %zu bytes",
			s->frame_max);
	else
		(void)ws_send(
			s->ws, b.data, b.len); /* without room for it the gateway asks again */
}

static void on_drain(struct session *s, json_t *frame)
{
	(void)frame;
	s->draining = true;
}

static void on_ping(struct session *s, json_t *frame)
{
	static const char pong[] = "{\"type\":\"pong\"}";
	(void)frame;
	(void)ws_send(s->ws, pong, strlen(pong));
}

static void on_error(struct session *s, json_t *frame)
{
	/* What follows is the gateway's close, which ends the connection. */
	(void)s;
	log_error("the gateway refuses: %s", json_string_value(json_object_get(frame, "reason")));
}

static handler_fn *const handlers[_FRAME_MAX] = {
	[FRAME_WELCOME] = on_welcome,
	[FRAME_START] = on_start,
	[FRAME_CANCEL] = on_cancel,
	[FRAME_ACK] = on_ack,
	[FRAME_DESCRIBE] = on_describe,
	[FRAME_DRAIN] = on_drain,
	[FRAME_PING] = on_ping,
	[FRAME_ERROR] = on_error,
};

void receive_message(void *owner, const char *text, size_t len)
{
	struct session *s = owner;
	struct fault f = { 0 };
	enum frame_type type;
	_cleanup_(json_decrefp) json_t *frame = NULL;
	s->has_heard = true;
	if (frame_parse(text, len, FRAME_FROM_GATEWAY, &type, &frame, &f) < 0) {
		refuse(s, f.text);
		return;
	}
	if (s->state != SESSION_READY && type != FRAME_WELCOME && type != FRAME_PING &&
		type != FRAME_ERROR) {
		refuse(s, "the first frame must be welcome");
		return;
	}
	handlers[type](s, frame); /* the book lets a gateway send no other */
}
