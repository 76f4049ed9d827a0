/* SPDX-License-Identifier: Apache-2.0 */
/* Reading jobs from the database, from any thread. */
#pragma once

#include <pthread.h>

#include "mist/store.h"

struct sqlite_reader;

struct sqlite_readers {
	const char *path; /* the owner's */
	pthread_mutex_t lock;
	pthread_cond_t returned;
	struct sqlite_reader *idle;
	int n_open;
};

void sqlite_readers_init(struct sqlite_readers *rs, const char *path);
void sqlite_readers_done(struct sqlite_readers *rs); /* nobody reads any more */

/* As in store_ops. */
int sqlite_job_get(struct sqlite_readers *rs, const struct uuid *id, struct job_row **ret);
int sqlite_job_list(struct sqlite_readers *rs, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total);
int sqlite_job_owed_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg);
int sqlite_job_open_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg);
