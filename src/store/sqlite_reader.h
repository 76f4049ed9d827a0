/* SPDX-License-Identifier: Apache-2.0 */
/* Reading jobs from the database, from any thread. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "mist/store.h"

struct sqlite_reader;

struct sqlite_place;

struct sqlite_readers {
	const struct sqlite_place *place;      /* the owner's */
	const struct store_settings *settings; /* the same */
	pthread_mutex_t lock;
	pthread_cond_t returned;
	struct sqlite_reader *idle;
	int n_open;
};

void sqlite_readers_init(struct sqlite_readers *rs, const struct sqlite_place *place,
	const struct store_settings *settings);
void sqlite_readers_done(struct sqlite_readers *rs); /* nobody reads any more */

/* A row of JOB_COLUMNS, where the statement stands. 0, or -EBADMSG and the fault says what is wrong
 * with it. job_row_done is due in both cases. */
int sqlite_row_read(sqlite3_stmt *s, struct job_row *ret, struct fault *f);

/* The SQL of a query of `what` of the rows, and its length; `tail` is SQLITE_JOB_PAGE, or "" for
 * all of them. */
enum { SQLITE_JOB_QUERY = 1024 };
#define SQLITE_JOB_PAGE " ORDER BY id DESC LIMIT ?4 OFFSET ?5"
int sqlite_job_query(char ret[static SQLITE_JOB_QUERY], const char *what, const struct job_query *q,
	const char *tail);

/* As in store_ops. */
int sqlite_key_each(struct sqlite_readers *rs, int64_t since_ms, int64_t now_ms, int64_t places_max,
	store_key_fn *each, void *arg);
int sqlite_listener_each(struct sqlite_readers *rs, store_listener_fn *each, void *arg);
int sqlite_noun_each(struct sqlite_readers *rs, enum store_noun noun,
	void (*each)(void *arg, const char *name, const char *text), void *arg);
int sqlite_unreadable_each(struct sqlite_readers *rs, int64_t number, int64_t limit, int64_t offset,
	store_unreadable_fn *each, void *arg, int64_t *ret_total);
int sqlite_job_get(struct sqlite_readers *rs, const struct uuid *id, struct job_row **ret);
int sqlite_job_list(struct sqlite_readers *rs, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total);
int sqlite_undelivered_list(struct sqlite_readers *rs, const char *transport,
	const struct store_undelivered *after, struct store_undelivered *ret, size_t max);
int sqlite_job_newest(struct sqlite_readers *rs, struct uuid *ret);
int sqlite_job_old(struct sqlite_readers *rs, int64_t before_ms, int64_t now_ms, struct uuid *ret);
int sqlite_job_owed_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg);
int sqlite_job_open_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg);
