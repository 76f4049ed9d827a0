/* SPDX-License-Identifier: Apache-2.0 */
/* mist/store.h: what was acknowledged is there, in the order posted, whatever backend and whatever
 * the disk does. The promises of the seam are proved for each backend by the same tests. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "domain/function.h"
#include "mist/store.h"

enum { DEADLINE_MS = 20000 };

/* A store in a folder of its own. */
struct place {
	char dir[64];
	const struct store_ops *ops;
	struct store *st;
};

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	(void)s, (void)type, (void)ftw;
	return remove(path);
}

static int try_open(struct place *p, struct fault *f)
{
	const struct store_settings s = { .directory = p->dir };
	return store_open(&p->st, p->ops, &s, f);
}

static void reopen(struct place *p)
{
	struct fault f = { 0 };
	store_close(TAKE_PTR(p->st));
	if (try_open(p, &f) < 0)
		fail_msg("%s", f.text);
	must(store_start(p->st) == 0);
}

static int setup(void **state)
{
	struct place *p = xcalloc(1, sizeof *p);
	p->ops = *state;
	snprintf(p->dir, sizeof p->dir, "/tmp/test-store-XXXXXX");
	must(mkdtemp(p->dir));
	reopen(p);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	store_close(p->st);
	nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

/* Waits for `n` calls of `note`, which must come in the order in which `posted` counted. */
struct waiter {
	sem_t called;
	int posted, done;
	int status; /* of the last */
	bool is_in_order;
};

static void waiter_init(struct waiter *w)
{
	*w = (struct waiter){ .is_in_order = true };
	sem_init(&w->called, 0, 0);
}

struct ticket {
	struct waiter *w;
	int number;
};

static void note(void *owner, struct store_op *op, int status)
{
	struct ticket *t = owner;
	struct waiter *w = t->w;
	(void)op;
	w->is_in_order &= t->number == w->done++;
	w->status = status;
	free(t);
	sem_post(&w->called);
}

static void post_noted(struct store *st, struct store_op *op, struct waiter *w)
{
	struct ticket *t = xcalloc(1, sizeof *t);
	*t = (struct ticket){ w, w->posted++ };
	op->done = note;
	op->owner = t;
	store_post(st, op);
}

static void await(struct waiter *w)
{
	struct timespec at;
	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += DEADLINE_MS / 1000;
	while (w->posted > 0) {
		if (sem_timedwait(&w->called, &at) < 0 && errno != EINTR)
			fail_msg("%d operations were not answered", w->posted);
		else
			w->posted--;
	}
	w->done = 0;
}

/* The status with which everything posted so far is settled. */
static int settle(struct store *st)
{
	struct waiter w;
	waiter_init(&w);
	post_noted(st, store_op_new(STORE_SETTLE, NULL), &w);
	await(&w);
	return w.status;
}

#define await_that(cond)                                                                           \
	do {                                                                                       \
		const struct timespec _moment = { .tv_nsec = 2000000 };                            \
		int64_t _until = clock_mono_ms() + DEADLINE_MS;                                    \
		while (!(cond) && clock_mono_ms() < _until)                                        \
			nanosleep(&_moment, NULL);                                                 \
		check(cond);                                                                       \
	} while (0)

static struct job *job_make(const char *function, int number)
{
	char text[64];
	snprintf(text, sizeof text, "{\"n\":%d}", number);
	struct function_settings fs = {
		.path = (char *)"/a/pi.py", .class_name = (char *)"pi", .context = (char *)"default"
	};
	struct job *j = job_new();
	j->created_ms = clock_wall_ms();
	uuid_make(&j->id, j->created_ms);
	j->function = function_new(function, &fs);
	j->context = xstrdup("default");
	j->parameters = xstrdup(text);
	j->source = xstrdup("Http");
	j->start_timeout_ms = DURATION_INF;
	j->perform_timeout_ms = 5000;
	j->priority = number;
	return j;
}

static struct store_op *op_make(enum store_op_kind kind, struct job *j, enum job_state state)
{
	struct store_op *op = store_op_new(kind, j);
	op->change.state = state;
	return op;
}

/* Posts an insert that nobody waits for, and returns the id. */
static struct uuid add(
	struct place *p, const char *function, enum job_state state, const char *worker)
{
	_cleanup_(job_unrefp) struct job *j = job_make(function, 0);
	struct store_op *op = op_make(STORE_JOB_INSERT, j, state);
	op->change.worker = worker ? xstrdup(worker) : NULL;
	store_post(p->st, op);
	return j->id;
}

static enum job_state state_of(struct place *p, const struct uuid *id)
{
	_cleanup_(job_row_freep) struct job_row *row = NULL;
	return store_job_get(p->st, id, &row) == 0 ? row->state : _JOB_STATE_INVALID;
}

/* The ids that a read told, in its order. */
struct told {
	struct uuid ids[100];
	int n;
	int64_t total;
};

static void tell(void *arg, const struct job_row *r)
{
	struct told *t = arg;
	must(t->n < 100);
	t->ids[t->n++] = r->id;
}

static struct told list(struct place *p, struct job_query q)
{
	struct told t = { 0 };
	check_int(store_job_list(p->st, &q, tell, &t, &t.total), 0);
	return t;
}

static bool is_at(const struct told *t, int i, const struct uuid *id)
{
	return i < t->n && memcmp(&t->ids[i], id, sizeof *id) == 0;
}

TEST(a_job_is_read_as_it_was_posted)
{
	struct place *p = *state;
	struct waiter w;
	waiter_init(&w);
	_cleanup_(job_unrefp) struct job *j = job_make("pi", -7);
	j->external_id = xstrdup("it's \"mine\" ÄÖ");
	j->is_sync = true;
	struct store_op *op = op_make(STORE_JOB_INSERT, j, JOB_QUEUED);
	post_noted(p->st, op, &w);
	await(&w);
	check_int(w.status, 0);

	_cleanup_(job_row_freep) struct job_row *r = NULL;
	check_int(store_job_get(p->st, &j->id, &r), 0);
	check_bytes(&r->id, &j->id, sizeof j->id);
	check_int(r->state, JOB_QUEUED);
	check_str(r->function, "pi");
	check_str(r->path, "/a/pi.py");
	check_str(r->class_name, "pi");
	check_str(r->context, "default");
	check_str(r->parameters, "{\"n\":-7}");
	check_str(r->source, "Http");
	check_str(r->external_id, "it's \"mine\" ÄÖ");
	check(!r->reply_to && !r->trace && !r->worker && !r->result && !r->error);
	check(r->created_ms == j->created_ms && r->started_ms == 0 && r->ended_ms == 0);
	check(r->start_timeout_ms == DURATION_INF && r->perform_timeout_ms == 5000);
	check_int(r->priority, -7);
	check_int(r->attempt, 0);
	check(r->is_sync);
}

TEST(an_update_changes_the_half_that_moves)
{
	struct place *p = *state;
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 1);
	store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	struct store_op *op = op_make(STORE_JOB_UPDATE, j, JOB_FAILED);
	op->change.attempt = 2;
	op->change.started_ms = 11;
	op->change.ended_ms = 12;
	op->change.worker = xstrdup("default_1");
	op->change.error = xstrdup("no");
	store_post(p->st, op);
	check_int(settle(p->st), 0);

	_cleanup_(job_row_freep) struct job_row *r = NULL;
	check_int(store_job_get(p->st, &j->id, &r), 0);
	check_int(r->state, JOB_FAILED);
	check_int(r->attempt, 2);
	check(r->started_ms == 11 && r->ended_ms == 12);
	check_str(r->worker, "default_1");
	check_str(r->error, "no");
	check_str(r->parameters, "{\"n\":1}");
}

TEST(an_unknown_job_is_not_found)
{
	struct place *p = *state;
	const struct uuid id = { { 1 } };
	struct job_row *r = NULL;
	check_int(store_job_get(p->st, &id, &r), -ENOENT);
	check(!r);
}

TEST(who_waits_is_told_in_the_order_posted)
{
	struct place *p = *state;
	struct waiter w;
	waiter_init(&w);
	for (int i = 0; i < 5000; i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", i);
		struct store_op *op = op_make(STORE_JOB_INSERT, j, JOB_QUEUED);
		if (i % 3)
			post_noted(p->st, op, &w);
		else
			store_post(p->st, op);
	}
	await(&w);
	check(w.is_in_order);
	check_int(w.status, 0);
	check_int(settle(p->st), 0);
	check_int(list(p, (struct job_query){ .limit = 3 }).total, 5000);
}

TEST(a_store_is_settled_when_all_that_was_posted_is_durable)
{
	struct place *p = *state;
	check(store_is_settled(p->st));
	struct uuid last;
	for (int i = 0; i < 100; i++)
		last = add(p, "pi", JOB_QUEUED, NULL);
	await_that(store_is_settled(p->st));
	check_int(store_backlog(p->st), 0);
	check_int(state_of(p, &last), JOB_QUEUED);
	check_int(store_health(p->st), 0);
}

TEST(a_page_is_the_newest_first_and_the_total_counts_all)
{
	struct place *p = *state;
	struct uuid ids[10];
	for (int i = 0; i < 10; i++)
		ids[i] = add(p, "pi", JOB_QUEUED, NULL);
	check_int(settle(p->st), 0);

	struct told t = list(p, (struct job_query){ .limit = 4, .offset = 3 });
	check_int(t.n, 4);
	check_int(t.total, 10);
	for (int i = 0; i < 4; i++)
		check(is_at(&t, i, &ids[6 - i]));
	t = list(p, (struct job_query){ .limit = 4, .offset = INT64_MAX });
	check_int(t.n, 0);
	check_int(t.total, 10);
	t = list(p, (struct job_query){ .limit = 0 });
	check_int(t.n, 0);
	check_int(t.total, 10);
}

TEST(a_page_is_of_the_function_worker_and_states_asked_for)
{
	struct place *p = *state;
	struct uuid a = add(p, "a", JOB_QUEUED, NULL);
	struct uuid b = add(p, "b", JOB_STARTED, "w1");
	struct uuid c = add(p, "a", JOB_FINISHED, "w1");
	struct uuid d = add(p, "a", JOB_FAILED, "w2");
	check_int(settle(p->st), 0);

	struct told t = list(p, (struct job_query){ .function = "a", .limit = 9 });
	check(t.total == 3 && is_at(&t, 0, &d) && is_at(&t, 1, &c) && is_at(&t, 2, &a));
	t = list(p, (struct job_query){ .worker = "w1", .limit = 9 });
	check(t.total == 2 && is_at(&t, 0, &c) && is_at(&t, 1, &b));
	t = list(
		p, (struct job_query){ .states = BIT(JOB_FINISHED) | BIT(JOB_QUEUED), .limit = 9 });
	check(t.total == 2 && is_at(&t, 0, &c) && is_at(&t, 1, &a));
	t = list(p, (struct job_query){ .states = BIT(JOB_STARTED), .limit = 9 });
	check(t.total == 1 && is_at(&t, 0, &b));
	t = list(p,
		(struct job_query){
			.states = BIT(JOB_FAILED), .function = "a", .worker = "w2", .limit = 9 });
	check(t.total == 1 && is_at(&t, 0, &d));
	t = list(p, (struct job_query){ .function = "a' OR '1", .limit = 9 });
	check_int(t.total, 0);
}

TEST(the_open_jobs_are_told_oldest_first)
{
	struct place *p = *state;
	struct uuid a = add(p, "a", JOB_QUEUED, NULL);
	add(p, "b", JOB_FINISHED, NULL);
	struct uuid c = add(p, "a", JOB_CANCELLING, NULL);
	add(p, "a", JOB_CANCELLED, NULL);
	check_int(settle(p->st), 0);
	struct told t = { 0 };
	check_int(store_job_open_each(p->st, tell, &t), 0);
	check_int(t.n, 2);
	check(is_at(&t, 0, &a) && is_at(&t, 1, &c));
}

static void log_text(struct place *p, const struct uuid *id, const char *text)
{
	struct store_op *op = store_op_new(STORE_LOG, NULL);
	op->job_id = *id;
	op->text = xstrdup(text);
	op->text_len = strlen(text);
	store_post(p->st, op);
}

/* The text of a job's log; NULL: it has none. */
static char *log_read(struct place *p, const struct uuid *id)
{
	char path[200];
	store_log_path(p->st, id, path, sizeof path);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	char *text = f ? xcalloc(1, 4096) : NULL;
	if (f)
		text[fread(text, 1, 4095, f)] = '\0';
	return text;
}

TEST(logs_are_appended_in_order_each_to_its_own_file)
{
	struct place *p = *state;
	struct uuid ids[40]; /* more than stay open */
	for (int i = 0; i < 40; i++)
		ids[i] = add(p, "pi", JOB_STARTED, NULL);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 40; i++)
			log_text(p, &ids[i],
				round == 0   ? "one\n"
				: round == 1 ? "two\n"
					     : "three\n");
	check_int(settle(p->st), 0);
	for (int i = 0; i < 40; i++) {
		_cleanup_(freep) char *text = log_read(p, &ids[i]);
		check_str(text ? text : "", "one\ntwo\nthree\n");
	}
}

TEST(pruning_removes_ended_jobs_below_an_id_and_their_logs)
{
	struct place *p = *state;
	struct uuid old_open = add(p, "pi", JOB_STARTED, NULL);
	struct uuid old = add(p, "pi", JOB_FINISHED, NULL);
	struct uuid young = add(p, "pi", JOB_FINISHED, NULL);
	log_text(p, &old_open, "x");
	log_text(p, &old, "x");
	log_text(p, &young, "x");
	struct store_op *op = store_op_new(STORE_JOBS_PRUNE, NULL);
	op->job_id = young;
	store_post(p->st, op);
	log_text(p, &young, "y");
	check_int(settle(p->st), 0);

	check_int(state_of(p, &old_open), JOB_STARTED);
	check_int(state_of(p, &old), _JOB_STATE_INVALID);
	check_int(state_of(p, &young), JOB_FINISHED);
	_cleanup_(freep) char *open_log = log_read(p, &old_open);
	_cleanup_(freep) char *old_log = log_read(p, &old);
	_cleanup_(freep) char *young_log = log_read(p, &young);
	check(open_log && !old_log);
	check_str(young_log ? young_log : "", "xy");
}

enum { READERS = 12, WRITTEN = 3000 };

static void count_whole(void *arg, const struct job_row *r)
{
	*(int *)arg += r->function && r->parameters && r->state == JOB_QUEUED;
}

/* Reads until all is there; the answer is NULL when each page was whole and no total went down. */
static void *read_on(void *arg)
{
	struct place *p = arg;
	const struct job_query q = { .limit = 10 };
	int64_t total = 0, before = 0, until = clock_mono_ms() + DEADLINE_MS;
	while (total < WRITTEN) {
		int n = 0;
		if (store_job_list(p->st, &q, count_whole, &n, &total) < 0)
			return (void *)"a read failed";
		if (total < before || n != (total < 10 ? total : 10))
			return (void *)"a page and its total do not agree";
		if (clock_mono_ms() > until)
			return (void *)"the rows did not come";
		before = total;
	}
	return NULL;
}

TEST(many_read_while_one_writes)
{
	struct place *p = *state;
	pthread_t threads[READERS];
	for (int i = 0; i < READERS; i++)
		must(pthread_create(&threads[i], NULL, read_on, p) == 0);
	for (int i = 0; i < WRITTEN; i++) {
		add(p, "pi", JOB_QUEUED, NULL);
		if (i % 100 == 0)
			settle(p->st);
	}
	for (int i = 0; i < READERS; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		check_str(wrong ? (char *)wrong : "", "");
	}
}

TEST(closing_answers_everybody)
{
	struct place *p = *state;
	struct waiter w;
	waiter_init(&w);
	for (int i = 0; i < 300; i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", i);
		post_noted(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED), &w);
	}
	store_close(TAKE_PTR(p->st));
	check_int(w.done, 300);
	check_int(w.status, 0);
}

TEST(rows_outlive_a_close)
{
	struct place *p = *state;
	struct uuid a = add(p, "pi", JOB_QUEUED, NULL);
	struct uuid b = add(p, "pi", JOB_FINISHED, NULL);
	reopen(p);
	check_int(state_of(p, &a), JOB_QUEUED);
	check_int(state_of(p, &b), JOB_FINISHED);
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
	check(try_open(p, &f) < 0);
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
	struct store *other = NULL;
	const struct store_settings same = { .directory = p->dir };
	check(store_open(&other, p->ops, &same, &f) < 0);
	check(strstr(f.text, "in use by another") && strstr(f.text, p->dir));

	store_close(TAKE_PTR(p->st));
	must(strlen(p->dir) < sizeof dir);
	memcpy(dir, p->dir, sizeof dir);
	snprintf(p->dir, sizeof p->dir, "%s/none", dir);
	check(try_open(p, &f) < 0);
	check(strstr(f.text, "No such file or directory") && strstr(f.text, p->dir));
	snprintf(p->dir, sizeof p->dir, "%s/mist.db", dir);
	must(open(p->dir, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0);
	check(try_open(p, &f) < 0);
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
	if (try_open(p, &f) < 0 || store_start(p->st) < 0)
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
		reopen(p);
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
	post_noted(p->st, op_make(STORE_JOB_INSERT, late, JOB_QUEUED), &w);
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
	post_noted(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED), &w);
	await(&w);
	int again = settle(p->st); /* nothing is kept: it is the store's own try that fails */
	limit_files(RLIM_INFINITY);
	check_int(w.status, -ENOSPC);
	check_int(again, -ENOSPC);
	await_that(store_health(p->st) == 0);
}

/* The twin with a disk that refuses as it is told, and values it cannot hold. */
static atomic_int weather;

static int moody_apply(void *self, const struct store_op *op)
{
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
	*state = &moody;
	return setup(state);
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
	post_noted(p->st, op_make(STORE_JOB_INSERT, poison, JOB_QUEUED), &bad);
	post_noted(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED), &good);
	await(&good);
	await(&bad);

	check_int(good.status, 0);
	check_int(bad.status, -E2BIG);
	check_int(store_health(p->st), 0);
	check(store_is_settled(p->st));
	check_int(state_of(p, &before), JOB_QUEUED);
	check_int(state_of(p, &between), JOB_QUEUED);
	check_int(state_of(p, &j->id), JOB_QUEUED);
	check_int(list(p, (struct job_query){ .limit = 9 }).total, 3);
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
	check_int(list(p, (struct job_query){ .limit = 1 }).total, 5001);
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

#define ON(backend, sentence)                                                                      \
	{                                                                                          \
#backend ": " #sentence, sentence, setup, teardown, (void *)&store_##backend       \
	}
#define ON_BOTH(sentence)  ON(sqlite, sentence), ON(mem, sentence)
#define ON_MOODY(sentence) cmocka_unit_test_setup_teardown(sentence, setup_moody, teardown)

RUN_TESTS(ON_BOTH(a_job_is_read_as_it_was_posted), ON_BOTH(an_update_changes_the_half_that_moves),
	ON_BOTH(an_unknown_job_is_not_found), ON_BOTH(who_waits_is_told_in_the_order_posted),
	ON_BOTH(a_store_is_settled_when_all_that_was_posted_is_durable),
	ON_BOTH(a_page_is_the_newest_first_and_the_total_counts_all),
	ON_BOTH(a_page_is_of_the_function_worker_and_states_asked_for),
	ON_BOTH(the_open_jobs_are_told_oldest_first),
	ON_BOTH(logs_are_appended_in_order_each_to_its_own_file),
	ON_BOTH(pruning_removes_ended_jobs_below_an_id_and_their_logs),
	ON_BOTH(many_read_while_one_writes), ON_BOTH(closing_answers_everybody),
	ON(sqlite, rows_outlive_a_close), ON(sqlite, the_database_is_its_owners_only),
	ON(sqlite, a_newer_schema_is_refused), ON(sqlite, a_file_that_is_no_database_is_refused),
	ON(sqlite, a_directory_that_cannot_be_used_is_named),
	ON(sqlite, what_was_acknowledged_outlives_a_kill),
	ON(sqlite, a_full_disk_refuses_who_waits_and_keeps_the_rest_until_there_is_room),
	ON(sqlite, a_store_finds_out_by_itself_that_there_is_room_again),
	ON_MOODY(an_operation_that_cannot_be_written_does_not_stop_the_others),
	ON_MOODY(more_than_a_batch_is_kept_and_nobody_waits_behind_it),
	ON_MOODY(closing_gives_up_on_a_disk_that_refuses))
