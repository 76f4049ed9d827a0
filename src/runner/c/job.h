/* SPDX-License-Identifier: Apache-2.0 */
/* One job in the worker, from `start` to `ack`. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/uuid.h"
#include "mist/worker.h"

struct session;

/* Everything but `cancelled` belongs to the session's lock, except that `result`, `error` and
 * `has_outcome` are the function's while it runs. */
struct mist_job {
	struct map_node node; /* in the session's `held` */
	struct list link;     /* in its `queue`, then in its `ended` */
	struct session *session;
	char id[UUID_TEXT];
	json_t *start;      /* the frame; NULL once ended */
	int64_t started_ms; /* wall time; 0: not yet */
	atomic_bool cancelled;
	bool is_ended;
	bool is_forgotten; /* the gateway wants to hear nothing more about it */

	bool has_outcome;
	json_t *result;
	char *error;

	struct buf entries; /* of the next `log` frame, with commas between them */
	unsigned n_entries, n_lost;
	bool has_progress; /* to be told */
	bool said_progress;
	double progress; /* NAN: there is a note only */
	char *note;

	bool told_started, told_end; /* on the connection there is now */
	struct buf end;              /* the last frame, kept until it is acknowledged */
};

enum { JOB_ENTRIES_MAX = 1000, JOB_ENTRIES_BYTES = 64 * 1024 };

struct mist_job *job_new(
	struct session *s, const char *id, json_t *start); /* its own reference to `start` */
void job_free(struct mist_job *job);

/* Makes the last frame of what the function said, at most frame_max long; lets go of everything
 * that was for the function. */
void job_end(struct mist_job *job, size_t frame_max);

/* The frame was made for another gateway's limit: if it is over this one's, the job fails of that.
 */
void job_fit_end(struct mist_job *job, size_t frame_max);

/* Whether there is something between `started` and the end to tell. */
bool job_has_news(const struct mist_job *job);

/* Another entry of the log; may cut the text. With the session's lock. */
void job_add_entry(struct mist_job *job, enum mist_level level, char *text);

/* The `log` frame of the waiting entries. */
void job_say_entries(struct mist_job *job, struct buf *ret);
void job_forget_entries(struct mist_job *job);
