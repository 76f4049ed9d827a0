/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the database, its schema, and what its errors mean. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/uuid.h"

/* The columns of table job in the order in which all our statements name them, which is theirs in
 * the row, too: what may be long stands last. */
enum job_column {
	JOB_COL_ID,
	JOB_COL_STATE,
	JOB_COL_FUNCTION,
	JOB_COL_PATH,
	JOB_COL_CLASS_NAME,
	JOB_COL_CONTEXT,
	JOB_COL_SOURCE,
	JOB_COL_EXTERNAL_ID,
	JOB_COL_REPLY_TO,
	JOB_COL_TRACE,
	JOB_COL_WORKER,
	JOB_COL_CREATED,
	JOB_COL_STARTED,
	JOB_COL_ENDED,
	JOB_COL_START_TIMEOUT,
	JOB_COL_PERFORM_TIMEOUT,
	JOB_COL_PRIORITY,
	JOB_COL_ATTEMPT,
	JOB_COL_IS_SYNC,
	JOB_COL_KEY,
	JOB_COL_DIGEST,
	JOB_COL_DOOR,
	JOB_COL_OWED,
	JOB_COL_ERROR,
	JOB_COL_RESULT,
	JOB_COL_PARAMETERS,
	JOB_COL_PROGRESS, /* read together with those only */
	JOB_COL_IGNORED,  /* the same; it is short, so with short arguments always */
	_JOB_COL_MAX
};

#define JOB_COLUMNS_SHORT                                                                          \
	"id, state, function, path, class_name, context, source, external_id, reply_to, trace, "   \
	"worker, created_ms, started_ms, ended_ms, start_timeout_ms, perform_timeout_ms, "         \
	"priority, attempt, is_sync, idempotency_key, idempotency_digest, door, owed, error, "     \
	"result, "
#define JOB_COLUMNS JOB_COLUMNS_SHORT "parameters, progress, ignored"

/* Those that the table has had since version 1, in the order of enum job_column, under the names of
 * then: for databases of former versions. */
#define JOB_COLUMNS_OF_1                                                                           \
	"id, state, function, path, class_name, context, source, external_id, reply_to, trace, "   \
	"worker, created_ms, started_ms, ended_ms, start_timeout_ms, perform_timeout_ms, "         \
	"priority, attempt, is_sync, idempotency_key, idempotency_digest, door, owed, error, "     \
	"result, parameters"

/* The files of the database, and which they were when they were opened: a database that was moved
 * away or replaced goes on taking writes, which nobody would find again. */
enum { SQLITE_FILE_DB, SQLITE_FILE_WAL, SQLITE_FILE_SHM, _SQLITE_FILE_MAX };

struct sqlite_place {
	struct sqlite_file {
		char *path;
		dev_t device;
		ino_t inode; /* 0: not seen yet */
	} files[_SQLITE_FILE_MAX];
	int64_t bytes; /* of all of them, when they were last looked at */
};

void sqlite_place_init(struct sqlite_place *p, const char *directory);
void sqlite_place_done(struct sqlite_place *p);
/* 0, -ENOENT: one is gone, -ESTALE: another is in its place, or the errno of looking. Remembers
 * those that it sees for the first time. The store's thread, and before it runs. */
int sqlite_place_check(struct sqlite_place *p);
/* Whether the path still leads to the database that was opened. Any thread. */
bool sqlite_place_is_same(const struct sqlite_place *p);

/* The negative errno for the last failure on this connection: one of -ENOSPC, -EROFS, -EBUSY, -EIO,
 * -ENOMEM, which are the disk's or the machine's, -EUCLEAN, of a database that is damaged, or
 * -E2BIG, -EINVAL, which are the value's. SQLite
 * says "I/O error" for many things and forgets the system's reason when it was a commit, so this
 * looks at errno: whoever must know sets it to 0 before the call. */
int sqlite_errno(sqlite3 *db);

/* Opens the writing connection: made or migrated to the newest schema. */
int sqlite_db_open(sqlite3 **ret, const char *path, struct fault *f);

/* The schema of an open database, and the newest that is known here. */
int sqlite_db_version(sqlite3 *db, int *ret);
int sqlite_db_newest(void);

/* The last deployment with files that it took. -ENOENT: there is none. */
int sqlite_db_deployed(sqlite3 *db, struct uuid *ret);

/* A connection that only reads; to be used by one thread at a time. */
int sqlite_db_open_reader(sqlite3 **ret, const char *path);

/* The same of a database that no gateway uses, and nothing is written beside it: what is in its
 * write-ahead log is read, and stays there. */
int sqlite_db_open_looker(sqlite3 **ret, const char *path);

static inline void sqlite3_closep(sqlite3 **db)
{
	sqlite3_close(*db);
}

static inline void sqlite3_finalizep(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}
