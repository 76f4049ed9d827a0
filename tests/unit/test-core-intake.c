/* SPDX-License-Identifier: Apache-2.0 */
/* The core and requests: when one is a job, which of them is next, and which is no new one. */
#include "house.h"

#include <errno.h>
#include <string.h>

static struct core_limits changed;

static void configure(struct house *h, int max_jobs, int64_t retries)
{
	core_configure(h->core, catalog_of(max_jobs, retries), &changed);
}

static int up(void **state)
{
	changed = limits;
	return house_up(state);
}

/* A call of f, to be changed before it is sent. */
static struct job_request *request(struct house *h, const char *key, const char *digest)
{
	struct job_request *rq = job_request_new();
	rq->door = h->door;
	rq->source = "Loopback";
	rq->function = xstrdup("f");
	rq->arguments = json_pack("{s:i}", "n", 1);
	rq->parameters = json_text(rq->arguments);
	rq->idempotency_key = key ? xstrdup(key) : NULL;
	rq->idempotency_digest = digest ? xstrdup(digest) : NULL;
	rq->to = (struct reply_to){ .text = xstrdup("mine"), .wants = ~0u };
	return rq;
}

static void call(struct house *h, struct job_request *rq)
{
	assert_int_equal(intake_submit(core_intake(h->core, "loopback"), &rq), 0);
}

/* Awaits an event of that kind, and tells of which job it is. */
static void await_id(struct house *h, const char *kind, char ret_id[UUID_TEXT])
{
	json_t *event = await(h, kind);
	snprintf(ret_id, UUID_TEXT, "%s", json_string_of(event, "id"));
	json_decref(event);
}

static void await_refusal(struct house *h, const char *expected)
{
	json_t *event = await(h, "refused");
	if (!strstr(json_string_of(event, "error"), expected))
		fail_msg("%s: no \"%s\" in it", json_string_of(event, "error"), expected);
	json_decref(event);
}

static void settle(struct house *h)
{
	while (!store_is_settled(h->store))
		uv_run(&h->loop, UV_RUN_NOWAIT);
}

/* A job runs, and will not end: from now on jobs wait, and f is known. */
static void occupy(struct house *h)
{
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	settle(h);
}

static struct worker *worker_of(struct house *h)
{
	return h->crew.last_worker;
}

static void end(struct house *h)
{
	_cleanup_(freep) char *job = xstrdup(h->crew.last_job);
	crew_ended(h->core, worker_of(h), job, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
}

/* What a job is for its sender begins with its row. */
static void a_job_is_accepted_when_the_disk_has_it(void **state)
{
	struct house *h = *state;
	json_t *event;
	occupy(h);
	house_commit = HOUSE_HOLDS;
	submit(h, "{\"n\": 2}");
	turn_for(h, 50);
	while ((event = loopback_take(h->door, 1))) {
		if (strcmp(json_string_of(event, "event"), "started") != 0)
			fail_msg("it is told %s", json_string_of(event, "event"));
		json_decref(event);
	}
	house_commit = 0;
	await_and_drop(h, "initialized");
	await_and_drop(h, "queued");
}

static void a_job_that_the_disk_refuses_is_refused(void **state)
{
	struct house *h = *state;
	char id[UUID_TEXT];
	occupy(h);
	house_commit = -ENOSPC;
	call(h, request(h, "key", "digest"));
	await_refusal(
		h, "the job was not accepted: the store cannot write (No space left on device)");
	call(h, request(h, "key", "digest"));
	await_refusal(h, "the store cannot write: No space left on device");
	house_commit = 0;
	settle(h);
	while (store_health(h->store) < 0)
		turn_for(h, 1);
	call(h, request(h, "key", "another")); /* nothing is left of it, not even its key */
	await_id(h, "initialized", id);
	assert_string_not_equal(id, "");
}

/* Who calls and waits is not made to wait for the disk. */
static void a_call_that_waits_for_its_outcome_runs_at_once(void **state)
{
	struct house *h = *state;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "finished");
	settle(h);
	house_commit = HOUSE_HOLDS;
	struct job_request *rq = request(h, NULL, NULL);
	rq->is_sync = true;
	call(h, rq);
	await_and_drop(h, "finished");
}

static void priority_goes_before_age(void **state)
{
	static const int priorities[] = { 0, 5, -5, 5, 0 };
	static const int expected[] = { 1, 3, 0, 4, 2 };
	struct house *h = *state;
	char ids[ARRAY_SIZE(priorities)][UUID_TEXT], id[UUID_TEXT];
	occupy(h);
	for (size_t i = 0; i < ARRAY_SIZE(priorities); i++) {
		struct job_request *rq = request(h, NULL, NULL);
		rq->priority = priorities[i];
		call(h, rq);
		await_id(h, "queued", ids[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(priorities); i++) {
		end(h);
		await_id(h, "started", id);
		assert_string_equal(id, ids[expected[i]]);
	}
}

static void a_key_is_of_one_request(void **state)
{
	struct house *h = *state;
	char first[UUID_TEXT], again[UUID_TEXT];
	occupy(h);
	call(h, request(h, "key", "digest"));
	await_id(h, "initialized", first);
	call(h, request(h, "key", "digest"));
	await_id(h, "initialized", again);
	assert_string_equal(again, first);
	call(h, request(h, "key", "another"));
	await_refusal(h, "the idempotency key key was used for another request");
	call(h, request(h, "key", NULL));
	await_refusal(h, "the idempotency key key was used for another request");
}

static bool is_one_being_read(struct house *h)
{
	(void)h;
	return house_reading > 0;
}

/* The threads that read it have other things to do, too. */
static void a_key_that_comes_often_is_looked_up_a_few_times_at_once(void **state)
{
	enum { AGAIN = 20, AT_ONCE = 2 };
	struct house *h = *state;
	char first[UUID_TEXT], again[UUID_TEXT];
	call(h, request(h, "key", "digest"));
	await_id(h, "finished", first);
	settle(h);
	house_reading_hangs = true;
	for (int i = 0; i < AGAIN; i++)
		call(h, request(h, "key", "digest"));
	await_true(h, is_one_being_read);
	turn_for(h, 50);
	assert_in_range(house_reading, 1, AT_ONCE);
	house_reading_hangs = false;
	for (int i = 0; i < AGAIN; i++) {
		await_id(h, "initialized", again);
		assert_string_equal(again, first);
	}
}

static void of_the_keys_the_newest_are_kept(void **state)
{
	struct house *h = *state;
	char ids[3][UUID_TEXT], id[UUID_TEXT];
	changed.keys_max = 2;
	configure(h, 1, 0);
	occupy(h);
	for (int i = 0; i < 3; i++) {
		call(h, request(h, (char[]){ (char)('a' + i), '\0' }, "digest"));
		await_id(h, "initialized", ids[i]);
	}
	call(h, request(h, "c", "digest"));
	await_id(h, "initialized", id);
	assert_string_equal(id, ids[2]);
	call(h, request(h, "a", "digest"));
	await_id(h, "initialized", id);
	assert_string_not_equal(id, ids[0]);
}

static void a_key_is_kept_for_its_time(void **state)
{
	struct house *h = *state;
	char first[UUID_TEXT], again[UUID_TEXT];
	occupy(h);
	call(h, request(h, "key", "digest"));
	await_id(h, "initialized", first);
	changed.key_ms = 30;
	configure(h, 1, 0);
	turn_for(h, 50);
	call(h, request(h, "key", "digest"));
	await_id(h, "initialized", again);
	assert_string_not_equal(again, first);
}

/* A job's key is told by its newest form, and known by the one that an earlier version wrote. */
static void a_key_is_known_in_its_former_form(void **state)
{
	struct house *h = *state;
	char first[UUID_TEXT], second[UUID_TEXT], id[UUID_TEXT];
	occupy(h);
	call(h, request(h, "place", NULL));
	await_id(h, "initialized", first);
	struct job_request *again = request(h, "place#1", NULL);
	again->former_key = xstrdup("place");
	call(h, again);
	await_id(h, "initialized", id);
	assert_string_equal(id, first);
	struct job_request *other = request(h, "elsewhere#1", NULL);
	other->former_key = xstrdup("elsewhere");
	call(h, other);
	await_id(h, "initialized", second);
	assert_string_not_equal(second, first);
	other = request(h, "elsewhere#2", NULL);
	other->former_key = xstrdup("elsewhere");
	call(h, other);
	await_id(h, "initialized", id);
	assert_string_not_equal(id, second);
}

static void jobs_have_a_limit_over_all_contexts(void **state)
{
	struct house *h = *state;
	changed.jobs_max = 2;
	configure(h, 1, 0);
	occupy(h);
	submit(h, "{\"n\": 2}");
	await_and_drop(h, "queued");
	submit(h, "{\"n\": 3}");
	await_refusal(h, "too many jobs are waiting or running: limits.jobs is 2");
	end(h);
	await_and_drop(h, "started");
	submit(h, "{\"n\": 3}");
	await_and_drop(h, "queued");
}

/* One of them may hold the very job that stands first: its start was sent, the row of that not yet
 * written. */
static void nothing_is_given_out_before_the_workers_of_before_are_back(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "finished");
	crew_lost(h->core, h->crew.ready[1], "the test took it");
	h->crew.is_slow = true;
	submit(h, "{\"n\": 1}");
	await_id(h, "queued", job);
	settle(h);
	h->expected = "default_before";
	house_restart(h);
	turn_for(h, 50);
	assert_int_equal(h->crew.n_launched, 0);

	struct worker *w = crew_find(h->core, h->expected);
	json_t *forget = NULL, *hello = json_pack("{s:i, s:i, s:[s]}", "protocol", 1, "capacity", 1,
				       "resumes", job);
	crew_hello(h->core, w, hello, &forget);
	assert_int_equal(json_array_size(forget), 0);
	crew_settled(h->core, w);
	json_decref(forget);
	json_decref(hello);
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
	assert_int_equal(h->crew.n_started, 0);
	h->expected = NULL;
}

static struct ask asked;
static char *metrics;

static void metrics_answered(struct ask *a)
{
	metrics = TAKE_PTR(a->text);
	ask_done(a);
}

/* They are read from the store again when it starts, even where there is room for them. */
static void long_arguments_leave_the_memory_when_the_disk_has_them(void **state)
{
	struct house *h = *state;
	_cleanup_(freep) char *pad = xcalloc(1, 100001);
	memset(pad, 'x', 100000);
	occupy(h);
	struct job_request *rq = request(h, NULL, NULL);
	json_object_set_new(rq->arguments, "pad", json_string(pad));
	free(rq->parameters);
	rq->parameters = json_text(rq->arguments);
	call(h, rq);
	await_and_drop(h, "queued");
	asked = (struct ask){ .kind = ASK_METRICS, .answered = metrics_answered };
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &asked), 0);
	while (!metrics)
		turn_for(h, 1);
	_cleanup_(freep) char *text = TAKE_PTR(metrics);
	assert_non_null(
		strstr(text, "\nmist_active_job_parameters_bytes 7\n")); /* of the one that runs */
}

static void an_end_before_the_start_is_out_of_turn(void **state)
{
	struct house *h = *state;
	char id[UUID_TEXT];
	h->crew.is_deaf = true;
	submit(h, "{\"n\": 1}");
	await_id(h, "worker-assigned", id);
	struct worker *w = h->crew.ready[1];
	assert_int_equal(crew_ended(h->core, w, id, xstrdup("1"), NULL), CREW_E_ORDER);
	assert_int_equal(crew_started(h->core, w, id, clock_wall_ms()), 0);
	assert_int_equal(crew_ended(h->core, w, id, xstrdup("1"), NULL), 0);
	await_and_drop(h, "finished");
}

static struct ask cancel;

static void cancel_answered(struct ask *a)
{
	(void)a;
}

static void a_cancel_whose_worker_went_with_the_gateway_took_effect(void **state)
{
	struct house *h = *state;
	h->retries = 5;
	occupy(h);
	cancel = (struct ask){ .kind = ASK_CANCEL, .wait_ms = 10, .answered = cancel_answered };
	assert_true(uuid_parse(h->crew.last_job, &cancel.job));
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &cancel), 0);
	await_and_drop(h, "cancelling");
	turn_for(h, 15);
	house_restart(h);
	_cleanup_(job_row_freep) struct job_row *row = NULL;
	settle(h);
	assert_int_equal(store_job_get(h->store, &cancel.job, &row), 0);
	assert_int_equal(row->state, JOB_CANCELLED);
	assert_string_equal(row->error, "Job was cancelled: user request");
	ask_done(&cancel);
}

static void await_cancelled(struct house *h, const char *expected)
{
	json_t *event = await(h, "cancelled");
	assert_string_equal(json_string_of(event, "error"), expected);
	json_decref(event);
}

/* False: it was cancelled instead. */
static bool await_start(struct house *h)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	bool is_started = false, is_over = false;
	while (!is_over) {
		json_t *event;
		assert_true(clock_mono_ms() < deadline);
		uv_run(&h->loop, UV_RUN_NOWAIT);
		while (!is_over && (event = loopback_take(h->door, 1))) {
			const char *kind = json_string_of(event, "event");
			is_started = strcmp(kind, "started") == 0;
			is_over = is_started || strcmp(kind, "cancelled") == 0;
			json_decref(event);
		}
	}
	return is_started;
}

/* It counts until the job has a worker, and no longer. */
static void a_start_timeout_is_for_what_waits(void **state)
{
	struct house *h = *state;
	occupy(h);
	struct job_request *rq = request(h, NULL, NULL);
	rq->start_timeout_ms = 20;
	call(h, rq);
	await_cancelled(h, "Job was cancelled: start timeout was exceeded: 20ms");
	int64_t timeout_ms = 30;
	do { /* again, with more time, when it was this test that was late */
		if (timeout_ms > 30)
			occupy(h);
		timeout_ms *= 2;
		rq = request(h, NULL, NULL);
		rq->start_timeout_ms = timeout_ms;
		call(h, rq);
		await_and_drop(h, "queued");
		end(h);
	} while (!await_start(h));
	turn_for(h, timeout_ms + 40);
	assert_int_equal(h->crew.n_cancelled, 0);
}

static void a_perform_timeout_is_for_what_runs(void **state)
{
	struct house *h = *state;
	occupy(h);
	struct job_request *rq = request(h, NULL, NULL);
	rq->perform_timeout_ms = 20;
	call(h, rq);
	await_and_drop(h, "queued");
	turn_for(h, 50);
	end(h);
	await_and_drop(h, "started");
	await_and_drop(h, "cancelling");
	assert_string_equal(h->crew.cancelled_job, h->crew.last_job);
	crew_ended(h->core, worker_of(h), h->crew.last_job, NULL, NULL);
	await_cancelled(h, "Job was cancelled: timeout");
}

static void what_is_no_text_and_no_context_is_refused(void **state)
{
	struct house *h = *state;
	struct job_request *rq = request(h, NULL, NULL);
	rq->external_id = xstrdup("caf\xe9");
	call(h, rq);
	await_refusal(h, "externalId: expected UTF-8");
	rq = request(h, NULL, NULL);
	rq->trace = xstrdup("\xff");
	call(h, rq);
	await_refusal(h, "traceparent: expected UTF-8");
	rq = request(h, NULL, NULL);
	rq->context = xstrdup("../x");
	call(h, rq);
	await_refusal(h, "context: expected a name of letters");
	rq = request(h, NULL, NULL);
	rq->context = xstrdup("nowhere");
	call(h, rq);
	await_refusal(h, "context: there is no context nowhere");
}

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, up, house_down)
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(a_job_is_accepted_when_the_disk_has_it),
		IN_A_HOUSE(a_job_that_the_disk_refuses_is_refused),
		IN_A_HOUSE(a_call_that_waits_for_its_outcome_runs_at_once),
		IN_A_HOUSE(priority_goes_before_age),
		IN_A_HOUSE(a_key_is_of_one_request),
		IN_A_HOUSE(a_key_that_comes_often_is_looked_up_a_few_times_at_once),
		IN_A_HOUSE(of_the_keys_the_newest_are_kept),
		IN_A_HOUSE(a_key_is_kept_for_its_time),
		IN_A_HOUSE(a_key_is_known_in_its_former_form),
		IN_A_HOUSE(jobs_have_a_limit_over_all_contexts),
		IN_A_HOUSE(nothing_is_given_out_before_the_workers_of_before_are_back),
		IN_A_HOUSE(long_arguments_leave_the_memory_when_the_disk_has_them),
		IN_A_HOUSE(an_end_before_the_start_is_out_of_turn),
		IN_A_HOUSE(a_cancel_whose_worker_went_with_the_gateway_took_effect),
		IN_A_HOUSE(a_start_timeout_is_for_what_waits),
		IN_A_HOUSE(a_perform_timeout_is_for_what_runs),
		IN_A_HOUSE(what_is_no_text_and_no_context_is_refused),
	};
	return cmocka_run_group_tests_name("core-intake", tests, NULL, NULL);
}
