/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the store: a page of jobs; up to where they are old. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct store;
struct uuid;

struct job_query {
	const char *function, *worker, *context, *external_id; /* NULL: any */
	uint32_t states;                                       /* bits of enum job_state; 0: any */
	int64_t limit, offset;
	const struct uuid *before; /* only jobs older than this one; NULL: all */
	/* It ends after the row with which that many bytes of text (job_row_bytes) were handed out;
	 * 0: it does not. */
	size_t bytes_max;
};

/* Up to which id jobs are old: made before `before_ms`, in the order in which they were made, up to
 * the first that was not. What has a time later than `now_ms` was made while the clock was ahead:
 * it is as old as what was made after it. `*ret` need not be the id of a job. 0, or a negative
 * errno. */
typedef int store_old_fn(void *self, int64_t before_ms, int64_t now_ms, struct uuid *ret);

/* The same, from any thread: it waits for the disk. */
int store_job_old(struct store *st, int64_t before_ms, int64_t now_ms, struct uuid *ret);
