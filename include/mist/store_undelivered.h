/* SPDX-License-Identifier: Apache-2.0 */
/* Ended jobs of the store whose outcome is to be delivered to whoever asked first. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

struct job_row;
struct store;

/* One of them; in the order of ended_ms, then of job. */
struct store_undelivered {
	int64_t ended_ms;
	struct uuid job;
};

/* Those of that transport behind `after`, at most max. The number of them, or a negative errno. */
typedef int store_undelivered_fn(void *self, const char *transport,
	const struct store_undelivered *after, struct store_undelivered *ret, size_t max);

/* The same, from any thread: it waits for the disk. `after` of zeros: from the first on. */
int store_undelivered_list(struct store *st, const char *transport,
	const struct store_undelivered *after, struct store_undelivered *ret, size_t max);

/* All of them with their rows, in that order; once, at start. */
int store_job_owed_each(
	struct store *st, void (*each)(void *arg, const struct job_row *r), void *arg);
