/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers by WebSocket: GET /v2/api/ws/all and /v2/api/ws/jobs/{id}, as in Mist: live events
 * only, one JSON object a text frame, no look at whether the job exists, no close at its end.
 *
 * Made on libmicrohttpd's thread when the upgrade is written, everything after that happens on the
 * core's: the watch begins, the socket is polled on the core's loop, events go into its queue and
 * are written once a batch. What the client sends is thrown away. Who does not read loses events
 * once http.subscriber-buffer is full; when all that was queued is written it is told how many. An
 * event that is longer than the buffer goes out if nothing waits before it, and if what waits for
 * all leaves room for it; who takes nothing of one for http.send-timeout has to go.
 *
 * The end: the client goes, or the gateway stops. Both the watch and the poll handle must be over
 * before the subscriber is freed; the socket is given back when the poll handle is. */
#include "transport/http/websocket.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/ws.h"
#include "transport/http/events/events.h"

enum { CLIENT_MESSAGE_MAX = 64 * 1024, CLOSE_GOING_AWAY = 1001 };
#define QUEUE_MAX ((size_t)1 << 30)

struct subscriber {
	struct watch watch;
	struct http *http;
	struct MHD_UpgradeResponseHandle *handle;
	int fd;
	char *extra; /* what came behind the request */
	size_t extra_len;
	struct ws *ws;
	uv_poll_t poll;
	int polled;
	struct timer tick;
	int64_t told_ms; /* monotonic: the last output */
	uint64_t n_dropped;
	int64_t charged;  /* of what waits, */
	int64_t taken_ms; /* monotonic: some of that was last taken */
	bool is_leaving, is_unwatched, is_closed;
};

static const char keep_alive[] = "{\"event\":\"keep-alive\"}";

static void subscriber_free(struct subscriber *s)
{
	atomic_fetch_sub(&s->http->n_subscribers, 1);
	websocket_close(s->fd, s->handle);
	free(s->extra);
	free(s);
}

static void poll_closed(uv_handle_t *handle)
{
	struct subscriber *s = handle->data;
	s->is_closed = true;
	if (s->is_unwatched)
		subscriber_free(s);
}

/* The connection is over, or is to be. */
static void subscriber_leave(struct subscriber *s)
{
	if (s->is_leaving)
		return;
	s->is_leaving = true;
	ws_flush(s->ws);
	ws_free(s->ws);
	s->ws = NULL;
	unread_charge(s->http, &s->charged, 0);
	timer_clear(s->http->env.timers, &s->tick);
	uv_close((uv_handle_t *)&s->poll, poll_closed);
	if (intake_unwatch(s->http->env.in, &s->watch) < 0)
		s->is_unwatched = true;
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Writes what the socket takes. A broken connection shows at the next read. */
static void subscriber_write(struct subscriber *s)
{
	size_t waited = ws_waiting(s->ws);
	int r = ws_flush(s->ws);
	if (r == 0 || ws_waiting(s->ws) < waited)
		s->taken_ms = clock_mono_ms();
	if (r == 0 && s->n_dropped) {
		char text[64];
		int len = snprintf(text, sizeof text,
			"{\"count\":%" PRIu64 ",\"event\":\"dropped\"}", s->n_dropped);
		s->n_dropped = 0;
		ws_send(s->ws, text, len);
		r = ws_flush(s->ws);
	}
	if (r == 0)
		ws_shrink(s->ws);
	unread_charge(s->http, &s->charged, ws_waiting(s->ws));
	int wanted = r == WS_E_PENDING ? UV_READABLE | UV_WRITABLE : UV_READABLE;
	/* Answers to pings have no other bound. */
	if (r == WS_E_PENDING && ws_waiting(s->ws) > (size_t)s->http->settings.subscriber_max)
		wanted = UV_WRITABLE;
	if (wanted != s->polled)
		uv_poll_start(&s->poll, wanted, on_poll);
	s->polled = wanted;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct subscriber *s = poll->data;
	int r = status < 0 ? status : 0;
	if (r == 0 && events & UV_READABLE)
		r = ws_read(s->ws);
	if (r < 0)
		subscriber_leave(s);
	else
		subscriber_write(s);
}

static bool subscriber_event(struct watch *w, const struct watch_event *ev)
{
	struct subscriber *s = container_of(w, struct subscriber, watch);
	if (s->is_leaving || !ev->len)
		return true;
	if (s->n_dropped == 0 && !unread_has_room(s->http, ws_waiting(s->ws), ev->len))
		subscriber_write(s);
	if (s->n_dropped || !unread_has_room(s->http, ws_waiting(s->ws), ev->len) ||
		ws_send(s->ws, ev->text, ev->len) == -ENOBUFS) {
		s->n_dropped++;
		return false;
	}
	unread_charge(s->http, &s->charged, ws_waiting(s->ws));
	s->told_ms = clock_mono_ms();
	return true;
}

static void subscriber_flush(struct watch *w)
{
	struct subscriber *s = container_of(w, struct subscriber, watch);
	if (!s->is_leaving)
		subscriber_write(s);
}

static void on_tick(struct timers *t, struct timer *timer)
{
	struct subscriber *s = container_of(timer, struct subscriber, tick);
	const struct http_settings *settings = &s->http->settings;
	int64_t pause = settings->keepalive_ms, idle = clock_mono_ms() - s->told_ms;
	if (s->charged > settings->subscriber_max &&
		clock_mono_ms() - s->taken_ms > settings->send_timeout_ms) {
		subscriber_leave(s);
		return;
	}
	if (idle >= pause) {
		if (ws_waiting(s->ws) == 0) {
			ws_send(s->ws, keep_alive, strlen(keep_alive));
			subscriber_write(s);
		}
		s->told_ms = clock_mono_ms();
		idle = 0;
	}
	timer_set(t, timer, pause - idle);
}

/* It has no poll handle, and so none that must close first. */
static void subscriber_give_up(struct subscriber *s, int error)
{
	log_limited(&s->http->unpolled, LOG_LEVEL_WARN,
		"http: a subscriber's connection is closed: it cannot be polled: %s",
		uv_strerror(error));
	s->is_leaving = s->is_closed = true;
	intake_unwatch(s->http->env.in, &s->watch);
}

static void subscriber_begun(struct watch *w)
{
	struct subscriber *s = container_of(w, struct subscriber, watch);
	int error = uv_poll_init_socket(s->http->env.loop, &s->poll, s->fd);
	if (error < 0) {
		subscriber_give_up(s, error);
		return;
	}
	s->ws = ws_new(s->fd, true, CLIENT_MESSAGE_MAX, QUEUE_MAX, NULL, s);
	s->poll.data = s;
	s->tick.fire = on_tick;
	s->told_ms = clock_mono_ms();
	timer_set(s->http->env.timers, &s->tick, s->http->settings.keepalive_ms);
	if (s->extra && ws_feed(s->ws, s->extra, s->extra_len) < 0)
		subscriber_leave(s);
	else
		subscriber_write(s);
}

static void subscriber_ended(struct watch *w)
{
	struct subscriber *s = container_of(w, struct subscriber, watch);
	s->is_unwatched = true;
	if (!s->ws && !s->is_leaving) { /* it never began */
		subscriber_free(s);
		return;
	}
	if (!s->is_leaving)
		ws_close(s->ws, CLOSE_GOING_AWAY, "the gateway is stopping");
	subscriber_leave(s);
	if (s->is_closed)
		subscriber_free(s);
}

/* On libmicrohttpd's thread, once the 101 is written. */
static void upgraded(void *arg, struct MHD_Connection *conn, void *con_cls, const char *extra,
	size_t extra_len, int fd, struct MHD_UpgradeResponseHandle *handle)
{
	struct request *rq = con_cls;
	struct subscriber *s = xcalloc(1, sizeof *s);
	(void)arg, (void)conn;
	s->watch = (struct watch){ .is_of_job = rq->id,
		.with_logs = rq->with_logs,
		.with_progress = rq->with_progress,
		.log_level = rq->log_level,
		.job = rq->ask.job,
		.begun = subscriber_begun,
		.event = subscriber_event,
		.flush = subscriber_flush,
		.ended = subscriber_ended };
	s->http = rq->http;
	subscriber_take_over(rq);
	s->handle = handle;
	s->fd = fd;
	s->extra = websocket_take(fd, extra, extra_len);
	s->extra_len = extra_len;
	if (intake_watch(rq->http->env.in, &s->watch) < 0)
		subscriber_free(s);
}

void events_websocket(struct request *rq)
{
	struct fault f;
	if (rq->id && !uuid_parse(rq->id, &rq->ask.job))
		fault_set(&f, FAULT_NOT_FOUND, "there is no job %.128s", rq->id);
	else if (query_bool(rq, "withLogs", &rq->with_logs, &f) == 0 &&
		 query_bool(rq, "withProgress", &rq->with_progress, &f) == 0 &&
		 query_level(rq, "level", &rq->log_level, &f) == 0 && websocket_is_asked(rq, &f)) {
		if (!subscriber_reserve(rq))
			return;
		websocket_accept(rq, upgraded, NULL);
		return;
	}
	answer_fault(rq, &f);
}
