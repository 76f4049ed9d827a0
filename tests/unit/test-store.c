/* SPDX-License-Identifier: Apache-2.0 */
/* mist/store.h: the promises of the seam, proved for each backend by the same tests. */
#include "store_place.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	j->ignored = xstrdup("force, more");
	j->is_sync = true;
	struct store_op *op = op_make(STORE_JOB_INSERT, j, JOB_QUEUED);
	post_waited(p->st, op, &w);
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
	check_str(r->ignored, "force, more");
	_cleanup_(job_unrefp) struct job *again = job_of_row(r);
	check_str(again->ignored, "force, more");
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
			post_waited(p->st, op, &w);
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

TEST(a_page_goes_on_behind_a_job_and_ends_with_its_bytes)
{
	struct place *p = *state;
	struct uuid ids[10];
	for (int i = 0; i < 10; i++)
		ids[i] = add(p, i % 2 ? "odd" : "even", JOB_QUEUED, NULL);
	check_int(settle(p->st), 0);

	struct told t = list(p, (struct job_query){ .limit = 3, .before = &ids[5] });
	check_int(t.n, 3);
	for (int i = 0; i < 3; i++)
		check(is_at(&t, i, &ids[4 - i]));
	t = list(p, (struct job_query){ .limit = 9, .before = &ids[0] });
	check_int(t.n, 0);
	t = list(p, (struct job_query){ .limit = 9, .before = &ids[4], .function = "odd" });
	check_int(t.n, 2);
	check(is_at(&t, 0, &ids[3]) && is_at(&t, 1, &ids[1]));
	t = list(p, (struct job_query){ .limit = 9, .bytes_max = 1 });
	check_int(t.n, 1);
	check_int(t.total, 10);
	check(is_at(&t, 0, &ids[9]));
	t = list(p, (struct job_query){ .limit = 9, .bytes_max = 1 << 20 });
	check_int(t.n, 9);
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

TEST(a_page_is_of_the_context_and_the_external_id_asked_for)
{
	struct place *p = *state;
	static const char *const names[] = { "mine", NULL, "mine", "min", "mine" };
	struct uuid ids[ARRAY_SIZE(names)];
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", (int)i);
		j->external_id = names[i] ? xstrdup(names[i]) : NULL;
		if (i == 4) {
			free(j->context);
			j->context = xstrdup("other");
		}
		ids[i] = j->id;
		store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	}
	check_int(settle(p->st), 0);

	struct told t = list(p, (struct job_query){ .external_id = "mine", .limit = 9 });
	check(t.total == 3 && is_at(&t, 0, &ids[4]) && is_at(&t, 1, &ids[2]) &&
		is_at(&t, 2, &ids[0]));
	t = list(p, (struct job_query){ .external_id = "mine", .context = "default", .limit = 1 });
	check(t.total == 2 && is_at(&t, 0, &ids[2]));
	t = list(p, (struct job_query){ .context = "other", .limit = 9 });
	check(t.total == 1 && is_at(&t, 0, &ids[4]));
	t = list(p, (struct job_query){ .external_id = "", .limit = 9 });
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

TEST(the_last_of_many_changes_is_what_is_read)
{
	struct place *p = *state;
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 1);
	store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	for (unsigned i = 1; i <= 100; i++) {
		struct store_op *op = op_make(STORE_JOB_UPDATE, j, JOB_STARTED);
		op->change.attempt = i;
		store_post(p->st, op);
	}
	store_post(p->st, op_make(STORE_JOB_UPDATE, j, JOB_FINISHED));
	check_int(settle(p->st), 0);
	check_int(state_of(p, &j->id), JOB_FINISHED);
}

TEST(an_outcome_is_owed_until_it_is_delivered)
{
	struct place *p = *state;
	struct uuid ids[3];
	for (int i = 0; i < 3; i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", i);
		j->door = xstrdup("mqtt");
		j->reply_to = xstrdup("there");
		ids[i] = j->id;
		store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
		struct store_op *op = op_make(STORE_JOB_UPDATE, j, JOB_FINISHED);
		op->change.is_owed = true;
		store_post(p->st, op);
	}
	check_int(settle(p->st), 0);
	struct told t = { 0 };
	check_int(store_job_owed_each(p->st, tell, &t), 0);
	check(t.n == 3 && is_at(&t, 0, &ids[0]) && is_at(&t, 2, &ids[2]));

	struct store_op *op = store_op_new(STORE_JOBS_DELIVERED, NULL);
	op->n_ids = 2;
	op->ids = xcalloc(2, sizeof *op->ids);
	op->ids[0] = ids[0];
	op->ids[1] = ids[2];
	store_post(p->st, op);
	op = store_op_new(STORE_JOBS_PRUNE, NULL);
	uuid_at(&op->job_id, clock_wall_ms() + 60000);
	store_post(p->st, op);
	check_int(settle(p->st), 0);
	t.n = 0;
	check_int(store_job_owed_each(p->st, tell, &t), 0);
	check(t.n == 1 && is_at(&t, 0, &ids[1]));
	check_int(count_all(p), 1);
	_cleanup_(job_row_freep) struct job_row *r = NULL;
	check_int(store_job_get(p->st, &ids[1], &r), 0);
	check_str(r->door, "mqtt");
	check(r->is_owed);
}

TEST(outcomes_to_be_delivered_are_listed_a_few_at_a_time_by_when_the_jobs_ended)
{
	struct place *p = *state;
	static const int64_t ends[] = { 300, 100, 200, 100, 400 }; /* in the order of their ids */
	static const size_t expected[] = { 1, 3, 2, 0 };
	struct uuid ids[ARRAY_SIZE(ends)];
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		_cleanup_(job_unrefp) struct job *j = job_make("pi", (int)i);
		uuid_at(&j->id, 1000 + (int64_t)i);
		j->door = xstrdup(i == 4 ? "kafka" : "mqtt");
		j->reply_to = xstrdup("there");
		ids[i] = j->id;
		store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
		struct store_op *op = op_make(STORE_JOB_UPDATE, j, JOB_FINISHED);
		op->change.is_owed = true;
		op->change.ended_ms = ends[i];
		store_post(p->st, op);
	}
	check_int(settle(p->st), 0);
	struct told t = { 0 };
	check_int(store_job_owed_each(p->st, tell, &t), 0);
	check(t.n == 5 && is_at(&t, 0, &ids[1]) && is_at(&t, 3, &ids[0]) && is_at(&t, 4, &ids[4]));

	struct store_undelivered after = { 0 }, page[3];
	size_t n = 0;
	int r;
	while ((r = store_undelivered_list(p->st, "mqtt", &after, page, ARRAY_SIZE(page))) > 0) {
		for (int i = 0; i < r; i++, n++) {
			check(n < ARRAY_SIZE(expected));
			check_bytes(&page[i].job, &ids[expected[n]], sizeof page[i].job);
			check_int(page[i].ended_ms, ends[expected[n]]);
		}
		after = page[r - 1];
	}
	check_int(r, 0);
	check_int((int)n, ARRAY_SIZE(expected));
	check_int(store_undelivered_list(p->st, "http", &(struct store_undelivered){ 0 }, page, 3),
		0);
}

static struct uuid put_at(struct place *p, const char *id, int64_t ms)
{
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 0);
	check(uuid_parse(id, &j->id));
	j->created_ms = ms;
	store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	return j->id;
}

TEST(the_newest_job_is_the_one_of_the_greatest_id_that_is_a_good_one)
{
	struct place *p = *state;
	struct uuid newest, found;
	check_int(store_job_newest(p->st, &found), -ENOENT);
	put_at(p, "01912345-6789-7000-8000-000000000001", 9);
	newest = put_at(p, "01a12345-6789-7000-8000-000000000001", 7);
	put_at(p, "01a12345-6789-4000-8000-000000000002", 8);
	put_at(p, "ffffffff-ffff-7000-8000-000000000001", 10);
	check_int(settle(p->st), 0);
	check_int(store_job_newest(p->st, &found), 0);
	check_bytes(&found, &newest, sizeof found);
}

static struct store_op *listener(
	enum store_op_kind kind, const struct uuid *job, const char *door, const char *reply_to)
{
	struct store_op *op = store_op_new(kind, NULL);
	op->job_id = *job;
	op->name = xstrdup(door);
	op->text = reply_to ? xstrdup(reply_to) : NULL;
	return op;
}

static void listener_tell(void *arg, const struct uuid *job, const char *door, const char *reply_to)
{
	char *told = arg;
	size_t n = strlen(told);
	snprintf(told + n, 200 - n, "%02x %s=%s;", job->bytes[15], door, reply_to);
}

TEST(a_job_is_kept_while_somebody_listens_to_it)
{
	struct place *p = *state;
	const struct uuid none = { { 1 } };
	char told[200] = "", expected[200];
	struct uuid a = add(p, "pi", JOB_FINISHED, NULL);
	struct uuid b = add(p, "pi", JOB_FINISHED, NULL);
	for (int i = 0; i < 2; i++)
		store_post(p->st, listener(STORE_LISTENER_PUT, &a, "mqtt", "here"));
	store_post(p->st, listener(STORE_LISTENER_PUT, &a, "mqtt", "there"));
	store_post(p->st, listener(STORE_LISTENER_PUT, &a, "kafka", "here"));
	store_post(p->st, listener(STORE_LISTENER_PUT, &b, "mqtt", "here"));
	store_post(p->st, listener(STORE_LISTENER_PUT, &none, "mqtt", "here"));
	store_post(p->st, listener(STORE_LISTENERS_DROP, &a, "mqtt", NULL));
	for (int i = 0; i < 2; i++) {
		struct store_op *op = store_op_new(STORE_JOBS_PRUNE, NULL);
		uuid_at(&op->job_id, clock_wall_ms() + 60000);
		store_post(p->st, op);
		check_int(settle(p->st), 0);
		check_int(count_all(p), 2 - i);
		store_post(p->st, listener(STORE_LISTENERS_DROP, &b, "mqtt", NULL));
	}
	store_stop(p->st);
	check_int(store_listener_each(p->st, listener_tell, told), 0);
	snprintf(expected, sizeof expected, "%02x kafka=here;", a.bytes[15]);
	check_str(told, expected);
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

TEST(pruning_removes_ended_jobs_up_to_an_id_and_their_logs)
{
	struct place *p = *state;
	struct uuid old_open = add(p, "pi", JOB_STARTED, NULL);
	struct uuid old = add(p, "pi", JOB_FINISHED, NULL);
	struct uuid young = add(p, "pi", JOB_FINISHED, NULL);
	log_text(p, &old_open, "x");
	log_text(p, &old, "x");
	log_text(p, &young, "x");
	struct store_op *op = store_op_new(STORE_JOBS_PRUNE, NULL);
	op->job_id = old;
	store_post(p->st, op);
	log_text(p, &young, "y");
	check_int(settle(p->st), 0);

	char path[200];
	store_log_path(p->st, &old, path, sizeof path);
	await_that(access(path, F_OK) < 0); /* nobody waits for that, but it comes */
	check_int(state_of(p, &old_open), JOB_STARTED);
	check_int(state_of(p, &old), _JOB_STATE_INVALID);
	check_int(state_of(p, &young), JOB_FINISHED);
	_cleanup_(freep) char *open_log = log_read(p, &old_open);
	_cleanup_(freep) char *old_log = log_read(p, &old);
	_cleanup_(freep) char *young_log = log_read(p, &young);
	check(open_log && !old_log);
	check_str(young_log ? young_log : "", "xy");
}

/* Which of the jobs with the numbers 1 to 7 are old: up to that one. */
static int old_up_to(struct place *p, int64_t before_ms, int64_t now_ms)
{
	struct uuid last;
	check_int(store_job_old(p->st, before_ms, now_ms, &last), 0);
	return last.bytes[15];
}

TEST(jobs_get_old_in_the_order_in_which_they_were_made)
{
	struct place *p = *state;
	static const int64_t made[] = { 100, 9000, 9001, 200, 9002, 300, 1 };
	for (int i = 0; i < 7; i++) {
		char id[UUID_TEXT];
		snprintf(id, sizeof id, "01912345-6789-7000-8000-00000000000%d", i + 1);
		put_at(p, id, made[i]);
	}
	check_int(settle(p->st), 0);
	check_int(old_up_to(p, 100, 400), 0);
	check_int(old_up_to(p, 101, 400), 1);
	check_int(old_up_to(p, 200, 400), 1);
	check_int(old_up_to(p, 201, 400), 4); /* it tells of the second and the third, */
	check_int(old_up_to(p, 300, 400), 4); /* and of the fifth nobody knows yet */
	check_int(old_up_to(p, 301, 400), 7); /* and of the last neither, before */
	struct uuid all;
	check_int(store_job_old(p->st, 0x019123456790, 0x019123456790, &all), 0);
	check_int(uuid_ms(&all), 0x019123456790); /* whatever time it is by the rows */
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
		post_waited(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED), &w);
	}
	store_close(TAKE_PTR(p->st));
	check_int(w.done, 300);
	check_int(w.status, 0);
}

TEST(reading_goes_on_after_a_stop)
{
	struct place *p = *state;
	struct uuid id = add(p, "pi", JOB_QUEUED, NULL);
	store_stop(p->st);
	check(store_is_settled(p->st));
	check_int(state_of(p, &id), JOB_QUEUED);
}

static void noun_post(struct place *p, enum store_op_kind kind, const char *name, const char *text)
{
	struct store_op *op = store_op_new(kind, NULL);
	op->noun = STORE_CONTEXT;
	op->name = xstrdup(name);
	op->text = text ? xstrdup(text) : NULL;
	store_post(p->st, op);
}

static void noun_tell(void *arg, const char *name, const char *text)
{
	char *told = arg;
	size_t n = strlen(told);
	snprintf(told + n, 200 - n, "%s=%s;", name, text);
}

TEST(nouns_are_kept_by_name_until_they_are_dropped)
{
	struct place *p = *state;
	char told[200] = "", functions[200] = "";
	noun_post(p, STORE_NOUN_PUT, "a", "1");
	noun_post(p, STORE_NOUN_PUT, "b", "2");
	noun_post(p, STORE_NOUN_PUT, "c", "3");
	noun_post(p, STORE_NOUN_PUT, "c", "4");
	noun_post(p, STORE_NOUN_DROP, "a", NULL);
	noun_post(p, STORE_NOUN_DROP, "none", NULL);
	store_stop(p->st);
	check_int(store_noun_each(p->st, STORE_CONTEXT, noun_tell, told), 0);
	check_str(told, "b=2;c=4;");
	check_int(store_noun_each(p->st, STORE_FUNCTION, noun_tell, functions), 0);
	check_str(functions, "");
}

static void file_write(const struct place *p, const char *name, const char *text)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", p->dir, name);
	_cleanup_(fclosep) FILE *f = fopen(path, "we");
	must(f && fputs(text, f) >= 0);
}

/* "" when there is none. */
static const char *file_read(const struct place *p, const char *name)
{
	static char text[64];
	_cleanup_(freep) char *path = xasprintf("%s/%s", p->dir, name);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	if (!f || !fgets(text, sizeof text, f))
		text[0] = '\0';
	return text;
}

/* staged/a and staged/b are to be a and b, and there are to be two contexts; name NULL: one that no
 * database takes. */
static int deploy(struct place *p, const char *name)
{
	static const char *const names[] = { "a", "b" };
	struct store_op *op = store_op_new(STORE_DEPLOY, NULL), **tail = &op->parts;
	struct waiter w;
	waiter_init(&w);
	op->files = xcalloc(2, sizeof *op->files);
	for (; op->n_files < 2; op->n_files++)
		op->files[op->n_files] = (struct store_file){ .from = xasprintf("%s/staged/%s",
								      p->dir, names[op->n_files]),
			.to = xasprintf("%s/%s", p->dir, names[op->n_files]) };
	for (int i = 0; i < 2; i++) {
		struct store_op *part = *tail = store_op_new(STORE_NOUN_PUT, NULL);
		part->noun = STORE_CONTEXT;
		part->name = i == 0 ? xstrdup("first") : name ? xstrdup(name) : NULL;
		part->text = xstrdup("1");
		tail = &part->next;
	}
	post_waited(p->st, op, &w);
	await(&w);
	return w.status;
}

static void deploy_begin(struct place *p)
{
	_cleanup_(freep) char *folder = xasprintf("%s/staged", p->dir);
	must(mkdir(folder, 0700) == 0);
	file_write(p, "a", "old");
	file_write(p, "staged/a", "new");
}

TEST(a_deployment_is_made_whole)
{
	struct place *p = *state;
	char told[200] = "";
	deploy_begin(p);
	file_write(p, "staged/b", "new");
	check_int(deploy(p, "second"), 0);
	check_str(file_read(p, "a"), "new");
	check_str(file_read(p, "b"), "new");
	check_str(file_read(p, "staged/a"), "");
	check_str(file_read(p, ".deployment/0"), "");
	check_int(store_noun_each(p->st, STORE_CONTEXT, noun_tell, told), 0);
	check_str(told, "first=1;second=1;");
}

/* A file of it is not there. */
TEST(a_deployment_whose_files_cannot_be_had_changes_nothing)
{
	struct place *p = *state;
	char told[200] = "";
	deploy_begin(p);
	check_int(deploy(p, "second"), -ENOENT);
	check_str(file_read(p, "a"), "old");
	check_str(file_read(p, "b"), "");
	check_str(file_read(p, ".deployment/0"), "");
	check_int(store_noun_each(p->st, STORE_CONTEXT, noun_tell, told), 0);
	check_str(told, "");
}

/* The database does not take a part of it, when the files have their names already. */
TEST(a_deployment_that_is_refused_puts_the_files_back)
{
	struct place *p = *state;
	char told[200] = "";
	deploy_begin(p);
	file_write(p, "staged/b", "new");
	check_int(deploy(p, NULL), -EINVAL);
	check_str(file_read(p, "a"), "old");
	check_str(file_read(p, "b"), "");
	check_int(store_noun_each(p->st, STORE_CONTEXT, noun_tell, told), 0);
	check_str(told, "");
}

#define ON(backend, sentence)                                                                      \
	{                                                                                          \
		"on " #backend ": " #sentence, sentence, place_setup, place_teardown,              \
			(void *)&store_##backend                                                   \
	}
#define ON_BOTH(sentence) ON(sqlite, sentence), ON(mem, sentence)

RUN_TESTS(ON_BOTH(a_job_is_read_as_it_was_posted), ON_BOTH(an_update_changes_the_half_that_moves),
	ON_BOTH(an_unknown_job_is_not_found), ON_BOTH(who_waits_is_told_in_the_order_posted),
	ON_BOTH(a_store_is_settled_when_all_that_was_posted_is_durable),
	ON_BOTH(a_page_is_the_newest_first_and_the_total_counts_all),
	ON_BOTH(a_page_goes_on_behind_a_job_and_ends_with_its_bytes),
	ON_BOTH(a_page_is_of_the_function_worker_and_states_asked_for),
	ON_BOTH(a_page_is_of_the_context_and_the_external_id_asked_for),
	ON_BOTH(the_open_jobs_are_told_oldest_first),
	ON_BOTH(the_last_of_many_changes_is_what_is_read),
	ON_BOTH(an_outcome_is_owed_until_it_is_delivered),
	ON_BOTH(outcomes_to_be_delivered_are_listed_a_few_at_a_time_by_when_the_jobs_ended),
	ON_BOTH(the_newest_job_is_the_one_of_the_greatest_id_that_is_a_good_one),
	ON_BOTH(a_job_is_kept_while_somebody_listens_to_it),
	ON_BOTH(logs_are_appended_in_order_each_to_its_own_file),
	ON_BOTH(pruning_removes_ended_jobs_up_to_an_id_and_their_logs),
	ON_BOTH(jobs_get_old_in_the_order_in_which_they_were_made),
	ON_BOTH(many_read_while_one_writes), ON_BOTH(closing_answers_everybody),
	ON_BOTH(reading_goes_on_after_a_stop),
	ON_BOTH(nouns_are_kept_by_name_until_they_are_dropped), ON_BOTH(a_deployment_is_made_whole),
	ON_BOTH(a_deployment_whose_files_cannot_be_had_changes_nothing),
	ON(sqlite, a_deployment_that_is_refused_puts_the_files_back))
