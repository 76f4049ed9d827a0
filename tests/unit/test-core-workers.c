/* SPDX-License-Identifier: Apache-2.0 */
/* The core and the ends of workers: who is ended for what, what becomes of the jobs beside, and
 * what everybody is told about it. */
#include "house.h"

#include <string.h>

static struct ask asked;
static bool is_answered;

static char *metrics_text;

static void answered(struct ask *a)
{
	if (a->kind == ASK_METRICS)
		metrics_text = exposition_take(TAKE_PTR(a->exposition));
	ask_done(a);
	is_answered = true;
}

static void ask(struct house *h, enum ask_kind kind, const char *what)
{
	is_answered = false;
	asked = (struct ask){ .kind = kind, .wait_ms = 10000, .answered = answered };
	if (kind == ASK_METRICS)
		asked.exposition = exposition_new(EXPOSITION_PROMETHEUS, 1 << 20);
	if (kind == ASK_CANCEL)
		assert_true(uuid_parse(what, &asked.job));
	else
		asked.name = xstrdup(what);
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &asked), 0);
}

static bool was_answered(struct house *h)
{
	(void)h;
	return is_answered;
}

static bool was_killed(struct house *h)
{
	return h->crew.n_killed > 0;
}

static void configure(struct house *h, struct context_settings s, int64_t neighbour_grace_ms)
{
	struct core_limits l = limits;
	l.neighbour_grace_ms = neighbour_grace_ms;
	core_configure(h->core, catalog_with(s, 0, NULL), &l);
}

/* Two jobs to a worker, of which there may be many. */
static struct context_settings pairs(void)
{
	struct context_settings s = house_context();
	s.max_jobs = 6;
	s.jobs_per_worker = 2;
	return s;
}

/* Runs one that stays where it is, and copies its id. */
static struct worker *run(struct house *h, char ret_id[UUID_TEXT])
{
	h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "started");
	memcpy(ret_id, h->crew.last_job, UUID_TEXT);
	return h->crew.last_worker;
}

static char *log_of(struct house *h, const char *job)
{
	struct uuid id;
	char path[256], text[4096];
	assert_true(uuid_parse(job, &id));
	while (!store_is_settled(h->store))
		uv_run(&h->loop, UV_RUN_NOWAIT);
	store_log_path(h->store, &id, path, sizeof path);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	return xstrdup(text);
}

static void await_failure(struct house *h, const char *expected)
{
	json_t *event = await(h, "failed");
	assert_string_equal(json_string_of(event, "error"), expected);
	json_decref(event);
}

static void a_cancel_that_is_not_heeded_lets_the_neighbours_finish(void **state)
{
	struct house *h = *state;
	char stubborn[UUID_TEXT], neighbour[UUID_TEXT], third[UUID_TEXT];
	struct context_settings s = pairs();
	s.jobs_per_worker = 3; /* there is room for one more, and it is not used */
	configure(h, s, 60000);
	struct worker *w = run(h, stubborn);
	assert_ptr_equal(run(h, neighbour), w);
	ask(h, ASK_CANCEL, stubborn);
	turn_for(h, 5 * limits.cancel_grace_ms);
	assert_int_equal(h->crew.n_killed, 0);

	struct worker *other = run(h, third);
	assert_ptr_not_equal(other, w);
	crew_ended(h->core, w, neighbour, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
	assert_int_equal(h->crew.n_killed, 1);
	assert_ptr_equal(h->crew.last_killed, w);
	crew_lost(h->core, w, "the worker was ended from outside by signal 15");
	await_and_drop(h, "cancelled");
	await_true(h, was_answered);
	assert_int_equal(asked.fault.code, FAULT_NONE);
	_cleanup_(freep) char *log = log_of(h, stubborn);
	assert_non_null(strstr(log, "did not end within 20ms (limits.cancel-grace) of its cancel "
				    "(Job was cancelled: user request)"));
	assert_null(strstr(log, "signal"));
}

static void neighbours_that_do_not_finish_run_again_for_free(void **state)
{
	struct house *h = *state;
	char stubborn[UUID_TEXT], neighbour[UUID_TEXT];
	struct core_limits l = limits;
	l.neighbour_grace_ms = 30;
	core_configure(h->core, catalog_with(pairs(), 1, NULL), &l);
	struct worker *w = run(h, stubborn);
	run(h, neighbour);
	ask(h, ASK_CANCEL, stubborn);
	await_true(h, was_killed);
	/* What it says of its jobs while it is being ended is not theirs. */
	assert_int_equal(crew_ended(h->core, w, neighbour, NULL, "KeyboardInterrupt"), 0);
	await_and_drop(h, "queued");
	crew_lost(h->core, w, "the worker ended by itself with exit code 143");
	await_and_drop(h, "cancelled");
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_job, neighbour);
	_cleanup_(freep) char *log = log_of(h, neighbour);
	_cleanup_(freep) char *expected = xasprintf("because job %s did not end within", stubborn);
	assert_non_null(strstr(log, expected));
	assert_non_null(strstr(log, "this job runs again, and has lost none of its attempts"));

	/* It has one retry, and still has it. */
	crew_lost(h->core, h->crew.last_worker, "the worker crashed");
	await_and_drop(h, "started");
	crew_lost(h->core, h->crew.last_worker, "the worker crashed");
	await_and_drop(h, "failed");
}

static void neighbours_that_were_silent_run_again_too(void **state)
{
	struct house *h = *state;
	char stubborn[UUID_TEXT], neighbour[UUID_TEXT];
	configure(h, pairs(), 0);
	struct worker *w = run(h, stubborn);
	run(h, neighbour);
	ask(h, ASK_CANCEL, stubborn);
	await_true(h, was_killed);
	crew_lost(h->core, w, "the worker was ended from outside by signal 9");
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_job, neighbour);
}

static void a_job_that_ends_late_after_all_costs_nobody_anything(void **state)
{
	struct house *h = *state;
	char stubborn[UUID_TEXT], neighbour[UUID_TEXT], next[UUID_TEXT];
	configure(h, pairs(), 60000);
	struct worker *w = run(h, stubborn);
	run(h, neighbour);
	ask(h, ASK_CANCEL, stubborn);
	turn_for(h, 3 * limits.cancel_grace_ms);
	crew_ended(h->core, w, stubborn, NULL, NULL);
	await_and_drop(h, "cancelled");
	assert_ptr_equal(run(h, next), w);
	assert_int_equal(h->crew.n_killed, 0);
}

static void a_worker_that_is_being_ended_gets_no_more_jobs(void **state)
{
	struct house *h = *state;
	char stubborn[UUID_TEXT], next[UUID_TEXT];
	configure(h, pairs(), 0);
	struct worker *w = run(h, stubborn);
	ask(h, ASK_CANCEL, stubborn);
	await_true(h, was_killed);
	assert_ptr_not_equal(run(h, next), w);
}

static void a_stopped_worker_is_said_to_be_stopped(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT], other[UUID_TEXT];
	static const char expected[] =
		"Executor was terminated: the worker was stopped by a request for that (DELETE of "
		"the worker by test)";
	configure(h, pairs(), 60000);
	struct worker *w = run(h, job);
	run(h, other);
	ask(h, ASK_WORKER_STOP, w->id);
	await_true(h, was_killed);
	assert_int_equal(crew_ended(h->core, w, job, NULL, NULL), 0);
	await_failure(h, expected);
	crew_lost(h->core, w, "the worker ended by itself with exit code 143");
	await_failure(h, expected);
	_cleanup_(freep) char *log = log_of(h, other);
	assert_non_null(strstr(log, expected));
}

static void the_reason_of_the_room_is_what_the_job_says(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct worker *w = run(h, job);
	crew_ending(h->core, w, "the worker was given up as lost");
	crew_ending(h->core, w, "the worker was late");
	crew_lost(h->core, w, "the worker was ended from outside by signal 9");
	await_failure(h, "Executor was terminated: the worker was given up as lost");
}

static void a_worker_that_stops_a_job_unasked_is_heard_out(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct worker *w = run(h, job);
	assert_int_equal(crew_ended(h->core, w, job, NULL, NULL), 0);
	turn_for(h, 20);
	crew_lost(h->core, w, "the worker was ended from outside by signal 15");
	await_failure(h, "Executor was terminated: the worker was ended from outside by signal 15");
}

static void a_job_says_which_attempt_was_the_last(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	core_configure(h->core, catalog_of(1, 1), &limits);
	crew_lost(h->core, run(h, job), "the worker crashed");
	await_and_drop(h, "started");
	crew_lost(h->core, h->crew.last_worker, "the worker crashed again");
	await_failure(h,
		"Executor was terminated: the worker crashed again; this was attempt 2, and "
		"the function has 1 retry");
}

static void a_worker_that_goes_during_a_cancel_fails_the_job(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct worker *w = run(h, job);
	ask(h, ASK_CANCEL, job);
	await_and_drop(h, "cancelling");
	crew_lost(h->core, w, "the worker was ended from outside by signal 9");
	await_failure(h, "Executor was terminated: the worker was ended from outside by signal 9");
	await_true(h, was_answered);
	assert_int_equal(asked.fault.code, FAULT_NONE);
}

static void a_start_that_was_never_got_is_no_attempt(void **state)
{
	struct house *h = *state;
	core_configure(h->core, catalog_of(1, 1), &limits);
	h->crew.is_deaf = h->crew.holds_jobs = true;
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "worker-assigned");
	h->crew.is_deaf = false;
	crew_left(h->core, h->crew.ready[1]);
	crew_lost(h->core, h->crew.ready[1], "the worker ended by itself with exit code 0");
	await_and_drop(h, "started");
	crew_lost(h->core, h->crew.last_worker, "the worker crashed");
	await_and_drop(h, "started");
	crew_lost(h->core, h->crew.last_worker, "the worker crashed");
	await_and_drop(h, "failed");
}

/* job: what it holds, NULL: nothing. */
static void comes_back(struct house *h, struct worker *w, const char *job)
{
	json_t *forget = NULL, *hello = json_pack("{s:i, s:i, s:o}", "protocol", 1, "capacity", 1,
				       "resumes", job ? json_pack("[s]", job) : json_array());
	crew_hello(h->core, w, hello, &forget);
	assert_int_equal(json_array_size(forget), 0);
	crew_settled(h->core, w);
	json_decref(forget);
	json_decref(hello);
}

static void a_cancel_is_sent_again_to_a_worker_that_comes_back(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct worker *w = run(h, job);
	ask(h, ASK_CANCEL, job);
	await_and_drop(h, "cancelling");
	assert_int_equal(h->crew.n_cancelled, 1);
	crew_away(h->core, w);
	comes_back(h, w, job);
	assert_int_equal(h->crew.n_cancelled, 2);
	assert_string_equal(h->crew.cancelled_job, job);
	crew_ended(h->core, w, job, NULL, NULL);
	await_and_drop(h, "cancelled");
}

static void an_exclusive_worker_takes_one_job(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct context_settings s = house_context();
	s.worker_mode = WORKER_EXCLUSIVE;
	configure(h, s, 60000);
	struct worker *w = run(h, job);
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "queued");
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	assert_int_equal(h->crew.n_drained, 1);
	await_and_drop(h, "started");
	assert_ptr_not_equal(h->crew.last_worker, w);
}

static void an_exclusive_worker_that_resumes_its_job_gets_no_other(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT], id[128];
	struct context_settings s = house_context();
	s.worker_mode = WORKER_EXCLUSIVE;
	s.max_jobs = 2;
	configure(h, s, 60000);
	struct worker *w = run(h, job);
	snprintf(id, sizeof id, "%s", w->id);
	h->expected = id;
	h->is_exclusive = true;
	house_restart(h);
	w = crew_find(h->core, id);
	assert_non_null(w);
	comes_back(h, w, job);
	assert_int_equal(h->crew.n_drained, 0);
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	assert_int_equal(h->crew.n_drained, 1);
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "finished");
	assert_ptr_not_equal(h->crew.last_worker, w);
	h->expected = NULL;
}

/* Its job has ended, and the gateway went before it acknowledged that. */
static void an_exclusive_worker_that_had_its_job_gets_no_other(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT], id[128];
	struct context_settings s = house_context();
	s.worker_mode = WORKER_EXCLUSIVE;
	configure(h, s, 60000);
	struct worker *w = run(h, job);
	snprintf(id, sizeof id, "%s", w->id);
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
	h->expected = id;
	h->is_exclusive = true;
	house_restart(h);
	json_t *forget = NULL, *hello = json_pack("{s:i, s:i, s:[s]}", "protocol", 1, "capacity", 1,
				       "resumes", job);
	w = crew_find(h->core, id);
	crew_hello(h->core, w, hello, &forget);
	assert_int_equal(json_array_size(forget), 1);
	crew_settled(h->core, w);
	json_decref(forget);
	json_decref(hello);
	assert_int_equal(h->crew.n_drained, 1);
	assert_ptr_not_equal(run(h, job), w);
	h->expected = NULL;
}

/* The context, or its runtime, became another while no gateway ran. */
static void a_worker_of_before_with_other_settings_ends_when_it_has_none(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT], next[UUID_TEXT], id[128], settings[128];
	struct worker *w = run(h, job);
	snprintf(id, sizeof id, "%s", w->id);
	snprintf(settings, sizeof settings, "%s", w->settings);
	h->expected = id;
	h->expected_settings = settings;
	house_restart(h);
	w = crew_find(h->core, id);
	assert_false(w->is_draining); /* all is as it was */

	h->expected_settings = "other";
	house_restart(h);
	w = crew_find(h->core, id);
	comes_back(h, w, job);
	assert_int_equal(h->crew.n_drained, 0);
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
	assert_int_equal(h->crew.n_drained, 1);
	assert_ptr_not_equal(run(h, next), w);
	h->expected = h->expected_settings = NULL;
}

static void settings_that_differ_are_told_apart(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct context_settings s = house_context();
	struct worker *w = run(h, job);
	_cleanup_(freep) char *before = xstrdup(w->settings);
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	s.run_options = (char *)"--queue other";
	configure(h, s, 60000);
	assert_string_not_equal(run(h, job)->settings, before);
}

static bool was_acked(struct house *h)
{
	return h->crew.acked == 1;
}

static void an_outcome_is_acknowledged_when_the_disk_has_it(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct worker *w = run(h, job);
	house_commit = HOUSE_HOLDS;
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
	turn_for(h, 200); /* four times the pause for which acknowledgements are gathered */
	assert_int_equal(h->crew.acked, 0);
	house_commit = 0;
	await_true(h, was_acked);
}

static void max_jobs_holds_where_workers_have_room_for_more(void **state)
{
	struct house *h = *state;
	struct context_settings s = pairs();
	s.max_jobs = 3;
	configure(h, s, 60000);
	h->crew.holds_jobs = true;
	for (int i = 0; i < 5; i++)
		submit(h, "{\"n\": 1}");
	for (int i = 0; i < 3; i++)
		await_and_drop(h, "started");
	turn_for(h, 30);
	assert_int_equal(h->crew.n_started, 3);
}

static void workers_of_an_exclusive_context_that_nobody_needs_end(void **state)
{
	struct house *h = *state;
	char job[UUID_TEXT];
	struct context_settings s = house_context();
	s.worker_mode = WORKER_EXCLUSIVE;
	s.max_jobs = 5;
	configure(h, s, 60000);
	run(h, job); /* the signature is known from here on */
	int before = h->crew.n_launched;
	submit(h, "{\"n\": 1}");
	json_t *event = await(h, "queued");
	ask(h, ASK_CANCEL, json_string_of(event, "id"));
	json_decref(event);
	await_and_drop(h, "cancelled");
	/* Whether it was ready already or not: it is told to end. */
	while (h->crew.n_launched - before != h->crew.n_drained + h->crew.n_killed)
		uv_run(&h->loop, UV_RUN_NOWAIT);
}

static void a_deleted_context_keeps_no_workers(void **state)
{
	struct house *h = *state;
	struct context_settings s = house_context();
	s.precreated = true;
	json_incref(s.spark_conf);
	core_configure(h->core, catalog_with(s, 0, "extra"), &limits);
	int n = h->crew.n_launched;
	while (h->crew.n_ready < 2)
		uv_run(&h->loop, UV_RUN_NOWAIT);
	assert_true(h->crew.n_launched >= n);
	core_configure(h->core, catalog_with(s, 0, NULL), &limits);
	while (h->crew.n_drained < 1)
		uv_run(&h->loop, UV_RUN_NOWAIT);
	turn_for(h, 20);
	assert_int_equal(h->crew.n_ready, 2); /* and none is made in its place */
}

/* Of a job, whichever it is. */
static void await_end(struct house *h)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	for (bool is_over = false; !is_over;) {
		json_t *event;
		assert_true(clock_mono_ms() < deadline);
		uv_run(&h->loop, UV_RUN_NOWAIT);
		while (!is_over && (event = loopback_take(h->door, 1))) {
			const char *kind = json_string_of(event, "event");
			is_over = strcmp(kind, "failed") == 0 || strcmp(kind, "finished") == 0;
			json_decref(event);
		}
	}
}

static void a_broken_context_that_nobody_wants_is_tried_ever_more_rarely(void **state)
{
	struct house *h = *state;
	struct core_limits l = limits;
	struct context_settings s = house_context();
	l.broken_retry_ms = 1;
	s.precreated = true;
	s.max_conn_failures = 1;
	h->crew.start_failure = "no such luck";
	core_configure(h->core, catalog_with(s, 0, NULL), &l);
	turn_for(h, 600);
	/* 1, 2, 4, … 256 ms are 9 tries; with a longest pause of 30 ms they would be 22. */
	assert_in_range(h->crew.n_launched, 5, 14);

	int before = h->crew.n_launched;
	h->crew.start_failure = NULL;
	submit(h, "{\"n\": 1}"); /* somebody wants it: it is tried at once */
	await_end(h);
	turn_for(h, 100);
	assert_true(h->crew.n_launched > before + 1); /* the describer, and one of it */
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "finished");
}

/* Arguments of more than 64 KB. */
static char *long_arguments(size_t len)
{
	_cleanup_(freep) char *blanks = xcalloc(1, len + 1);
	memset(blanks, 'x', len);
	return xasprintf("{\"n\": 1, \"pad\": \"%s\"}", blanks);
}

static char *metrics_of(struct house *h)
{
	ask(h, ASK_METRICS, "");
	await_true(h, was_answered);
	return metrics_text;
}

static bool holds_argument_bytes(struct house *h, const char *line)
{
	_cleanup_(freep) char *text = metrics_of(h);
	return strstr(text, line);
}

static void long_arguments_wait_in_the_store(void **state)
{
	struct house *h = *state;
	char running[UUID_TEXT];
	_cleanup_(freep) char *arguments = long_arguments(600000);
	struct worker *w = run(h, running);
	for (int i = 0; i < 3; i++) { /* 1.8 MB under a limit of 1 MB */
		submit(h, arguments);
		await_and_drop(h, "queued");
	}
	assert_true(holds_argument_bytes(h, "\nmist_active_job_parameters_bytes 7\n"));
	h->crew.holds_jobs = false;
	crew_ended(h->core, w, running, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
	for (int i = 0; i < 3; i++) {
		json_t *event = await(h, "finished");
		const json_t *pad = json_object_get(json_object_get(event, "result"), "pad");
		assert_int_equal(json_string_length(pad), 600000);
		json_decref(event);
	}
	assert_true(holds_argument_bytes(h, "\nmist_active_job_parameters_bytes 0\n"));
}

static void arguments_of_requests_at_once_have_a_limit_too(void **state)
{
	struct house *h = *state;
	_cleanup_(freep) char *arguments = long_arguments(600000);
	run(h, (char[UUID_TEXT]){ 0 });
	house_commit = HOUSE_HOLDS;
	submit(h, arguments);
	submit(h, arguments);
	json_t *event = await(h, "refused");
	assert_non_null(strstr(json_string_of(event, "error"), "limits.queue-bytes is 1048576"));
	json_decref(event);
	house_commit = 0;
	await_and_drop(h, "queued");
}

static void submit_to_be_answered(struct house *h, const char *reply)
{
	json_t *json = json_pack("{s:i}", "n", 7);
	assert_int_equal(loopback_submit(h->door, "f", json, reply), 0);
	json_decref(json);
}

static void what_goes_back_with_answers_has_that_limit_too(void **state)
{
	struct house *h = *state;
	_cleanup_(freep) char *half = xasprintf("%0*d", 600000, 0);
	_cleanup_(freep) char *much = xasprintf("%0*d", 1100000, 0);
	run(h, (char[UUID_TEXT]){ 0 });
	submit_to_be_answered(h, "short");
	await_and_drop(h, "queued");
	assert_true(holds_argument_bytes(h, "\nmist_active_job_parameters_bytes 14\n"));
	submit_to_be_answered(h, half);
	await_and_drop(h, "queued");
	assert_true(holds_argument_bytes(h, "\nmist_active_job_parameters_bytes 600014\n"));
	submit_to_be_answered(h, half);
	json_t *event = await(h, "refused");
	assert_non_null(strstr(json_string_of(event, "error"), "limits.queue-bytes is 1048576"));
	json_decref(event);
	house_restart(h);
	assert_true(holds_argument_bytes(h, "\nmist_active_job_parameters_bytes 6000"));
	submit_to_be_answered(h, much);
	event = await(h, "refused");
	assert_string_equal(json_string_of(event, "error"),
		"the arguments, and what is to be sent back with the answer, take 1100007 bytes: "
		"limits.queue-bytes is 1048576");
	json_decref(event);
}

static void arguments_that_never_have_room_are_too_large(void **state)
{
	struct house *h = *state;
	_cleanup_(freep) char *arguments = long_arguments(1100000);
	submit(h, arguments);
	json_t *event = await(h, "refused");
	assert_string_equal(json_string_of(event, "error"),
		"the arguments take 1100016 bytes: limits.queue-bytes is 1048576");
	json_decref(event);
}

static void long_arguments_are_left_where_they_are_at_a_restart(void **state)
{
	struct house *h = *state;
	char running[UUID_TEXT];
	_cleanup_(freep) char *arguments = long_arguments(600000);
	run(h, running);
	for (int i = 0; i < 3; i++) {
		submit(h, arguments);
		await_and_drop(h, "queued");
	}
	house_restart(h);
	assert_true(holds_argument_bytes(h, "\nmist_active_job_parameters_bytes 0\n"));
	for (int i = 0; i < 3; i++)
		await_and_drop(h, "finished");
}

static void a_job_whose_arguments_are_being_read_is_cancelled_at_once(void **state)
{
	struct house *h = *state;
	char running[UUID_TEXT], next[UUID_TEXT];
	_cleanup_(freep) char *arguments = long_arguments(600000);
	struct worker *w = run(h, running);
	submit(h, arguments);
	json_t *event = await(h, "queued");
	snprintf(next, sizeof next, "%s", json_string_of(event, "id"));
	json_decref(event);
	house_reading_hangs = true;
	crew_ended(h->core, w, running, xstrdup("1"), NULL);
	await_and_drop(h, "worker-assigned");
	int started = h->crew.n_started;
	ask(h, ASK_CANCEL, next);
	await_and_drop(h, "cancelled");
	house_reading_hangs = false;
	turn_for(h, 20);
	assert_int_equal(h->crew.n_started, started);
	assert_int_equal(h->crew.n_killed, 0);
	run(h, running);
}

static void a_worker_that_comes_back_is_given_nothing_before_it_is_greeted(void **state)
{
	struct house *h = *state;
	char running[UUID_TEXT];
	_cleanup_(freep) char *arguments = long_arguments(600000);
	struct worker *w = run(h, running);
	submit(h, arguments);
	await_and_drop(h, "queued");
	house_reading_hangs = true;
	crew_ended(h->core, w, running, xstrdup("1"), NULL);
	await_and_drop(h, "worker-assigned");
	int started = h->crew.n_started;
	crew_away(h->core, w);
	house_reading_hangs = false;
	turn_for(h, 50);
	assert_int_equal(h->crew.n_started, started);
	comes_back(h, w, NULL);
	await_and_drop(h, "worker-assigned");
	await_and_drop(h, "started");
	assert_int_equal(h->crew.n_started, started + 1);
}

static void what_waits_for_the_disk_holds_up_what_workers_say(void **state)
{
	struct house *h = *state;
	char running[UUID_TEXT];
	struct worker *w = run(h, running);
	assert_false(crew_is_congested(h->core));
	house_commit = HOUSE_HOLDS;
	char *result = xcalloc(1, 100001);
	memset(result, '1', 100000); /* one operation, and all the bytes that may wait */
	crew_ended(h->core, w, running, result, NULL);
	await_and_drop(h, "finished");
	assert_true(crew_is_congested(h->core));
	house_commit = 0;
	while (!store_is_settled(h->store))
		turn_for(h, 1);
	assert_false(crew_is_congested(h->core));
}

/* A call of f whose caller waits for what comes of it, and its id. */
static void submit_call(struct house *h, const char *kind, char ret_id[UUID_TEXT])
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = h->door;
	rq->source = "Loopback";
	rq->function = xstrdup("f");
	rq->arguments = json_pack("{s:i}", "n", 1);
	rq->parameters = json_text(rq->arguments);
	rq->to.wants = ~0u;
	rq->is_sync = true;
	assert_int_equal(intake_submit(core_intake(h->core, "loopback"), &rq), 0);
	json_t *event = await(h, kind);
	snprintf(ret_id, UUID_TEXT, "%s", json_string_of(event, "id"));
	json_decref(event);
	turn_for(h, 250); /* it is written when it has lasted for 100 ms */
}

static void assert_failed(struct house *h, const char *job, const char *error)
{
	struct uuid id;
	_cleanup_(job_row_freep) struct job_row *row = NULL;
	assert_true(uuid_parse(job, &id));
	while (!store_is_settled(h->store))
		uv_run(&h->loop, UV_RUN_NOWAIT);
	assert_int_equal(store_job_get(h->store, &id, &row), 0);
	assert_int_equal(row->state, JOB_FAILED);
	assert_non_null(strstr(row->error, error));
}

/* Nobody waits for it any more: its caller has lost the connection, and has perhaps called again.
 */
static void a_call_that_waited_in_the_queue_is_not_run_after_a_restart(void **state)
{
	struct house *h = *state;
	char running[UUID_TEXT], waiting[UUID_TEXT], next[UUID_TEXT];
	run(h, running);
	submit_call(h, "queued", waiting);
	house_restart(h);
	run(h, next); /* what was queued before it would have run before it */
	assert_int_equal(h->crew.n_started, 1);
	assert_failed(h, waiting, "the gateway restarted while the caller waited");
}

static void a_call_whose_worker_went_with_the_gateway_is_not_run_again(void **state)
{
	struct house *h = *state;
	char called[UUID_TEXT], next[UUID_TEXT];
	h->retries = 5;
	h->crew.holds_jobs = true;
	submit_call(h, "started", called);
	house_restart(h);
	run(h, next);
	assert_int_equal(h->crew.n_started, 1);
	assert_failed(h, called, "the worker ended while the gateway was down");
}

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_up, house_down)
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(a_cancel_that_is_not_heeded_lets_the_neighbours_finish),
		IN_A_HOUSE(neighbours_that_do_not_finish_run_again_for_free),
		IN_A_HOUSE(neighbours_that_were_silent_run_again_too),
		IN_A_HOUSE(a_job_that_ends_late_after_all_costs_nobody_anything),
		IN_A_HOUSE(a_worker_that_is_being_ended_gets_no_more_jobs),
		IN_A_HOUSE(a_stopped_worker_is_said_to_be_stopped),
		IN_A_HOUSE(the_reason_of_the_room_is_what_the_job_says),
		IN_A_HOUSE(a_worker_that_stops_a_job_unasked_is_heard_out),
		IN_A_HOUSE(a_job_says_which_attempt_was_the_last),
		IN_A_HOUSE(a_worker_that_goes_during_a_cancel_fails_the_job),
		IN_A_HOUSE(a_start_that_was_never_got_is_no_attempt),
		IN_A_HOUSE(a_cancel_is_sent_again_to_a_worker_that_comes_back),
		IN_A_HOUSE(an_exclusive_worker_that_resumes_its_job_gets_no_other),
		IN_A_HOUSE(an_exclusive_worker_takes_one_job),
		IN_A_HOUSE(an_exclusive_worker_that_had_its_job_gets_no_other),
		IN_A_HOUSE(a_call_that_waited_in_the_queue_is_not_run_after_a_restart),
		IN_A_HOUSE(a_call_whose_worker_went_with_the_gateway_is_not_run_again),
		IN_A_HOUSE(a_worker_of_before_with_other_settings_ends_when_it_has_none),
		IN_A_HOUSE(settings_that_differ_are_told_apart),
		IN_A_HOUSE(an_outcome_is_acknowledged_when_the_disk_has_it),
		IN_A_HOUSE(max_jobs_holds_where_workers_have_room_for_more),
		IN_A_HOUSE(workers_of_an_exclusive_context_that_nobody_needs_end),
		IN_A_HOUSE(a_deleted_context_keeps_no_workers),
		IN_A_HOUSE(long_arguments_wait_in_the_store),
		IN_A_HOUSE(arguments_of_requests_at_once_have_a_limit_too),
		IN_A_HOUSE(what_goes_back_with_answers_has_that_limit_too),
		IN_A_HOUSE(arguments_that_never_have_room_are_too_large),
		IN_A_HOUSE(long_arguments_are_left_where_they_are_at_a_restart),
		IN_A_HOUSE(a_job_whose_arguments_are_being_read_is_cancelled_at_once),
		IN_A_HOUSE(a_worker_that_comes_back_is_given_nothing_before_it_is_greeted),
		IN_A_HOUSE(what_waits_for_the_disk_holds_up_what_workers_say),
		IN_A_HOUSE(a_broken_context_that_nobody_wants_is_tried_ever_more_rarely),
	};
	return cmocka_run_group_tests_name("core-workers", tests, NULL, NULL);
}
