/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that cannot be read go into a table of their own, in one transaction with their removal.
 *
 * What is kept is the whole row as JSON, column by column: texts as they are where they are UTF-8,
 * everything else as hexadecimal. So a person can see what was there, and put it back.
 *
 * A job that goes takes those with it who were to be told of it. A reply target that is a part of
 * the job's own row goes alone: the job runs, and nobody is told. */
#include "store/sqlite_aside.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"
#include "store/sqlite_db.h"
#include "store/sqlite_reader.h"

#define CONTENT_MAX ((size_t)1 << 30)

/* Where rows of a part may be, and how they are removed. ?1 to ?3 are the keys, ?4 the noun. */
struct source {
	const char *select, *remove;
	enum store_part part;
};

static const struct source jobs[] = {
	{ "SELECT " JOB_COLUMNS ", parameters_length FROM job WHERE id = ?1",
		"DELETE FROM job WHERE id = ?1", STORE_PART_JOB },
	{ "SELECT * FROM listener WHERE job = ?1", "DELETE FROM listener WHERE job = ?1",
		STORE_PART_REPLY_TARGET },
	{ 0 },
};

static const struct source reply_targets[] = {
	{ "SELECT * FROM listener WHERE job = ?1 AND door = ?2 AND reply_to = ?3",
		"DELETE FROM listener WHERE job = ?1 AND door = ?2 AND reply_to = ?3",
		STORE_PART_REPLY_TARGET },
	{ "SELECT id AS job, door, reply_to, owed FROM job WHERE id = ?1 AND door = ?2 AND "
	  "reply_to = ?3",
		"UPDATE job SET door = NULL, reply_to = NULL, owed = 0 WHERE id = ?1 AND door = ?2 "
		"AND reply_to = ?3",
		STORE_PART_REPLY_TARGET },
	{ 0 },
};

static const struct source definitions[] = {
	{ "SELECT * FROM noun WHERE kind = ?4 AND name = ?1",
		"DELETE FROM noun WHERE kind = ?4 AND name = ?1", STORE_PART_DEFINITION },
	{ 0 },
};

static const struct source *const sources[_STORE_PART_MAX] = {
	[STORE_PART_JOB] = jobs,
	[STORE_PART_REPLY_TARGET] = reply_targets,
	[STORE_PART_DEFINITION] = definitions,
};

static void add_hex(struct buf *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++)
		buf_add(out, (const char[]){ digits[bytes[i] >> 4], digits[bytes[i] & 15] }, 2);
}

static void add_value(struct buf *out, sqlite3_stmt *s, int column)
{
	int type = sqlite3_column_type(s, column);
	if (type == SQLITE_INTEGER) {
		buf_printf(out, "%lld", sqlite3_column_int64(s, column));
	} else if (type == SQLITE_NULL) {
		buf_puts(out, "null");
	} else {
		const char *bytes = sqlite3_column_blob(s, column);
		size_t len = (size_t)sqlite3_column_bytes(s, column);
		if (type == SQLITE_TEXT && utf8_is_text(bytes ? bytes : "", len)) {
			_cleanup_(freep) char *quoted = json_quote(bytes ? bytes : "", len);
			buf_puts(out, quoted);
		} else {
			buf_puts(out, "{\"hex\":\"");
			add_hex(out, (const uint8_t *)bytes, len);
			buf_puts(out, "\"}");
		}
	}
}

static char *content_of(sqlite3_stmt *s)
{
	struct buf out;
	buf_init(&out, CONTENT_MAX);
	for (int i = 0; i < sqlite3_column_count(s); i++) {
		buf_printf(&out, "%s\"%s\":", i ? "," : "{", sqlite3_column_name(s, i));
		add_value(&out, s, i);
	}
	buf_puts(&out, "}");
	return buf_take(&out);
}

static int prepare(sqlite3 *db, const char *sql, const struct store_row *row, sqlite3_stmt **ret)
{
	if (sqlite3_prepare_v2(db, sql, -1, ret, NULL) != SQLITE_OK)
		return sqlite_errno(db);
	/* A number that the text does not use is refused, and there is nothing to say about it. */
	if (row->part == STORE_PART_DEFINITION)
		sqlite3_bind_text(*ret, 1, row->key[0].bytes, (int)row->key[0].len, SQLITE_STATIC);
	else
		sqlite3_bind_blob(*ret, 1, row->key[0].bytes, (int)row->key[0].len, SQLITE_STATIC);
	for (int i = 1; i < 3; i++)
		sqlite3_bind_text(
			*ret, i + 1, row->key[i].bytes, (int)row->key[i].len, SQLITE_STATIC);
	sqlite3_bind_int64(*ret, 4, row->noun);
	return 0;
}

static int keep(
	sqlite3 *db, enum store_part part, const char *key, const char *reason, const char *content)
{
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(db,
		    "INSERT INTO unreadable (kind, key, reason, found_ms, content) VALUES "
		    "(?1, ?2, ?3, ?4, ?5)",
		    -1, &s, NULL) != SQLITE_OK)
		return sqlite_errno(db);
	sqlite3_bind_int(s, 1, part);
	sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 3, reason, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 4, clock_wall_ms());
	sqlite3_bind_text(s, 5, content, -1, SQLITE_STATIC);
	return sqlite3_step(s) == SQLITE_DONE ? 0 : sqlite_errno(db);
}

/* A job that was unreadable may have been written anew since. */
static bool is_readable(enum store_part part, sqlite3_stmt *s)
{
	_cleanup_(job_row_done) struct job_row row = { 0 };
	struct fault f;
	return part == STORE_PART_JOB && sqlite_row_read(s, &row, &f) == 0;
}

/* 1: rows were moved. 0: there are none. */
static int move(sqlite3 *db, const struct source *from, const struct store_row *row,
	const char *title, const char *reason)
{
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *select = NULL, *remove = NULL;
	int r = prepare(db, from->select, row, &select), step, n = 0;
	if (r < 0)
		return r;
	while ((step = sqlite3_step(select)) == SQLITE_ROW) {
		if (is_readable(from->part, select))
			return 0;
		_cleanup_(freep) char *content = content_of(select);
		r = keep(db, from->part, title, reason, content);
		if (r < 0)
			return r;
		n = 1;
	}
	if (step != SQLITE_DONE)
		return sqlite_errno(db);
	if (!n)
		return 0;
	r = prepare(db, from->remove, row, &remove);
	if (r == 0 && sqlite3_step(remove) != SQLITE_DONE)
		r = sqlite_errno(db);
	return r < 0 ? r : 1;
}

int sqlite_set_aside(sqlite3 *db, const struct store_row *row, const char *reason)
{
	_cleanup_(freep) char *title = store_row_title(row);
	errno = 0;
	for (const struct source *from = sources[row->part]; from->select; from++) {
		int r = move(db, from, row, title, reason);
		if (r < 0) /* damage, which no later try mends: this row alone is left */
			return r == -EUCLEAN || r == -EIO ? -EBADMSG : r;
		if (r == 0 && row->part == STORE_PART_JOB)
			return 0;
	}
	return 0;
}

int sqlite_unreadable_drop(sqlite3 *db, int64_t number)
{
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	errno = 0;
	if (sqlite3_prepare_v2(db, "DELETE FROM unreadable WHERE ?1 = 0 OR id = ?1", -1, &s,
		    NULL) != SQLITE_OK)
		return sqlite_errno(db);
	sqlite3_bind_int64(s, 1, number);
	return sqlite3_step(s) == SQLITE_DONE ? 0 : sqlite_errno(db);
}
