/* SPDX-License-Identifier: Apache-2.0 */
/* What has happened to a job already, from its row and its log, as Server-Sent Events; or only its
 * log, as it stands in the file. */
#pragma once

#include "base/buf.h"
#include "domain/event.h"
#include "domain/job.h"
#include "domain/log_line.h"

/* What a reader was told: the fixed rank of the last event in a job's life, and how far in its log
 * file. As text it is "rank-offset", the id of an event. */
struct place {
	int rank;
	int64_t offset;
};

struct replay {
	struct job_row *row; /* owned; NULL: there is nothing to tell */
	struct place at;     /* told so far */
	int rank;            /* where the job stands: what is after it comes live */
	bool with_logs;
	bool is_log;  /* only that, and how the job ended */
	bool is_text; /* only that, as plain text */
	enum log_line_level log_level;
	int64_t log_end; /* likewise of its log */
	int log_fd;      /* -1: none */
	size_t chunk;
};

/* All are owned by the replay from here on. `to` is where the job stands; its offset is -1 when the
 * log is whole. */
void replay_begin(struct replay *r, struct job_row *row, int log_fd, const struct place *told,
	const struct place *to);

/* The log is longer by now: what is new of it is told next, from `from` to `to`. Text only. The
 * file is the replay's. False: not all of that is in the file. */
bool replay_more(struct replay *r, int log_fd, int64_t from, int64_t to);

/* Adds the next piece; false: there is none. */
bool replay_next(struct replay *r, struct buf *out);
void replay_done(struct replay *r);

/* The lines that begin the log of that job, made from its row: of one that logged nothing there is
 * no file (core/joblog.c). The caller's. */
char *replay_life(const struct job_row *row);
/* The log, open for reading, or a file in memory with these lines; or a negative errno. */
struct store;
int replay_log_open(struct store *store, const struct job_row *row);

/* One event as it is written. */
void sse_add(struct buf *out, const char *id, const char *name, const char *text, size_t len);
enum { PLACE_TEXT = 32 };
void place_format(const struct place *p, char ret[static PLACE_TEXT]);
bool place_parse(const char *text, struct place *ret);
