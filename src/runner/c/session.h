/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker holds, and its connection to the gateway. Whoever has the lock may call: all
 * functions but session_init, _open, _done expect it to be held. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/ws.h"
#include "frame.h"
#include "runner/c/functions.h"
#include "runner/c/job.h"
#include "runner/c/link.h"
#include "runner/c/printed.h"

enum session_state {
	SESSION_AWAY,  /* no connection */
	SESSION_HELLO, /* `hello` is sent, `welcome` not here yet */
	SESSION_READY,
};

/* Exit statuses, as mist_worker_run gives them. */
enum {
	SESSION_DRAINED = 0,
	SESSION_NO_FILE = 2,
	SESSION_REFUSED = 4,
	SESSION_LOST = 5,
};

enum {
	SESSION_ACK_MS = 10 * 1000, /* after a drain, how long acks are waited for */
	SESSION_OUT_MAX = 256 * 1024 * 1024,
};

struct session {
	pthread_mutex_t lock;
	pthread_cond_t connected; /* `connecting` became false */
	const struct functions *functions;

	enum session_state state;
	bool connecting; /* one thread is dialling, without the lock */
	bool draining;   /* as this connection's gateway wants it */
	bool refused;    /* this connection: we have sent `error`, it is to end */
	bool has_heard;  /* something came since the last look */
	bool is_pending; /* the socket did not take everything */
	struct ws *ws;
	int fd;
	int64_t heard_ms;              /* all of these monotonic */
	int64_t lost_ms;               /* when there was last a welcomed connection */
	int64_t next_try_ms, retry_ms; /* while away; the next pause */
	int64_t heartbeat_ms, grace_ms;
	int64_t drained_ms; /* since when nothing is left to run; 0: not yet */
	size_t frame_max;
	int capacity;

	struct map held;          /* every job, by id */
	struct list queue, ended; /* waiting for their turn, waiting for their ack */
	size_t n_active;          /* held and not ended */
	size_t n_untold;          /* of `ended`, not sent on this connection */
	struct mist_job *running;
	struct printed printed;
	int64_t call_began_ms;
	unsigned n_unflushed; /* ends since the last flush, and their bytes */
	size_t unflushed_bytes;
	int64_t flushed_ms;

	int status; /* of the program; negative: it goes on */
	int64_t end_by_ms;
};

void session_init(struct session *s, const struct functions *functions);
void session_done(struct session *s);
int session_open(struct session *s, struct fault *f); /* the first look at MIST_WORKER_FILE */

static inline void session_lock(struct session *s)
{
	pthread_mutex_lock(&s->lock);
}

static inline void session_unlock(struct session *s)
{
	pthread_mutex_unlock(&s->lock);
}

/* Reads and answers what came, writes what waits, watches the heartbeat; while away: dials when it
 * is time (the lock is let go meanwhile). Does not wait for the gateway otherwise. */
void session_serve(struct session *s);
void session_flush(struct session *s);

/* Sleeps without the lock until there is something to serve, then serves it. */
void session_wait(struct session *s);

/* Puts what the running job has to say into the output. */
void session_tell_running(struct session *s);

/* The life of a job: received, begun, ended. */
void session_add(struct session *s, struct mist_job *job);
struct mist_job *session_next(struct session *s); /* NULL: none waits */
void session_begin(struct session *s, struct mist_job *job);
void session_end_job(struct session *s, struct mist_job *job); /* may free it */
void session_drop_job(struct session *s, struct mist_job *job);

/* The gateway broke the protocol: says so and lets the connection end. Allowed inside of a message.
 */
void session_refuse(struct session *s, int code, const char *why);

/* The program is to end with this status: the running job is cancelled, and is given END_MS to
 * return. */
void session_end(struct session *s, int status);

/* Says `bye` and waits for the gateway to close; ends the program with 0. */
void session_bye(struct session *s);
