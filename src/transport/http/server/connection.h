/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of one HTTP thread: how many there may be, and how long each may take.
 *
 * All of it is that thread's own, save the counts over all threads. */
#pragma once

#include <microhttpd.h>

#include "base/list.h"
#include "base/map.h"
#include "transport/http/server/networks.h"

struct http;
struct request;
struct server;

enum connection_phase {
	CONNECTION_HEAD,    /* new, or its next head has begun to come */
	CONNECTION_IDLE,    /* between two requests */
	CONNECTION_BODY,    /* the head is there, its body comes */
	CONNECTION_ANSWER,  /* the request is whole: it waits for its answer or reads it */
	CONNECTION_LASTING, /* a subscriber, or a WebSocket: for as long as it likes */
	CONNECTION_LEAVING, /* it was cut before its next request */
	_CONNECTION_PHASE_MAX
};

/* Whoever connects from one address. */
struct address {
	struct map_node node;
	struct address_bytes key;
	unsigned count;
};

struct connection {
	struct list node; /* in server->phases[phase] */
	struct list look; /* while it idles, in server->idle_looks */
	/* Under the lock of the counts, while it could make place for another: in counts->cuttable,
	 * or, if its place was given away, in server->given. */
	struct list place;
	bool is_given;
	struct server *server;
	struct MHD_Connection *mhd;
	struct address *address; /* NULL: it is not counted */
	struct request *rq;      /* under way; NULL: none, or its caller has gone */
	int fd;
	enum connection_phase phase;
	int64_t since_ms;    /* monotonic: of the phase */
	int64_t looked_ms;   /* the same: when it was last looked at while it idles */
	int64_t progress_ms; /* when `progress` was last another */
	uint64_t progress;   /* bytes: of the body that came, of the answer that was written */
	/* When the thread went round in vain: */
	uint64_t written; /* of the answer */
	int unread;       /* bytes in the socket; -1: its end */
	/* It came beyond http.connections, or beyond those of its address. */
	bool is_beyond, is_beyond_address;
	bool is_probed; /* the caller's half of the connection is at its end */
	bool is_refused;
};

/* The counts over all threads. */
struct connection_counts {
	pthread_mutex_t lock;
	struct map addresses;    /* under the lock */
	struct list cuttable[2]; /* the same: who idles, who says nothing; the longest first */
	_Atomic unsigned n;
};

void connection_counts_init(struct connection_counts *counts);
void connection_counts_done(struct connection_counts *counts);

struct connection *connection_of(struct MHD_Connection *mhd);
void connection_begin(struct server *server, struct MHD_Connection *mhd, void **context);
void connection_end(struct connection *c);
void connection_enter(struct connection *c, enum connection_phase phase);

/* Past libmicrohttpd, which has not answered and is not going to: one answer, as a problem of RFC
 * 9457, and the end of the connection. */
void connection_refuse(
	struct connection *c, unsigned status, const char *title, const char *detail);
/* The end of it, in this turn of its thread or the next. */
void connection_cut(struct connection *c);

/* Cuts those of this thread whose place was given away. */
void connections_cut_given(struct server *server);

/* Once in a while: ends what takes too long, and notices callers that have gone. */
void connections_sweep(struct server *server, int64_t now);

/* The thread goes round and nothing comes of it. True: somebody is being written to, so it is not
 * in vain. Else who holds it up is refused, if it can be told, and the thread may rest. */
bool connections_are_busy(struct server *server);
