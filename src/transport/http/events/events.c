/* SPDX-License-Identifier: Apache-2.0 */
/* Server-Sent Events: GET /v2/api/events and /v2/api/jobs/{id}/events; and a job's log as it grows:
 * GET /v2/api/jobs/{id}/logs?follow=true.
 *
 * The body of the answer is read by libmicrohttpd through a callback, on its thread; events come on
 * the core's thread and wait in between in `out`, under the lock. With nothing to say the
 * connection is suspended, which costs no thread, and resumed when there is. A suspended connection
 * does not notice that its client has gone, so the tick looks.
 *
 * The stream of one job begins with what happened before (replay.c): the watch begins, the store
 * settles, then the row is read; live events wait meanwhile and go on exactly where the past ends.
 * It ends after the end of the job. An id is `rank-offset`, the place where a client that comes
 * back with it as Last-Event-ID goes on without a gap. Who does not read is told how many events
 * were dropped and the stream ends: the client comes back for them. In the stream of all jobs ids
 * just count, and what was missed cannot be had again; there the stream goes on after a drop.
 *
 * A log is the same stream with nothing in it but lines; or, as Server-Sent Events, but the events
 * of lines and the job's end, with signs of life. Who does not read it loses none: what has
 * no room in `out` is read from the file once there is room. That it ends in order says that the
 * job has ended; when the gateway stops first, the connection is cut.
 *
 * One event may be far longer than http.subscriber-buffer: it goes out where nothing waits before
 * it. So many who do not read are still no more than http.answers allows: beyond it only what is
 * small is kept for each, and who wants the past of a job with a long outcome is to come back
 * later.
 *
 * A stream has two owners: the core from intake_watch to `ended`, and the request, later the
 * response. The last one frees it. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "transport/http/events/events.h"
#include "transport/http/events/replay.h"
#include "transport/http/request.h"
#include "transport/http/server/accept.h"

enum {
	TICK_MS = 5000,
	BEHIND_TICK_MS = 50,
	BEHIND_MAX_MS = 10000,
	BLOCK = 1024,
	WRITE_AT = 16 * 1024,
	UNREAD_SMALL = 64 * 1024
};
#define OUT_MAX ((size_t)1 << 30)

struct stream {
	struct watch watch;
	_Atomic int refs;
	struct http *http;
	struct request *rq; /* that waits for the beginning; the core's */
	struct MHD_Connection *conn;
	int fd;                    /* libmicrohttpd's; good until is_over */
	bool is_log;               /* only that, and how the job ended, */
	bool is_text, is_followed; /* or as plain text */

	/* The core's thread: */
	struct timer tick;
	int64_t told_ms;   /* monotonic */
	struct place live; /* of a log: how much of it was kept; under the lock */
	bool is_begun;

	/* libmicrohttpd's thread: */
	struct place told; /* Last-Event-ID */
	char *worker;
	struct replay replay;
	struct buf past;
	size_t past_taken;
	int64_t past_charged, row_charged;

	pthread_mutex_t lock;
	struct buf out; /* events not taken yet, behind the first `taken` bytes */
	size_t taken;
	int64_t charged;
	uint64_t n_dropped, n_told;
	bool is_suspended, is_final; /* final: ends when `out` is empty */
	/* Of a log: what is between live.offset and log_end is in the file only. */
	bool is_behind;
	int64_t log_end, short_since_ms; /* the file is not that long yet; 0: it is */
	bool is_cut;                     /* the end is not that of the job */
	bool is_gone, is_over; /* the client left; libmicrohttpd is done with the connection */
};

bool unread_has_room(struct http *http, size_t waiting, size_t len)
{
	size_t max = (size_t)http->settings.subscriber_max;
	if (waiting && waiting + len > max)
		return false;
	int64_t unread = atomic_load(&http->unread);
	return waiting + len <= UNREAD_SMALL || unread == 0 ||
	       unread + (int64_t)len <= http->settings.answers_max;
}

void unread_charge(struct http *http, int64_t *charged, size_t waiting)
{
	int64_t now = waiting > UNREAD_SMALL ? (int64_t)waiting : 0;
	if (now != *charged)
		atomic_fetch_add(&http->unread, now - *charged);
	*charged = now;
}

static void stream_unref(struct stream *s, int n)
{
	if (atomic_fetch_sub(&s->refs, n) != n)
		return;
	atomic_fetch_sub(&s->http->n_subscribers, 1);
	replay_done(&s->replay);
	buf_done(&s->past);
	buf_done(&s->out);
	unread_charge(s->http, &s->past_charged, 0);
	unread_charge(s->http, &s->row_charged, 0);
	unread_charge(s->http, &s->charged, 0);
	pthread_mutex_destroy(&s->lock);
	free(s->worker);
	free(s);
}

void stream_leave(struct stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->is_over = true;
	pthread_mutex_unlock(&s->lock);
	stream_unref(s, intake_unwatch(s->http->env.in, &s->watch) < 0 ? 2 : 1);
}

/* The lock is held. */
static void stream_resume(struct stream *s)
{
	if (!s->is_suspended || s->is_over)
		return;
	s->is_suspended = false;
	http_resume(s->http, s->conn);
}

static size_t stream_waiting(const struct stream *s)
{
	return s->out.len - s->taken;
}

/* The place after an event, as its id. The lock is held. */
static void stream_id(struct stream *s, const struct watch_event *ev, char ret[static PLACE_TEXT])
{
	s->n_told++;
	if (!s->watch.is_of_job) {
		snprintf(ret, PLACE_TEXT, "%" PRIu64, s->n_told);
		return;
	}
	if (ev->is_logs)
		s->live.offset = ev->log_bytes;
	else
		s->live.rank = ev->rank;
	place_format(&s->live, ret);
}

static void set_tick(struct stream *s, int64_t now)
{
	int64_t pause = s->http->settings.keepalive_ms - (now - s->told_ms);
	if (s->is_behind)
		pause = BEHIND_TICK_MS;
	timer_set(s->http->env.timers, &s->tick, pause <= 0 || pause > TICK_MS ? TICK_MS : pause);
}

/* The lock is held. */
static void keep_lines(struct stream *s, const struct watch_event *ev, bool has_room)
{
	if (!ev->is_logs) {
		s->is_final = ev->rank == EVENT_RANK_FINAL;
	} else if (s->is_behind || !has_room) {
		s->log_end = ev->log_bytes;
		if (!s->is_behind) {
			s->is_behind = true;
			set_tick(s, clock_mono_ms());
		}
	} else {
		buf_add(&s->out, ev->lines, ev->lines_len);
		s->live.offset = ev->log_bytes;
	}
}

static bool stream_event(struct watch *w, const struct watch_event *ev)
{
	struct stream *s = container_of(w, struct stream, watch);
	char id[PLACE_TEXT];
	bool is_kept = true;
	pthread_mutex_lock(&s->lock);
	size_t waiting = stream_waiting(s), len = s->is_text ? ev->lines_len : ev->len;
	bool has_room = unread_has_room(s->http, waiting, len);
	if (s->is_over || s->is_gone || s->is_final) {
		;
	} else if (s->is_text) {
		keep_lines(s, ev, has_room);
	} else if (s->is_log && !ev->is_logs && ev->rank < EVENT_RANK_FINAL) {
		s->live.rank = ev->rank;
	} else if (!s->n_dropped && !ev->len) {
		s->live.offset = ev->log_bytes;
	} else if (s->n_dropped || !has_room) {
		s->n_dropped++;
		is_kept = false;
	} else {
		bool has_place = !ev->is_progress || !w->is_of_job; /* else it is not told again */
		if (has_place)
			stream_id(s, ev, id);
		sse_add(&s->out, has_place ? id : NULL, ev->name, ev->text, ev->len);
		s->is_final = w->is_of_job && ev->rank == EVENT_RANK_FINAL;
		s->told_ms = clock_mono_ms();
	}
	unread_charge(s->http, &s->charged, stream_waiting(s));
	if (waiting > WRITE_AT)
		stream_resume(s);
	pthread_mutex_unlock(&s->lock);
	return is_kept;
}

static void stream_flush(struct watch *w)
{
	struct stream *s = container_of(w, struct stream, watch);
	pthread_mutex_lock(&s->lock);
	stream_resume(s);
	pthread_mutex_unlock(&s->lock);
}

static bool has_hung_up(int fd)
{
	struct pollfd p = { fd, POLLRDHUP, 0 };
	return poll(&p, 1, 0) > 0;
}

static void on_tick(struct timers *t, struct timer *timer)
{
	struct stream *s = container_of(timer, struct stream, tick);
	int64_t now = clock_mono_ms();
	(void)t;
	pthread_mutex_lock(&s->lock);
	if (s->is_suspended && !s->is_over && has_hung_up(s->fd)) {
		s->is_gone = true;
		/* libmicrohttpd clears away a connection whose writing fails; one whose reader says
		 * that it fails it forgets until all that are older have had their turn. */
		shutdown(s->fd, SHUT_RDWR);
		buf_puts(&s->out, ":\n\n");
		stream_resume(s);
	} else if (s->is_behind) {
		stream_resume(s);
	} else if (s->is_suspended && !s->is_text &&
		   now - s->told_ms >= s->http->settings.keepalive_ms) {
		buf_puts(&s->out, ": keep-alive\n\n");
		s->told_ms = now;
		stream_resume(s);
	}
	set_tick(s, now);
	pthread_mutex_unlock(&s->lock);
}

static void stream_refuse(struct request *rq, int r)
{
	request_refused(rq, r);
	request_resume(rq);
}

static void stream_settled(struct ask *a)
{
	request_resume(a->owner);
}

static void stream_begun(struct watch *w)
{
	struct stream *s = container_of(w, struct stream, watch);
	struct request *rq = TAKE_PTR(s->rq);
	s->is_begun = true;
	s->told_ms = clock_mono_ms();
	s->tick.fire = on_tick;
	set_tick(s, s->told_ms);
	s->live = (struct place){ w->rank, w->log_bytes };
	if (!w->with_logs)
		s->live.offset = s->told.offset;
	if (w->worker)
		s->worker = xstrdup(w->worker);
	if (!w->is_of_job) {
		request_resume(rq);
		return;
	}
	s->is_final = w->log_bytes < 0 || (s->is_text && !s->is_followed); /* nothing comes */
	rq->ask.kind = ASK_SETTLE;
	rq->ask.answered = stream_settled;
	rq->ask.owner = rq;
	int r = intake_ask(s->http->env.in, &rq->ask);
	if (r < 0)
		stream_refuse(rq, r);
}

static void stream_ended(struct watch *w)
{
	struct stream *s = container_of(w, struct stream, watch);
	struct request *rq = TAKE_PTR(s->rq);
	timer_clear(s->http->env.timers, &s->tick);
	if (rq)
		stream_refuse(rq, -ESHUTDOWN);
	pthread_mutex_lock(&s->lock);
	s->is_cut |= s->is_text && !s->is_final;
	s->is_final = true;
	stream_resume(s);
	pthread_mutex_unlock(&s->lock);
	stream_unref(s, 1);
}

/* What of `from` behind *taken fits in; gives the memory back when it is all taken. Who is always
 * behind costs what waits for it, not all it was told. */
static size_t take(struct buf *from, size_t *taken, char *to, size_t max)
{
	size_t n = from->len - *taken < max ? from->len - *taken : max;
	if (n)
		memcpy(to, from->data + *taken, n);
	*taken += n;
	if (*taken == from->len) {
		buf_done(from);
		*taken = 0;
	} else if (*taken > from->len / 2) {
		buf_drop(from, *taken);
		*taken = 0;
	}
	return n;
}

/* All that was kept is taken: says how much was not. The lock is held. */
static void announce_dropped(struct stream *s)
{
	char text[64];
	int len = snprintf(
		text, sizeof text, "{\"count\":%" PRIu64 ",\"event\":\"dropped\"}", s->n_dropped);
	s->n_dropped = 0;
	sse_add(&s->out, NULL, "dropped", text, len);
	s->is_final |= s->watch.is_of_job;
}

/* Lines that were not kept are read from the file, if it has them: the store writes on a thread of
 * its own. The lock is held. */
static bool catch_up(struct stream *s)
{
	int64_t now = clock_mono_ms();
	if (!s->is_behind || stream_waiting(s))
		return false;
	int fd = store_log_open(s->http->env.store, &s->watch.job);
	if (replay_more(&s->replay, fd, s->live.offset, s->log_end)) {
		s->live.offset = s->log_end;
		s->is_behind = false;
		s->short_since_ms = 0;
		return true;
	}
	if (!s->short_since_ms)
		s->short_since_ms = now;
	s->is_cut |= now - s->short_since_ms > BEHIND_MAX_MS;
	return false;
}

static ssize_t stream_read(void *cls, uint64_t pos, char *to, size_t max)
{
	struct stream *s = cls;
	(void)pos;
	for (;;) {
		while (s->past.len == 0 && replay_next(&s->replay, &s->past))
			;
		if (!s->replay.row)
			unread_charge(s->http, &s->row_charged, 0);
		if (s->past.len) {
			ssize_t n = (ssize_t)take(&s->past, &s->past_taken, to, max);
			unread_charge(s->http, &s->past_charged, s->past.len);
			return n;
		}
		pthread_mutex_lock(&s->lock);
		if (!catch_up(s))
			break;
		pthread_mutex_unlock(&s->lock);
	}
	if (stream_waiting(s) == 0 && s->n_dropped)
		announce_dropped(s);
	ssize_t n = (ssize_t)take(&s->out, &s->taken, to, max);
	unread_charge(s->http, &s->charged, stream_waiting(s));
	if (n == 0 && (s->is_gone || s->is_cut)) {
		n = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (n == 0 && s->is_final && !s->is_behind) {
		n = MHD_CONTENT_READER_END_OF_STREAM;
	} else if (n == 0) {
		s->is_suspended = true;
		MHD_suspend_connection(s->conn);
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void stream_left(void *cls)
{
	stream_leave(cls);
}

struct MHD_Response *stream_response(struct request *rq)
{
	struct MHD_Response *response;
	/* libmicrohttpd 0.9.75 ends the chunks of a body of unknown size also for HEAD, where there
	 * are none, and so spoils the connection. */
	if (rq->is_head)
		response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	else
		response = MHD_create_response_from_callback(
			MHD_SIZE_UNKNOWN, BLOCK, stream_read, rq->stream, stream_left);
	if (!response)
		return NULL;
	if (!rq->is_head)
		rq->stream = NULL;
	MHD_add_response_header(response, "Cache-Control", "no-cache, no-transform");
	MHD_add_response_header(response, "X-Accel-Buffering", "no");
	return response;
}

static void answer_stream(struct request *rq)
{
	rq->status = 200;
	rq->content_type = rq->stream->is_text ? TEXT_PLAIN : "text/event-stream";
}

static void job_settled(struct request *rq)
{
	struct stream *s = rq->stream;
	struct job_row *row = read_row(rq);
	int log_fd = -1;
	struct fault f;
	if (!row)
		return;
	if (s->is_log)
		log_fd = replay_log_open(rq->http->env.store, row);
	else if (s->watch.with_logs)
		log_fd = store_log_open(rq->http->env.store, &row->id);
	if (s->worker) { /* a row learns of its worker when the job starts */
		free(row->worker);
		row->worker = TAKE_PTR(s->worker);
	}
	if (s->is_text) { /* it has neither */
		free(TAKE_PTR(row->result));
		free(TAKE_PTR(row->parameters));
	}
	/* Its outcome may be long, and comes last. */
	size_t bytes = job_row_bytes(row);
	if (!unread_has_room(s->http, 0, bytes)) {
		job_row_freep(&row);
		closep(&log_fd);
		fault_set(&f, FAULT_UNAVAILABLE,
			"too many bytes wait for their readers (http.answers)");
		answer_fault(rq, &f);
		return;
	}
	unread_charge(s->http, &s->row_charged, bytes);
	const struct place stands = { s->watch.rank, s->watch.log_bytes };
	replay_begin(&s->replay, row, log_fd, &s->told, &stands);
	if (s->told.rank == EVENT_RANK_FINAL && s->watch.log_bytes < 0 &&
		s->replay.log_end <= s->told.offset)
		answer_text(rq, 204, TEXT_PLAIN, xstrdup(""), 0);
	else
		answer_stream(rq);
}

static void job_read(struct request *rq)
{
	request_work(rq, job_settled);
}

static int read_place(struct request *rq, struct place *ret, struct fault *f)
{
	const char *text = MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, "Last-Event-ID");
	if (!text || place_parse(text, ret))
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST,
		"Last-Event-ID: expected the id of an event of this job, got \"%.64s\"", text);
}

static int read_stream(struct request *rq, struct place *ret, struct fault *f)
{
	if (rq->id && !uuid_parse(rq->id, &rq->ask.job))
		return fault_set(f, FAULT_NOT_FOUND, "there is no job %.128s", rq->id);
	int r = query_bool(rq, "withLogs", &rq->with_logs, f);
	if (r == 0)
		r = query_bool(rq, "withProgress", &rq->with_progress, f);
	if (r == 0)
		r = query_level(rq, "level", &rq->log_level, f);
	return r < 0 || !rq->id ? r : read_place(rq, ret, f);
}

/* Counted at once, not when what it becomes is made: until then others of a burst would be let in.
 */
bool subscriber_reserve(struct request *rq)
{
	struct fault f;
	unsigned n = atomic_load(&rq->http->n_subscribers);
	while (n < rq->http->settings.subscribers_max)
		if (atomic_compare_exchange_weak(&rq->http->n_subscribers, &n, n + 1))
			return rq->is_subscriber = true;
	fault_set(&f, FAULT_TOO_MANY, "too many subscribers (http.subscribers)");
	answer_fault(rq, &f);
	return false;
}

void subscriber_take_over(struct request *rq)
{
	rq->is_subscriber = false;
}

void subscriber_unreserve(struct request *rq)
{
	if (!rq->is_subscriber)
		return;
	rq->is_subscriber = false;
	atomic_fetch_sub(&rq->http->n_subscribers, 1);
}

static struct stream *stream_new(struct request *rq)
{
	struct stream *s = xcalloc(1, sizeof *s);
	s->watch = (struct watch){ .is_of_job = rq->id,
		.with_logs = rq->with_logs,
		.with_progress = rq->with_progress,
		.log_level = rq->log_level,
		.job = rq->ask.job,
		.begun = stream_begun,
		.event = stream_event,
		.flush = stream_flush,
		.ended = stream_ended };
	s->http = rq->http;
	subscriber_take_over(rq);
	s->rq = rq;
	s->conn = rq->conn;
	s->fd = MHD_get_connection_info(rq->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	s->replay.log_fd = -1;
	s->replay.with_logs = rq->with_logs;
	s->replay.log_level = rq->log_level;
	atomic_init(&s->refs, 2);
	buf_init(&s->past, OUT_MAX);
	buf_init(&s->out, OUT_MAX);
	must(pthread_mutex_init(&s->lock, NULL) == 0);
	return s;
}

/* Takes the stream. */
static void stream_begin(struct request *rq, struct stream *s)
{
	rq->stream = s;
	rq->then = rq->id ? job_read : answer_stream;
	request_wait(rq);
	int r = intake_watch(rq->http->env.in, &s->watch);
	if (r == 0)
		return;
	stream_unref(TAKE_PTR(rq->stream), 2);
	stream_refuse(rq, r);
}

void events_stream(struct request *rq)
{
	struct place told = { 0 };
	struct fault f;
	if (read_stream(rq, &told, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	if (!subscriber_reserve(rq))
		return;
	struct stream *s = stream_new(rq);
	s->told = told;
	stream_begin(rq, s);
}

void log_stream(struct request *rq, bool is_followed)
{
	struct place told = { 0 };
	struct fault f;
	bool is_text =
		!is_followed || !accept_names(header_text(rq, "Accept"), "text/event-stream");
	rq->uses_accept = is_followed;
	rq->with_logs = true;
	if (!is_text && read_place(rq, &told, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	if (!subscriber_reserve(rq))
		return;
	struct stream *s = stream_new(rq);
	s->told = told;
	s->is_log = s->replay.is_log = s->watch.begins_log = true;
	s->is_text = s->replay.is_text = is_text;
	s->is_followed = is_followed;
	stream_begin(rq, s);
}
