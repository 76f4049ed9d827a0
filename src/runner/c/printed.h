/* SPDX-License-Identifier: Apache-2.0 */
/* What a function prints, for the job's log. Nothing here waits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct mist_job;

struct printed {
	int fd;          /* the file that descriptor 1 is; -1: it is none */
	int64_t at;      /* up to there it was looked at */
	struct buf line; /* whose end is not there yet */
	int64_t n_cut;   /* bytes of it that are left out */
	int64_t line_ms; /* monotonic: since when it waits; 0: nothing of it does */
	bool is_told;    /* a part of it was told before its end came */
};

void printed_open(struct printed *p);
void printed_close(struct printed *p);

/* What was printed so far belongs to no job. */
void printed_begin(struct printed *p);

/* What was printed since then is added to the log of the job that runs. With the session's lock. At
 * the end of the job also a line without an end; stdout is flushed by whoever calls this on the
 * thread of the function. */
void printed_take(struct printed *p, struct mist_job *job, bool is_end);
