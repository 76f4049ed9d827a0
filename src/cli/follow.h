/* SPDX-License-Identifier: Apache-2.0 */
/* A job watched from outside, by asking again and again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/http.h"

struct follow {
	const char *id;
	FILE *log;           /* where new lines of the job's log go; NULL: nowhere */
	bool is_showing;     /* tell its states on stderr, with dots while nothing happens */
	int64_t deadline_ms; /* monotonic; 0: none */

	char status[32]; /* below is follow.c's: what was last seen */
	char *progress;  /* NULL: it has not said how far it is; freed at the end */
	int64_t log_offset, dot_due_ms;
	bool has_dots, is_mid_line;
};

/* http_ask about a job that goes on meanwhile. A gateway that is too busy to answer (429, 502, 503,
 * 504) is asked again for a minute, then its words are told and EXIT_UNREACHABLE comes: nothing is
 * known of the job. EXIT_INTERRUPTED, and EXIT_TIME at the deadline (as in struct follow), are not
 * told. */
int follow_ask(
	struct cli *cli, const struct http_call *call, int64_t deadline_ms, struct http_reply *ret);

/* Until the job has ended: EXIT_FINE. EXIT_INTERRUPTED and EXIT_TIME are not told yet, every other
 * status is. */
int follow_job(struct cli *cli, struct follow *follow);

/* How the ended job ended: its result on stdout, or its error on stderr; of a traceback that its
 * log has shown already only what was raised. `limit`: the time that it was given, or NULL. */
int follow_outcome(struct cli *cli, const char *id, const char *limit, bool is_log_shown);

/* A gateway that is away for a moment, or fails, has not lost the job: says how to ask it again.
 * Returns `code`. */
int follow_again(int code, const char *command, const char *id);
