/* SPDX-License-Identifier: Apache-2.0 */
/* The connection, and the jobs that outlive it.
 *
 * Two threads drive a session, never both at once: the main thread whenever it is not inside of a
 *function, the pulse thread when a function has kept the main thread for a while. Both hold the
 *lock for all they do here and let it go only to sleep (main thread) or to dial (either;
 *`connecting` keeps the other one off).
 *
 *	AWAY ── dialled, hello ──▶ HELLO ── welcome ──▶ READY
 *	  ▲                          │                    │
 *	  └──────────────────────────┴── broken ──────────┘
 *
 * A job's last frame is kept until its `ack`. When a connection breaks, nothing is known about what
 *the gateway has read, so all that is not acknowledged counts as untold and is said again after the
 *next `welcome`, `started` included. A `drain` is not known to the next gateway, so it ends with
 *the connection, too: who sent it says it again.
 *
 * Nothing is freed inside of a message: a handler that finds the connection at fault marks it
 *(`refused`), and the break comes when the reading is over. */
#include "runner/c/session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "runner/c/receive.h"
#include "runner/c/say.h"

enum {
	HELLO_MS = 10 * 1000,
	RETRY_MIN_MS = 100,
	RETRY_MAX_MS = 2000,
	BYE_MS = 2000,
	END_MS = 10 * 1000,
	MISSED_HEARTBEATS = 3,
	MESSAGE_MAX =
		256 * 1024 * 1024, /* the gateway bounds what it sends; this bounds a broken one */
	FRAME_MAX_DEFAULT = 16 * 1024 * 1024,
	NOTE_ROOM = 1024 * 1024,
};

void session_init(struct session *s, const struct functions *functions)
{
	*s = (struct session){
		.functions = functions, .fd = -1, .status = -1, .frame_max = FRAME_MAX_DEFAULT
	};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->connected, NULL);
	map_init(&s->held);
	list_init(&s->queue);
	list_init(&s->ended);
	printed_open(&s->printed);
	s->lost_ms = s->next_try_ms = clock_mono_ms();
	s->retry_ms = RETRY_MIN_MS;
}

static void hang_up(struct session *s)
{
	ws_free(s->ws);
	s->ws = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->state = SESSION_AWAY;
	s->refused = s->is_pending = false;
}

void session_done(struct session *s)
{
	hang_up(s);
	map_each (n, &s->held) {
		struct mist_job *job = container_of(n, struct mist_job, node);
		map_remove(&s->held, n);
		job_free(job);
	}
	map_done(&s->held);
	printed_close(&s->printed);
	pthread_cond_destroy(&s->connected);
	pthread_mutex_destroy(&s->lock);
}

int session_open(struct session *s, struct fault *f)
{
	struct link_file file;
	int r = link_read(&file, f);
	if (r)
		return r;
	s->grace_ms = file.grace_ms;
	link_file_done(&file);
	return 0;
}

void session_end(struct session *s, int status)
{
	if (s->status >= 0)
		return;
	s->status = status;
	s->end_by_ms = clock_mono_ms() + END_MS;
	if (s->running)
		atomic_store(&s->running->cancelled, true);
}

static void plan_retry(struct session *s)
{
	s->next_try_ms = clock_mono_ms() + s->retry_ms;
	s->retry_ms = s->retry_ms ? 2 * s->retry_ms : RETRY_MIN_MS;
	if (s->retry_ms > RETRY_MAX_MS)
		s->retry_ms = RETRY_MAX_MS;
}

static void lose(struct session *s, const char *why)
{
	if (s->state == SESSION_READY)
		s->lost_ms = clock_mono_ms();
	if (s->draining && s->held.count == 0)
		session_end(s, SESSION_DRAINED);
	else
		log_warn("lost the gateway: %s; connecting again", why);
	s->draining = false;
	s->drained_ms = 0;
	hang_up(s);
	if (s->running) {
		s->running->told_started = false;
		s->running->has_progress = s->running->said_progress;
	}
	s->n_untold = 0;
	list_each (l, &s->ended) {
		struct mist_job *job = container_of(l, struct mist_job, link);
		job->told_started = job->told_end = false;
		s->n_untold++;
	}
	plan_retry(s);
}

static int say_hello(struct session *s)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, SESSION_OUT_MAX);
	int r = buf_printf(&b,
		"{\"type\":\"hello\",\"protocol\":%d,\"capacity\":%d,\"lang\":\"c\",\"version\":\"%"
		"s\",\"pid\":%d,\"resumes\":[",
		FRAME_PROTOCOL, s->capacity, MIST_VERSION, (int)getpid());
	const char *before = "";
	map_each (n, &s->held) {
		const struct mist_job *job = container_of(n, struct mist_job, node);
		if (job->is_forgotten)
			continue;
		if (r == 0)
			r = buf_printf(&b, "%s\"%s\"", before, job->id);
		before = ",";
	}
	if (r == 0)
		r = buf_puts(&b, "]}");
	return r ? -ENOBUFS : ws_send(s->ws, b.data, b.len);
}

/* Makes the dialled socket the session's connection. */
static void adopt(struct session *s, int fd, struct buf *rest)
{
	s->fd = fd;
	s->ws = ws_new(fd, false, MESSAGE_MAX, SESSION_OUT_MAX, receive_message, s);
	s->state = SESSION_HELLO;
	s->heard_ms = clock_mono_ms();
	int r = say_hello(s);
	if (r == 0 && rest->len)
		r = ws_feed(s->ws, rest->data, rest->len);
	if (r < 0)
		lose(s, strerror(-r));
	else
		session_flush(s);
}

static void dial(struct session *s)
{
	struct link_file file = { 0 };
	struct fault f = { 0 };
	_cleanup_(buf_done) struct buf rest = { 0 };
	int fd = -1;
	s->connecting = true;
	session_unlock(s);
	int r = link_read(&file, &f);
	if (r == 0)
		r = link_open(&file, &fd, &rest, &f);
	session_lock(s);
	s->connecting = false;
	pthread_cond_broadcast(&s->connected);
	if (r == LINK_E_REFUSED) {
		log_error("the gateway does not want this worker: %s", f.text);
		session_end(s, SESSION_REFUSED);
	} else if (r < 0) {
		/* Said once an absence; every attempt would fill the log of a worker that waits. */
		if (s->retry_ms <= RETRY_MIN_MS)
			log_warn("cannot reach the gateway: %s; trying for %lld s", f.text,
				(long long)s->grace_ms / 1000);
		plan_retry(s);
	} else {
		s->grace_ms = file.grace_ms;
		s->capacity = file.capacity;
		adopt(s, fd, &rest);
	}
	link_file_done(&file);
}

static int64_t silence_limit(const struct session *s)
{
	return s->state == SESSION_HELLO ? HELLO_MS : MISSED_HEARTBEATS * s->heartbeat_ms;
}

static void look_for_gateway(struct session *s)
{
	int64_t now = clock_mono_ms();
	if (now - s->lost_ms >= s->grace_ms) {
		log_error("no gateway for %lld s: ending", (long long)s->grace_ms / 1000);
		session_end(s, SESSION_LOST);
	} else if (now >= s->next_try_ms) {
		dial(s);
	}
}

void session_serve(struct session *s)
{
	if (s->connecting || s->status >= 0)
		return;
	if (s->state == SESSION_AWAY) {
		look_for_gateway(s);
		return;
	}
	int r = ws_read(s->ws);
	int64_t now = clock_mono_ms();
	if (s->has_heard)
		s->heard_ms = now;
	s->has_heard = false;
	if (r == 0 && !s->refused && now - s->heard_ms >= silence_limit(s)) {
		lose(s, "it is silent");
		return;
	}
	session_flush(s);
	if (s->state != SESSION_AWAY && (r < 0 || s->refused))
		lose(s, s->refused ? "it broke the protocol" : strerror(-r));
}

static int tell_started(struct session *s, struct mist_job *job)
{
	char text[160];
	if (job->told_started || !job->started_ms)
		return 0;
	struct buf b = { text, 0, sizeof text,
		sizeof text - 1 }; /* borrowed, so it must not grow */
	must(say_started(&b, job->id, job->started_ms) == 0);
	int r = ws_send(s->ws, b.data, b.len);
	job->told_started = r == 0;
	return r;
}

static int tell_news(struct session *s, struct mist_job *job)
{
	_cleanup_(buf_done) struct buf b;
	int r = 0;
	buf_init(&b, NOTE_ROOM);
	if (job->n_entries) {
		job_say_entries(job, &b);
		r = ws_send(s->ws, b.data, b.len);
		if (r)
			return r;
		job_forget_entries(job);
		buf_drop(&b, b.len);
	}
	if (job->has_progress && say_progress(&b, job->id, job->progress, job->note) == 0) {
		r = ws_send(s->ws, b.data, b.len);
		job->has_progress = r != 0;
	}
	return r;
}

void session_tell_running(struct session *s)
{
	struct mist_job *job = s->running;
	if (s->state == SESSION_READY && !job->is_forgotten && tell_started(s, job) == 0 &&
		job_has_news(job))
		(void)tell_news(s, job); /* what has no room now is told by a later call */
}

static int tell_end(struct session *s, struct mist_job *job)
{
	int r = tell_started(s, job);
	job_fit_end(job, s->frame_max);
	if (r == 0)
		r = ws_send(s->ws, job->end.data, job->end.len);
	if (r)
		return r;
	job->told_end = true;
	s->n_untold--;
	s->n_unflushed++;
	s->unflushed_bytes += job->end.len;
	return 0;
}

static void tell_ends(struct session *s)
{
	list_each (l, &s->ended) {
		struct mist_job *job = container_of(l, struct mist_job, link);
		if (s->n_untold == 0 || (!job->told_end && tell_end(s, job)))
			return;
	}
}

void session_flush(struct session *s)
{
	if (s->state == SESSION_AWAY)
		return;
	if (s->state == SESSION_READY && s->running)
		session_tell_running(s);
	if (s->state == SESSION_READY && s->n_untold)
		tell_ends(s);
	int r = ws_flush(s->ws);
	s->is_pending = r == WS_E_PENDING;
	s->n_unflushed = 0;
	s->unflushed_bytes = 0;
	s->flushed_ms = clock_mono_ms();
	if (r < 0)
		lose(s, strerror(-r));
}

void session_wait(struct session *s)
{
	if (s->connecting) {
		pthread_cond_wait(&s->connected, &s->lock);
		return;
	}
	struct pollfd p = { s->fd, POLLIN, 0 };
	int64_t until = s->next_try_ms;
	if (s->is_pending || (s->state == SESSION_READY && s->n_untold))
		p.events |= POLLOUT;
	if (s->state != SESSION_AWAY)
		until = s->heard_ms + silence_limit(s);
	else if (until > s->lost_ms + s->grace_ms)
		until = s->lost_ms + s->grace_ms;
	if (s->drained_ms && until > s->drained_ms + SESSION_ACK_MS)
		until = s->drained_ms + SESSION_ACK_MS;
	int64_t ms = until - clock_mono_ms();
	session_unlock(s);
	if (ms > 0) /* poll takes a negative fd for none */
		(void)poll(&p, 1, ms > INT32_MAX ? INT32_MAX : (int)ms);
	session_lock(s);
	session_serve(s);
}

void session_add(struct session *s, struct mist_job *job)
{
	map_add_str(&s->held, &job->node, job->id);
	list_append(&s->queue, &job->link);
	s->n_active++;
	s->drained_ms = 0;
}

struct mist_job *session_next(struct session *s)
{
	struct list *l = list_pop(&s->queue);
	return l ? container_of(l, struct mist_job, link) : NULL;
}

void session_begin(struct session *s, struct mist_job *job)
{
	s->running = job;
	s->call_began_ms = clock_mono_ms();
	job->started_ms = clock_wall_ms();
	if (s->state == SESSION_READY)
		(void)tell_started(s, job); /* without room for it, it goes before the end */
}

void session_drop_job(struct session *s, struct mist_job *job)
{
	if (!job->is_ended)
		s->n_active--;
	else if (!job->told_end)
		s->n_untold--;
	map_remove(&s->held, &job->node);
	list_remove(&job->link);
	job_free(job);
}

void session_end_job(struct session *s, struct mist_job *job)
{
	if (s->running == job) {
		if (job_has_news(job))
			session_tell_running(s);
		s->running = NULL;
	}
	if (job->is_forgotten) {
		session_drop_job(s, job);
		return;
	}
	job_end(job, s->frame_max);
	s->n_active--;
	s->n_untold++;
	list_remove(&job->link);
	list_append(&s->ended, &job->link);
	if (s->state == SESSION_READY && s->n_untold == 1)
		(void)tell_end(s, job);
}

void session_refuse(struct session *s, int code, const char *why)
{
	_cleanup_(buf_done) struct buf b;
	if (s->refused)
		return;
	buf_init(&b, NOTE_ROOM);
	log_error("the gateway broke the protocol: %s", why);
	if (say_error(&b, why) == 0)
		(void)ws_send(s->ws, b.data, b.len);
	ws_close(s->ws, code, "");
	s->refused = true;
}

void session_bye(struct session *s)
{
	static const char bye[] = "{\"type\":\"bye\"}";
	int64_t deadline_ms = clock_mono_ms() + BYE_MS;
	int r = ws_send(s->ws, bye, strlen(bye));
	ws_close(s->ws, WS_CLOSE_NORMAL, "");
	while (r == 0) {
		int64_t left = deadline_ms - clock_mono_ms();
		int pending = ws_flush(s->ws);
		if (left <= 0 || pending < 0)
			break;
		struct pollfd p = { s->fd, pending ? POLLIN | POLLOUT : POLLIN, 0 };
		(void)poll(&p, 1, (int)left);
		r = ws_read(s->ws);
	}
	session_end(s, SESSION_DRAINED);
}
