/* SPDX-License-Identifier: Apache-2.0 */
/* mist/store_unreadable.h: whatever is in a row, the store opens, hands out the others, and keeps
 * the row whole where it can be seen. */
#include "store_place.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "domain/function.h"

static const char id_hex[] = "x'0190c0de000070008000000000000001'";

/* Runs the statement on the database of a store that is closed. */
static void spoil(struct place *p, const char *sql)
{
	char path[100], *error = NULL;
	sqlite3 *db;
	snprintf(path, sizeof path, "%s/mist.db", p->dir);
	must(sqlite3_open(path, &db) == SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s: %s", sql, error);
	must(sqlite3_close(db) == SQLITE_OK);
}

struct found {
	int n, rows, listeners, nouns, keys;
	char kind[32], key[64], reason[200], content[2000];
};

static void find(void *arg, const struct store_unreadable *u)
{
	struct found *f = arg;
	f->n++;
	snprintf(f->kind, sizeof f->kind, "%s", u->kind);
	snprintf(f->key, sizeof f->key, "%s", u->key);
	snprintf(f->reason, sizeof f->reason, "%s", u->reason);
	snprintf(f->content, sizeof f->content, "%s", u->content ? u->content : "");
}

static void number_of(void *arg, const struct store_unreadable *u)
{
	*(int64_t *)arg = u->number;
}

static void count_row(void *arg, const struct job_row *r)
{
	(void)r;
	((struct found *)arg)->rows++;
}

static void count_listener(
	void *arg, const struct uuid *job, const char *door, const char *reply_to)
{
	(void)job, (void)door, (void)reply_to;
	((struct found *)arg)->listeners++;
}

static void count_noun(void *arg, const char *name, const char *text)
{
	(void)name, (void)text;
	((struct found *)arg)->nouns++;
}

static void count_key(
	void *arg, const char *key, const char *digest, const struct uuid *job, int64_t created_ms)
{
	(void)key, (void)digest, (void)job, (void)created_ms;
	((struct found *)arg)->keys++;
}

static void ignore_row(void *arg, const struct job_row *r)
{
	(void)arg, (void)r;
}

/* All that a start reads, and all that a list does. */
static struct found read_all(struct place *p)
{
	struct found f = { 0 };
	const struct job_query q = { .limit = 100 };
	check(store_job_list(p->st, &q, ignore_row, NULL, NULL) >= 0);
	check_int(store_noun_each(p->st, STORE_CONTEXT, count_noun, &f), 0);
	check_int(store_noun_each(p->st, STORE_FUNCTION, count_noun, &f), 0);
	check_int(store_key_each(p->st, 0, INT32_MAX, 100, count_key, &f), 0);
	check_int(store_listener_each(p->st, count_listener, &f), 0);
	check_int(store_job_open_each(p->st, count_row, &f), 0);
	check_int(store_job_owed_each(p->st, count_row, &f), 0);
	check_int(settle(p->st), 0);
	return f;
}

/* The newest of them, with its content. */
static struct found newest(struct place *p)
{
	struct found f = { 0 };
	int64_t number = 0;
	check_int(store_unreadable_each(p->st, 0, 1, 0, number_of, &number, NULL), 0);
	if (number)
		check_int(store_unreadable_each(p->st, number, 1, 0, find, &f, NULL), 0);
	return f;
}

static void insert_row(struct place *p)
{
	char sql[600];
	snprintf(sql, sizeof sql,
		"INSERT INTO job (id, state, function, path, class_name, context, parameters, "
		"source, "
		"created_ms, started_ms, ended_ms, start_timeout_ms, perform_timeout_ms, priority, "
		"attempt, is_sync, owed, door, reply_to, idempotency_key, idempotency_digest) "
		"VALUES "
		"(%s, 1, 'f', 'p.py', 'f', 'c', '{}', 'Http', 1, 0, 0, 1, 1, 0, 0, 0, 0, 'mqtt', "
		"'R{}', "
		"'key', 'digest')",
		id_hex);
	spoil(p, sql);
}

TEST(a_job_with_a_member_that_is_wrong_is_set_aside_and_stops_nobody)
{
	static const char *const rows[][2] = {
		{ "state = 99", "state: expected a number from 0 to 7, got 99" },
		{ "state = -1", "state: expected a number" },
		{ "state = 4294967297", "state: expected a number" },
		{ "function = CAST(x'66ff' AS TEXT)", "function: expected UTF-8" },
		{ "function = CAST(x'660067' AS TEXT)", "a text holds a NUL" },
		{ "path = CAST(x'c3' AS TEXT)", "path: expected UTF-8" },
		{ "context = '../../etc'", "context: expected a name" },
		{ "context = ''", "context: expected a name" },
		{ "parameters = ''", "parameters: expected a JSON object" },
		{ "parameters = '[1]'", "parameters: expected a JSON object" },
		{ "parameters = '{\"a\":'", "parameters: expected a JSON object" },
		{ "state = 5, owed = 1, result = '{'", "result: expected JSON" },
		{ "state = 7, owed = 1, error = CAST(x'ff' AS TEXT)", "error: expected UTF-8" },
		{ "trace = CAST(x'ff' AS TEXT)", "trace: expected UTF-8" },
		{ "worker = CAST(x'ff' AS TEXT)", "workerId: expected UTF-8" },
		{ "external_id = CAST(x'ff' AS TEXT)", "externalId: expected UTF-8" },
		{ "reply_to = NULL", "replyTarget: expected a text together with its transport" },
		{ "door = NULL", "replyTarget: expected a text together with its transport" },
		{ "priority = 1000", "priority: expected a number" },
		{ "attempt = -1", "attempt: expected a number" },
		{ "created_ms = 9223372036854775807", "createTime: expected a number" },
		{ "started_ms = -5", "startTime: expected a number" },
		{ "started_ms = 5", "startTime: expected none" },
		{ "state = 3", "startTime: expected a time" },
		{ "perform_timeout_ms = -1", "performTimeout: expected a number" },
		{ "id = x'0102'", "id: expected 16 bytes, got 2" },
		{ "idempotency_key = CAST(x'ff' AS TEXT)", "idempotencyKey: expected UTF-8" },
	};
	struct place *p = *state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char sql[200];
		store_close(TAKE_PTR(p->st));
		insert_row(p);
		snprintf(sql, sizeof sql, "UPDATE job SET %s", rows[i][0]);
		spoil(p, sql);
		place_reopen(p);
		struct uuid good = add(p, "pi", JOB_QUEUED, NULL);
		check_int(settle(p->st), 0);
		struct found f = read_all(p);
		check_int(f.rows, 1);
		check_int(read_all(p).rows, 1); /* it is not there any more */
		f = newest(p);
		check_int(f.n, 1);
		check_str(f.kind, "job");
		check(strstr(f.reason, rows[i][1]));
		check(strstr(f.content, "\"class_name\":\"f\""));
		check_int(store_unreadable_count(p->st), (int64_t)i + 1);
		check_int(state_of(p, &good), JOB_QUEUED);
		store_close(TAKE_PTR(p->st));
		spoil(p, "DELETE FROM job");
		place_reopen(p);
	}
}

TEST(the_outcome_of_a_job_whose_row_is_gone_is_written_without_its_arguments)
{
	struct place *p = *state;
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 1);
	free(TAKE_PTR(j->parameters)); /* long, so that only the row had them */
	store_post(p->st, op_make(STORE_JOB_UPDATE, j, JOB_QUEUED));
	check_int(settle(p->st), 0);
	check_int(state_of(p, &j->id), _JOB_STATE_INVALID); /* nobody runs it with none */
	store_post(p->st, op_make(STORE_JOB_UPDATE, j, JOB_FAILED));
	check_int(settle(p->st), 0);
	check_int(state_of(p, &j->id), JOB_FAILED);
}

TEST(a_list_leaves_it_out_and_says_so)
{
	struct place *p = *state;
	struct found f = { 0 };
	const struct job_query q = { .limit = 10 };
	_cleanup_(job_row_freep) struct job_row *row = NULL;
	const struct uuid id = { { 0x01, 0x90, 0xc0, 0xde, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0,
		1 } };
	add(p, "pi", JOB_FINISHED, NULL);
	store_close(TAKE_PTR(p->st));
	insert_row(p);
	char sql[100];
	snprintf(sql, sizeof sql, "UPDATE job SET state = 5, result = 'x' WHERE id = %s", id_hex);
	spoil(p, sql);
	place_reopen(p);
	check_int(store_job_list(p->st, &q, count_row, &f, NULL), 1);
	check_int(f.rows, 1);
	check_int(settle(p->st), 0);
	check_int(store_job_list(p->st, &q, count_row, &f, NULL), 0);
	check_int(store_job_get(p->st, &id, &row), -ENOENT);
	f = newest(p);
	check_str(f.key, "0190c0de-0000-7000-8000-000000000001");
	check(json_is_text(f.content, strlen(f.content), 4));
	check(strstr(f.content, "{\"id\":{\"hex\":\"0190c0de000070008000000000000001\"}"));
	check(strstr(f.content, "\"result\":\"x\"") && strstr(f.content, "\"worker\":null"));
}

TEST(those_who_wait_for_a_job_go_with_it)
{
	struct place *p = *state;
	store_close(TAKE_PTR(p->st));
	insert_row(p);
	char sql[200];
	snprintf(sql, sizeof sql,
		"INSERT INTO listener VALUES (%s, 'mqtt', 'R{}'); UPDATE job SET state = -1",
		id_hex);
	spoil(p, sql);
	place_reopen(p);
	check_int(read_all(p).listeners, 1);
	check_int(read_all(p).listeners, 0);
	check_int(store_unreadable_count(p->st), 2);
}

TEST(a_reply_target_that_is_wrong_is_set_aside)
{
	struct place *p = *state;
	store_close(TAKE_PTR(p->st));
	spoil(p, "INSERT INTO listener VALUES (x'01', 'mqtt', 'R{}'), (x'', 'mqtt', 'x'),"
		 "(x'0190c0de000070008000000000000001', CAST(x'ff' AS TEXT), 'y'),"
		 "(x'0190c0de000070008000000000000001', 'mqtt', 'good')");
	place_reopen(p);
	check_int(read_all(p).listeners, 1);
	check_int(read_all(p).listeners, 1);
	check_int(store_unreadable_count(p->st), 3);
	check_str(newest(p).kind, "reply-target");
}

TEST(a_reply_target_that_its_transport_does_not_know_leaves_the_job)
{
	struct place *p = *state;
	const struct uuid id = { { 0x01, 0x90, 0xc0, 0xde, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0,
		1 } };
	store_close(TAKE_PTR(p->st));
	insert_row(p);
	spoil(p, "UPDATE job SET state = 5, owed = 1");
	place_reopen(p);
	check_int(read_all(p).rows, 1);
	store_set_aside_reply_target(p->st, &id, "mqtt", "R{}", "no");
	check_int(settle(p->st), 0);
	check_int(read_all(p).rows, 0);
	check_int(state_of(p, &id), JOB_FINISHED);
	struct found f = newest(p);
	check_str(f.kind, "reply-target");
	check_str(f.key, "0190c0de-0000-7000-8000-000000000001 mqtt");
	check(strstr(f.content, "\"reply_to\":\"R{}\""));
}

TEST(a_definition_that_is_wrong_is_set_aside)
{
	struct place *p = *state;
	store_close(TAKE_PTR(p->st));
	spoil(p, "INSERT INTO noun VALUES (0, CAST(x'ff' AS TEXT), '{}'), (0, 'f', CAST(x'ff' AS "
		 "TEXT)), (0, 'good', '{}'), (1, '', '{}')");
	place_reopen(p);
	check_int(read_all(p).nouns, 1);
	check_int(store_unreadable_count(p->st), 3);
	store_set_aside_definition(p->st, STORE_FUNCTION, "good", "it is no good");
	check_int(settle(p->st), 0);
	check_int(read_all(p).nouns, 0);
	struct found f = newest(p);
	check_str(f.kind, "definition");
	check_str(f.key, "function good");
	check_str(f.reason, "it is no good");
	check_str(f.content, "{\"kind\":0,\"name\":\"good\",\"settings\":\"{}\"}");
}

static int drop(struct place *p, int64_t number)
{
	struct waiter w;
	waiter_init(&w);
	struct store_op *op = store_op_new(STORE_UNREADABLE_DROP, NULL);
	op->number = number;
	post_waited(p->st, op, &w);
	await(&w);
	return w.status;
}

TEST(what_was_set_aside_outlives_a_close_and_is_dropped_by_number_or_all)
{
	struct place *p = *state;
	int64_t number = 0, total = 0;
	store_close(TAKE_PTR(p->st));
	spoil(p, "INSERT INTO listener VALUES (x'01', 'a', 'a'), (x'02', 'a', 'a'), (x'03', 'a', "
		 "'a')");
	place_reopen(p);
	read_all(p);
	place_reopen(p);
	check_int(store_unreadable_count(p->st), 3);
	struct found f = { 0 };
	check_int(store_unreadable_each(p->st, 0, 2, 1, find, &f, &total), 0);
	check_int(f.n, 2);
	check_int(total, 3);
	check_str(f.content, "");
	check_int(store_unreadable_each(p->st, 0, 1, 0, number_of, &number, NULL), 0);
	check_int(drop(p, number), 0);
	check_int(store_unreadable_count(p->st), 2);
	check_int(store_unreadable_each(p->st, number, 1, 0, find, &f, NULL), -ENOENT);
	check_int(drop(p, 0), 0);
	check_int(store_unreadable_count(p->st), 0);
	check_int(newest(p).n, 0);
}

TEST(a_job_that_goes_on_is_written_anew)
{
	struct place *p = *state;
	_cleanup_(job_unrefp) struct job *j = job_make("pi", 1);
	_cleanup_(job_row_freep) struct job_row *row = NULL;
	store_post(p->st, op_make(STORE_JOB_INSERT, j, JOB_QUEUED));
	check_int(settle(p->st), 0);
	spoil(p, "UPDATE job SET parameters = '['");
	check_int(store_job_get(p->st, &j->id, &row), -EBADMSG);
	check_int(settle(p->st), 0);
	check_int(store_job_get(p->st, &j->id, &row), -ENOENT);
	store_post(p->st, op_make(STORE_JOB_UPDATE, j, JOB_FINISHED));
	check_int(settle(p->st), 0);
	check_int(store_job_get(p->st, &j->id, &row), 0);
	check_int(row->state, JOB_FINISHED);
	check_str(row->parameters, "{\"n\":1}");
}

#define ON_SQLITE(sentence)                                                                        \
	{                                                                                          \
#sentence, sentence, place_setup, place_teardown, (void *)&store_sqlite            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_SQLITE(a_job_with_a_member_that_is_wrong_is_set_aside_and_stops_nobody),
		ON_SQLITE(the_outcome_of_a_job_whose_row_is_gone_is_written_without_its_arguments),
		ON_SQLITE(a_list_leaves_it_out_and_says_so),
		ON_SQLITE(those_who_wait_for_a_job_go_with_it),
		ON_SQLITE(a_reply_target_that_is_wrong_is_set_aside),
		ON_SQLITE(a_reply_target_that_its_transport_does_not_know_leaves_the_job),
		ON_SQLITE(a_definition_that_is_wrong_is_set_aside),
		ON_SQLITE(what_was_set_aside_outlives_a_close_and_is_dropped_by_number_or_all),
		ON_SQLITE(a_job_that_goes_on_is_written_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
