/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the database, its schema, and what its errors mean. */
#pragma once

#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/fault.h"

/* The columns of table job, in the order in which all our statements name them. */
enum job_column {
	JOB_COL_ID,
	JOB_COL_STATE,
	JOB_COL_FUNCTION,
	JOB_COL_PATH,
	JOB_COL_CLASS_NAME,
	JOB_COL_CONTEXT,
	JOB_COL_PARAMETERS,
	JOB_COL_SOURCE,
	JOB_COL_EXTERNAL_ID,
	JOB_COL_REPLY_TO,
	JOB_COL_TRACE,
	JOB_COL_WORKER,
	JOB_COL_RESULT,
	JOB_COL_ERROR,
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
	_JOB_COL_MAX
};

#define JOB_COLUMNS                                                                                \
	"id, state, function, path, class_name, context, parameters, source, external_id, "        \
	"reply_to, trace, worker, result, error, created_ms, started_ms, ended_ms, "               \
	"start_timeout_ms, perform_timeout_ms, priority, attempt, is_sync, "                       \
	"idempotency_key, idempotency_digest, door, owed"

/* The negative errno for the last failure on this connection: one of -ENOSPC, -EROFS, -EBUSY, -EIO,
 * -ENOMEM, which are the disk's or the machine's, or -E2BIG, -EINVAL, which are the value's. SQLite
 * says "I/O error" for many things and forgets the system's reason when it was a commit, so this
 * looks at errno: whoever must know sets it to 0 before the call. */
int sqlite_errno(sqlite3 *db);

/* Opens the writing connection: made or migrated to the newest schema. */
int sqlite_db_open(sqlite3 **ret, const char *path, struct fault *f);

/* A connection that only reads; to be used by one thread at a time. */
int sqlite_db_open_reader(sqlite3 **ret, const char *path);

static inline void sqlite3_closep(sqlite3 **db)
{
	sqlite3_close(*db);
}

static inline void sqlite3_finalizep(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}
