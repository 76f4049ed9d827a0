/* SPDX-License-Identifier: Apache-2.0 */
/* The core: what happens to jobs, workers and contexts. */
#include "house.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static void a_job_goes_through_and_comes_back_by_its_door(void **state)
{
	struct house *h = *state;
	submit(h, "{\"n\": 1}");
	json_t *event = await(h, "initialized");
	assert_string_equal(json_string_of(event, "externalId"), "mine");
	json_decref(event);
	await_and_drop(h, "queued");
	await_and_drop(h, "worker-assigned");
	await_and_drop(h, "started");
	event = await(h, "finished");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(event, "result"), "n")), 1);
	json_decref(event);
}

static void a_refusal_comes_back_by_its_door(void **state)
{
	struct house *h = *state;
	submit(h, "{\"n\": \"one\"}");
	json_t *event = await(h, "refused");
	assert_string_equal(json_string_of(event, "error"),
		"Invalid field n: Invalid type: expected Int, got \"one\"");
	json_decref(event);
}

static void only_max_jobs_run_and_the_queue_is_limited(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	for (int i = 0; i < limits.queue_max; i++) {
		submit(h, "{\"n\": 1}");
		await_and_drop(h, "queued");
	}
	assert_int_equal(h->crew.n_launched, 2); /* the describer and one worker */
	submit(h, "{\"n\": 1}");
	json_t *event = await(h, "refused");
	assert_non_null(strstr(json_string_of(event, "error"), "limits.queue is 5"));
	json_decref(event);
}

static void a_context_whose_workers_fail_is_broken_and_mends_by_itself(void **state)
{
	struct house *h = *state;
	submit(h, "{\"n\": 1}"); /* the describer comes up */
	await_and_drop(h, "finished");
	crew_lost(h->core, h->crew.ready[1], "the test took it");
	h->crew.start_failure = "no such luck";
	submit(h, "{\"n\": 1}");
	json_t *event = await(h, "failed");
	assert_non_null(strstr(json_string_of(event, "error"), "Context default is broken"));
	assert_non_null(strstr(json_string_of(event, "error"), "no such luck"));
	json_decref(event);
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "failed");

	h->crew.start_failure = NULL;
	int before = h->crew.n_ready;
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (h->crew.n_ready == before) {
		assert_true(clock_mono_ms() < deadline);
		uv_run(&h->loop, UV_RUN_NOWAIT);
	}
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "finished");
}

static void a_lost_worker_fails_its_job_or_retries_it(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	crew_lost(h->core, h->crew.ready[1], "it went");
	json_t *event = await(h, "failed");
	assert_string_equal(json_string_of(event, "error"), "Executor was terminated: it went");
	json_decref(event);

	core_configure(h->core, catalog_of(1, 1), &limits);
	submit(h, "{\"n\": 2}");
	await_and_drop(h, "started");
	crew_lost(h->core, h->crew.ready[h->crew.n_ready - 1], "it went");
	await_and_drop(h, "queued");
	await_and_drop(h, "started");
	crew_lost(h->core, h->crew.ready[h->crew.n_ready - 1], "it went again");
	await_and_drop(h, "failed");
}

static struct ask cancel_ask;
static bool is_cancel_answered;

static void cancel_answered(struct ask *a)
{
	(void)a;
	is_cancel_answered = true;
}

static bool was_killed(struct house *h)
{
	return h->crew.n_killed > 0;
}

static bool cancel_was_answered(struct house *h)
{
	(void)h;
	return is_cancel_answered;
}

static void a_cancel_asks_the_worker_then_ends_it(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	is_cancel_answered = false;
	cancel_ask =
		(struct ask){ .kind = ASK_CANCEL, .wait_ms = 10000, .answered = cancel_answered };
	assert_true(uuid_parse(h->crew.last_job, &cancel_ask.job));
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &cancel_ask), 0);
	await_and_drop(h, "cancelling");
	await_true(h, was_killed);
	assert_string_equal(h->crew.cancelled_job, h->crew.last_job);
	crew_lost(h->core, h->crew.ready[1], "it was killed");
	await_and_drop(h, "cancelled");
	await_true(h, cancel_was_answered);
	assert_int_equal(cancel_ask.fault.code, FAULT_NONE);
}

static bool was_acked(struct house *h)
{
	return h->crew.acked == 3;
}

static void outcomes_are_acknowledged_once_durable(void **state)
{
	struct house *h = *state;
	for (int i = 0; i < 3; i++) {
		submit(h, "{\"n\": 1}");
		await_and_drop(h, "finished");
	}
	await_true(h, was_acked);
}

static bool is_written_or_waits(struct house *h)
{
	return store_backlog(h->store) >=
	       2; /* the outcome, and the question whether it is durable */
}

static bool was_refused_often(struct house *h)
{
	(void)h;
	return house_commits_tried >= 3;
}

static bool was_acked_once(struct house *h)
{
	return h->crew.acked == 1;
}

/* A worker forgets an outcome when it is acknowledged. */
static void no_outcome_is_acknowledged_that_is_not_durable(void **state)
{
	static const int answers[] = { HOUSE_HOLDS, -ENOSPC };
	struct house *h = *state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		h->crew.holds_jobs = true;
		submit(h, "{\"n\": 1}");
		await_and_drop(h, "started");
		while (!store_is_settled(h->store))
			uv_run(&h->loop, UV_RUN_NOWAIT);
		h->crew.acked = 0;
		house_commits_tried = 0;
		house_commit = answers[i];
		assert_int_equal(
			crew_ended(h->core, h->crew.ready[1], h->crew.last_job, xstrdup("1"), NULL),
			0);
		await_and_drop(h, "finished");
		await_true(h, answers[i] == HOUSE_HOLDS ? is_written_or_waits : was_refused_often);
		for (int turn = 0; turn < 10; turn++)
			uv_run(&h->loop, UV_RUN_NOWAIT);
		assert_int_equal(h->crew.acked, 0);
		house_commit = 0;
		await_true(h, was_acked_once);
	}
}

static bool is_full(struct house *h)
{
	return store_backlog_bytes(h->store) >= 100000;
}

static void no_job_is_taken_while_what_waits_for_the_disk_is_too_large(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	house_commit = HOUSE_HOLDS;
	char *result = xcalloc(1, 100001);
	memset(result, '1', 100000);
	assert_int_equal(crew_ended(h->core, h->crew.ready[1], h->crew.last_job, result, NULL), 0);
	await_and_drop(h, "finished");
	await_true(h, is_full);
	submit(h, "{\"n\": 2}");
	json_t *event = await(h, "refused");
	assert_string_equal(json_string_of(event, "error"),
		"the disk does not keep up: limits.backlog-bytes is 100000");
	json_decref(event);
	house_commit = 0;
	while (!store_is_settled(h->store))
		uv_run(&h->loop, UV_RUN_NOWAIT);
	submit(h, "{\"n\": 3}");
	await_and_drop(h, "started");
}

static void frames_out_of_turn_are_answered_so(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	struct worker *w = h->crew.ready[1];
	const char *job = h->crew.last_job;
	assert_int_equal(crew_started(h->core, w, job, 1), CREW_E_ORDER);
	assert_int_equal(crew_downloading(h->core, w, job), CREW_E_ORDER);
	assert_int_equal(crew_progress(h->core, w, job, &(double){ 7 }, NULL), CREW_E_VALUE);
	json_t *entries = json_pack("[{s:i, s:s, s:s}]", "at", 1, "level", "LOUD", "message", "x");
	assert_int_equal(crew_log(h->core, w, job, entries), CREW_E_VALUE);
	json_decref(entries);
	assert_int_equal(
		crew_ended(h->core, w, "0190c0de-0000-7000-8000-000000000000", NULL, "x"), 0);
	assert_int_equal(crew_ended(h->core, w, job, NULL, "enough"), 0);
	await_and_drop(h, "failed");
}

static void says(struct house *h, double value, const char *note)
{
	assert_int_equal(
		crew_progress(h->core, h->crew.ready[1], h->crew.last_job, &value, note), 0);
}

/* Of the next event; below 0: it has no value. */
static void assert_progress(struct house *h, double value, const char *note)
{
	_cleanup_(json_decrefp) json_t *event = await(h, "progress");
	const json_t *p = json_object_get(event, "progress");
	if (value < 0)
		assert_null(json_object_get(p, "value"));
	else
		assert_true(json_number_value(json_object_get(p, "value")) == value);
	assert_string_equal(json_string_of(p, "note"), note);
}

static void of_how_far_a_job_is_the_newest_is_told_at_intervals_and_before_its_end(void **state)
{
	struct house *h = *state;
	char many[PROGRESS_NOTE_MAX + 10];
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	for (int i = 0; i < 1000; i++) {
		says(h, 0.25, "a quarter");
		says(h, i / 1000., NULL);
	}
	says(h, 0.5, "half");
	says(h, 0.5, "half");
	assert_progress(h, 0.25, "a quarter");
	assert_progress(h, 0.5, "half");
	memset(many, 'x', sizeof many - 1);
	many[sizeof many - 1] = '\0';
	memcpy(many + PROGRESS_NOTE_MAX - 1, "é", 2);
	assert_int_equal(crew_progress(h->core, h->crew.ready[1], h->crew.last_job, NULL, many), 0);
	assert_int_equal(crew_progress(h->core, h->crew.ready[1], h->crew.last_job, NULL, NULL), 0);
	assert_int_equal(
		crew_ended(h->core, h->crew.ready[1], h->crew.last_job, xstrdup("1"), NULL), 0);
	many[PROGRESS_NOTE_MAX - 1] = '\0'; /* the character that has no room is not cut in two */
	assert_progress(h, -1, many);
	await_and_drop(h, "finished");
}

/* The house goes down with it: nothing of it is left behind. */
static void a_job_that_has_told_how_far_it_is_may_be_under_way_at_the_stop(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	says(h, 0.25, "a quarter");
}

static bool is_all_written(struct house *h)
{
	return store_is_settled(h->store);
}

static void says_line(struct house *h, const char *message)
{
	_cleanup_(json_decrefp) json_t *entries =
		json_pack("[{s:i, s:s, s:s}]", "at", 1, "level", "INFO", "message", message);
	assert_int_equal(crew_log(h->core, h->crew.last_worker, h->crew.last_job, entries), 0);
}

/* The text of its file, which the caller frees. */
static char *log_of_last_job(struct house *h)
{
	struct buf text;
	struct uuid id;
	char path[4096], part[4096];
	size_t n;
	await_true(h, is_all_written);
	assert_true(uuid_parse(h->crew.last_job, &id));
	store_log_path(h->store, &id, path, sizeof path);
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	assert_non_null(file);
	buf_init(&text, 64 << 20);
	while ((n = fread(part, 1, sizeof part, file)) > 0)
		assert_int_equal(buf_add(&text, part, n), 0);
	return buf_take(&text);
}

static unsigned times_in(const char *text, const char *words)
{
	unsigned n = 0;
	while ((text = strstr(text, words)) && ++n)
		text++;
	return n;
}

enum { LOG_MAX = 2000 };

static void logs_up_to(struct house *h, int64_t log_max)
{
	struct core_limits some = limits;
	some.log_max = log_max;
	h->crew.holds_jobs = true;
	core_configure(h->core, catalog_of(1, 0), &some);
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
}

#define ENDS_HERE "The log ends here: it is over limits.job-log, 2000 bytes\n"

/* What came first is there, no more than LOG_MAX bytes are, and they end with the sentence. */
static void assert_log_ended(struct house *h)
{
	_cleanup_(freep) char *log = log_of_last_job(h);
	assert_in_range(strlen(log), LOG_MAX / 2, LOG_MAX);
	assert_non_null(strstr(log, "StartedEvent\n"));
	assert_non_null(strstr(log, "] first"));
	assert_null(strstr(log, "] behind"));
	assert_int_equal(times_in(log, "The log ends here"), 1);
	assert_true(strlen(log) > strlen(ENDS_HERE));
	assert_string_equal(log + strlen(log) - strlen(ENDS_HERE), ENDS_HERE);
}

static void a_log_ends_at_its_limit_and_says_so_once(void **state)
{
	struct house *h = *state;
	logs_up_to(h, LOG_MAX);
	says_line(h, "first");
	for (int i = 0; i < LOG_MAX / 10; i++)
		says_line(h, "some more");
	says_line(h, "behind");
	assert_log_ended(h);
	assert_int_equal(
		crew_ended(h->core, h->crew.last_worker, h->crew.last_job, xstrdup("1"), NULL), 0);
	await_and_drop(h, "finished");
	assert_log_ended(h);
}

static void a_log_ends_within_a_line_that_has_no_room_in_it(void **state)
{
	static const size_t lengths[] = { LOG_MAX, 100000, 3000000 };
	struct house *h = *state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		_cleanup_(freep) char *line = xcalloc(1, lengths[i] + 1);
		memset(line, 'x', lengths[i]);
		memcpy(line, "first", strlen("first"));
		logs_up_to(h, LOG_MAX);
		says_line(h, line);
		says_line(h, "behind");
		assert_log_ended(h);
		assert_int_equal(crew_ended(h->core, h->crew.last_worker, h->crew.last_job,
					 xstrdup("1"), NULL),
			0);
		await_and_drop(h, "finished");
	}
}

static struct ask ready_ask;
static bool is_ready_answered;

static void ready_answered(struct ask *a)
{
	(void)a;
	is_ready_answered = true;
}

static bool ready_was_answered(struct house *h)
{
	(void)h;
	return is_ready_answered;
}

static void ask_whether_ready(struct house *h)
{
	is_ready_answered = false;
	ready_ask = (struct ask){ .kind = ASK_READY, .answered = ready_answered };
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &ready_ask), 0);
	await_true(h, ready_was_answered);
	free(TAKE_PTR(ready_ask.text));
}

static void nobody_waits_for_it(void *owner)
{
	(void)owner;
}

static void a_gateway_that_stops_is_not_ready(void **state)
{
	struct house *h = *state;
	ask_whether_ready(h);
	assert_int_equal(ready_ask.fault.code, FAULT_NONE);
	core_stop(h->core, false, 60000, nobody_waits_for_it, NULL);
	ask_whether_ready(h);
	assert_int_equal(ready_ask.fault.code, FAULT_UNAVAILABLE);
	assert_string_equal(ready_ask.fault.text, "the gateway is stopping");
}

/* The worker says hello again, with nothing in its hands. */
static void comes_back_empty(struct house *h, struct worker *w)
{
	json_t *forget = NULL,
	       *hello = json_pack("{s:i, s:i, s:[]}", "protocol", 1, "capacity", 100, "resumes");
	crew_away(h->core, w);
	crew_hello(h->core, w, hello, &forget);
	crew_settled(h->core, w);
	json_decref(forget);
	json_decref(hello);
}

static void a_started_job_that_its_worker_forgot_uses_up_an_attempt(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	comes_back_empty(h, h->crew.ready[1]);
	json_t *event = await(h, "failed");
	assert_string_equal(json_string_of(event, "error"),
		"Executor was terminated: the worker came back without the job");
	json_decref(event);
}

static void a_drain_is_sent_again_after_the_connection_broke(void **state)
{
	struct house *h = *state;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "finished");
	core_configure(h->core, catalog_of(2, 0), &limits); /* retires the worker */
	assert_int_equal(h->crew.n_drained, 1);
	comes_back_empty(h, h->crew.ready[1]);
	assert_int_equal(h->crew.n_drained, 2);
}

static void what_a_worker_gets_after_its_bye_goes_to_another(void **state)
{
	struct house *h = *state;
	h->crew.is_deaf = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "worker-assigned");
	h->crew.is_deaf = false;
	crew_left(h->core, h->crew.ready[1]);
	crew_lost(h->core, h->crew.ready[1], "it ended with exit code 0");
	await_and_drop(h, "queued");
	await_and_drop(h, "finished");
}

static void a_context_with_a_worker_that_works_is_not_broken_by_others(void **state)
{
	struct house *h = *state;
	core_configure(h->core, catalog_of(2, 0), &limits);
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	h->crew.start_failure = "no such luck";
	submit(h, "{\"n\": 2}");
	await_and_drop(h, "queued");
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (h->crew.n_launched < 5) {
		assert_true(clock_mono_ms() < deadline);
		uv_run(&h->loop, UV_RUN_NOWAIT);
	}
	h->crew.start_failure = NULL;
	await_and_drop(h, "started");
}

/* A callable that is run once, under a name that others have, too. */
static void run_once(struct house *h, const char *class_name, const char *arguments)
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = h->door;
	rq->source = "Loopback";
	rq->function = xstrdup("same");
	rq->path = xstrdup("/proc/self/exe");
	rq->class_name = xstrdup(class_name);
	rq->arguments = json_loads(arguments, 0, NULL);
	rq->parameters = xstrdup(arguments);
	rq->to.text = xstrdup("mine");
	rq->to.wants = ~0u;
	assert_int_equal(intake_submit(core_intake(h->core, "loopback"), &rq), 0);
}

static void definitions_of_one_name_are_checked_each_against_its_own_types(void **state)
{
	struct house *h = *state;
	run_once(h, "numbers", "{\"n\": 1}");
	run_once(h, "texts", "{\"n\": \"one\"}");
	await_and_drop(h, "finished");
	await_and_drop(h, "finished");
	run_once(h, "texts", "{\"n\": 1}");
	json_t *event = await(h, "refused");
	assert_non_null(strstr(json_string_of(event, "error"), "Invalid field n"));
	json_decref(event);
	run_once(h, "numbers", "{\"n\": 1}");
	await_and_drop(h, "finished");
}

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_up, house_down)
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(a_job_goes_through_and_comes_back_by_its_door),
		IN_A_HOUSE(a_refusal_comes_back_by_its_door),
		IN_A_HOUSE(definitions_of_one_name_are_checked_each_against_its_own_types),
		IN_A_HOUSE(only_max_jobs_run_and_the_queue_is_limited),
		IN_A_HOUSE(a_context_whose_workers_fail_is_broken_and_mends_by_itself),
		IN_A_HOUSE(a_lost_worker_fails_its_job_or_retries_it),
		IN_A_HOUSE(a_cancel_asks_the_worker_then_ends_it),
		IN_A_HOUSE(outcomes_are_acknowledged_once_durable),
		IN_A_HOUSE(no_outcome_is_acknowledged_that_is_not_durable),
		IN_A_HOUSE(no_job_is_taken_while_what_waits_for_the_disk_is_too_large),
		IN_A_HOUSE(frames_out_of_turn_are_answered_so),
		IN_A_HOUSE(of_how_far_a_job_is_the_newest_is_told_at_intervals_and_before_its_end),
		IN_A_HOUSE(a_job_that_has_told_how_far_it_is_may_be_under_way_at_the_stop),
		IN_A_HOUSE(a_log_ends_at_its_limit_and_says_so_once),
		IN_A_HOUSE(a_log_ends_within_a_line_that_has_no_room_in_it),
		IN_A_HOUSE(a_gateway_that_stops_is_not_ready),
		IN_A_HOUSE(a_started_job_that_its_worker_forgot_uses_up_an_attempt),
		IN_A_HOUSE(a_drain_is_sent_again_after_the_connection_broke),
		IN_A_HOUSE(what_a_worker_gets_after_its_bye_goes_to_another),
		IN_A_HOUSE(a_context_with_a_worker_that_works_is_not_broken_by_others),
	};
	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
