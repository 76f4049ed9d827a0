/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes for which a transport has no room wait in the store: none is lost, none is told twice,
 * and they keep their order. */
#include "house.h"

#include <string.h>

#include "core/outbox/backlog.h"
#include "core/private.h"

enum { HELD = 3, MANY = 20 };

/* A job of f by the door of that number, to be answered as `reply`. */
static void ask(struct house *h, int door, const char *reply, const char *key)
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = h->doors[door];
	rq->source = "Loopback";
	rq->function = xstrdup("f");
	rq->parameters = xstrdup("{\"n\":7}");
	rq->arguments = json_pack("{s:i}", "n", 7);
	rq->idempotency_key = key ? xstrdup(key) : NULL;
	rq->idempotency_digest = key ? xstrdup("digest") : NULL;
	rq->to =
		(struct reply_to){ .text = xstrdup(reply), .wants = EVENTS_FINAL, .is_owed = true };
	assert_int_equal(intake_submit(core_intake(h->core, h->doors[door]->name), &rq), 0);
}

static void count(void *arg, const struct job_row *row)
{
	*(size_t *)arg += job_state_is_final(row->state);
}

static size_t n_to_end;

static bool have_ended(struct house *h)
{
	size_t n = 0;
	const struct job_query all = { .limit = 1000 };
	assert_int_equal(store_job_list(h->store, &all, count, &n, NULL), 0);
	return n == n_to_end;
}

/* The first of these was the n-th job; they end in this order. */
static void end_jobs(struct house *h, int door, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		char reply[16];
		snprintf(reply, sizeof reply, "%zu", i);
		ask(h, door, reply, NULL);
		n_to_end = i + 1;
		await_true(h, have_ended);
	}
}

/* The next outcome, which is for that one. */
static void take(struct house *h, int door, const char *reply)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	json_t *event = NULL;
	while (!event && clock_mono_ms() < deadline) {
		uv_run(&h->loop, UV_RUN_NOWAIT);
		event = loopback_take(h->doors[door], 1);
	}
	assert_non_null(event);
	assert_string_equal(json_string_of(event, "externalId"), reply);
	assert_string_equal(json_string_of(event, "event"), "finished");
	assert_non_null(json_object_get(event, "owed"));
	json_decref(event);
}

static void take_all(struct house *h, int door, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		char reply[16];
		snprintf(reply, sizeof reply, "%zu", i);
		take(h, door, reply);
	}
}

static int n_in_store(struct house *h, int door)
{
	static const struct store_undelivered none;
	struct store_undelivered left[2 * MANY];
	return store_undelivered_list(h->store, h->doors[door]->name, &none, left, 2 * MANY);
}

static bool is_over(struct house *h)
{
	return !n_in_store(h, 0) && !n_in_store(h, 1) && !backlog_is_behind(h->core, h->doors[0]) &&
	       !backlog_is_behind(h->core, h->doors[1]) && !h->core->handed.count;
}

static bool half_is_delivered(struct house *h)
{
	return n_in_store(h, 0) == MANY / 2;
}

/* All was told, and nothing twice. */
static void check_over(struct house *h)
{
	await_true(h, is_over);
	assert_null(loopback_take(h->doors[0], 1));
	assert_null(loopback_take(h->doors[1], 1));
	house_restart(h);
	await_true(h, is_over);
	assert_null(loopback_take(h->doors[0], 1));
	assert_null(loopback_take(h->doors[1], 1));
}

static void a_door_is_handed_no_more_than_it_takes_and_the_rest_in_order(void **state)
{
	struct house *h = *state;
	loopback_limit(h->door, HELD);
	end_jobs(h, 0, 0, MANY);
	turn_for(h, 300);
	assert_int_equal(loopback_outcomes(h->door), HELD);
	assert_int_equal(n_in_store(h, 0), MANY);
	assert_int_equal(h->core->handed.count, HELD);
	take_all(h, 0, 0, MANY);
	await_true(h, is_over);
	end_jobs(h, 0, MANY, HELD); /* they go by the short way again */
	assert_int_equal(loopback_outcomes(h->door), HELD);
	take_all(h, 0, MANY, HELD);
	check_over(h);
}

static void what_ends_while_others_are_read_comes_behind_them(void **state)
{
	struct house *h = *state;
	loopback_limit(h->door, 1);
	end_jobs(h, 0, 0, HELD);
	for (size_t i = 0; i < MANY; i++) {
		end_jobs(h, 0, HELD + i, 1);
		take_all(h, 0, i, 1);
	}
	take_all(h, 0, MANY, HELD);
	check_over(h);
}

static void it_waits_for_the_next_start_when_the_gateway_ends(void **state)
{
	struct house *h = *state;
	h->outcomes_max[0] = HELD;
	loopback_limit(h->door, HELD);
	end_jobs(h, 0, 0, MANY);
	for (int i = 0; i < 2; i++) {
		house_restart(h);
		assert_int_equal(loopback_outcomes(h->door), HELD);
		assert_int_equal(n_in_store(h, 0), MANY);
	}
	take_all(h, 0, 0, MANY / 2);
	await_true(h, half_is_delivered);
	house_restart(h);
	take_all(h, 0, MANY / 2, MANY / 2);
	check_over(h);
}

static void one_door_does_not_hold_up_the_other(void **state)
{
	struct house *h = *state;
	loopback_limit(h->doors[1], 1);
	end_jobs(h, 1, 0, MANY);
	end_jobs(h, 0, MANY, MANY);
	take_all(h, 0, MANY, MANY);
	assert_int_equal(loopback_outcomes(h->doors[1]), 1);
	take_all(h, 1, 0, MANY);
	check_over(h);
}

static void who_asks_again_for_what_waits_has_it_and_the_first_is_told_once(void **state)
{
	struct house *h = *state;
	loopback_limit(h->doors[1], 1);
	end_jobs(h, 1, 0, 1);
	ask(h, 1, "first", "key");
	n_to_end++;
	await_true(h, have_ended);
	ask(h, 0, "again", "key");
	take(h, 0, "again");
	take(h, 1, "0");
	take(h, 1, "first");
	check_over(h);
}

static bool is_reading(struct house *h)
{
	return h->core->audiences.count == 1 && house_reading == 1;
}

static bool is_answered(struct house *h)
{
	return h->core->audiences.count == 0;
}

static void what_is_asked_again_while_it_waits_is_told_once_and_in_its_place(void **state)
{
	struct house *h = *state;
	loopback_limit(h->door, 1);
	end_jobs(h, 0, 0, HELD);
	ask(h, 0, "3", "key");
	n_to_end++;
	await_true(h, have_ended);
	end_jobs(h, 0, HELD + 1, HELD);
	for (int i = 0; i < 2; i++) {
		house_reading_hangs = true;
		ask(h, 0, "3", "key");
		await_true(h, is_reading);
		house_reading_hangs = false;
		await_true(h, is_answered);
	}
	assert_int_equal(loopback_outcomes(h->door), 1);
	take_all(h, 0, 0, 2 * HELD + 1);
	check_over(h);
}

static void a_store_that_cannot_be_written_only_delays_it(void **state)
{
	struct house *h = *state;
	loopback_limit(h->door, 1);
	end_jobs(h, 0, 0, HELD);
	house_commit = -28; /* ENOSPC */
	take_all(h, 0, 0, 1);
	turn_for(h, 50);
	house_commit = 0;
	take_all(h, 0, 1, HELD - 1);
	check_over(h);
}

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_up, house_down)
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(a_door_is_handed_no_more_than_it_takes_and_the_rest_in_order),
		IN_A_HOUSE(what_ends_while_others_are_read_comes_behind_them),
		IN_A_HOUSE(it_waits_for_the_next_start_when_the_gateway_ends),
		IN_A_HOUSE(one_door_does_not_hold_up_the_other),
		IN_A_HOUSE(who_asks_again_for_what_waits_has_it_and_the_first_is_told_once),
		IN_A_HOUSE(what_is_asked_again_while_it_waits_is_told_once_and_in_its_place),
		IN_A_HOUSE(a_store_that_cannot_be_written_only_delays_it),
	};
	return cmocka_run_group_tests_name("backlog", tests, NULL, NULL);
}
