/* SPDX-License-Identifier: Apache-2.0 */
/* mist/store.h and the place where its files are: they go away, come back, are others, are no files
 * at all, or the disk below them does not answer. */
#include "store_place.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics/exposition.h"

static void path_of(struct place *p, const char *name, char ret[static 100])
{
	snprintf(ret, 100, "%s/%s", p->dir, name);
}

static void move(struct place *p, const char *from, const char *to)
{
	char a[100], b[100];
	path_of(p, from, a);
	path_of(p, to, b);
	must(rename(a, b) == 0);
}

static int insert(struct place *p)
{
	struct waiter w;
	waiter_init(&w);
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 1);
	post_waited(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED), &w);
	await(&w);
	return w.status;
}

TEST(files_that_were_moved_away_are_missed_and_welcome_back)
{
	static const char *const names[] = { "mist.db", "mist.db-wal", "mist.db-shm" };
	struct place *p = *state;
	check_int(insert(p), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct fault f = { 0 };
		move(p, names[i], "elsewhere");
		check_int(insert(p), -ENOENT); /* at once, */
		check_int(store_check_writable(p->st, &f), -ENOENT);
		check(strstr(f.text, "moved away") && strstr(f.text, p->dir));
		move(p, "elsewhere", names[i]);
		await_that(store_health(p->st) == 0);
		move(p, names[i], "elsewhere");
		await_that(store_health(p->st) == -ENOENT); /* and when nobody writes */
		move(p, "elsewhere", names[i]);
		await_that(store_health(p->st) == 0);
		check_int(insert(p), 0);
	}
	place_reopen(p);
	check_int(count_all(p), 4);
}

TEST(other_files_in_their_place_are_neither_written_nor_read)
{
	struct place *p = *state;
	struct fault f = { 0 };
	char path[100], wal[100];
	check_int(insert(p), 0);
	move(p, "mist.db", "elsewhere");
	path_of(p, "mist.db", path);
	path_of(p, "mist.db-wal", wal);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && close(fd) == 0);
	check_int(insert(p), -ESTALE);
	check_int(store_check_writable(p->st, &f), -ESTALE);
	check(strstr(f.text, "restart"));
	store_close(TAKE_PTR(p->st));
	struct stat s;
	check_int(stat(path, &s), 0);
	check_int(s.st_size, 0);
	check_int(stat(wal, &s), 0); /* it may be the other's by now */
	move(p, "elsewhere", "mist.db");
	place_reopen(p);
	check_int(count_all(p), 1);
}

TEST(a_folder_of_logs_that_was_removed_is_made_again)
{
	struct place *p = *state;
	char path[100];
	const struct uuid id = { { 1 } };
	path_of(p, "logs", path);
	must(rmdir(path) == 0);
	log_text(p, &id, "a line\n");
	check_int(settle(p->st), 0);
	_cleanup_(freep) char *text = log_read(p, &id);
	check_str(text ? text : "", "a line\n");
}

/* As /metrics tells it. */
static size_t refused_log_bytes(struct place *p)
{
	static const char name[] = "\nmist_store_refused_log_bytes ";
	struct exposition *e = exposition_new(EXPOSITION_PROMETHEUS, 1 << 20);
	store_metrics_put(p->st, e);
	_cleanup_(freep) char *text = exposition_take(e);
	const char *sample = strstr(text, name);
	must(sample);
	return strtoull(sample + sizeof name - 1, NULL, 10);
}

static struct store_settings given;

static int note_settings(void *self, const struct store_settings *s, struct fault *f)
{
	given = *s;
	return store_mem.open(self, s, f);
}

TEST(what_a_backend_keeps_of_the_settings_is_not_the_callers)
{
	struct place *p = *state;
	struct store_ops ops = store_mem;
	struct fault f = { 0 };
	struct store *st;
	char directory[sizeof p->dir];
	memcpy(directory, p->dir, sizeof directory);
	const struct store_settings s = { .directory = directory, .artifacts = directory };
	ops.open = note_settings;
	check_int(store_open(&st, &ops, &s, &f), 0);
	memset(directory, 'x', sizeof directory - 1);
	check_str(given.directory, p->dir);
	check(!given.artifacts);
	store_close(st);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;
	signal(SIGXFSZ, SIG_IGN);
	must(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = bytes;
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

TEST(lines_that_a_full_disk_refuses_are_written_when_there_is_room)
{
	struct place *p = *state;
	const struct uuid a = { { 1 } }, b = { { 2 } };
	log_text(p, &a, "one\n");
	check_int(settle(p->st), 0);
	limit_files(10);
	log_text(p, &a, "two is longer than there is room\n");
	log_text(p, &b, "b\n");
	int settled = settle(p->st);
	log_text(p, &a, "three\n");
	settled |= settle(p->st);
	_cleanup_(freep) char *half = log_read(p, &a);
	bool is_kept = refused_log_bytes(p) > 0;
	limit_files(RLIM_INFINITY);
	check_int(settled, 0);    /* no job waits for its log */
	check_str(half, "one\n"); /* no line is cut */
	check(is_kept);
	await_that(refused_log_bytes(p) == 0);
	_cleanup_(freep) char *text_a = log_read(p, &a), *text_b = log_read(p, &b);
	check_str(text_a, "one\ntwo is longer than there is room\nthree\n");
	check_str(text_b ? text_b : "", "b\n");
}

/* The limit is one of each file. */
TEST(a_log_that_cannot_grow_holds_up_no_other)
{
	enum { N = 30, LINES = 20 };
	struct place *p = *state;
	const struct uuid full = { { 1 } };
	log_text(p, &full, "a file that has become long\n");
	check_int(settle(p->st), 0);
	limit_files(25);
	for (int i = 0; i < LINES; i++) {
		const struct uuid other = { { 2, (uint8_t)(i % N) } };
		log_text(p, &full, "x\n");
		log_text(p, &other, "y\n");
		check_int(settle(p->st), 0);
		_cleanup_(freep) char *text = log_read(p, &other);
		check_str(text ? text : "", "y\n");
	}
	bool is_kept = refused_log_bytes(p) > 0;
	limit_files(RLIM_INFINITY);
	check(is_kept);
	await_that(refused_log_bytes(p) == 0);
	_cleanup_(freep) char *text = log_read(p, &full);
	check_int(strlen(text), strlen("a file that has become long\n") + 2 * LINES);
}

/* One job may not have all of the room that there is for what is refused. */
TEST(what_is_kept_of_a_log_has_a_limit)
{
	enum { CHUNK = 1 << 20, N = 10 };
	struct place *p = *state;
	const struct uuid full = { { 1 } }, other = { { 2 } };
	_cleanup_(freep) char *chunk = xcalloc(1, CHUNK + 1);
	memset(chunk, 'x', CHUNK);
	limit_files(10);
	for (int i = 0; i < N; i++)
		log_text(p, &full, chunk);
	log_text(p, &other, "more than ten bytes\n");
	int settled = settle(p->st);
	size_t kept = refused_log_bytes(p), waiting = store_backlog_bytes(p->st);
	bool is_settled = store_is_settled(p->st);
	limit_files(RLIM_INFINITY);
	check_int(settled, 0);
	check(kept > 3 * CHUNK && kept < 5 * CHUNK);
	check(is_settled); /* nobody waits for it */
	check_int(waiting, 0);
	await_that(refused_log_bytes(p) == 0);
	_cleanup_(freep) char *text = log_read(p, &other);
	check_str(text ? text : "", "more than ten bytes\n");
}

/* It would take the room of others as long as the file is refused. */
TEST(a_log_of_which_the_disk_takes_nothing_is_given_up)
{
	struct place *p = *state;
	const struct uuid id = { { 1 } };
	p->keep_logs_ms = 1;
	place_reopen(p);
	limit_files(10);
	log_text(p, &id, "this is longer than there is room\n");
	int settled = settle(p->st);
	await_that(refused_log_bytes(p) == 0);
	limit_files(RLIM_INFINITY);
	check_int(settled, 0);
	log_text(p, &id, "later\n");
	check_int(settle(p->st), 0);
	_cleanup_(freep) char *text = log_read(p, &id);
	check_str(text ? text : "", "later\n");
}

/* Each of these would block whoever opens it, or be written to. */
TEST(what_is_no_file_in_place_of_a_log_is_left_alone)
{
	struct place *p = *state;
	for (int kind = 0; kind < 4; kind++) {
		const struct uuid id = { { 2, (uint8_t)kind } };
		char path[200], other[100];
		store_log_path(p->st, &id, path, sizeof path);
		path_of(p, "other", other);
		must(kind != 0 || mkfifo(path, 0600) == 0);
		must(kind != 1 || mkdir(path, 0700) == 0);
		must(kind != 2 || symlink(other, path) == 0);
		must(kind != 3 || symlink("/dev/full", path) == 0);
		log_text(p, &id, "a line\n");
		check_int(settle(p->st), 0);
		check_int(store_log_open(p->st, &id), -EINVAL);
		check_int(access(other, F_OK), -1);
		check(store_is_settled(p->st));
	}
	const struct uuid none = { { 3 } };
	check_int(store_log_open(p->st, &none), -ENOENT);
}

/* A job whose log is in the way beside one that logs well, and then many of them. */
TEST(of_a_log_that_cannot_be_written_it_is_told_once)
{
	struct place *p = *state;
	struct uuid ids[100] = { 0 };
	for (int i = 0; i < 100; i++) {
		char path[200];
		ids[i].bytes[0] = (uint8_t)(i + 1);
		store_log_path(p->st, &ids[i], path, sizeof path);
		must(i == 1 || mkdir(path, 0700) == 0);
	}
	log_set_level(LOG_LEVEL_WARN);
	uint64_t before = log_count(LOG_LEVEL_WARN);
	for (int i = 0; i < 200; i++)
		log_text(p, &ids[i % 2], "a line\n");
	check_int(settle(p->st), 0);
	check_int(log_count(LOG_LEVEL_WARN) - before, 1);
	for (int i = 2; i < 100; i++)
		log_text(p, &ids[i], "a line\n");
	check_int(settle(p->st), 0);
	check_int(log_count(LOG_LEVEL_WARN) - before, LOG_LIMIT_LINES);
	log_set_level(LOG_LEVEL_ERROR);
}

TEST(a_pipe_in_place_of_the_database_is_refused)
{
	struct place *p = *state;
	struct fault f = { 0 };
	char path[100];
	path_of(p, "mist.db", path);
	store_close(TAKE_PTR(p->st));
	must(unlink(path) == 0 && mkfifo(path, 0600) == 0);
	check(place_open(p, &f) < 0);
	check(strstr(f.text, "it is no file") && strstr(f.text, path));
}

/* The twin with a disk that holds whoever commits until it is let go. */
static atomic_bool holds;
static sem_t held;

static int holding_commit(void *self)
{
	if (atomic_load(&holds))
		sem_wait(&held);
	return store_mem.commit(self);
}

static int setup_holding(void **state)
{
	static struct store_ops holding;
	holding = store_mem;
	holding.commit = holding_commit;
	atomic_store(&holds, false);
	sem_init(&held, 0, 0);
	*state = &holding;
	return place_setup(state);
}

static void hang(struct place *p)
{
	p->hang_ms = 50;
	place_reopen(p);
	atomic_store(&holds, true);
}

TEST(nobody_waits_for_a_disk_that_does_not_answer)
{
	struct place *p = *state;
	struct waiter first, later;
	struct fault f = { 0 };
	waiter_init(&first);
	waiter_init(&later);
	hang(p);
	_cleanup_(job_unrefp) struct job *a = job_make("pi", 1), *b = job_make("pi", 2);
	post_waited(p->st, op_make(STORE_JOB_INSERT, a, JOB_QUEUED), &first);
	await_that(store_health(p->st) == -ETIMEDOUT);
	check_int(store_check_writable(p->st, &f), -ETIMEDOUT);
	check(strstr(f.text, "does not answer"));
	post_waited(p->st, op_make(STORE_JOB_INSERT, b, JOB_QUEUED), &later);
	struct uuid kept = add(p, "pi", JOB_QUEUED, NULL);
	await(&later); /* it was not begun */
	check_int(later.status, -ETIMEDOUT);
	check_int(first.done, 0);
	atomic_store(&holds, false);
	sem_post(&held);
	await(&first);
	check_int(first.status, 0);
	await_that(store_is_settled(p->st) && store_health(p->st) == 0);
	check_int(state_of(p, &a->id), JOB_QUEUED);
	check_int(state_of(p, &b->id), _JOB_STATE_INVALID);
	check_int(state_of(p, &kept), JOB_QUEUED);
}

TEST(a_stop_does_not_wait_for_a_disk_that_does_not_answer)
{
	struct place *p = *state;
	struct waiter begun, posted;
	waiter_init(&begun);
	waiter_init(&posted);
	hang(p);
	_cleanup_(job_unrefp) struct job *a = job_make("pi", 1), *b = job_make("pi", 2);
	post_waited(p->st, op_make(STORE_JOB_INSERT, a, JOB_QUEUED), &begun);
	await_that(store_health(p->st) == -ETIMEDOUT);
	post_waited(p->st, op_make(STORE_JOB_INSERT, b, JOB_QUEUED), &posted);
	store_stop(p->st); /* returns */
	await(&begun);
	await(&posted);
	check_int(begun.status, -EINPROGRESS); /* or it is written yet */
	check_int(posted.status, -ETIMEDOUT);
}

TEST(what_waits_is_counted_in_bytes)
{
	struct place *p = *state;
	check_int(store_backlog_bytes(p->st), 0);
	atomic_store(&holds, true);
	_cleanup_(job_unrefp) struct job *a = job_make("pi", 1);
	store_post(p->st, op_make(STORE_JOB_INSERT, a, JOB_QUEUED));
	struct store_op *op = op_make(STORE_JOB_UPDATE, a, JOB_FINISHED);
	op->change.result = xcalloc(1, 1000001);
	memset(op->change.result, '1', 1000000);
	store_post(p->st, op);
	const struct uuid id = { { 1 } };
	_cleanup_(freep) char *line = xcalloc(1, 100001);
	memset(line, 'x', 100000);
	log_text(p, &id, line);
	size_t n = store_backlog_bytes(p->st);
	check(n >= 1100000 && n < 1200000);
	atomic_store(&holds, false);
	sem_post(&held);
	await_that(store_is_settled(p->st));
	check_int(store_backlog_bytes(p->st), 0);
}

/* SQLite calls this one. */
static atomic_int n_syncs;

int fdatasync(int fd)
{
	atomic_fetch_add(&n_syncs, 1);
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	atomic_fetch_add(&n_syncs, 1);
	return (int)syscall(SYS_fsync, fd);
}

TEST(what_is_acknowledged_was_synced)
{
	struct place *p = *state;
	for (int i = 0; i < 20; i++) {
		int before = atomic_load(&n_syncs);
		check_int(insert(p), 0);
		check(atomic_load(&n_syncs) > before);
	}
}

#define ON(ops, sentence)                                                                          \
	{                                                                                          \
#sentence, sentence, place_setup, place_teardown, (void *)&(ops)                   \
	}
#define ON_HOLDING(sentence)                                                                       \
	{                                                                                          \
#sentence, sentence, setup_holding, place_teardown, NULL                           \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(store_sqlite, files_that_were_moved_away_are_missed_and_welcome_back),
		ON(store_sqlite, other_files_in_their_place_are_neither_written_nor_read),
		ON(store_sqlite, a_folder_of_logs_that_was_removed_is_made_again),
		ON(store_mem, of_a_log_that_cannot_be_written_it_is_told_once),
		ON(store_sqlite, what_is_no_file_in_place_of_a_log_is_left_alone),
		ON(store_sqlite, a_pipe_in_place_of_the_database_is_refused),
		ON(store_sqlite, what_is_acknowledged_was_synced),
		ON(store_mem, what_a_backend_keeps_of_the_settings_is_not_the_callers),
		ON(store_mem, lines_that_a_full_disk_refuses_are_written_when_there_is_room),
		ON(store_mem, a_log_that_cannot_grow_holds_up_no_other),
		ON(store_mem, what_is_kept_of_a_log_has_a_limit),
		ON(store_mem, a_log_of_which_the_disk_takes_nothing_is_given_up),
		ON_HOLDING(nobody_waits_for_a_disk_that_does_not_answer),
		ON_HOLDING(what_waits_is_counted_in_bytes),
		/* The last: it leaves a thread that is held for ever. */
		ON_HOLDING(a_stop_does_not_wait_for_a_disk_that_does_not_answer),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
