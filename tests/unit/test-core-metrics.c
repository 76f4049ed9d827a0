/* SPDX-License-Identifier: Apache-2.0 */
/* The core's metrics: jobs by function, context and transport, within a limit; workers by what they
 * do. */
#include "house.h"

#include <stdlib.h>
#include <string.h>

static struct ask asked;
static char *text;
static bool is_answered;

static void answered(struct ask *a)
{
	text = a->exposition ? exposition_take(TAKE_PTR(a->exposition)) : TAKE_PTR(a->text);
	ask_done(a);
	is_answered = true;
}

static bool was_answered(struct house *h)
{
	(void)h;
	return is_answered;
}

static char *ask(struct house *h, enum ask_kind kind)
{
	is_answered = false;
	asked = (struct ask){ .kind = kind, .answered = answered };
	if (kind == ASK_METRICS)
		asked.exposition = exposition_new(EXPOSITION_PROMETHEUS, 1 << 20);
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &asked), 0);
	await_true(h, was_answered);
	return TAKE_PTR(text);
}

static void assert_metric(struct house *h, const char *line, bool is_there)
{
	_cleanup_(freep) char *all = ask(h, ASK_METRICS);
	if (!strstr(all, line) == is_there)
		fail_msg("%s %s in %s", is_there ? "no" : "there is", line, all);
}

static void call(struct house *h, const char *function)
{
	json_t *arguments = json_pack("{s:i}", "n", 1);
	assert_int_equal(loopback_submit(h->door, function, arguments, "mine"), 0);
	json_decref(arguments);
}

static void run(struct house *h, const char *function, const char *end)
{
	call(h, function);
	await_and_drop(h, end);
}

/* Functions f, g and k of the context default, which may run two jobs. */
static void configure(struct house *h)
{
	static const char *const names[] = { "g", "k" };
	struct catalog *catalog = catalog_of(2, 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct function_settings s = { .path = (char *)"",
			.class_name = (char *)names[i],
			.context = (char *)"default" };
		assert_int_equal(catalog_add_function(catalog, names[i], &s), 0);
	}
	core_configure(h->core, catalog, &limits);
}

#define SET(function) "function=\"" function "\",context=\"default\",transport=\"loopback\""
#define OTHER         "function=\"other\",context=\"other\",transport=\"loopback\""

static void jobs_are_counted_by_function_context_and_transport(void **state)
{
	struct house *h = *state;
	run(h, "f", "finished");
	run(h, "f", "finished");
	assert_metric(h, "\nmist_jobs_ended_total{" SET("f") ",outcome=\"finished\"} 2\n", true);
	assert_metric(h, "\nmist_jobs_ended_total{" SET("f") ",outcome=\"failed\"} 0\n", true);
	assert_metric(h, "\nmist_job_wait_seconds_count{" SET("f") "} 2\n", true);
	assert_metric(h, "\nmist_job_wait_seconds_bucket{" SET("f") ",le=\"+Inf\"} 2\n", true);
	assert_metric(
		h, "\nmist_job_run_seconds_count{" SET("f") ",outcome=\"finished\"} 2\n", true);
}

/* house.c has limits.job-series at 2. */
static void sets_of_labels_have_a_limit(void **state)
{
	struct house *h = *state;
	configure(h);
	run(h, "f", "finished");
	run(h, "g", "finished");
	run(h, "k", "finished");
	run(h, "f", "finished");
	assert_metric(h, "\nmist_jobs_ended_total{" SET("f") ",outcome=\"finished\"} 2\n", true);
	assert_metric(h, "\nmist_jobs_ended_total{" SET("g") ",outcome=\"finished\"} 1\n", true);
	assert_metric(h, "\nmist_jobs_ended_total{" OTHER ",outcome=\"finished\"} 1\n", true);
	assert_metric(h, "function=\"k\"", false);
}

static void run_once(struct house *h, const char *name)
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = h->door;
	rq->source = "Loopback";
	rq->function = xstrdup(name);
	rq->path = xstrdup("/proc/self/exe");
	rq->class_name = xstrdup("numbers");
	rq->parameters = xstrdup("{\"n\": 1}");
	rq->arguments = json_loads(rq->parameters, 0, NULL);
	rq->to.text = xstrdup("mine");
	rq->to.wants = ~0u;
	assert_int_equal(intake_submit(core_intake(h->core, "loopback"), &rq), 0);
	await_and_drop(h, "finished");
}

static void a_client_cannot_choose_labels(void **state)
{
	struct house *h = *state;
	run_once(h, "mine-1");
	run_once(h, "mine-2");
	run_once(h, "mine-3");
	assert_metric(h,
		"\nmist_jobs_ended_total{" SET("unregistered") ",outcome=\"finished\"} 3\n", true);
	assert_metric(h, "mine-", false);
}

/* Of f, in a context that need not exist. */
static void run_in(struct house *h, const char *context)
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = h->door;
	rq->source = "Loopback";
	rq->function = xstrdup("f");
	rq->context = xstrdup(context);
	rq->makes_context = true;
	rq->parameters = xstrdup("{\"n\": 1}");
	rq->arguments = json_loads(rq->parameters, 0, NULL);
	rq->to.text = xstrdup("mine");
	rq->to.wants = ~0u;
	assert_int_equal(intake_submit(core_intake(h->core, "loopback"), &rq), 0);
	await_and_drop(h, "finished");
}

static void make_context(struct house *h, const char *name)
{
	is_answered = false;
	asked = (struct ask){ .kind = ASK_CONTEXT_CREATE,
		.name = xstrdup(name),
		.body = json_pack("{s:s}", "name", name),
		.answered = answered };
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &asked), 0);
	await_true(h, was_answered);
	free(TAKE_PTR(text));
}

static void a_context_that_is_made_counts_from_then_on(void **state)
{
	struct house *h = *state;
	run_in(h, "later");
	run_in(h, "other-1");
	assert_metric(
		h, "\nmist_context_workers{context=\"unregistered\",state=\"idle\"} 2\n", true);
	assert_metric(h, "context=\"other-", false);
	assert_metric(h, "context=\"later\"", false);
	assert_metric(h,
		"context=\"unregistered\",transport=\"loopback\",outcome=\"finished\"} 2\n", true);
	make_context(h, "later");
	run_in(h, "later");
	assert_metric(h,
		"\nmist_jobs_ended_total{function=\"f\",context=\"later\",transport=\"loopback\","
		"outcome=\"finished\"} 1\n",
		true);
}

static void a_job_that_never_ran_did_not_wait_to_its_end(void **state)
{
	struct house *h = *state;
	run(h, "f", "finished"); /* the describer comes up */
	crew_lost(h->core, h->crew.ready[1], "the test took it");
	h->crew.start_failure = "no such luck";
	run(h, "f", "failed");
	assert_metric(h, "\nmist_jobs_ended_total{" SET("f") ",outcome=\"failed\"} 1\n", true);
	assert_metric(h, "\nmist_job_wait_seconds_count{" SET("f") "} 1\n", true);
	assert_metric(h, "mist_job_run_seconds_count{" SET("f") ",outcome=\"failed\"}", false);
	_cleanup_(freep) char *all = ask(h, ASK_METRICS);
	const char *failures = strstr(all, "\nmist_worker_start_failures_total ");
	assert_non_null(failures);
	assert_true(strtol(strchr(failures + 1, ' '), NULL, 10) > 0);
}

static void an_attempt_that_follows_another_has_not_waited_again(void **state)
{
	struct house *h = *state;
	core_configure(h->core, catalog_of(1, 2), &limits); /* two retries */
	h->crew.holds_jobs = true;
	run(h, "f", "started");
	crew_lost(h->core, h->crew.last_worker, "the test took it");
	await_and_drop(h, "started");
	assert_metric(h, "\nmist_job_wait_seconds_count{" SET("f") "} 1\n", true);
	assert_metric(h, "\nmist_workers_lost_total 1\n", true);
}

static void workers_are_told_by_what_they_do(void **state)
{
	struct house *h = *state;
	h->crew.holds_jobs = true;
	run(h, "f", "started");
	assert_metric(h, "\nmist_context_workers{context=\"default\",state=\"busy\"} 1\n", true);
	assert_metric(h, "\nmist_context_workers{context=\"default\",state=\"idle\"} 0\n", true);
	assert_metric(h, "\nmist_context_running_jobs{context=\"default\"} 1\n", true);
	assert_metric(h, "\nmist_context_queued_jobs{context=\"default\"} 0\n", true);
	assert_metric(h, "context=\"~", false);
	assert_metric(h, "\nmist_signature_processes 1\n", true);
}

static void a_process_that_only_loads_signatures_is_no_worker(void **state)
{
	struct house *h = *state;
	run(h, "f", "finished");
	assert_int_equal(h->crew.n_ready, 2); /* it, and one that describes */
	_cleanup_(freep) char *status = ask(h, ASK_STATUS);
	_cleanup_(json_decrefp) json_t *json = json_loads(status, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(json, "workers")), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			jobs_are_counted_by_function_context_and_transport, house_up, house_down),
		cmocka_unit_test_setup_teardown(sets_of_labels_have_a_limit, house_up, house_down),
		cmocka_unit_test_setup_teardown(
			a_client_cannot_choose_labels, house_up, house_down),
		cmocka_unit_test_setup_teardown(
			a_context_that_is_made_counts_from_then_on, house_up, house_down),
		cmocka_unit_test_setup_teardown(
			a_job_that_never_ran_did_not_wait_to_its_end, house_up, house_down),
		cmocka_unit_test_setup_teardown(
			an_attempt_that_follows_another_has_not_waited_again, house_up, house_down),
		cmocka_unit_test_setup_teardown(
			workers_are_told_by_what_they_do, house_up, house_down),
		cmocka_unit_test_setup_teardown(
			a_process_that_only_loads_signatures_is_no_worker, house_up, house_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
