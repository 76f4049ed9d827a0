/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts that share the worker processes there may be: who gets the next one, who gives one up,
 * and what a job that waits says. */
#include "house.h"

#include <string.h>

static struct ask asked;
static char *answer;
static bool is_answered;

static void answered(struct ask *a)
{
	answer = a->exposition ? exposition_take(TAKE_PTR(a->exposition)) : TAKE_PTR(a->text);
	ask_done(a);
	is_answered = true;
}

static bool was_answered(struct house *h)
{
	(void)h;
	return is_answered;
}

static char *ask(struct house *h, enum ask_kind kind, const char *job)
{
	is_answered = false;
	asked = (struct ask){ .kind = kind, .answered = answered };
	if (kind == ASK_METRICS)
		asked.exposition = exposition_new(EXPOSITION_PROMETHEUS, 1 << 20);
	if (job)
		assert_true(uuid_parse(job, &asked.job));
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &asked), 0);
	await_true(h, was_answered);
	return TAKE_PTR(answer);
}

static void configure(struct house *h, struct context_settings s, int64_t workers, int64_t turn_ms)
{
	struct core_limits l = limits;
	struct function_settings g = {
		.path = (char *)"", .class_name = (char *)"g", .context = (char *)"extra"
	};
	struct catalog *catalog = catalog_with(s, 0, "extra");
	l.workers_max = workers;
	l.worker_turn_ms = turn_ms;
	assert_int_equal(catalog_add_function(catalog, "g", &g), 0);
	core_configure(h->core, catalog, &l);
}

/* Calls f, of the context default, or g, of the context extra. */
static void call(struct house *h, const char *function, char ret_id[UUID_TEXT])
{
	json_t *arguments = json_pack("{s:i}", "n", 1);
	assert_int_equal(loopback_submit(h->door, function, arguments, "mine"), 0);
	json_decref(arguments);
	json_t *event = await(h, "queued");
	snprintf(ret_id, UUID_TEXT, "%s", json_string_of(event, "id"));
	json_decref(event);
}

/* Calls it, and it stays where it is. */
static struct worker *run(struct house *h, const char *function, char ret_id[UUID_TEXT])
{
	h->crew.holds_jobs = true;
	call(h, function, ret_id);
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_job, ret_id);
	return h->crew.last_worker;
}

/* It was told to end, and does. */
static void ends(struct house *h, struct worker *w)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (!w->is_drain_sent) {
		assert_true(clock_mono_ms() < deadline);
		uv_run(&h->loop, UV_RUN_NOWAIT);
	}
	crew_left(h->core, w);
	crew_lost(h->core, w, "the worker ended by itself with exit code 0");
}

static void finish(struct house *h, struct worker *w, const char *job)
{
	crew_ended(h->core, w, job, xstrdup("1"), NULL);
	await_and_drop(h, "finished");
}

/* What a job says that it waits for; the caller drops it. */
static json_t *waiting(struct house *h, const char *job)
{
	_cleanup_(freep) char *text = ask(h, ASK_JOB_LIVE, job);
	_cleanup_(json_decrefp) json_t *all = text ? json_loads(text, 0, NULL) : NULL;
	json_t *json = json_incref(json_object_get(all, "waiting"));
	assert_non_null(json);
	assert_int_equal(json_object_size(json), 2);
	return json;
}

static void assert_waits(struct house *h, const char *job, const char *reason, const char *detail)
{
	_cleanup_(json_decrefp) json_t *json = waiting(h, job);
	assert_string_equal(json_string_of(json, "reason"), reason);
	if (!strstr(json_string_of(json, "detail"), detail))
		fail_msg("%s: no \"%s\" in it", json_string_of(json, "detail"), detail);
}

/* It is not told to end for `ms`. What comes so late that it may, `limit_ms` after `from_ms`, is
 * the fault of a test that was held up. */
static void assert_stays(
	struct house *h, const struct worker *w, int64_t from_ms, int64_t ms, int64_t limit_ms)
{
	while (clock_mono_ms() - from_ms < ms) {
		uv_run(&h->loop, UV_RUN_NOWAIT);
		assert_true(!w->is_draining || clock_mono_ms() - from_ms >= limit_ms);
	}
}

static void assert_metric(struct house *h, const char *line)
{
	_cleanup_(freep) char *text = ask(h, ASK_METRICS, NULL);
	if (!strstr(text, line))
		fail_msg("no %s in %s", line, text);
}

static void an_idle_worker_makes_room_for_another_context(void **state)
{
	struct house *h = *state;
	char first[UUID_TEXT], second[UUID_TEXT];
	configure(h, house_context(), 1, DURATION_INF);
	struct worker *w = run(h, "f", first);
	call(h, "g", second);
	assert_waits(h, second, "workers",
		"1 worker process is there and limits.workers is 1: context extra is number 1 "
		"of 1 that wait for one");
	assert_metric(h, "\nmist_worker_processes 1\n");
	assert_metric(h, "\nmist_worker_processes_limit 1\n");
	assert_metric(h, "\nmist_contexts_waiting 1\n");
	turn_for(h, 300);
	assert_false(w->is_draining); /* it runs a job */

	int64_t idle_ms = clock_mono_ms();
	finish(h, w, first);
	assert_stays(h, w, idle_ms, 500, 1000); /* the next one may come at once */
	ends(h, w);
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_job, second);
	assert_null(ask(h, ASK_JOB_LIVE, second));
	assert_metric(h, "\nmist_worker_processes 1\n");
	assert_metric(h, "\nmist_contexts_waiting 0\n");
}

static void an_idle_worker_stays_when_nobody_waits(void **state)
{
	struct house *h = *state;
	char id[UUID_TEXT];
	configure(h, house_context(), 1, 100);
	struct worker *w = run(h, "f", id);
	finish(h, w, id);
	turn_for(h, 1500);
	assert_false(w->is_draining);
	assert_ptr_equal(run(h, "f", id), w);
}

/* A long queue of one context does not keep another from its turn, nor the other way round. */
static void contexts_take_turns(void **state)
{
	struct house *h = *state;
	char first[UUID_TEXT], id[UUID_TEXT], others[UUID_TEXT];
	configure(h, house_context(), 1, 100);
	struct worker *w = run(h, "f", first);
	for (int i = 0; i < 3; i++)
		call(h, "f", id);
	call(h, "g", others);
	while (!w->is_draining) /* it is retired while it works, and finishes that */
		uv_run(&h->loop, UV_RUN_NOWAIT);
	assert_int_equal(w->n_jobs, 1);
	finish(h, w, first);
	ends(h, w);
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_job, others);
	assert_waits(h, id, "workers", "context default is number 1 of 1");

	w = h->crew.last_worker;
	call(h, "g", id);
	while (!w->is_draining)
		uv_run(&h->loop, UV_RUN_NOWAIT);
	finish(h, w, others);
	ends(h, w);
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_worker->context->name, "default");
}

/* What each has is its share: nothing is taken from who has as much as oneself. */
static void an_equal_share_is_left_alone(void **state)
{
	struct house *h = *state;
	struct context_settings s = house_context();
	char id[UUID_TEXT];
	s.max_jobs = 3;
	configure(h, s, 4, 100);
	struct worker *f[3], *g;
	for (int i = 0; i < 3; i++)
		f[i] = run(h, "f", id);
	g = run(h, "g", id);
	call(h, "g", id);
	int n_retired = 0;
	while (!n_retired) {
		uv_run(&h->loop, UV_RUN_NOWAIT);
		for (int i = 0; i < 3; i++)
			n_retired += f[i]->is_draining;
	}
	turn_for(h, 1200);
	n_retired = 0;
	for (int i = 0; i < 3; i++)
		n_retired += f[i]->is_draining;
	assert_int_equal(n_retired, 1);
	assert_false(g->is_draining);
}

/* They are kept ready for somebody, but not while somebody else has nothing. */
static void precreated_workers_are_ended_last(void **state)
{
	struct house *h = *state;
	struct context_settings s = house_context();
	struct function_settings g = {
		.path = (char *)"", .class_name = (char *)"g", .context = (char *)"extra"
	};
	struct core_limits l = limits;
	char id[UUID_TEXT];
	s.precreated = true;
	struct catalog *catalog = catalog_with(s, 0, NULL);
	s = house_context();
	assert_int_equal(catalog_add_context(catalog, "extra", &s), 0);
	json_decref(s.spark_conf);
	assert_int_equal(catalog_add_function(catalog, "g", &g), 0);
	l.workers_max = 1;
	l.worker_turn_ms = 2000;
	core_configure(h->core, catalog, &l);
	while (!h->crew.n_ready)
		uv_run(&h->loop, UV_RUN_NOWAIT);
	struct worker *w = h->crew.ready[0];
	assert_string_equal(w->context->name, "default");
	int64_t asked_ms = clock_mono_ms();
	call(h, "g", id);
	assert_stays(h, w, asked_ms, 1500, l.worker_turn_ms);
	ends(h, w);
	await_and_drop(h, "finished");
	assert_string_equal(h->crew.last_job, id);
	/* It is made again when the other context has no use for its worker: not before. */
	assert_metric(h, "\nmist_worker_processes 1\n");
}

static void a_higher_limit_is_used_at_once(void **state)
{
	struct house *h = *state;
	char id[UUID_TEXT];
	configure(h, house_context(), 1, DURATION_INF);
	run(h, "f", id);
	call(h, "g", id);
	configure(h, house_context(), 2, DURATION_INF);
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_job, id);
}

static void a_context_that_waits_no_more_gets_no_worker(void **state)
{
	struct house *h = *state;
	char id[UUID_TEXT], first[UUID_TEXT];
	configure(h, house_context(), 1, DURATION_INF);
	struct worker *w = run(h, "f", first);
	call(h, "g", id);
	int before = h->crew.n_launched;
	asked = (struct ask){ .kind = ASK_CANCEL, .wait_ms = 1000, .answered = answered };
	assert_true(uuid_parse(id, &asked.job));
	assert_int_equal(intake_ask(core_intake(h->core, "test"), &asked), 0);
	await_and_drop(h, "cancelled");
	finish(h, w, first);
	turn_for(h, 1500);
	assert_false(w->is_draining);
	assert_int_equal(h->crew.n_launched, before);
	assert_metric(h, "\nmist_contexts_waiting 0\n");
}

static void what_else_a_job_waits_for_is_said(void **state)
{
	struct house *h = *state;
	char running[UUID_TEXT], id[UUID_TEXT];
	struct context_settings s = house_context();
	s.max_conn_failures = 100;
	configure(h, s, 5, 1000);
	struct worker *w = run(h, "f", running);
	call(h, "f", id);
	assert_waits(h, id, "max-jobs",
		"1 job of context default runs, and its max-jobs is 1; 1 job waits there");
	assert_null(ask(h, ASK_JOB_LIVE, running));

	h->crew.is_slow = true;
	call(h, "g", id);
	assert_waits(h, id, "worker-starting", "a worker of context extra is starting");
	/* It may be over before it is asked for; each pause is longer than the one before. */
	for (bool is_seen = false; !is_seen;) {
		while (!h->crew.n_starting)
			uv_run(&h->loop, UV_RUN_NOWAIT);
		crew_start_failed(h->core, h->crew.starting[--h->crew.n_starting], "no such luck");
		_cleanup_(json_decrefp) json_t *json = waiting(h, id);
		is_seen = strcmp(json_string_of(json, "reason"), "pause") == 0;
		if (is_seen)
			assert_non_null(
				strstr(json_string_of(json, "detail"), "the next is started in"));
	}
	finish(h, w, running);
}

/* A fault of the gateway's own machine is not the context's, however often it is tried. */
static void a_machine_that_lets_no_worker_start_breaks_no_context(void **state)
{
	struct house *h = *state;
	char id[UUID_TEXT];
	struct context_settings s = house_context();
	s.max_conn_failures = 1;
	configure(h, s, 5, 1000);
	struct worker *w = run(h, "f", id); /* the describer is there */
	finish(h, w, id);
	h->crew.start_failure = "the disk is full";
	h->crew.is_hindered = true;
	call(h, "g", id);
	while (h->crew.n_hindered < 3)
		uv_run(&h->loop, UV_RUN_ONCE);
	assert_waits(h, id, "gateway-machine", "The last failure: the disk is full");
	h->crew.start_failure = NULL;
	await_and_drop(h, "started");
	assert_string_equal(h->crew.last_job, id);
}

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_up, house_down)
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(an_idle_worker_makes_room_for_another_context),
		IN_A_HOUSE(an_idle_worker_stays_when_nobody_waits),
		IN_A_HOUSE(contexts_take_turns),
		IN_A_HOUSE(an_equal_share_is_left_alone),
		IN_A_HOUSE(precreated_workers_are_ended_last),
		IN_A_HOUSE(a_higher_limit_is_used_at_once),
		IN_A_HOUSE(a_context_that_waits_no_more_gets_no_worker),
		IN_A_HOUSE(what_else_a_job_waits_for_is_said),
		IN_A_HOUSE(a_machine_that_lets_no_worker_start_breaks_no_context),
	};
	return cmocka_run_group_tests_name("core-processes", tests, NULL, NULL);
}
