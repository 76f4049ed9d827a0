/* SPDX-License-Identifier: Apache-2.0 */
/* Reading jobs: a few connections that are lent to whichever thread asks.
 *
 * A connection is opened when all others are lent out, up to a limit; then the caller waits for
 * one. They are kept until the end, together with the statement that finds one job, the commonest
 * question. A read sees what was committed when it began, and never waits for the writer.
 *
 * A page of history and its total are read in one transaction, so that they agree. The SQL of a
 * page is put together from fixed parts; what the client said is bound, never written into it. */
#include "store/sqlite_reader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/sqlite_db.h"

enum {
	READERS_MAX = 8,
	SQL_MAX = 1024,
	OPEN_STATES = BIT(JOB_FINISHED) - 1,
};

_Static_assert(JOB_FINISHED == 5, "job_open and the queries below say: state < 5");

struct sqlite_reader {
	struct sqlite_reader *next;
	struct sqlite_readers *pool;
	sqlite3 *db;
	sqlite3_stmt *get;
};

static void reader_free(struct sqlite_reader *rd)
{
	sqlite3_finalize(rd->get);
	sqlite3_close(rd->db);
	free(rd);
}
DEFINE_CLEANUP(struct sqlite_reader *, reader_free)

static int reader_new(struct sqlite_reader **ret, struct sqlite_readers *rs)
{
	_cleanup_(reader_freep) struct sqlite_reader *rd = xcalloc(1, sizeof *rd);
	rd->pool = rs;
	int r = sqlite_db_open_reader(&rd->db, rs->path);
	if (r < 0)
		return r;
	if (sqlite3_prepare_v3(rd->db, "SELECT " JOB_COLUMNS " FROM job WHERE id = ?1", -1,
		    SQLITE_PREPARE_PERSISTENT, &rd->get, NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);
	*ret = TAKE_PTR(rd);
	return 0;
}

static int reader_borrow(struct sqlite_readers *rs, struct sqlite_reader **ret)
{
	pthread_mutex_lock(&rs->lock);
	while (!rs->idle && rs->n_open == READERS_MAX)
		pthread_cond_wait(&rs->returned, &rs->lock);
	struct sqlite_reader *rd = rs->idle;
	if (rd)
		rs->idle = rd->next;
	else
		rs->n_open++;
	pthread_mutex_unlock(&rs->lock);

	int r = rd ? 0 : reader_new(&rd, rs);
	if (r < 0) {
		pthread_mutex_lock(&rs->lock);
		rs->n_open--;
		pthread_cond_signal(&rs->returned);
		pthread_mutex_unlock(&rs->lock);
		return r;
	}
	*ret = rd;
	return 0;
}

static void reader_return(struct sqlite_reader *rd)
{
	struct sqlite_readers *rs = rd->pool;
	pthread_mutex_lock(&rs->lock);
	rd->next = rs->idle;
	rs->idle = rd;
	pthread_cond_signal(&rs->returned);
	pthread_mutex_unlock(&rs->lock);
}
DEFINE_CLEANUP(struct sqlite_reader *, reader_return)

void sqlite_readers_init(struct sqlite_readers *rs, const char *path)
{
	*rs = (struct sqlite_readers){ .path = path };
	pthread_mutex_init(&rs->lock, NULL);
	pthread_cond_init(&rs->returned, NULL);
}

void sqlite_readers_done(struct sqlite_readers *rs)
{
	while (rs->idle) {
		struct sqlite_reader *rd = rs->idle;
		rs->idle = rd->next;
		rs->n_open--;
		reader_free(rd);
	}
	must(rs->n_open == 0);
	pthread_cond_destroy(&rs->returned);
	pthread_mutex_destroy(&rs->lock);
}

static char *text_of(sqlite3_stmt *s, enum job_column c)
{
	const char *text = (const char *)sqlite3_column_text(s, c);
	return text ? xstrdup(text) : NULL;
}

static void row_read(sqlite3_stmt *s, struct job_row *r)
{
	const void *id = sqlite3_column_blob(s, JOB_COL_ID);
	int id_len = sqlite3_column_bytes(s, JOB_COL_ID);

	*r = (struct job_row){
		.state = sqlite3_column_int(s, JOB_COL_STATE),
		.function = text_of(s, JOB_COL_FUNCTION),
		.path = text_of(s, JOB_COL_PATH),
		.class_name = text_of(s, JOB_COL_CLASS_NAME),
		.context = text_of(s, JOB_COL_CONTEXT),
		.parameters = text_of(s, JOB_COL_PARAMETERS),
		.source = text_of(s, JOB_COL_SOURCE),
		.external_id = text_of(s, JOB_COL_EXTERNAL_ID),
		.reply_to = text_of(s, JOB_COL_REPLY_TO),
		.trace = text_of(s, JOB_COL_TRACE),
		.worker = text_of(s, JOB_COL_WORKER),
		.result = text_of(s, JOB_COL_RESULT),
		.error = text_of(s, JOB_COL_ERROR),
		.created_ms = sqlite3_column_int64(s, JOB_COL_CREATED),
		.started_ms = sqlite3_column_int64(s, JOB_COL_STARTED),
		.ended_ms = sqlite3_column_int64(s, JOB_COL_ENDED),
		.start_timeout_ms = sqlite3_column_int64(s, JOB_COL_START_TIMEOUT),
		.perform_timeout_ms = sqlite3_column_int64(s, JOB_COL_PERFORM_TIMEOUT),
		.priority = sqlite3_column_int(s, JOB_COL_PRIORITY),
		.attempt = (unsigned)sqlite3_column_int(s, JOB_COL_ATTEMPT),
		.is_sync = sqlite3_column_int(s, JOB_COL_IS_SYNC),
		.door = text_of(s, JOB_COL_DOOR),
		.is_owed = sqlite3_column_int(s, JOB_COL_OWED),
	};
	if (id_len == sizeof r->id)
		memcpy(&r->id, id, sizeof r->id);
}

/* Steps to the end. Negative, or 0. */
static int rows_each(
	sqlite3 *db, sqlite3_stmt *s, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	int step;
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		_cleanup_(job_row_done) struct job_row row;
		row_read(s, &row);
		each(arg, &row);
	}
	return step == SQLITE_DONE ? 0 : sqlite_errno(db);
}

int sqlite_job_get(struct sqlite_readers *rs, const struct uuid *id, struct job_row **ret)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	int r = reader_borrow(rs, &rd);
	if (r < 0)
		return r;
	sqlite3_bind_blob(rd->get, 1, id->bytes, sizeof id->bytes, SQLITE_STATIC);
	int step = sqlite3_step(rd->get);
	if (step == SQLITE_ROW) {
		struct job_row *row = xcalloc(1, sizeof *row);
		row_read(rd->get, row);
		*ret = row;
	} else {
		r = step == SQLITE_DONE ? -ENOENT : sqlite_errno(rd->db);
	}
	sqlite3_reset(rd->get);
	return r;
}

static int query_prepare(sqlite3 *db, const char *what, const struct job_query *q, const char *tail,
	sqlite3_stmt **ret)
{
	char sql[SQL_MAX];
	bool only_open = q->states && !(q->states & ~OPEN_STATES);
	int len = snprintf(sql, sizeof sql, "SELECT %s FROM job WHERE 1%s%s%s%s%s", what,
		q->function ? " AND function = ?1" : "", q->worker ? " AND worker = ?2" : "",
		only_open ? " AND state < 5" : "", q->states ? " AND (1 << state) & ?3" : "", tail);
	must(len < SQL_MAX);
	if (sqlite3_prepare_v2(db, sql, len, ret, NULL) != SQLITE_OK)
		return sqlite_errno(db);
	/* A number that the text does not use is refused, and there is nothing to say about it. */
	sqlite3_bind_text(*ret, 1, q->function, -1, SQLITE_STATIC);
	sqlite3_bind_text(*ret, 2, q->worker, -1, SQLITE_STATIC);
	sqlite3_bind_int64(*ret, 3, q->states);
	sqlite3_bind_int64(*ret, 4, q->limit);
	sqlite3_bind_int64(*ret, 5, q->offset);
	return 0;
}

static int total_read(sqlite3 *db, const struct job_query *q, int64_t *ret)
{
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int r = query_prepare(db, "COUNT(*)", q, "", &s);
	if (r < 0)
		return r;
	if (sqlite3_step(s) != SQLITE_ROW)
		return sqlite_errno(db);
	*ret = sqlite3_column_int64(s, 0);
	return 0;
}

int sqlite_job_list(struct sqlite_readers *rs, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	int r = reader_borrow(rs, &rd);
	if (r < 0)
		return r;
	if (sqlite3_exec(rd->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);

	sqlite3_stmt *s = NULL;
	r = ret_total ? total_read(rd->db, q, ret_total) : 0;
	if (r == 0)
		r = query_prepare(
			rd->db, JOB_COLUMNS, q, " ORDER BY id DESC LIMIT ?4 OFFSET ?5", &s);
	if (r == 0)
		r = rows_each(rd->db, s, each, arg);
	sqlite3_finalize(s);
	sqlite3_exec(rd->db, "COMMIT", NULL, NULL, NULL);
	return r;
}

static int all_each(struct sqlite_readers *rs, const char *sql,
	void (*each)(void *arg, const struct job_row *r), void *arg)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int r = reader_borrow(rs, &rd);
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db, sql, -1, &s, NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);
	return rows_each(rd->db, s, each, arg);
}

int sqlite_job_open_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return all_each(
		rs, "SELECT " JOB_COLUMNS " FROM job WHERE state < 5 ORDER BY id", each, arg);
}

int sqlite_job_owed_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return all_each(
		rs, "SELECT " JOB_COLUMNS " FROM job WHERE owed = 1 ORDER BY id", each, arg);
}
