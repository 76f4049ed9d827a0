/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks for a job with a known idempotency key is told its outcome as whoever asked first is:
 * at least once, whatever ends in between.
 *
 * A door that is not drained has not delivered: the core hears of an outcome when it is taken. */
#include "house.h"

#include <errno.h>
#include <string.h>

/* Asks for one job, to be answered as `reply`. */
static void ask(struct transport *door, struct intake *in, const char *reply)
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = door;
	rq->source = "Loopback";
	rq->function = xstrdup("f");
	rq->parameters = xstrdup("{\"n\":7}");
	rq->arguments = json_pack("{s:i}", "n", 7);
	rq->idempotency_key = xstrdup("key");
	rq->idempotency_digest = xstrdup("digest");
	rq->to = (struct reply_to){ .text = xstrdup(reply), .wants = ~0u, .is_owed = true };
	assert_int_equal(intake_submit(in, &rq), 0);
}

/* By the door of that number. */
static void ask_by(struct house *h, int door, const char *reply)
{
	ask(h->doors[door], core_intake(h->core, h->doors[door]->name), reply);
}

static bool is_it(const json_t *event, const char *kind, const char *reply)
{
	const char *to = json_string_of(event, "externalId");
	return strcmp(json_string_of(event, "event"), kind) == 0 && to && strcmp(to, reply) == 0;
}

/* Takes what comes out of the door up to that event, and nothing behind it. The number of outcomes
 * that were told to others meanwhile. */
static int await_by(struct house *h, int door, const char *kind, const char *reply)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	int others = 0;
	while (clock_mono_ms() < deadline) {
		uv_run(&h->loop, UV_RUN_NOWAIT);
		json_t *event;
		while ((event = loopback_take(h->doors[door], 1))) {
			bool is_found = is_it(event, kind, reply);
			others += !is_found && json_object_get(event, "owed");
			json_decref(event);
			if (is_found)
				return others;
		}
	}
	fail_msg("%s was not told %s", reply, kind);
	return 0;
}

/* The number of outcomes that a door has told up to now and are not taken yet: they are taken. A
 * job goes through first, so that what was to come has come. */
static int drain(struct house *h, int door)
{
	json_t *event;
	submit(h, "{\"n\": 1}");
	int others = await_by(h, 0, "finished", "mine");
	if (door == 0)
		return others;
	others = 0;
	while ((event = loopback_take(h->doors[door], 1))) {
		others += json_object_get(event, "owed") != NULL;
		json_decref(event);
	}
	return others;
}

/* A job that waits behind another. */
static void begin_waiting_job(struct house *h)
{
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	ask_by(h, 0, "a");
	await_by(h, 0, "queued", "a");
}

/* What would go back to all who ask again is in memory together. */
static void long_texts_of_who_asks_again_have_a_limit(void **state)
{
	struct house *h = *state;
	begin_waiting_job(h);
	for (int i = 0; i < 2; i++) {
		_cleanup_(freep) char *reply = xasprintf("%0*d", 600000, i);
		ask_by(h, 1, reply);
		await_by(h, 1, i ? "refused" : "initialized", reply);
	}
}

static void who_asks_for_a_job_under_way_is_told_its_end_after_a_restart(void **state)
{
	struct house *h = *state;
	begin_waiting_job(h);
	ask_by(h, 1, "b");
	await_by(h, 1, "initialized", "b");
	ask_by(h, 0, "c");
	await_by(h, 0, "initialized", "c");
	house_restart(h);
	await_by(h, 0, "finished", "a");
	await_by(h, 0, "finished", "c");
	await_by(h, 1, "finished", "b");
	house_restart(h);
	assert_int_equal(drain(h, 0), 0);
	assert_int_equal(drain(h, 1), 0);
}

static void who_asks_for_a_job_that_ended_is_told_until_it_has_the_outcome(void **state)
{
	struct house *h = *state;
	ask_by(h, 0, "a");
	await_by(h, 0, "finished", "a");
	ask_by(h, 1, "b");
	await_by(h, 1, "initialized", "b");
	for (int i = 0; i < 2; i++) /* it is told, and nobody takes it */
		house_restart(h);
	await_by(h, 1, "finished", "b");
	house_restart(h);
	assert_int_equal(drain(h, 1), 0);
}

static void a_store_that_cannot_be_read_holds_up_nobody_else(void **state)
{
	struct house *h = *state;
	ask_by(h, 0, "a");
	await_by(h, 0, "finished", "a");
	house_reading_hangs = true;
	ask_by(h, 1, "b");
	submit(h, "{\"n\": 1}");
	await_by(h, 0, "finished", "mine");
	assert_null(loopback_take(h->doors[1], 1));
	house_reading_hangs = false;
	await_by(h, 1, "initialized", "b");
	await_by(h, 1, "finished", "b");
}

static void a_request_that_comes_again_as_it_was_is_told_once(void **state)
{
	struct house *h = *state;
	begin_waiting_job(h);
	for (int i = 0; i < 3; i++) {
		ask_by(h, 0, "a");
		await_by(h, 0, "initialized", "a");
		ask_by(h, 1, "b");
		ask_by(h, 1, "b");
		await_by(h, 1, "initialized", "b");
		await_by(h, 1, "initialized", "b");
	}
	house_restart(h);
	await_by(h, 0, "finished", "a");
	await_by(h, 1, "finished", "b");
	assert_int_equal(drain(h, 0), 0);
	assert_int_equal(drain(h, 1), 0);
	house_restart(h);
	assert_int_equal(drain(h, 0), 0);
	assert_int_equal(drain(h, 1), 0);
}

static void a_request_that_comes_again_at_the_end_is_told_the_end_last(void **state)
{
	struct house *h = *state;
	ask_by(h, 0, "a");
	await_by(h, 0, "started", "a"); /* its outcome is behind that */
	ask_by(h, 1, "b");
	await_by(h, 1, "finished", "b");
	for (int i = 0; i < 2; i++) {
		ask_by(h, 0, "a");
		await_by(h, 0, "finished", "a");
		await_by(h, 0, "initialized", "a");
	}
	house_restart(h); /* two of three were taken */
	await_by(h, 0, "finished", "a");
	house_restart(h);
	assert_int_equal(drain(h, 0), 0);
	assert_int_equal(drain(h, 1), 0);
}

static void what_one_door_has_delivered_the_other_still_owes(void **state)
{
	struct house *h = *state;
	begin_waiting_job(h);
	ask_by(h, 1, "b");
	await_by(h, 1, "initialized", "b");
	house_restart(h);
	await_by(h, 0, "finished", "a");
	house_restart(h);
	assert_int_equal(drain(h, 0), 0);
	await_by(h, 1, "finished", "b");
	house_restart(h);
	assert_int_equal(drain(h, 1), 0);
}

static void one_report_is_not_enough_where_a_door_told_two(void **state)
{
	struct house *h = *state;
	begin_waiting_job(h);
	ask_by(h, 0, "b");
	await_by(h, 0, "initialized", "b");
	house_restart(h);
	await_by(h, 0, "finished", "a"); /* what is for b stays */
	house_restart(h);
	assert_int_equal(await_by(h, 0, "finished", "b"), 1); /* it is not known who had it */
	house_restart(h);
	assert_int_equal(drain(h, 0), 0);
}

static void who_asks_while_the_first_has_not_got_it_has_a_claim_of_its_own(void **state)
{
	struct house *h = *state;
	ask_by(h, 0, "a");
	await_by(h, 0, "started", "a"); /* its outcome is behind that */
	ask_by(h, 0, "b");
	await_by(h, 0, "finished", "a");
	await_by(h, 0, "initialized", "b");
	house_restart(h);
	await_by(h, 0, "finished", "b");
}

static bool can_write(struct house *h)
{
	return store_health(h->store) == 0;
}

static void nobody_is_accepted_whose_claim_is_not_on_the_disk(void **state)
{
	struct house *h = *state;
	begin_waiting_job(h);
	house_disk = -ENOSPC;
	ask_by(h, 0, "b");
	json_t *event = await(h, "refused");
	assert_string_equal(json_string_of(event, "externalId"), "b");
	assert_string_equal(
		json_string_of(event, "error"), "the store cannot write: No space left on device");
	json_decref(event);
	house_disk = 0;
	await_true(h, can_write);
	ask_by(h, 0, "b");
	await_by(h, 0, "initialized", "b");
	house_restart(h);
	await_by(h, 0, "finished", "a");
	await_by(h, 0, "finished", "b");
}

static void so_many_may_ask_for_one_job(void **state)
{
	struct house *h = *state;
	char reply[16] = "";
	begin_waiting_job(h);
	for (int i = 0; i < LISTENERS_MAX; i++) {
		snprintf(reply, sizeof reply, "%d", i);
		ask_by(h, 1, reply);
		await_by(h, 1, "initialized", reply);
	}
	ask_by(h, 0, "one more");
	json_t *event = await(h, "refused");
	assert_string_equal(json_string_of(event, "error"),
		"too many requests with the idempotency key key wait for its outcome: at most 64 "
		"are told beside the first");
	json_decref(event);
	ask_by(h, 1, reply);
	await_by(h, 1, "initialized", reply);
	house_restart(h);
	await_by(h, 0, "finished", "a");
	await_by(h, 1, "finished", reply);
	house_restart(h);
	assert_int_equal(drain(h, 1), 0);
}

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_up, house_down)
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(long_texts_of_who_asks_again_have_a_limit),
		IN_A_HOUSE(who_asks_for_a_job_under_way_is_told_its_end_after_a_restart),
		IN_A_HOUSE(who_asks_for_a_job_that_ended_is_told_until_it_has_the_outcome),
		IN_A_HOUSE(a_store_that_cannot_be_read_holds_up_nobody_else),
		IN_A_HOUSE(a_request_that_comes_again_as_it_was_is_told_once),
		IN_A_HOUSE(a_request_that_comes_again_at_the_end_is_told_the_end_last),
		IN_A_HOUSE(what_one_door_has_delivered_the_other_still_owes),
		IN_A_HOUSE(one_report_is_not_enough_where_a_door_told_two),
		IN_A_HOUSE(who_asks_while_the_first_has_not_got_it_has_a_claim_of_its_own),
		IN_A_HOUSE(nobody_is_accepted_whose_claim_is_not_on_the_disk),
		IN_A_HOUSE(so_many_may_ask_for_one_job),
	};
	return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
