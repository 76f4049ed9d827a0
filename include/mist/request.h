/* SPDX-License-Identifier: Apache-2.0 */
/* What an adapter makes of a message: a request for one job, and where its answers go. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/mailbox.h"
#include "base/uuid.h"

struct intake;
struct transport;

/* Where answers go: made and read only by the adapter the request came from. */
struct reply_to {
	void *live; /* the adapter's own, for as long as this process lives; may be NULL */
	/* Kept with the job, so that its end finds its door after a restart; NULL: no answer then.
	 * Owned by the request, and by the job it becomes. */
	char *text;
	uint32_t wants; /* EVENT_BIT()s that publish() is called for */
	/* The outcome is owed until the adapter says that it was delivered: after a restart it is
	 * published again. Needs `text`. */
	bool is_owed;
};

struct job_request {
	struct mail mail;
	struct transport
		*door; /* set by intake_submit's caller: the instance that gets publish() */
	char *function;
	/* Not NULL: run this callable without a registered function; `function` is the name to
	 * show. */
	char *path, *class_name;
	char *parameters;                    /* JSON text of `arguments` */
	json_t *arguments;                   /* an object */
	char *context, *external_id, *trace; /* NULL: not given */
	/* NULL: not given. A request with the key of an earlier one and the same digest is answered
	 * with the job of that one, and told its outcome as the earlier one is: if that is owed,
	 * the answer comes when it is durable that it is. With another digest, or when
	 * LISTENERS_MAX others are still to be told, it is refused. A key without a digest is a
	 * place in a log: a second message from one of the newest PLACES_MAX makes no other job. */
	char *idempotency_key, *idempotency_digest;
	/* The same, under which a job may be known that an earlier version of Mist has made; NULL:
	 * there is none. */
	char *former_key;
	/* A list of base/ignored.h, owned: what the request says that has no effect. Adapters add
	 * query parameters and members, the core adds arguments that the function does not take
	 * (with ignored_add(&rq->ignored, name), before the job is made); the job has it then, so
	 * it comes back with every event as ev->job->ignored, and the adapter tells it with its
	 * answers. */
	char *ignored;
	/* What the adapter knows the request by, for the log: an id, a correlation, a position.
	 * UTF-8 of at most REQUEST_NAME_MAX bytes, owned; NULL: nothing. */
	char *name;
	const char *source;                           /* static text: "Http", "Async Mqtt", … */
	int64_t start_timeout_ms, perform_timeout_ms; /* DURATION_INF: none */
	int priority;                                 /* -100 to 100; more is sooner */
	bool is_sync;       /* the caller waits for the outcome on its connection */
	bool makes_context; /* a form of Mist's first generation: a context that does not exist is
			       made on the spot, with the defaults */
	struct reply_to to;
	_Atomic int64_t *charged; /* the core's, like the next */
	int64_t charge;
	char *errors; /* the core's, owned: of arguments that are refused, a JSON list; or NULL */
};

enum { REQUEST_NAME_MAX = 128 };

struct job_request *job_request_new(void); /* timeouts are DURATION_INF */
void job_request_free(struct job_request *rq);
DEFINE_CLEANUP(struct job_request *, job_request_free)

/* Any thread. 0: *rq is taken and cleared, exactly one of EVENT_ACCEPTED and EVENT_REFUSED will be
 * published if it is wanted. FAULT_UNAVAILABLE is about the gateway (its disk, its end), not about
 * the request: a door that can hold on to it submits it again later. -EAGAIN: the mailbox is full,
 * -ESHUTDOWN: stopping; *rq is still the caller's. */
int intake_submit(struct intake *in, struct job_request **rq);

enum { PLACES_MAX = 65536, LISTENERS_MAX = 64 };

/* Any thread: outcomes of these jobs were taken, once for each told to one who is owed it. */
void intake_delivered(struct intake *in, const struct uuid *ids, size_t n);
