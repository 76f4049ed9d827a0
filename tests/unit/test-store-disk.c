/* SPDX-License-Identifier: Apache-2.0 */
/* mist/store.h on a disk: what was acknowledged outlives a close, a kill and a disk that refuses,
 * and a database that cannot be used is refused with a sentence. */
#include "store_place.h"

#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "domain/function.h"
#include "store/files.h"
#include "store/sqlite_db.h"
#include "store/sqlite_reader.h"

TEST(rows_outlive_a_close)
{
	struct place *p = *state;
	struct uuid a = add(p, "pi", JOB_QUEUED, NULL);
	struct uuid b = add(p, "pi", JOB_FINISHED, NULL);
	place_reopen(p);
	check_int(state_of(p, &a), JOB_QUEUED);
	check_int(state_of(p, &b), JOB_FINISHED);
}

/* By the next start the disk may have no room for the log's index. */
TEST(a_close_leaves_the_room_that_the_next_start_needs)
{
	enum { INDEX_BYTES = 32 * 1024 };
	struct place *p = *state;
	struct stat s;
	char path[100];
	add(p, "pi", JOB_QUEUED, NULL);
	for (int i = 0; i < 2; i++) {
		store_close(TAKE_PTR(p->st));
		snprintf(path, sizeof path, "%s/mist.db-wal", p->dir);
		check_int(stat(path, &s), 0);
		check_int(s.st_size, 0);
		snprintf(path, sizeof path, "%s/mist.db-shm", p->dir);
		check_int(stat(path, &s), 0);
		check(s.st_size >= INDEX_BYTES);
		place_reopen(p);
	}
}

TEST(the_database_is_its_owners_only)
{
	struct place *p = *state;
	const char *const names[] = { "mist.db", "mist.db-wal" };
	add(p, "pi", JOB_QUEUED, NULL);
	check_int(settle(p->st), 0);
	for (int i = 0; i < 2; i++) {
		struct stat s;
		char path[100];
		snprintf(path, sizeof path, "%s/%s", p->dir, names[i]);
		check_int(stat(path, &s), 0);
		check_int(s.st_mode & 0777, 0600);
	}
}

/* Closes the store, writes over its database, and expects that it is refused with these words. */
static void check_refused(
	struct place *p, const void *bytes, size_t len, off_t at, const char *words)
{
	char path[100];
	struct fault f = { 0 };
	store_close(TAKE_PTR(p->st));
	snprintf(path, sizeof path, "%s/mist.db", p->dir);
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	must(pwrite(fd, bytes, len, at) == (ssize_t)len);
	check(place_open(p, &f) < 0);
	if (!strstr(f.text, words) || !strstr(f.text, path))
		fail_msg("unexpected: %s", f.text);
}

TEST(a_newer_schema_is_refused)
{
	const uint8_t version[4] = { 0, 0, 0, 99 };
	check_refused(*state, version, sizeof version, 60, "newer version of this program");
}

TEST(a_file_that_is_no_database_is_refused)
{
	check_refused(*state, "hello, hello, hello", 19, 0, "not a database");
}

TEST(a_directory_that_cannot_be_used_is_named)
{
	struct place *p = *state;
	struct fault f = { 0 };
	char dir[32];
	store_close(TAKE_PTR(p->st));
	must(strlen(p->dir) < sizeof dir);
	memcpy(dir, p->dir, sizeof dir);
	snprintf(p->dir, sizeof p->dir, "%s/none", dir);
	check(place_open(p, &f) < 0);
	check(strstr(f.text, "No such file or directory") && strstr(f.text, p->dir));
	snprintf(p->dir, sizeof p->dir, "%s/mist.db", dir);
	must(open(p->dir, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0);
	check(place_open(p, &f) < 0);
	check(strstr(f.text, "Not a directory") && strstr(f.text, p->dir));
	memcpy(p->dir, dir, sizeof dir);
}

static void acknowledge(void *owner, struct store_op *op, int status)
{
	if (status == 0 && write(*(int *)owner, &op->job_id, sizeof op->job_id) < 0)
		_exit(1);
}

_Noreturn static void insert_forever(struct place *p, int to)
{
	struct fault f;
	if (place_open(p, &f) < 0 || store_start(p->st) < 0)
		_exit(1);
	for (int i = 0;; i++) {
		struct job *j = job_make("pi", i);
		struct store_op *op = op_make(STORE_JOB_INSERT, j, JOB_QUEUED);
		job_unref(j);
		op->done = acknowledge;
		op->owner = &to;
		store_post(p->st, op);
		if (i % 50 == 0)
			settle(p->st);
	}
}

TEST(what_was_acknowledged_outlives_a_kill)
{
	struct place *p = *state;
	for (int round = 0; round < 3; round++) {
		int ends[2];
		store_close(TAKE_PTR(p->st));
		must(pipe(ends) == 0);
		pid_t child = fork();
		must(child >= 0);
		if (child == 0)
			insert_forever(p, ends[1]);
		close(ends[1]);

		_cleanup_(fclosep) FILE *told = fdopen(ends[0], "r");
		_cleanup_(freep) struct uuid *ids = NULL;
		size_t n = 0;
		struct uuid id;
		while (fread(&id, sizeof id, 1, told) == 1) {
			ids = xrealloc(ids, (n + 1) * sizeof *ids);
			ids[n++] = id;
			if (n == 700)
				kill(child, SIGKILL);
		}
		waitpid(child, NULL, 0);
		check(n >= 700);
		place_reopen(p);
		for (size_t i = 0; i < n; i++)
			check_int(state_of(p, &ids[i]), JOB_QUEUED);
	}
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;
	must(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* From now on the database cannot grow. */
static void fill_disk(struct place *p)
{
	struct stat s;
	char path[100];
	snprintf(path, sizeof path, "%s/mist.db-wal", p->dir);
	must(stat(path, &s) == 0);
	signal(SIGXFSZ, SIG_IGN);
	limit_files((rlim_t)s.st_size);
}

TEST(a_full_disk_refuses_who_waits_and_keeps_the_rest_until_there_is_room)
{
	struct place *p = *state;
	struct waiter w;
	waiter_init(&w);
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 1), *late = job_make("pi", 2);
	store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	check_int(settle(p->st), 0);

	fill_disk(p);
	store_post(p->st, op_make(STORE_JOB_UPDATE, j, JOB_STARTED));
	post_waited(p->st, op_make(STORE_JOB_INSERT, late, JOB_QUEUED), &w);
	store_post(p->st, op_make(STORE_JOB_UPDATE, j, JOB_FINISHED));
	await(&w);
	int refused = w.status, health = store_health(p->st), again = settle(p->st);
	enum job_state full = state_of(p, &j->id);
	limit_files(RLIM_INFINITY);

	check_int(refused, -ENOSPC);
	check_int(health, -ENOSPC);
	check_int(again, -ENOSPC);
	check_int(full, JOB_QUEUED);
	await_that(store_is_settled(p->st));
	check_int(store_health(p->st), 0);
	check_int(state_of(p, &j->id), JOB_FINISHED);
	check_int(state_of(p, &late->id), _JOB_STATE_INVALID);
}

TEST(a_store_finds_out_by_itself_that_there_is_room_again)
{
	struct place *p = *state;
	struct waiter w;
	waiter_init(&w);
	add(p, "pi", JOB_QUEUED, NULL);
	check_int(settle(p->st), 0);

	fill_disk(p);
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 1);
	post_waited(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED), &w);
	await(&w);
	int again = settle(p->st); /* nothing is kept: it is the store's own try that fails */
	limit_files(RLIM_INFINITY);
	check_int(w.status, -ENOSPC);
	check_int(again, -ENOSPC);
	await_that(store_health(p->st) == 0);
}

/* The twin with a disk that refuses as it is told, and values it cannot hold. */
static atomic_int weather, apply_weather;

static int moody_apply(void *self, const struct store_op *op)
{
	int r = atomic_load(&apply_weather);
	if (r)
		return r;
	if (op->kind == STORE_JOB_INSERT && strcmp(op->job->function->name, "poison") == 0)
		return -E2BIG;
	return store_mem.apply(self, op);
}

static int moody_commit(void *self)
{
	int r = atomic_load(&weather);
	return r ? r : store_mem.commit(self);
}

static int setup_moody(void **state)
{
	static struct store_ops moody;
	moody = store_mem;
	moody.apply = moody_apply;
	moody.commit = moody_commit;
	atomic_store(&weather, 0);
	atomic_store(&apply_weather, 0);
	*state = &moody;
	return place_setup(state);
}

TEST(an_operation_that_cannot_be_written_does_not_stop_the_others)
{
	struct place *p = *state;
	struct waiter good, bad;
	waiter_init(&good);
	waiter_init(&bad);
	atomic_store(&weather, -EIO); /* so that they all are in one batch */
	struct uuid before = add(p, "pi", JOB_QUEUED, NULL);
	check_int(settle(p->st), -EIO);
	add(p, "poison", JOB_QUEUED, NULL);
	struct uuid between = add(p, "pi", JOB_QUEUED, NULL);
	add(p, "poison", JOB_QUEUED, NULL);
	atomic_store(&weather, 0);
	_cleanup_(job_unrefp) struct job *poison = job_make("poison", 1), *j = job_make("pi", 1);
	post_waited(p->st, op_make(STORE_JOB_INSERT, poison, JOB_QUEUED), &bad);
	post_waited(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED), &good);
	await(&good);
	await(&bad);

	check_int(good.status, 0);
	check_int(bad.status, -E2BIG);
	check_int(store_health(p->st), 0);
	check(store_is_settled(p->st));
	check_int(state_of(p, &before), JOB_QUEUED);
	check_int(state_of(p, &between), JOB_QUEUED);
	check_int(state_of(p, &j->id), JOB_QUEUED);
	check_int(count_all(p), 3);
}

/* A disk may refuse before the commit, too: with the first page that has to be written. */
TEST(what_the_disk_refuses_is_kept_in_order)
{
	static const int refusals[] = { -ENOSPC, -EROFS, -EIO, -EBUSY, -EUCLEAN };
	struct place *p = *state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", 1);
		atomic_store(&apply_weather, refusals[i]);
		store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
		store_post(p->st, op_make(STORE_JOB_UPDATE, j, JOB_FINISHED));
		check_int(settle(p->st), refusals[i]);
		check_int(state_of(p, &j->id), _JOB_STATE_INVALID);
		atomic_store(&apply_weather, 0);
		await_that(store_is_settled(p->st));
		check_int(state_of(p, &j->id), JOB_FINISHED);
	}
}

TEST(more_than_a_batch_is_kept_and_nobody_waits_behind_it)
{
	struct place *p = *state;
	atomic_store(&weather, -ENOSPC);
	struct uuid id = { 0 };
	for (int i = 0; i < 5000; i++)
		add(p, "pi", JOB_QUEUED, NULL);
	id = add(p, "pi", JOB_QUEUED, NULL);
	check_int(settle(p->st), -ENOSPC);
	log_text(p, &id, "once\n");
	check_int(settle(p->st), -ENOSPC);
	check(store_backlog(p->st) >= 5001);
	atomic_store(&weather, 0);
	await_that(store_is_settled(p->st));
	check_int(count_all(p), 5001);
	_cleanup_(freep) char *text = log_read(p, &id);
	check_str(text ? text : "", "once\n");
}

TEST(closing_gives_up_on_a_disk_that_refuses)
{
	struct place *p = *state;
	atomic_store(&weather, -EROFS);
	add(p, "pi", JOB_QUEUED, NULL);
	int64_t began = clock_mono_ms();
	store_close(TAKE_PTR(p->st));
	check(clock_mono_ms() - began < DEADLINE_MS);
}

static void key_tell(
	void *arg, const char *key, const char *digest, const struct uuid *job, int64_t created_ms)
{
	char *told = arg;
	(void)job, (void)created_ms;
	snprintf(told + strlen(told), 200 - strlen(told), "%s%s;", key, digest ? "+" : "");
}

TEST(keys_are_read_by_age_and_places_by_number)
{
	struct place *p = *state;
	for (int i = 0; i < 6; i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", i);
		j->created_ms = i + 1;
		j->idempotency_key = xasprintf("k%d", i);
		j->idempotency_digest = i % 2 ? xstrdup("d") : NULL;
		store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	}
	check_int(settle(p->st), 0);
	place_reopen(p);
	char told[200] = "";
	check_int(store_key_each(p->st, 4, 6, 2, key_tell, told), 0);
	check_str(told, "k3+;k5+;k2;k4;");
}

/* Of keys and places that were made when the clock was ahead, and of later ones, the last stand. */
TEST(keys_that_a_clock_ahead_made_are_read_first)
{
	struct place *p = *state;
	for (int i = 0; i < 8; i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", i);
		j->created_ms = i < 4 ? 9000 + i : 1000 + i;
		j->idempotency_key = xasprintf("k%d", i);
		j->idempotency_digest = i % 2 ? xstrdup("d") : NULL;
		store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	}
	check_int(settle(p->st), 0);
	place_reopen(p);
	char told[200] = "";
	check_int(store_key_each(p->st, 1000, 2000, 1, key_tell, told), 0);
	check_str(told, "k1+;k3+;k5+;k7+;k2;k6;");
}

/* How much this process has read from files. */
static long long bytes_read(void)
{
	long long n = -1;
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/io", "re");
	must(f && fscanf(f, "rchar: %lld", &n) == 1);
	return n;
}

struct told {
	int n, n_left_out;
};

static void tell_open(void *arg, const struct job_row *r)
{
	struct told *t = arg;
	t->n++;
	t->n_left_out += r->are_parameters_left_out && strcmp(r->parameters, "{}") == 0;
	check_str(r->source, "Http"); /* what stands after them in a list of columns is theirs */
}

TEST(long_arguments_are_not_read_at_a_start)
{
	enum { N = 12, LEN = 1 << 20 };
	struct place *p = *state;
	struct uuid last;
	for (int i = 0; i < N; i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", i);
		free(j->parameters);
		j->parameters = xasprintf("{\"x\":\"%0*d\"}", i ? LEN : PARAMETERS_LONG - 8, 0);
		last = j->id;
		store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	}
	check_int(settle(p->st), 0);
	place_reopen(p);
	struct told told = { 0 };
	long long before = bytes_read();
	check_int(store_job_open_each(p->st, tell_open, &told), 0);
	check(bytes_read() - before < LEN);
	check_int(told.n, N);
	check_int(told.n_left_out, N - 1);
	struct job_row *row;
	check_int(store_job_get(p->st, &last, &row), 0);
	check_int(strlen(row->parameters), LEN + 8);
	job_row_freep(&row);
}

static void run_sql(const char *dir, const char *sql)
{
	char path[100], *error = NULL;
	sqlite3 *db;
	snprintf(path, sizeof path, "%s/mist.db", dir);
	check_int(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s", error);
	sqlite3_close(db);
}

TEST(a_row_that_does_not_say_how_long_its_arguments_are_is_read)
{
	struct place *p = *state;
	struct uuid a = add(p, "pi", JOB_QUEUED, NULL);
	check_int(settle(p->st), 0);
	store_close(TAKE_PTR(p->st));
	run_sql(p->dir, "UPDATE job SET parameters_length = -1");
	place_reopen(p);
	struct told told = { 0 };
	check_int(store_job_open_each(p->st, tell_open, &told), 0);
	check_int(told.n, 1);
	check_int(told.n_left_out, 0);
	check_int(state_of(p, &a), JOB_QUEUED);
}

/* How SQLite goes about it: what it looks at, and in which order. */
static void plan_of(const struct place *p, const char *query, char *ret, size_t size)
{
	char path[100];
	sqlite3 *db;
	sqlite3_stmt *s;
	_cleanup_(freep) char *sql = xasprintf("EXPLAIN QUERY PLAN %s", query);
	snprintf(path, sizeof path, "%s/mist.db", p->dir);
	check_int(sqlite3_open(path, &db), SQLITE_OK);
	check_int(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	ret[0] = '\0';
	while (sqlite3_step(s) == SQLITE_ROW)
		snprintf(ret + strlen(ret), size - strlen(ret), "%s;", sqlite3_column_text(s, 3));
	sqlite3_finalize(s);
	sqlite3_close(db);
}

/* A page of it, its beginning or behind a job, and its total go by that index only. */
static void goes_by(const struct place *p, struct job_query q, const char *name)
{
	static const struct uuid some = { { 1 } };
	char sql[SQLITE_JOB_QUERY], plan[1000];
	for (int i = 0; i < 3; i++) {
		q.before = i == 1 ? &some : NULL;
		(void)sqlite_job_query(
			sql, i < 2 ? JOB_COLUMNS : "COUNT(*)", &q, i < 2 ? SQLITE_JOB_PAGE : "");
		plan_of(p, sql, plan, sizeof plan);
		if (!strstr(plan, name) || strchr(plan, ';')[1])
			fail_msg("%s: expected %s only, got %s", sql, name, plan);
	}
}

/* The one that leads to the fewest rows. */
TEST(a_filter_of_jobs_goes_by_the_index_of_the_rarest)
{
	struct place *p = *state;
	const uint32_t open = BIT(JOB_QUEUED) | BIT(JOB_STARTED), failed = BIT(JOB_FAILED),
		       bad = BIT(JOB_FAILED) | BIT(JOB_CANCELLED);
	goes_by(p, (struct job_query){ .function = "f" }, "INDEX job_function (");
	goes_by(p, (struct job_query){ .context = "c" }, "INDEX job_context (");
	goes_by(p, (struct job_query){ .external_id = "e" }, "INDEX job_external (");
	goes_by(p, (struct job_query){ .states = open }, "INDEX job_open");
	goes_by(p, (struct job_query){ .states = failed }, "INDEX job_unsuccessful");
	goes_by(p, (struct job_query){ .states = bad }, "INDEX job_unsuccessful");
	goes_by(p, (struct job_query){ .function = "f", .context = "c" }, "INDEX job_context (");
	goes_by(p, (struct job_query){ .function = "f", .states = failed },
		"INDEX job_unsuccessful");
	goes_by(p, (struct job_query){ .context = "c", .states = open }, "INDEX job_open");
	goes_by(p, (struct job_query){ .function = "f", .states = BIT(JOB_FINISHED) | failed },
		"INDEX job_function (");
	goes_by(p,
		(struct job_query){ .function = "f",
			.context = "c",
			.external_id = "e",
			.worker = "w",
			.states = open },
		"INDEX job_external (");
	goes_by(p, (struct job_query){ .worker = "w", .context = "c", .states = bad },
		"INDEX job_unsuccessful");
}

TEST(a_database_of_version_7_gets_what_finds_failures)
{
	struct place *p = *state;
	struct uuid a = add(p, "pi", JOB_FAILED, NULL);
	check_int(settle(p->st), 0);
	store_close(TAKE_PTR(p->st));
	run_sql(p->dir,
		"DROP TABLE deployment; DROP INDEX job_unsuccessful; PRAGMA user_version = 7");
	place_reopen(p);
	check_int(state_of(p, &a), JOB_FAILED);
	goes_by(p, (struct job_query){ .states = BIT(JOB_FAILED) }, "INDEX job_unsuccessful");
}

static void write_file(const struct place *p, const char *name, const char *text)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", p->dir, name);
	_cleanup_(fclosep) FILE *f = fopen(path, "we");
	must(f && fputs(text, f) >= 0);
}

static void check_file(const struct place *p, const char *name, const char *text)
{
	char there[16] = "";
	_cleanup_(freep) char *path = xasprintf("%s/%s", p->dir, name);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	must(f && fgets(there, sizeof there, f));
	check_str(there, text);
}

static struct store_op *deployment_of(const struct place *p, const char *from, const char *to)
{
	struct store_op *op = store_op_new(STORE_DEPLOY, NULL);
	write_file(p, from, "new");
	write_file(p, to, "old");
	op->files = xcalloc(1, sizeof *op->files);
	op->n_files = 1;
	op->files[0].from = xasprintf("%s/%s", p->dir, from);
	op->files[0].to = xasprintf("%s/%s", p->dir, to);
	return op;
}

static bool has_journal(const struct place *p)
{
	_cleanup_(freep) char *path = xasprintf("%s/.deployment", p->dir);
	return access(path, F_OK) == 0;
}

/* As a process leaves it that is killed when its files have their names. */
TEST(a_deployment_that_was_not_committed_is_undone_at_the_next_start)
{
	struct place *p = *state;
	struct store_op *op = deployment_of(p, "new", "a");
	check_int(files_replace(op, NULL), 0);
	check_file(p, "a", "new");
	check(has_journal(p));
	store_op_free(op);
	place_reopen(p);
	check_file(p, "a", "old");
	check(!has_journal(p));
}

/* The journal comes back, as after a loss of power. */
TEST(the_database_says_which_deployment_took_effect)
{
	struct place *p = *state;
	struct waiter w;
	struct uuid id;
	sqlite3 *db;
	char path[100];
	waiter_init(&w);
	post_waited(p->st, deployment_of(p, "new-a", "a"), &w);
	await(&w);
	check_int(w.status, 0);
	store_close(TAKE_PTR(p->st));
	snprintf(path, sizeof path, "%s/mist.db", p->dir);
	check_int(sqlite3_open(path, &db), SQLITE_OK);
	check_int(sqlite_db_deployed(db, &id), 0);
	sqlite3_close(db);

	struct store_op *op = deployment_of(p, "new-b", "b");
	check_int(files_replace(op, NULL), 0);
	op->journal->id = id;
	check_int(journal_write(op->journal), 0);
	store_op_free(op);
	place_reopen(p);
	check_file(p, "a", "new");
	check_file(p, "b", "new");
	check(!has_journal(p));
}

/* The page of the database that says it. */
static void damage_deployed(const struct place *p)
{
	static const char zeros[512];
	sqlite3 *db;
	sqlite3_stmt *stmt;
	char path[100];
	snprintf(path, sizeof path, "%s/mist.db", p->dir);
	check_int(sqlite3_open(path, &db), SQLITE_OK);
	check_int(sqlite3_prepare_v2(db,
			  "SELECT (rootpage - 1) * (SELECT page_size FROM pragma_page_size) "
			  "FROM sqlite_schema WHERE name = 'deployment'",
			  -1, &stmt, NULL),
		SQLITE_OK);
	check_int(sqlite3_step(stmt), SQLITE_ROW);
	off_t at = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	must(at > 0 && pwrite(fd, zeros, sizeof zeros, at) == sizeof zeros);
}

TEST(a_database_that_cannot_say_which_deployment_it_took_stops_a_start_that_has_to_know)
{
	struct place *p = *state;
	struct fault f;
	store_close(TAKE_PTR(p->st));
	damage_deployed(p);
	place_reopen(p);
	store_close(TAKE_PTR(p->st));

	struct store_op *op = deployment_of(p, "new", "a");
	check_int(files_replace(op, NULL), 0);
	store_op_free(op);
	check(place_open(p, &f) < 0);
	check(strstr(f.text, "a deployment is not finished") && strstr(f.text, "--check-data"));
	check_file(p, "a", "new");
	check(has_journal(p));
}

/* Each is a transaction of its own: a journal is of one. */
TEST(deployments_that_come_together_are_made_one_after_the_other)
{
	struct place *p = *state;
	struct waiter w;
	struct fault f;
	waiter_init(&w);
	store_close(TAKE_PTR(p->st));
	check_int(place_open(p, &f), 0);
	post_waited(p->st, deployment_of(p, "new-a", "a"), &w);
	struct uuid job = add(p, "pi", JOB_QUEUED, NULL);
	post_waited(p->st, deployment_of(p, "new-b", "b"), &w);
	post_waited(p->st, deployment_of(p, "new-c", "c"), &w);
	must(store_start(p->st) == 0);
	await(&w);
	check(w.is_in_order);
	check_int(w.status, 0);
	check_file(p, "a", "new");
	check_file(p, "b", "new");
	check_file(p, "c", "new");
	check_int(state_of(p, &job), JOB_QUEUED);
	check(!has_journal(p));
}

#define ON_DISK(sentence)                                                                          \
	cmocka_unit_test_prestate_setup_teardown(                                                  \
		sentence, place_setup, place_teardown, (void *)&store_sqlite)
#define ON_MOODY(sentence) cmocka_unit_test_setup_teardown(sentence, setup_moody, place_teardown)

RUN_TESTS(ON_DISK(rows_outlive_a_close), ON_DISK(a_close_leaves_the_room_that_the_next_start_needs),
	ON_DISK(keys_are_read_by_age_and_places_by_number),
	ON_DISK(keys_that_a_clock_ahead_made_are_read_first),
	ON_DISK(long_arguments_are_not_read_at_a_start),
	ON_DISK(a_row_that_does_not_say_how_long_its_arguments_are_is_read),
	ON_DISK(a_filter_of_jobs_goes_by_the_index_of_the_rarest),
	ON_DISK(a_database_of_version_7_gets_what_finds_failures),
	ON_DISK(a_deployment_that_was_not_committed_is_undone_at_the_next_start),
	ON_DISK(the_database_says_which_deployment_took_effect),
	ON_DISK(a_database_that_cannot_say_which_deployment_it_took_stops_a_start_that_has_to_know),
	ON_DISK(deployments_that_come_together_are_made_one_after_the_other),
	ON_DISK(the_database_is_its_owners_only), ON_DISK(a_newer_schema_is_refused),
	ON_DISK(a_file_that_is_no_database_is_refused),
	ON_DISK(a_directory_that_cannot_be_used_is_named),
	ON_DISK(what_was_acknowledged_outlives_a_kill),
	ON_DISK(a_full_disk_refuses_who_waits_and_keeps_the_rest_until_there_is_room),
	ON_DISK(a_store_finds_out_by_itself_that_there_is_room_again),
	ON_MOODY(an_operation_that_cannot_be_written_does_not_stop_the_others),
	ON_MOODY(what_the_disk_refuses_is_kept_in_order),
	ON_MOODY(more_than_a_batch_is_kept_and_nobody_waits_behind_it),
	ON_MOODY(closing_gives_up_on_a_disk_that_refuses))
