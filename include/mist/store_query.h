/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the store: a page of jobs. */
#pragma once

#include <stddef.h>
#include <stdint.h>

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
