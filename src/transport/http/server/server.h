/* SPDX-License-Identifier: Apache-2.0 */
/* One of the HTTP threads, and its part of libmicrohttpd. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/mailbox.h"
#include "transport/http/server/connection.h"

struct http_durations;

/* A connection whose answer has nothing to say for a moment. */
struct sleeper {
	struct list node; /* alone while it is awake; who frees it removes it */
	struct MHD_Connection *conn;
	_Atomic bool is_ready; /* it has something to say by now */
};

struct server {
	struct http *http;
	struct MHD_Daemon *daemon;
	pthread_t thread;
	int wake_fd;
	_Atomic bool is_woken;
	_Atomic bool has_ready; /* a sleeper is ready */
	struct beat beat;
	char name[32];     /* of the beat */
	struct list given; /* under the lock of the counts: who is to be cut */
	/* The thread's own: */
	struct list phases[_CONNECTION_PHASE_MAX]; /* of struct connection, the oldest first */
	struct list idle_looks; /* the same of those who idle, looked at longest ago first */
	struct list sleepers;
	unsigned n_calls;                 /* of our callbacks, by libmicrohttpd */
	unsigned n_in_vain;               /* turns in a row in which nothing happened */
	int64_t now_ms, swept_ms;         /* monotonic */
	struct http_durations *durations; /* of its requests; written by it, read by any */
};

/* A positive errno. The callbacks are http.c's. */
struct server_callbacks {
	MHD_AccessHandlerCallback access;
	MHD_RequestCompletedCallback completed;
	void *(*target)(void *cls, const char *uri, struct MHD_Connection *mhd);
};

struct server *server_called(void); /* on the thread that is called */
/* From here on the thread is that of the server, until it leaves: its own, or that of a harness
 * which plays it. */
void server_enter(struct server *server);
void server_leave(struct server *server);
void server_wake(struct server *server); /* any thread */
/* In the reader of its answer, which returns 0 then: it is called again in half a second or so. */
void server_sleep(struct sleeper *s);
/* The same as soon as possible, if it sleeps, or else when it is about to. Any thread. */
void sleeper_wake(struct server *server, struct sleeper *s);
int servers_start(struct http *http, const struct server_callbacks *callbacks);
void servers_stop(struct http *http);
