/* SPDX-License-Identifier: Apache-2.0 */
/* A job: one invocation of a function. The life of a job is the table in job.c. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/uuid.h"

struct function;

/* The wire words of Mist (and the order of the column `state` in the store: append only). */
enum job_state {
	JOB_INITIALIZED,
	JOB_QUEUED,
	JOB_DOWNLOADING,
	JOB_STARTED,
	JOB_CANCELLING,
	JOB_FINISHED,
	JOB_CANCELLED,
	JOB_FAILED,
	_JOB_STATE_MAX,
	_JOB_STATE_INVALID = -1
};

const char *job_state_name(enum job_state s);
enum job_state job_state_parse(const char *name); /* _JOB_STATE_INVALID when it is none */
bool job_may(enum job_state from, enum job_state to);

static inline bool job_state_is_final(enum job_state s)
{
	return s >= JOB_FINISHED;
}

/* Shared by the core and the store's thread. What stands in the first half is written before the
 * job is shown to anyone and never again; the second half is the core's alone. */
struct job {
	_Atomic unsigned refs;

	struct uuid id;
	const struct function *function; /* a reference */
	char *context;                   /* the name its worker must have */
	char *parameters;                /* JSON text of an object; NULL: only the store has it */
	char *external_id;               /* may be NULL, like the next two */
	char *reply_to; /* the adapter's own text; NULL when nobody can be answered after a restart
			 */
	char *trace;
	char *idempotency_key, *idempotency_digest; /* may be NULL; a key without a digest is a
						       place in a log */
	char *ignored; /* a list of base/ignored.h: what its request said without effect; NULL:
			  nothing, or it is not known after a restart, see struct job_row */
	char *request; /* what its transport knows its request by, for the log: an id, a
			  correlation, a position; NULL: nothing, or not known after a restart */
	char *door;    /* the name of the transport that reply_to is of; NULL like it */
	char *source;  /* "Http", "Async Mqtt", "Async Kafka" */
	int64_t created_ms;
	int64_t start_timeout_ms, perform_timeout_ms; /* DURATION_INF: none */
	int priority;
	bool is_sync; /* its caller waits on the connection: recorded with its outcome, not run
			 again after a restart */

	enum job_state state;
	unsigned attempt; /* counts from 1 once a worker has it */
	int64_t queued_ms, started_ms, ended_ms;
	bool is_recorded; /* the store has, or will have before any later operation, a row of it */
	void *live;       /* the core's own bookkeeping */

	const void *newest_change; /* the store's thread's */
};

/* One reference, owned by the caller; every string is NULL. */
struct job *job_new(void);
struct job *job_ref(struct job *j);
void job_unref(struct job *j); /* NULL is fine; any thread */
DEFINE_CLEANUP(struct job *, job_unref)

/* A job as the store tells it: owned strings, no references. */
struct job_row {
	struct uuid id;
	enum job_state state;
	char *function, *path, *class_name, *context, *parameters, *source;
	char *external_id, *reply_to, *trace, *worker; /* may be NULL */
	char *result;                                  /* JSON text, when finished */
	char *error;                                   /* plain text, when failed or cancelled */
	char *progress; /* JSON text: how far it said that it was; may be NULL */
	char *ignored;  /* as in struct job; NULL also where long arguments are left out */
	int64_t created_ms, started_ms, ended_ms; /* 0: not yet */
	int64_t start_timeout_ms, perform_timeout_ms;
	int priority;
	unsigned attempt;
	bool is_sync, is_owed;
	bool are_parameters_left_out; /* they are long: what stands here is "{}" */
	char *door;                   /* may be NULL */
};

enum { JOB_PRIORITY_MAX = 100 }; /* and the least is its negative */

void job_row_done(struct job_row *r);
void job_row_freep(struct job_row **r);

/* Whether what a store has read can be taken for a job: its state is one, its texts are UTF-8, its
 * JSON is JSON, its numbers are in their ranges. Nothing else may be done with a row before. 0, or
 * -EBADMSG with a sentence that names the member and what was expected. Any thread. */
int job_row_check(const struct job_row *r, struct fault *f);

/* The job that the row is of, as far as the row tells; its function is found by name only. A new
 * reference. */
struct job *job_of_row(const struct job_row *r);

/* Mist's Job object (reference: absent members are left out; jobResult is the bare result, or the
 * error as a string), with a cancelReason where Mist shows nothing of why a job was cancelled.
 * Returned text is the caller's. */
struct buf;
int job_row_print(const struct job_row *r, struct buf *out);
size_t job_row_bytes(const struct job_row *r); /* of all its texts */
