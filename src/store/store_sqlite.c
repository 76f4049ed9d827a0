/* SPDX-License-Identifier: Apache-2.0 */
/* The default backend: one SQLite file, `mist.db`, in the data directory.
 *
 * This file is the writing side, used by the store's thread alone: a handful of prepared
 * statements, each run with values that are bound where they lie (the operation outlives its
 * transaction). Reading is sqlite_reader.c, on connections of its own.
 *
 * An id that is there already is replaced: it can only be the same job, tried again after a commit
 * that was called a failure and was none. */
#include "mist/store.h"

#include <errno.h>
#include <string.h>

#include "domain/function.h"
#include "store/journal.h"
#include "store/sqlite_aside.h"
#include "store/sqlite_db.h"
#include "store/sqlite_reader.h"

enum stmt {
	STMT_BEGIN,
	STMT_COMMIT,
	STMT_ROLLBACK,
	STMT_JOB_INSERT,
	STMT_JOB_UPDATE,
	STMT_JOB_DELIVERED,
	STMT_JOBS_PRUNE,
	STMT_LISTENER_PUT,
	STMT_LISTENERS_DROP,
	STMT_NOUN_PUT,
	STMT_NOUN_DROP,
	STMT_DEPLOYED,
	STMT_TOUCH,
	_STMT_MAX
};

static const char *const stmt_sql[_STMT_MAX] = {
	[STMT_BEGIN] = "BEGIN IMMEDIATE",
	[STMT_COMMIT] = "COMMIT",
	[STMT_ROLLBACK] = "ROLLBACK",
	[STMT_JOB_INSERT] = "INSERT OR REPLACE INTO job (" JOB_COLUMNS
			    ", parameters_length) VALUES (?1, ?2, ?3, ?4, "
			    "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, "
			    "?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)",
	[STMT_JOB_UPDATE] = "UPDATE job SET state = ?2, worker = ?3, result = ?4, error = ?5, "
			    "started_ms = ?6, ended_ms = ?7, attempt = ?8, owed = ?9, "
			    "progress = ?10 WHERE id = ?1",
	[STMT_JOB_DELIVERED] = "UPDATE job SET owed = 0 WHERE id = ?1",
	[STMT_JOBS_PRUNE] = "DELETE FROM job WHERE id <= ?1 AND state >= 5 AND owed = 0 AND id NOT "
			    "IN (SELECT job FROM listener)",
	[STMT_LISTENER_PUT] =
		"INSERT OR IGNORE INTO listener (job, door, reply_to) SELECT id, ?2, ?3 FROM job "
		"WHERE id = ?1",
	[STMT_LISTENERS_DROP] = "DELETE FROM listener WHERE job = ?1 AND door = ?2",
	[STMT_NOUN_PUT] = "INSERT OR REPLACE INTO noun (kind, name, settings) VALUES (?1, ?2, ?3)",
	[STMT_NOUN_DROP] = "DELETE FROM noun WHERE kind = ?1 AND name = ?2",
	[STMT_DEPLOYED] = "INSERT OR REPLACE INTO deployment (place, id) VALUES (1, ?1)",
	[STMT_TOUCH] = "PRAGMA application_id = 1835627380", /* "mist" */
};

struct sqlite {
	struct sqlite_place place;
	struct store_settings settings;
	sqlite3 *db;
	sqlite3_stmt *stmt[_STMT_MAX];
	struct sqlite_readers readers;
};

static int sqlite_open(void *self, const struct store_settings *s, struct fault *f)
{
	struct sqlite *sq = self;
	sqlite_place_init(&sq->place, s->directory);
	sq->settings = *s;
	sqlite_readers_init(&sq->readers, &sq->place, &sq->settings);
	const char *path = sq->place.files[SQLITE_FILE_DB].path;
	int r = sqlite_db_open(&sq->db, path, f);
	if (r < 0)
		return r;
	(void)sqlite_place_check(&sq->place);
	for (int i = 0; i < _STMT_MAX; i++)
		if (sqlite3_prepare_v3(sq->db, stmt_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
			    &sq->stmt[i], NULL) != SQLITE_OK)
			return fault_set(f, FAULT_UNAVAILABLE, "the database %s cannot be used: %s",
				path, sqlite3_errmsg(sq->db));
	return 0;
}

static int run(struct sqlite *sq, enum stmt i)
{
	errno = 0;
	int step = sqlite3_step(sq->stmt[i]);
	int r = step == SQLITE_DONE || step == SQLITE_ROW ? 0 : sqlite_errno(sq->db);
	sqlite3_reset(sq->stmt[i]);
	return r;
}

/* Collects the first failure of a row of binds, so that the callers stay readable. */
struct binder {
	sqlite3_stmt *s;
	int failed;
};

static void bind_text(struct binder *b, int i, const char *text)
{
	b->failed |= sqlite3_bind_text(b->s, i, text, -1, SQLITE_STATIC);
}

static void bind_int(struct binder *b, int i, int64_t n)
{
	b->failed |= sqlite3_bind_int64(b->s, i, n);
}

static void bind_id(struct binder *b, int i, const struct uuid *id)
{
	b->failed |= sqlite3_bind_blob(b->s, i, id->bytes, sizeof id->bytes, SQLITE_STATIC);
}

static int insert(struct sqlite *sq, const struct store_op *op)
{
	const struct job *j = op->job;
	const struct job_change *c = &op->change;
	const char *parameters = op->is_whole ? j->parameters : "{}";
	struct binder b = { .s = sq->stmt[STMT_JOB_INSERT] };

	bind_id(&b, JOB_COL_ID + 1, &j->id);
	bind_int(&b, JOB_COL_STATE + 1, c->state);
	bind_text(&b, JOB_COL_FUNCTION + 1, j->function->name);
	bind_text(&b, JOB_COL_PATH + 1, j->function->settings.path);
	bind_text(&b, JOB_COL_CLASS_NAME + 1, j->function->settings.class_name);
	bind_text(&b, JOB_COL_CONTEXT + 1, j->context);
	bind_text(&b, JOB_COL_PARAMETERS + 1, parameters);
	bind_int(&b, _JOB_COL_MAX + 1, (int64_t)strlen(parameters));
	bind_text(&b, JOB_COL_SOURCE + 1, j->source);
	bind_text(&b, JOB_COL_EXTERNAL_ID + 1, j->external_id);
	bind_text(&b, JOB_COL_REPLY_TO + 1, j->reply_to);
	bind_text(&b, JOB_COL_TRACE + 1, j->trace);
	bind_text(&b, JOB_COL_WORKER + 1, c->worker);
	bind_text(&b, JOB_COL_RESULT + 1, c->result);
	bind_text(&b, JOB_COL_ERROR + 1, c->error);
	bind_int(&b, JOB_COL_CREATED + 1, j->created_ms);
	bind_int(&b, JOB_COL_STARTED + 1, c->started_ms);
	bind_int(&b, JOB_COL_ENDED + 1, c->ended_ms);
	bind_int(&b, JOB_COL_START_TIMEOUT + 1, j->start_timeout_ms);
	bind_int(&b, JOB_COL_PERFORM_TIMEOUT + 1, j->perform_timeout_ms);
	bind_int(&b, JOB_COL_PRIORITY + 1, j->priority);
	bind_int(&b, JOB_COL_ATTEMPT + 1, c->attempt);
	bind_int(&b, JOB_COL_IS_SYNC + 1, j->is_sync);
	bind_text(&b, JOB_COL_KEY + 1, j->idempotency_key);
	bind_text(&b, JOB_COL_DIGEST + 1, j->idempotency_digest);
	bind_text(&b, JOB_COL_DOOR + 1, j->door);
	bind_int(&b, JOB_COL_OWED + 1, c->is_owed);
	bind_text(&b, JOB_COL_PROGRESS + 1, c->progress);
	bind_text(&b, JOB_COL_IGNORED + 1, j->ignored);
	return b.failed ? sqlite_errno(sq->db) : run(sq, STMT_JOB_INSERT);
}

static int update(struct sqlite *sq, const struct store_op *op)
{
	const struct job_change *c = &op->change;
	struct binder b = { .s = sq->stmt[STMT_JOB_UPDATE] };

	bind_id(&b, 1, &op->job->id);
	bind_int(&b, 2, c->state);
	bind_text(&b, 3, c->worker);
	bind_text(&b, 4, c->result);
	bind_text(&b, 5, c->error);
	bind_int(&b, 6, c->started_ms);
	bind_int(&b, 7, c->ended_ms);
	bind_int(&b, 8, c->attempt);
	bind_int(&b, 9, c->is_owed);
	bind_text(&b, 10, c->progress);
	int r = b.failed ? sqlite_errno(sq->db) : run(sq, STMT_JOB_UPDATE);
	if (r < 0 || sqlite3_changes(sq->db))
		return r;
	/* Its row was set aside while the job went on: it is written anew. Without its arguments no
	 * gateway could run it from there, so then its outcome only is. */
	return op->is_whole || job_state_is_final(c->state) ? insert(sq, op) : 0;
}

static int deliver(struct sqlite *sq, const struct store_op *op)
{
	struct binder b = { .s = sq->stmt[STMT_JOB_DELIVERED] };
	int r = 0;
	for (size_t i = 0; r == 0 && i < op->n_ids; i++) {
		bind_id(&b, 1, &op->ids[i]);
		r = b.failed ? sqlite_errno(sq->db) : run(sq, STMT_JOB_DELIVERED);
	}
	return r;
}

static int prune(struct sqlite *sq, const struct store_op *op)
{
	struct binder b = { .s = sq->stmt[STMT_JOBS_PRUNE] };
	bind_id(&b, 1, &op->job_id);
	return b.failed ? sqlite_errno(sq->db) : run(sq, STMT_JOBS_PRUNE);
}

static int change_listeners(struct sqlite *sq, const struct store_op *op, enum stmt i)
{
	struct binder b = { .s = sq->stmt[i] };
	bind_id(&b, 1, &op->job_id);
	bind_text(&b, 2, op->name);
	if (i == STMT_LISTENER_PUT)
		bind_text(&b, 3, op->text);
	return b.failed ? sqlite_errno(sq->db) : run(sq, i);
}

static int change_noun(struct sqlite *sq, const struct store_op *op, enum stmt i)
{
	struct binder b = { .s = sq->stmt[i] };
	bind_int(&b, 1, op->noun);
	bind_text(&b, 2, op->name);
	if (i == STMT_NOUN_PUT)
		bind_text(&b, 3, op->text);
	return b.failed ? sqlite_errno(sq->db) : run(sq, i);
}

/* Its parts come by themselves. */
static int deploy(struct sqlite *sq, const struct store_op *op)
{
	struct binder b = { .s = sq->stmt[STMT_DEPLOYED] };
	if (!op->journal)
		return 0;
	bind_id(&b, 1, &op->journal->id);
	return b.failed ? sqlite_errno(sq->db) : run(sq, STMT_DEPLOYED);
}

static int sqlite_begin(void *self)
{
	return run(self, STMT_BEGIN);
}

static int sqlite_apply(void *self, const struct store_op *op)
{
	switch (op->kind) {
	case STORE_JOB_INSERT:
		return insert(self, op);
	case STORE_JOB_UPDATE:
		return update(self, op);
	case STORE_JOBS_DELIVERED:
		return deliver(self, op);
	case STORE_JOBS_PRUNE:
		return prune(self, op);
	case STORE_LISTENER_PUT:
		return change_listeners(self, op, STMT_LISTENER_PUT);
	case STORE_LISTENERS_DROP:
		return change_listeners(self, op, STMT_LISTENERS_DROP);
	case STORE_NOUN_PUT:
		return change_noun(self, op, STMT_NOUN_PUT);
	case STORE_NOUN_DROP:
		return change_noun(self, op, STMT_NOUN_DROP);
	case STORE_SET_ASIDE:
		return sqlite_set_aside(((struct sqlite *)self)->db, op->row, op->text);
	case STORE_UNREADABLE_DROP:
		return sqlite_unreadable_drop(((struct sqlite *)self)->db, op->number);
	case STORE_SETTLE: /* changes nothing, but a page must go to the disk for it */
		return run(self, STMT_TOUCH);
	case STORE_DEPLOY:
		return deploy(self, op);
	case STORE_LOG:
		return 0;
	}
	return 0;
}

static int sqlite_commit(void *self)
{
	return run(self, STMT_COMMIT);
}

static void sqlite_rollback(void *self)
{
	struct sqlite *sq = self;
	if (!sqlite3_get_autocommit(sq->db)) /* some failures have rolled back already */
		run(sq, STMT_ROLLBACK);
}

static int sqlite_get(void *self, const struct uuid *id, struct job_row **ret)
{
	return sqlite_job_get(&((struct sqlite *)self)->readers, id, ret);
}

static int sqlite_list(void *self, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total)
{
	return sqlite_job_list(&((struct sqlite *)self)->readers, q, each, arg, ret_total);
}

static int sqlite_open_each(void *self, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return sqlite_job_open_each(&((struct sqlite *)self)->readers, each, arg);
}

static int sqlite_undelivered(void *self, const char *transport,
	const struct store_undelivered *after, struct store_undelivered *ret, size_t max)
{
	struct sqlite *sq = self;
	return sqlite_undelivered_list(&sq->readers, transport, after, ret, max);
}

static int sqlite_owed_each(void *self, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return sqlite_job_owed_each(&((struct sqlite *)self)->readers, each, arg);
}

static int sqlite_newest(void *self, struct uuid *ret)
{
	return sqlite_job_newest(&((struct sqlite *)self)->readers, ret);
}

static int sqlite_old(void *self, int64_t before_ms, int64_t now_ms, struct uuid *ret)
{
	return sqlite_job_old(&((struct sqlite *)self)->readers, before_ms, now_ms, ret);
}

static int each_listener(void *self, store_listener_fn *each, void *arg)
{
	return sqlite_listener_each(&((struct sqlite *)self)->readers, each, arg);
}

static int each_noun(void *self, enum store_noun noun,
	void (*each)(void *arg, const char *name, const char *text), void *arg)
{
	return sqlite_noun_each(&((struct sqlite *)self)->readers, noun, each, arg);
}

static int sqlite_deployed(void *self, struct uuid *ret)
{
	return sqlite_db_deployed(((struct sqlite *)self)->db, ret);
}

static int each_key(void *self, int64_t since_ms, int64_t now_ms, int64_t places_max,
	store_key_fn *each, void *arg)
{
	return sqlite_key_each(
		&((struct sqlite *)self)->readers, since_ms, now_ms, places_max, each, arg);
}

static int each_unreadable(void *self, int64_t number, int64_t limit, int64_t offset,
	store_unreadable_fn *each, void *arg, int64_t *ret_total)
{
	return sqlite_unreadable_each(
		&((struct sqlite *)self)->readers, number, limit, offset, each, arg, ret_total);
}

static int sqlite_check(void *self)
{
	return sqlite_place_check(&((struct sqlite *)self)->place);
}

static int64_t sqlite_bytes(void *self)
{
	return ((struct sqlite *)self)->place.bytes;
}

static void sqlite_close(void *self)
{
	struct sqlite *sq = self;
	if (!sq->place.files[0].path)
		return;
	sqlite_readers_done(&sq->readers);
	for (int i = 0; i < _STMT_MAX; i++)
		sqlite3_finalize(sq->stmt[i]);
	/* The last connection copies the log into the database and removes it, by its name: not one
	 * that belongs to another database by now. */
	int keeps_log = sq->db && sqlite_place_check(&sq->place) < 0;
	if (keeps_log)
		sqlite3_file_control(sq->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keeps_log);
	sqlite3_close(sq->db);
	sqlite_place_done(&sq->place);
}

const struct store_ops store_sqlite = {
	.name = "sqlite",
	.size = sizeof(struct sqlite),
	.open = sqlite_open,
	.begin = sqlite_begin,
	.apply = sqlite_apply,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.check = sqlite_check,
	.bytes = sqlite_bytes,
	.job_get = sqlite_get,
	.job_list = sqlite_list,
	.job_open_each = sqlite_open_each,
	.job_owed_each = sqlite_owed_each,
	.undelivered_list = sqlite_undelivered,
	.job_newest = sqlite_newest,
	.job_old = sqlite_old,
	.key_each = each_key,
	.listener_each = each_listener,
	.noun_each = each_noun,
	.deployed = sqlite_deployed,
	.unreadable_each = each_unreadable,
	.close = sqlite_close,
};
