/* SPDX-License-Identifier: Apache-2.0 */
/* Reading jobs: a few connections that are lent to whichever thread asks.
 *
 * A connection is opened when all others are lent out, up to a limit; then the caller waits for
 * one. They are kept until the end, together with the statement that finds one job, the commonest
 * question. A read sees what was committed when it began, and never waits for the writer.
 *
 * A page of history and its total are read in one transaction, so that they agree. The SQL of a
 * page is put together from fixed parts; what the client said is bound, never written into it.
 *
 * Nothing that was read is trusted: what is not as it was written is left out and set aside. A
 * connection is only opened to the database that the writer has, not to another in its place. */
#include "store/sqlite_reader.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "store/sqlite_db.h"

enum {
	READERS_MAX = 8,
	OPEN_STATES = BIT(JOB_FINISHED) - 1,
	GOOD_STATES = BIT(JOB_FINISHED + 1) - 1, /* those, and the end that was hoped for */
};

_Static_assert(JOB_FINISHED == 5, "two indexes and the queries below say: state < 5, state > 5");

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
	int r = sqlite_db_open_reader(&rd->db, rs->place->files[SQLITE_FILE_DB].path);
	if (r < 0)
		return r;
	if (!sqlite_place_is_same(rs->place))
		return -ESTALE;
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

void sqlite_readers_init(struct sqlite_readers *rs, const struct sqlite_place *place,
	const struct store_settings *settings)
{
	*rs = (struct sqlite_readers){ .place = place, .settings = settings };
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

/* A text that holds a NUL is not what was written: it is cut there, and *is_cut says so. */
static char *text_of(sqlite3_stmt *s, enum job_column c, bool *is_cut)
{
	const char *text = (const char *)sqlite3_column_text(s, c);
	if (!text)
		return NULL;
	*is_cut |= strlen(text) != (size_t)sqlite3_column_bytes(s, c);
	return xstrdup(text);
}

/* What fits in no int is told as one that no column may hold. */
static int int_of(sqlite3_stmt *s, enum job_column c)
{
	int64_t n = sqlite3_column_int64(s, c);
	return n < INT_MIN || n > INT_MAX ? INT_MIN : (int)n;
}

/* A value of another type compares with numbers in its own way: a blob is more than any. NULL: each
 * column of numbers has one. */
static const char *not_integer(sqlite3_stmt *s)
{
	static const enum job_column integers[] = { JOB_COL_STATE, JOB_COL_CREATED, JOB_COL_STARTED,
		JOB_COL_ENDED, JOB_COL_START_TIMEOUT, JOB_COL_PERFORM_TIMEOUT, JOB_COL_PRIORITY,
		JOB_COL_ATTEMPT, JOB_COL_IS_SYNC, JOB_COL_OWED };
	for (size_t i = 0; i < ARRAY_SIZE(integers); i++)
		if (sqlite3_column_type(s, integers[i]) != SQLITE_INTEGER)
			return sqlite3_column_name(s, integers[i]);
	return NULL;
}

int sqlite_row_read(sqlite3_stmt *s, struct job_row *r, struct fault *f)
{
	int id_type = sqlite3_column_type(s, JOB_COL_ID);
	const void *id = sqlite3_column_blob(s, JOB_COL_ID);
	int id_len = sqlite3_column_bytes(s, JOB_COL_ID);
	bool is_cut = false;
	const char *wrong = not_integer(s);
	if (wrong) {
		*r = (struct job_row){ 0 };
		fault_set(f, FAULT_INTERNAL, "%s: expected a number", wrong);
		return -EBADMSG;
	}

	*r = (struct job_row){
		.state = int_of(s, JOB_COL_STATE),
		.function = text_of(s, JOB_COL_FUNCTION, &is_cut),
		.path = text_of(s, JOB_COL_PATH, &is_cut),
		.class_name = text_of(s, JOB_COL_CLASS_NAME, &is_cut),
		.context = text_of(s, JOB_COL_CONTEXT, &is_cut),
		.parameters = text_of(s, JOB_COL_PARAMETERS, &is_cut),
		.source = text_of(s, JOB_COL_SOURCE, &is_cut),
		.external_id = text_of(s, JOB_COL_EXTERNAL_ID, &is_cut),
		.reply_to = text_of(s, JOB_COL_REPLY_TO, &is_cut),
		.trace = text_of(s, JOB_COL_TRACE, &is_cut),
		.worker = text_of(s, JOB_COL_WORKER, &is_cut),
		.result = text_of(s, JOB_COL_RESULT, &is_cut),
		.error = text_of(s, JOB_COL_ERROR, &is_cut),
		.progress = text_of(s, JOB_COL_PROGRESS, &is_cut),
		.ignored = text_of(s, JOB_COL_IGNORED, &is_cut),
		.created_ms = sqlite3_column_int64(s, JOB_COL_CREATED),
		.started_ms = sqlite3_column_int64(s, JOB_COL_STARTED),
		.ended_ms = sqlite3_column_int64(s, JOB_COL_ENDED),
		.start_timeout_ms = sqlite3_column_int64(s, JOB_COL_START_TIMEOUT),
		.perform_timeout_ms = sqlite3_column_int64(s, JOB_COL_PERFORM_TIMEOUT),
		.priority = int_of(s, JOB_COL_PRIORITY),
		.attempt = (unsigned)int_of(s, JOB_COL_ATTEMPT),
		.is_sync = sqlite3_column_int(s, JOB_COL_IS_SYNC),
		.door = text_of(s, JOB_COL_DOOR, &is_cut),
		.is_owed = sqlite3_column_int(s, JOB_COL_OWED),
	};
	if (id_len != sizeof r->id) {
		fault_set(
			f, FAULT_INTERNAL, "id: expected %zu bytes, got %d", sizeof r->id, id_len);
		return -EBADMSG;
	}
	if (id_type != SQLITE_BLOB) { /* beside it there may be one of the same bytes */
		fault_set(f, FAULT_INTERNAL, "id: expected bytes, got text");
		return -EBADMSG;
	}
	memcpy(&r->id, id, sizeof r->id);
	const char *key = (const char *)sqlite3_column_text(s, JOB_COL_KEY);
	if (key && !utf8_is_valid(key, (size_t)sqlite3_column_bytes(s, JOB_COL_KEY))) {
		fault_set(f, FAULT_INTERNAL, "idempotencyKey: expected UTF-8");
		return -EBADMSG;
	}
	if (is_cut) {
		fault_set(f, FAULT_INTERNAL, "a text holds a NUL");
		return -EBADMSG;
	}
	return job_row_check(r, f);
}

/* The row where the statement stands is named by these columns; -1: no more of them. */
static void set_aside(struct sqlite_readers *rs, sqlite3_stmt *s, struct store_row *row,
	const int columns[2], const char *reason)
{
	for (size_t i = 0; i < 2 && columns[i] >= 0; i++) {
		const void *bytes = sqlite3_column_blob(s, columns[i]);
		store_row_set_key(row, i + 1, bytes ? bytes : "",
			(size_t)sqlite3_column_bytes(s, columns[i]));
	}
	rs->settings->set_aside(rs->settings->owner, row, reason);
}

/* By its first key, which is in that column. */
static struct store_row *row_of(sqlite3_stmt *s, enum store_part part, int column)
{
	const void *bytes = sqlite3_column_blob(s, column);
	return store_row_new(part, bytes ? bytes : "", (size_t)sqlite3_column_bytes(s, column));
}

static void set_job_aside(
	struct sqlite_readers *rs, sqlite3_stmt *s, int id_column, const char *reason)
{
	set_aside(rs, s, row_of(s, STORE_PART_JOB, id_column), (const int[]){ -1, -1 }, reason);
}

/* Steps to the end. Negative, or the number of rows that were left out. */
static int rows_each(struct sqlite_reader *rd, sqlite3_stmt *s, size_t bytes_max,
	void (*each)(void *arg, const struct job_row *r), void *arg)
{
	int step = SQLITE_DONE, left_out = 0;
	size_t bytes = 0;
	while ((!bytes_max || bytes < bytes_max) && (step = sqlite3_step(s)) == SQLITE_ROW) {
		_cleanup_(job_row_done) struct job_row row;
		struct fault f;
		if (sqlite_row_read(s, &row, &f) == 0) {
			row.are_parameters_left_out = sqlite3_column_count(s) > _JOB_COL_MAX &&
						      sqlite3_column_int(s, _JOB_COL_MAX);
			each(arg, &row);
			bytes += job_row_bytes(&row);
			step = SQLITE_DONE; /* if this is where it ends */
		} else {
			set_job_aside(rd->pool, s, JOB_COL_ID, f.text);
			left_out++;
		}
	}
	return step == SQLITE_DONE ? left_out : sqlite_errno(rd->db);
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
		_cleanup_(job_row_freep) struct job_row *row = xcalloc(1, sizeof *row);
		struct fault f;
		r = sqlite_row_read(rd->get, row, &f);
		if (r == 0)
			*ret = TAKE_PTR(row);
		else
			set_job_aside(rs, rd->get, JOB_COL_ID, f.text);
	} else {
		r = step == SQLITE_DONE ? -ENOENT : sqlite_errno(rd->db);
	}
	sqlite3_reset(rd->get);
	return r;
}

/* SQLite knows nothing of what is in an index and takes any of those that fit. So only the one that
 * leads to the fewest rows may be used: a `+` hides a column from it. */
int sqlite_job_query(char ret[static SQLITE_JOB_QUERY], const char *what, const struct job_query *q,
	const char *tail)
{
	const char *states = "";
	if (q->states && !q->external_id)
		states = !(q->states & ~OPEN_STATES)  ? " AND state < 5"
			 : !(q->states & GOOD_STATES) ? " AND state > 5"
						      : "";
	bool is_led = q->external_id || *states;
	const char *context = is_led ? " AND +context = ?7" : " AND context = ?7";
	const char *function = is_led || q->context ? " AND +function = ?1" : " AND function = ?1";
	int len = snprintf(ret, SQLITE_JOB_QUERY, "SELECT %s FROM job WHERE 1%s%s%s%s%s%s%s%s",
		what, q->external_id ? " AND external_id = ?8" : "", states,
		q->context ? context : "", q->function ? function : "",
		q->worker ? " AND worker = ?2" : "", q->states ? " AND (1 << state) & ?3" : "",
		q->before ? " AND id < ?6" : "", tail);
	must(len < SQLITE_JOB_QUERY);
	return len;
}

static int query_prepare(sqlite3 *db, const char *what, const struct job_query *q, const char *tail,
	sqlite3_stmt **ret)
{
	char sql[SQLITE_JOB_QUERY];
	int len = sqlite_job_query(sql, what, q, tail);
	if (sqlite3_prepare_v2(db, sql, len, ret, NULL) != SQLITE_OK)
		return sqlite_errno(db);
	/* A number that the text does not use is refused, and there is nothing to say about it. */
	sqlite3_bind_text(*ret, 1, q->function, -1, SQLITE_STATIC);
	sqlite3_bind_text(*ret, 2, q->worker, -1, SQLITE_STATIC);
	sqlite3_bind_int64(*ret, 3, q->states);
	sqlite3_bind_int64(*ret, 4, q->limit);
	sqlite3_bind_int64(*ret, 5, q->offset);
	sqlite3_bind_text(*ret, 7, q->context, -1, SQLITE_STATIC);
	sqlite3_bind_text(*ret, 8, q->external_id, -1, SQLITE_STATIC);
	if (q->before)
		sqlite3_bind_blob(
			*ret, 6, q->before->bytes, sizeof q->before->bytes, SQLITE_STATIC);
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
		r = query_prepare(rd->db, JOB_COLUMNS, q, SQLITE_JOB_PAGE, &s);
	if (r == 0)
		r = rows_each(rd, s, q->bytes_max, each, arg);
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
	return rows_each(rd, s, 0, each, arg);
}

/* The columns of JOB_COLUMNS in their order, without arguments that are long, and whether they
 * were: of those nothing is read. */
static const char open_sql[] =
	"SELECT " JOB_COLUMNS_SHORT
	"CASE WHEN parameters_length > 65536 THEN '{}' ELSE parameters END, NULL, "
	"CASE WHEN parameters_length > 65536 THEN NULL ELSE ignored END, "
	"parameters_length > 65536 FROM job WHERE state < 5 ORDER BY id";
_Static_assert(PARAMETERS_LONG == 65536, "open_sql says so");

int sqlite_job_open_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return all_each(rs, open_sql, each, arg);
}

int sqlite_job_owed_each(
	struct sqlite_readers *rs, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return all_each(rs,
		"SELECT " JOB_COLUMNS " FROM job WHERE owed = 1 AND state >= 5 "
		"ORDER BY ended_ms, id",
		each, arg);
}

/* A text where there must be one, as it was written; NULL: it is not. */
static const char *good_text(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	size_t len = (size_t)sqlite3_column_bytes(s, column);
	return text && len && utf8_is_text(text, len) ? text : NULL;
}

static bool good_id(sqlite3_stmt *s, int column, struct uuid *ret)
{
	if (sqlite3_column_type(s, column) != SQLITE_BLOB)
		return false;
	const void *bytes = sqlite3_column_blob(s, column);
	if (sqlite3_column_bytes(s, column) != sizeof *ret)
		return false;
	memcpy(ret, bytes, sizeof *ret);
	return true;
}

/* Of a row whose id is none nothing can be told: job_owed_each sets it aside. */
int sqlite_undelivered_list(struct sqlite_readers *rs, const char *transport,
	const struct store_undelivered *after, struct store_undelivered *ret, size_t max)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int step, n = 0, r = reader_borrow(rs, &rd);
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db,
		    "SELECT id, ended_ms FROM job WHERE owed = 1 AND state >= 5 AND door = ?1 "
		    "AND (ended_ms, id) > (?2, ?3) ORDER BY ended_ms, id LIMIT ?4",
		    -1, &s, NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);
	sqlite3_bind_text(s, 1, transport, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, after->ended_ms);
	sqlite3_bind_blob(s, 3, after->job.bytes, sizeof after->job.bytes, SQLITE_STATIC);
	sqlite3_bind_int64(s, 4, (int64_t)max);
	while ((step = sqlite3_step(s)) == SQLITE_ROW)
		if (good_id(s, 0, &ret[n].job))
			ret[n++].ended_ms = sqlite3_column_int64(s, 1);
	return step == SQLITE_DONE ? n : sqlite_errno(rd->db);
}

int sqlite_job_newest(struct sqlite_readers *rs, struct uuid *ret)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int r = reader_borrow(rs, &rd), step;
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db, "SELECT id FROM job ORDER BY id DESC", -1, &s, NULL) !=
		SQLITE_OK)
		return sqlite_errno(rd->db);
	while ((step = sqlite3_step(s)) == SQLITE_ROW)
		if (good_id(s, 0, ret) && uuid_has_room_after(ret))
			return 0;
	return step == SQLITE_DONE ? -ENOENT : sqlite_errno(rd->db);
}

/* The time in an id is never before that at which its job was made, so below the id of `before_ms`
 * all are old, and mostly the next one is not. Only of a clock that was ahead ids are later: from
 * there on jobs are looked at one by one. */
int sqlite_job_old(struct sqlite_readers *rs, int64_t before_ms, int64_t now_ms, struct uuid *ret)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	struct uuid first;
	int r = reader_borrow(rs, &rd), step;
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db, "SELECT id, created_ms FROM job WHERE id > ?1 ORDER BY id",
		    -1, &s, NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);
	uuid_at(&first, before_ms);
	*ret = first;
	sqlite3_bind_blob(s, 1, first.bytes, sizeof first.bytes, SQLITE_STATIC);
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		int64_t made_ms = sqlite3_column_int64(s, 1);
		struct uuid id;
		if (made_ms >= before_ms && made_ms <= now_ms)
			return 0;
		if (made_ms < before_ms && good_id(s, 0, &id))
			*ret = id;
	}
	return step == SQLITE_DONE ? 0 : sqlite_errno(rd->db);
}

static void listener_read(
	struct sqlite_readers *rs, sqlite3_stmt *s, store_listener_fn *each, void *arg)
{
	struct uuid job;
	const char *door = good_text(s, 1), *reply_to = good_text(s, 2);
	if (good_id(s, 0, &job) && door && reply_to)
		each(arg, &job, door, reply_to);
	else
		set_aside(rs, s, row_of(s, STORE_PART_REPLY_TARGET, 0), (const int[]){ 1, 2 },
			"expected the id of a job, a transport and a text of it");
}

int sqlite_listener_each(struct sqlite_readers *rs, store_listener_fn *each, void *arg)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int r = reader_borrow(rs, &rd), step;
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db, "SELECT job, door, reply_to FROM listener ORDER BY job", -1,
		    &s, NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);
	while ((step = sqlite3_step(s)) == SQLITE_ROW)
		listener_read(rs, s, each, arg);
	return step == SQLITE_DONE ? 0 : sqlite_errno(rd->db);
}

int sqlite_noun_each(struct sqlite_readers *rs, enum store_noun noun,
	void (*each)(void *arg, const char *name, const char *text), void *arg)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int r = reader_borrow(rs, &rd), step;
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db,
		    "SELECT name, settings FROM noun WHERE kind = ?1 ORDER BY name", -1, &s,
		    NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);
	sqlite3_bind_int64(s, 1, noun);
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		const char *name = good_text(s, 0), *text = good_text(s, 1);
		if (name && text) {
			each(arg, name, text);
			continue;
		}
		struct store_row *row = row_of(s, STORE_PART_DEFINITION, 0);
		row->noun = noun;
		set_aside(rs, s, row, (const int[]){ -1, -1 },
			name ? "settings: expected UTF-8" : "name: expected UTF-8");
	}
	return step == SQLITE_DONE ? 0 : sqlite_errno(rd->db);
}

/* Of the jobs made in that time, both ends included. */
static int keys_of(struct sqlite_readers *rs, const char *sql, int64_t from_ms, int64_t to_ms,
	int64_t max, store_key_fn *each, void *arg)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int r = reader_borrow(rs, &rd), step;
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db, sql, -1, &s, NULL) != SQLITE_OK)
		return sqlite_errno(rd->db);
	sqlite3_bind_int64(s, 1, from_ms);
	sqlite3_bind_int64(s, 2, to_ms);
	sqlite3_bind_int64(s, 3, max);
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		struct uuid id;
		const char *key = good_text(s, 0);
		bool has_digest = sqlite3_column_type(s, 1) != SQLITE_NULL;
		if (good_id(s, 2, &id) && key && (!has_digest || good_text(s, 1)))
			each(arg, key, (const char *)sqlite3_column_text(s, 1), &id,
				sqlite3_column_int64(s, 3));
		else
			set_job_aside(rs, s, 2, "idempotencyKey: expected UTF-8");
	}
	return step == SQLITE_DONE ? 0 : sqlite_errno(rd->db);
}

int sqlite_key_each(struct sqlite_readers *rs, int64_t since_ms, int64_t now_ms, int64_t places_max,
	store_key_fn *each, void *arg)
{
	static const char keys[] =
		"SELECT idempotency_key, idempotency_digest, id, created_ms FROM job WHERE "
		"idempotency_key IS NOT NULL AND created_ms BETWEEN ?1 AND ?2 AND "
		"idempotency_digest IS NOT NULL ORDER BY created_ms LIMIT ?3";
	static const char places[] =
		"SELECT * FROM (SELECT idempotency_key, NULL, id, created_ms FROM job WHERE "
		"idempotency_key IS NOT NULL AND created_ms BETWEEN ?1 AND ?2 AND "
		"idempotency_digest IS NULL ORDER BY created_ms DESC LIMIT ?3) ORDER BY created_ms";
	int r = keys_of(rs, keys, now_ms + 1, INT64_MAX, -1, each, arg);
	if (r == 0)
		r = keys_of(rs, keys, since_ms, now_ms, -1, each, arg);
	if (r == 0)
		r = keys_of(rs, places, now_ms + 1, INT64_MAX, places_max, each, arg);
	return r < 0 ? r : keys_of(rs, places, INT64_MIN, now_ms, places_max, each, arg);
}

static void unreadable_tell(
	sqlite3_stmt *s, bool with_content, store_unreadable_fn *each, void *arg)
{
	int64_t kind = sqlite3_column_int64(s, 1);
	const char *key = good_text(s, 2), *reason = good_text(s, 3);
	const char *content = with_content ? good_text(s, 5) : NULL;
	if (content && !json_is_text(content, strlen(content), JSON_KEPT_DEPTH))
		content = NULL;
	each(arg, &(struct store_unreadable){ .number = sqlite3_column_int64(s, 0),
			  .found_ms = sqlite3_column_int64(s, 4),
			  .kind = store_part_name(kind),
			  .key = key ? key : "",
			  .reason = reason ? reason : "",
			  .content = content });
}

int sqlite_unreadable_each(struct sqlite_readers *rs, int64_t number, int64_t limit, int64_t offset,
	store_unreadable_fn *each, void *arg, int64_t *ret_total)
{
	_cleanup_(reader_returnp) struct sqlite_reader *rd = NULL;
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL, *count = NULL;
	int r = reader_borrow(rs, &rd), step, n = 0;
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rd->db,
		    number ? "SELECT id, kind, key, reason, found_ms, content FROM unreadable "
			     "WHERE "
			     "id = ?1"
			   : "SELECT id, kind, key, reason, found_ms FROM unreadable ORDER BY id "
			     "DESC LIMIT ?2 OFFSET ?3",
		    -1, &s, NULL) != SQLITE_OK ||
		sqlite3_prepare_v2(rd->db, "SELECT COUNT(*) FROM unreadable", -1, &count, NULL) !=
			SQLITE_OK)
		return sqlite_errno(rd->db);
	sqlite3_bind_int64(s, 1, number);
	sqlite3_bind_int64(s, 2, limit);
	sqlite3_bind_int64(s, 3, offset);
	for (; (step = sqlite3_step(s)) == SQLITE_ROW; n++)
		unreadable_tell(s, number, each, arg);
	if (step != SQLITE_DONE || (ret_total && sqlite3_step(count) != SQLITE_ROW))
		return sqlite_errno(rd->db);
	if (ret_total)
		*ret_total = sqlite3_column_int64(count, 0);
	return number && !n ? -ENOENT : 0;
}
