/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a job, as it is told to whoever asked and whoever listens. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/uuid.h"
#include "domain/job.h"

enum event_kind {
	EVENT_REFUSED,  /* there is no job: `fault` says why */
	EVENT_ACCEPTED, /* the job is durable, or (a synchronous one) known */
	EVENT_QUEUED,
	EVENT_WORKER_ASSIGNED,
	EVENT_DOWNLOADING,
	EVENT_STARTED,
	EVENT_PROGRESS,
	EVENT_CANCELLING,
	EVENT_FINISHED,
	EVENT_CANCELLED,
	EVENT_FAILED,
	_EVENT_MAX
};

#define EVENT_BIT(kind) (1u << (kind))
#define EVENTS_FINAL                                                                               \
	(EVENT_BIT(EVENT_FINISHED) | EVENT_BIT(EVENT_CANCELLED) | EVENT_BIT(EVENT_FAILED))

/* How far a job is, as it says itself. `value` is from 0 to 1; a note is text. There may be one of
 * them only, or later something else beside them. */
struct progress {
	int64_t at_ms;
	bool has_value;
	double value;
	const char *note; /* NULL: none */
};

enum { PROGRESS_NOTE_MAX = 4096 }; /* bytes; a longer note is cut */

/* Everything is borrowed for the time of the call. */
struct job_event {
	enum event_kind kind;
	const struct job *job;     /* NULL with an EVENT_REFUSED that made no job */
	const struct fault *fault; /* EVENT_REFUSED only */
	int64_t at_ms;
	const char *worker; /* EVENT_WORKER_ASSIGNED */
	const char *result; /* EVENT_FINISHED: JSON text */
	size_t result_len;
	bool is_compact;   /* it has no blanks between its tokens, as far as is known */
	const char *error; /* EVENT_FAILED, EVENT_CANCELLED: plain text */
	const struct progress *progress; /* EVENT_PROGRESS */
	/* EVENT_REFUSED: JSON text of a list of all that is wrong, as in the member of that name of
	 * a problem; NULL: `fault` says it. */
	const char *errors;
};

/* The event that a job ends with in that state. */
enum event_kind job_final_event(enum job_state s);

/* The wire word of Mist. */
const char *event_name(enum event_kind kind);

/* How far in its life a job is: 1 for EVENT_ACCEPTED up to EVENT_RANK_FINAL; 0: it says nothing of
 * that. A job that is tried again goes back. */
enum { EVENT_RANK_FINAL = 7 };
int event_rank(enum event_kind kind);

/* The name of one event, the same however often it is told: "JOB:KIND", with ":ATTEMPT" behind it
 * for what happens again when a job is tried again, or "JOB:progress:TIME". */
enum { EVENT_ID = UUID_TEXT + 40 };
void event_id(const struct job_event *ev, char ret[EVENT_ID]);

/* What an event's JSON is made of, from a live job or from history. Borrowed; only what the kind
 * has need be there. */
struct event_facts {
	enum event_kind kind;
	const struct uuid *id;
	int64_t at_ms;
	const char *function, *context, *path, *class_name, *arguments;
	const char *external_id; /* may be NULL */
	const char *worker;
	const char *result; /* JSON text */
	size_t result_len;
	bool is_compact; /* likewise */
	const char *error;
	const struct progress *progress;
};

/* Of any event but EVENT_REFUSED; borrows from it. */
struct event_facts event_facts_of(const struct job_event *ev);

/* Mist's event JSON on one line. 0, or BUF_E_FULL. */
struct buf;
int event_print(const struct event_facts *e, struct buf *out);

/* {"time","value"?,"note"?}, as the job is shown with it. The caller frees it. */
char *progress_text(const struct progress *p);

/* The event `logs`: entries are log_line_print_json's, the offset is the length of the log file
 * with them. */
int event_print_logs(
	const struct uuid *id, const struct buf *entries, int64_t file_offset, struct buf *out);
