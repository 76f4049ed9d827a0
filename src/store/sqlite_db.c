/* SPDX-License-Identifier: Apache-2.0 */
/* The database file: how it is opened, how its schema grows, and what its failures are called.
 *
 * The journal is a write-ahead log (readers and the writer do not wait for each other) and every
 * commit is synced, since an accepted job is a promise. The log is copied into the database when it
 * has a thousand pages, SQLite's own measure: with more, the writer stops less often but so much
 * longer that the slowest acceptances take three times the time, and no more of them fit in a
 * second. After a time when it could not be copied, while somebody read for long, it is cut again
 * to 64 MiB. The file is readable by its owner only: parameters of jobs are nobody else's business;
 * SQLite gives its side files the same mode.
 *
 * The schema's version is in `user_version`. migrations[n] leads from version n to n + 1; the first
 * is schema.sql. What stands in a step never changes. All that are missing are one transaction: if
 * it fails, for want of room, say, the program of before can still read the database. One from a
 * newer program is refused rather than guessed at. SQLite's own error codes end in this file. */
#include "store/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/log.h"
#include "store/schema.h"

enum { BUSY_MS = 2000 }; /* somebody looks into the file with another program */

/* Those who asked for a job that another had asked for, and have not got its outcome: the rows are
 * few, and gone when they have it. */
static const char listeners_sql[] = "CREATE TABLE listener ("
				    "	job BLOB NOT NULL,"
				    "	door TEXT NOT NULL,"     /* the transport of */
				    "	reply_to TEXT NOT NULL," /* this */
				    "	PRIMARY KEY (job, door, reply_to)"
				    ") WITHOUT ROWID, STRICT";

/* What could not be read, in the order in which it was found: numbers are not used again. */
static const char unreadable_sql[] = "CREATE TABLE unreadable ("
				     "	id INTEGER PRIMARY KEY AUTOINCREMENT,"
				     "	kind INTEGER NOT NULL," /* enum store_part */
				     "	key TEXT NOT NULL,"     /* what named it, for people */
				     "	reason TEXT NOT NULL,"
				     "	found_ms INTEGER NOT NULL,"
				     "	content TEXT NOT NULL" /* JSON: its columns */
				     ") STRICT";

/* Whoever has a name of their own for a job looks for it by that; in a context there are many. */
static const char job_filters_sql[] =
	"CREATE INDEX job_external ON job (external_id, id) WHERE external_id IS NOT NULL;"
	"CREATE INDEX job_context ON job (context, id)";

/* A row is read without what is long in it. SQLite reads a row from its beginning, over all of the
 * pages of what stands before, so arguments and results stand last, and before them how long the
 * arguments are (bytes; 0 in a row that somebody wrote by hand). And the rows are in the order of a
 * number, with an index of ids: in a tree that is in the order of ids itself, each search for one
 * reads the whole of the rows on its way. The rows are copied once. */
static const char long_last_sql[] =
	"CREATE TABLE job_copy ("
	"	id BLOB NOT NULL PRIMARY KEY,"
	"	state INTEGER NOT NULL,"
	"	function TEXT NOT NULL,"
	"	path TEXT NOT NULL,"
	"	class_name TEXT NOT NULL,"
	"	context TEXT NOT NULL,"
	"	source TEXT NOT NULL,"
	"	external_id TEXT,"
	"	reply_to TEXT,"
	"	trace TEXT,"
	"	worker TEXT,"
	"	created_ms INTEGER NOT NULL,"
	"	started_ms INTEGER NOT NULL,"
	"	ended_ms INTEGER NOT NULL,"
	"	start_timeout_ms INTEGER NOT NULL,"
	"	perform_timeout_ms INTEGER NOT NULL,"
	"	priority INTEGER NOT NULL,"
	"	attempt INTEGER NOT NULL,"
	"	is_sync INTEGER NOT NULL,"
	"	idempotency_key TEXT,"
	"	idempotency_digest TEXT,"
	"	door TEXT,"
	"	owed INTEGER NOT NULL,"
	"	parameters_length INTEGER NOT NULL DEFAULT 0,"
	"	error TEXT,"
	"	result TEXT,"
	"	parameters TEXT NOT NULL"
	") STRICT;"
	"INSERT INTO job_copy (" JOB_COLUMNS_OF_1 ", parameters_length) "
	"SELECT " JOB_COLUMNS_OF_1 ", length(CAST(parameters AS BLOB)) FROM job;"
	"DROP TABLE job;"
	"ALTER TABLE job_copy RENAME TO job;"
	"CREATE INDEX job_open ON job (id) WHERE state < 5;"
	"CREATE INDEX job_owed ON job (id) WHERE owed = 1;"
	"CREATE INDEX job_key ON job (created_ms) WHERE idempotency_key IS NOT NULL;"
	"CREATE INDEX job_function ON job (function, id);"
	"CREATE INDEX job_external ON job (external_id, id) WHERE external_id IS NOT NULL;"
	"CREATE INDEX job_context ON job (context, id)";

/* What a job said last of how far it was. */
static const char progress_sql[] = "ALTER TABLE job ADD COLUMN progress TEXT" /* JSON */;

/* What its request said without effect. */
static const char ignored_sql[] = "ALTER TABLE job ADD COLUMN ignored TEXT" /* base/ignored.h */;

/* Jobs that failed or were cancelled: few among many, and what people look for. Those that finished
 * pay nothing for it.
 *
 * The worker of a job has no index, though the jobs of one can be asked for: by its long names it
 * costs each job that runs a quarter of the time and a third of the bytes that its row takes here.
 */
static const char unsuccessful_sql[] =
	"CREATE INDEX job_unsuccessful ON job (id) WHERE state > 5" /* enum job_state */;

/* Outcomes that are to be delivered are read in the order in which the jobs ended, a few at a time
 * when there are many. */
static const char undelivered_sql[] =
	"DROP INDEX IF EXISTS job_owed;"
	"CREATE INDEX IF NOT EXISTS job_undelivered ON job (ended_ms, id) WHERE owed = 1";

/* The last deployment that was committed with files, one row: who finds a journal of them knows by
 * it whether that took effect. */
static const char deployment_sql[] = "CREATE TABLE deployment ("
				     "	place INTEGER PRIMARY KEY CHECK (place = 1),"
				     "	id BLOB NOT NULL"
				     ") STRICT";

static const char *const migrations[] = {
	schema_sql,
	listeners_sql,
	unreadable_sql,
	job_filters_sql,
	long_last_sql,
	progress_sql,
	ignored_sql,
	unsuccessful_sql,
	deployment_sql,
	undelivered_sql,
};

int sqlite_errno(sqlite3 *db)
{
	switch (sqlite3_errcode(db)) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_TOOBIG:
		return -E2BIG;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
		return -EINVAL;
	}
	switch (errno) {
	case ENOSPC:
	case EFBIG:
	case EDQUOT:
		return -ENOSPC;
	case EROFS:
		return -EROFS;
	}
	return -EIO;
}

static int db_fault(sqlite3 *db, const char *path, struct fault *f)
{
	int why = sqlite3_errcode(db) == SQLITE_IOERR ? errno : 0;
	bool is_damaged = sqlite3_errcode(db) == SQLITE_CORRUPT;
	return fault_set(f, FAULT_UNAVAILABLE, "the database %s cannot be used: %s%s", path,
		why ? strerror(why) : sqlite3_errmsg(db),
		is_damaged ? "; mistd --check-data tells more" : "");
}

/* Creates the file with its mode, and finds out why it cannot be written: SQLite would open such a
 * file for reading. Closing it here takes no lock from us, as no connection exists yet. */
static int touch(const char *path, struct fault *f)
{
	struct stat st;
	_cleanup_(closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return fault_set(f, FAULT_UNAVAILABLE, "the database %s cannot be written: %s",
			path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return fault_set(f, FAULT_UNAVAILABLE,
			"the database %s cannot be used: it is no file", path);
	return 0;
}

static bool is_same_file(const struct sqlite_file *a, const struct stat *b)
{
	return a->device == b->st_dev && a->inode == b->st_ino;
}

void sqlite_place_init(struct sqlite_place *p, const char *directory)
{
	static const char *const names[_SQLITE_FILE_MAX] = { "mist.db", "mist.db-wal",
		"mist.db-shm" };
	*p = (struct sqlite_place){ 0 };
	for (size_t i = 0; i < _SQLITE_FILE_MAX; i++)
		p->files[i].path = xasprintf("%s/%s", directory, names[i]);
}

void sqlite_place_done(struct sqlite_place *p)
{
	for (size_t i = 0; i < _SQLITE_FILE_MAX; i++)
		free(p->files[i].path);
}

int sqlite_place_check(struct sqlite_place *p)
{
	int64_t bytes = 0;
	for (size_t i = 0; i < _SQLITE_FILE_MAX; i++) {
		struct sqlite_file *file = &p->files[i];
		struct stat st;
		bool is_there = stat(file->path, &st) == 0;
		if (is_there && !file->inode) {
			file->device = st.st_dev;
			file->inode = st.st_ino;
		} else if (is_there && !is_same_file(file, &st)) {
			return -ESTALE;
		} else if (!is_there && file->inode) {
			return errno == ENOENT || errno == ENOTDIR ? -ENOENT : -errno;
		}
		bytes += is_there ? st.st_size : 0;
	}
	p->bytes = bytes;
	return 0;
}

bool sqlite_place_is_same(const struct sqlite_place *p)
{
	const struct sqlite_file *file = &p->files[SQLITE_FILE_DB];
	struct stat st;
	return stat(file->path, &st) == 0 && is_same_file(file, &st);
}

static int ask_int(sqlite3 *db, const char *sql, int *ret)
{
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW)
		return sqlite_errno(db);
	*ret = sqlite3_column_int(s, 0);
	return 0;
}

int sqlite_db_version(sqlite3 *db, int *ret)
{
	return ask_int(db, "PRAGMA user_version", ret);
}

int sqlite_db_newest(void)
{
	return ARRAY_SIZE(migrations);
}

int sqlite_db_deployed(sqlite3 *db, struct uuid *ret)
{
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int step = sqlite3_prepare_v2(db, "SELECT id FROM deployment", -1, &s, NULL);
	if (step == SQLITE_OK)
		step = sqlite3_step(s);
	if (step == SQLITE_DONE)
		return -ENOENT;
	if (step != SQLITE_ROW)
		return sqlite_errno(db);
	if (sqlite3_column_bytes(s, 0) != sizeof ret->bytes) /* it is no journal's */
		return -ENOENT;
	memcpy(ret->bytes, sqlite3_column_blob(s, 0), sizeof ret->bytes);
	return 0;
}

static int migrate(sqlite3 *db, const char *path, struct fault *f)
{
	const int newest = ARRAY_SIZE(migrations);
	int version = 0;
	if (sqlite_db_version(db, &version) < 0)
		return db_fault(db, path, f);
	if (version < 0)
		return fault_set(f, FAULT_UNAVAILABLE,
			"the database %s is none of this program, or is damaged: its schema is %d, "
			"expected 0 to %d",
			path, version, newest);
	if (version > newest)
		return fault_set(f, FAULT_UNAVAILABLE,
			"the database %s was written by a newer version of this program: its "
			"schema is %d, the newest known here is %d",
			path, version, newest);

	if (version > 0 && version < newest)
		log_info("the database %s is brought from schema %d to %d: this may take a while",
			path, version, newest);
	if (version == newest)
		return 0;
	char done[64];
	snprintf(done, sizeof done, "PRAGMA user_version = %d; COMMIT", newest);
	int r = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	for (; r == SQLITE_OK && version < newest; version++)
		r = sqlite3_exec(db, migrations[version], NULL, NULL, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_exec(db, done, NULL, NULL, NULL);
	return r == SQLITE_OK ? 0 : db_fault(db, path, f); /* closing the connection rolls back */
}

/* For every connection: the last one that is closed is who would remove the side files. */
static void keep_side_files(sqlite3 *db)
{
	int yes = 1;
	sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &yes);
}

int sqlite_db_open(sqlite3 **ret, const char *path, struct fault *f)
{
	_cleanup_(sqlite3_closep) sqlite3 *db = NULL;
	int r = touch(path, f);
	if (r < 0)
		return r;
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
		SQLITE_OK)
		return db_fault(db, path, f);
	sqlite3_busy_timeout(db, BUSY_MS);
	if (sqlite3_exec(db,
		    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
		    "PRAGMA journal_size_limit = 67108864",
		    NULL, NULL, NULL) != SQLITE_OK)
		return db_fault(db, path, f);
	keep_side_files(db);
	r = migrate(db, path, f);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(db);
	return 0;
}

int sqlite_db_open_reader(sqlite3 **ret, const char *path)
{
	_cleanup_(sqlite3_closep) sqlite3 *db = NULL;
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
		SQLITE_OK)
		return sqlite_errno(db);
	sqlite3_busy_timeout(db, BUSY_MS);
	keep_side_files(db);
	*ret = TAKE_PTR(db);
	return 0;
}

/* SQLite keeps an index of the write-ahead log in a file beside it, but for who is alone: then it
 * is in memory. Without that log nothing but the database itself is looked at. The names of files
 * may hold what means something in a URI. */
int sqlite_db_open_looker(sqlite3 **ret, const char *path)
{
	_cleanup_(sqlite3_closep) sqlite3 *db = NULL;
	_cleanup_(freep) char *wal = xasprintf("%s-wal", path), *uri = NULL;
	struct stat st;
	bool has_log = stat(wal, &st) == 0 && st.st_size > 0;
	struct buf escaped;
	buf_init(&escaped, 3 * strlen(path) + 64);
	for (const char *p = path; *p; p++)
		buf_printf(&escaped, strchr("?#%", *p) ? "%%%02X" : "%c", (unsigned char)*p);
	uri = xasprintf("file:%s?mode=ro%s", escaped.data ? escaped.data : "",
		has_log ? "" : "&immutable=1");
	buf_done(&escaped);
	/* Of that kind it takes no locks, which it could not on a file that is read only. */
	if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
		    "unix-none") != SQLITE_OK)
		return sqlite_errno(db);
	if (sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK ||
		sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_errno(db);
	*ret = TAKE_PTR(db);
	return 0;
}
