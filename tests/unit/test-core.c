/* SPDX-License-Identifier: Apache-2.0 */
/* The core between its twins: the loopback transport, the store in memory, and a crew of workers
 * that are played here. */
#include "unit.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "core/catalog.h"
#include "core/core.h"
#include "domain/job.h"
#include "mist/store.h"
#include "transport/loopback/loopback.h"
#include "transport/registry.h"

enum { WORKERS_MAX = 16, DEADLINE_MS = 5000 };

/* A crew whose workers get ready on the next turn of the loop and do with jobs what the test says.
 */
struct crew {
	struct core *core;
	struct worker *starting[WORKERS_MAX], *ready[WORKERS_MAX];
	int n_starting, n_ready, n_launched, n_drained, n_killed;
	const char *start_failure; /* workers do not start, and this is why */
	bool holds_jobs;           /* jobs stay where they are */
	bool is_deaf;              /* jobs do not reach them */
	char last_job[UUID_TEXT], cancelled_job[UUID_TEXT];
	int acked;
	struct timer turn;
};

static void crew_turn(struct timers *t, struct timer *timer)
{
	struct crew *crew = container_of(timer, struct crew, turn);
	(void)t;
	while (crew->n_starting) {
		struct worker *w = crew->starting[--crew->n_starting];
		json_t *forget = NULL, *hello = json_pack("{s:i, s:i, s:[]}", "protocol", 1,
					       "capacity", 100, "resumes");
		if (crew->start_failure) {
			crew_start_failed(crew->core, w, crew->start_failure);
		} else {
			crew->ready[crew->n_ready++] = w;
			crew_hello(crew->core, w, hello, &forget);
			crew_settled(crew->core, w);
		}
		json_decref(forget);
		json_decref(hello);
	}
}

static void fake_launch(
	void *room, struct worker *w, const struct runtime_settings *runtime, bool is_describer)
{
	struct crew *crew = room;
	(void)runtime, (void)is_describer;
	crew->n_launched++;
	crew->starting[crew->n_starting++] = w;
	timer_set(core_timers(crew->core), &crew->turn, 0);
}

static void fake_start(void *room, struct worker *w, const struct job *j)
{
	struct crew *crew = room;
	if (crew->is_deaf)
		return;
	uuid_format(&j->id, crew->last_job);
	crew_started(crew->core, w, crew->last_job, clock_wall_ms());
	if (crew->holds_jobs)
		return;
	crew_ended(crew->core, w, crew->last_job, xstrdup(j->parameters), NULL);
}

static void fake_cancel(void *room, struct worker *w, const struct uuid *job, const char *reason)
{
	struct crew *crew = room;
	(void)w, (void)reason;
	uuid_format(job, crew->cancelled_job);
}

static void fake_describe(
	void *room, struct worker *w, const char *id, const char *path, const char *class_name)
{
	struct crew *crew = room;
	(void)path, (void)class_name;
	json_t *signature = json_pack(
		"{s:s, s:{s:{s:s}}, s:[]}", "lang", "c", "execute", "n", "type", "MInt", "tags");
	crew_described(crew->core, w, id, signature, NULL);
	json_decref(signature);
}

static void fake_ack(void *room, struct worker *w, json_t *job_ids)
{
	(void)w;
	((struct crew *)room)->acked += json_array_size(job_ids);
}

static void fake_drain(void *room, struct worker *w)
{
	(void)w;
	((struct crew *)room)->n_drained++;
}

static void fake_kill(void *room, struct worker *w)
{
	(void)w;
	((struct crew *)room)->n_killed++;
}

static void fake_forget(void *room, struct worker *w)
{
	(void)room, (void)w;
}

static void fake_flush(void *room)
{
	(void)room;
}

static const struct crew_ops fake_crew = { .launch = fake_launch,
	.start = fake_start,
	.cancel = fake_cancel,
	.describe = fake_describe,
	.ack = fake_ack,
	.drain = fake_drain,
	.kill = fake_kill,
	.forget = fake_forget,
	.flush = fake_flush };

struct house {
	uv_loop_t loop;
	struct store *store;
	struct core *core;
	struct crew crew;
	struct transport *door;
	char directory[32];
};

static struct catalog *catalog_of(int max_jobs, int64_t retries)
{
	struct context_settings context = { .spark_conf = json_object(),
		.run_options = (char *)"",
		.runtime = (char *)"r",
		.downtime_ms = DURATION_INF,
		.streaming_ms = 1000,
		.max_jobs = max_jobs,
		.jobs_per_worker = 1,
		.max_conn_failures = 2,
		.worker_mode = WORKER_SHARED };
	struct runtime_settings runtime = { .spark_home = (char *)"",
		.python = (char *)"",
		.java = (char *)"",
		.command = (char *)"x",
		.environment = json_object(),
		.kind = RUNTIME_PROGRAM };
	struct function_settings function = { .path = (char *)"",
		.class_name = (char *)"f",
		.context = (char *)"default",
		.retries = retries };
	struct catalog *c = catalog_new(&context, "/nowhere");
	assert_int_equal(catalog_add_context(c, "default", &context), 0);
	assert_int_equal(catalog_add_runtime(c, "r", &runtime), 0);
	assert_int_equal(catalog_add_function(c, "f", &function), 0);
	json_decref(context.spark_conf);
	json_decref(runtime.environment);
	return c;
}

static const struct core_limits limits = { .queue_max = 5,
	.jobs_max = 100,
	.contexts_max = 3,
	.backlog_max = 1000,
	.cancel_grace_ms = 20,
	.describe_timeout_ms = 1000,
	.log_max = 1 << 20,
	.history_ms = DURATION_INF,
	.broken_retry_ms = 10 };

static int house_up(void **state)
{
	struct house *h = xcalloc(1, sizeof *h);
	struct fault f;
	snprintf(h->directory, sizeof h->directory, "/tmp/mist-core-XXXXXX");
	assert_non_null(mkdtemp(h->directory));
	const struct store_settings ss = { .directory = h->directory };
	uv_loop_init(&h->loop);
	assert_int_equal(store_open(&h->store, &store_mem, &ss, &f), 0);
	assert_int_equal(store_start(h->store), 0);
	h->core = core_new(&(struct core_parts){ .loop = &h->loop,
		.store = h->store,
		.crew = &fake_crew,
		.crew_room = &h->crew,
		.mailbox_max = 100 });
	h->crew.core = h->core;
	h->crew.turn.fire = crew_turn;
	core_configure(h->core, catalog_of(1, 0), &limits);
	const struct transport_env env = { .name = "loopback",
		.in = core_intake(h->core),
		.loop = &h->loop,
		.timers = core_timers(h->core),
		.store = h->store,
		.artifacts = "/nowhere" };
	assert_int_equal(transport_open(&h->door, &loopback_transport, NULL, &env, &f), 0);
	core_start(h->core);
	*state = h;
	return 0;
}

static int house_down(void **state)
{
	struct house *h = *state;
	core_let_go(h->core);
	store_stop(h->store);
	core_close(h->core);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	h->door->ops->stop(h->door->self);
	transport_close(h->door);
	core_free(h->core);
	store_close(h->store);
	assert_int_equal(uv_loop_close(&h->loop), 0);
	_cleanup_(freep) char *remove = xasprintf("rm -rf %s", h->directory);
	assert_int_equal(system(remove), 0);
	free(h);
	return 0;
}

static void submit(struct house *h, const char *arguments)
{
	json_t *json = json_loads(arguments, 0, NULL);
	assert_non_null(json);
	assert_int_equal(loopback_submit(h->door, "f", json, "mine"), 0);
	json_decref(json);
}

/* Runs the loop until the next event of that kind comes out of the door; others are dropped. */
static json_t *await(struct house *h, const char *kind)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (clock_mono_ms() < deadline) {
		json_t *event;
		uv_run(&h->loop, UV_RUN_NOWAIT);
		while ((event = loopback_take(h->door, 1))) {
			if (strcmp(json_string_of(event, "event"), kind) == 0)
				return event;
			json_decref(event);
		}
	}
	fail_msg("no event %s came", kind);
	return NULL;
}

static void await_and_drop(struct house *h, const char *kind)
{
	json_decref(await(h, kind));
}

static void await_true(struct house *h, bool (*probe)(struct house *h))
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (!probe(h)) {
		assert_true(clock_mono_ms() < deadline);
		uv_run(&h->loop, UV_RUN_NOWAIT);
	}
}

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
	assert_int_equal(intake_ask(core_intake(h->core), &cancel_ask), 0);
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
	assert_int_equal(crew_progress(h->core, w, job, 7, NULL), CREW_E_VALUE);
	json_t *entries = json_pack("[{s:i, s:s, s:s}]", "at", 1, "level", "LOUD", "message", "x");
	assert_int_equal(crew_log(h->core, w, job, entries), CREW_E_VALUE);
	json_decref(entries);
	assert_int_equal(
		crew_ended(h->core, w, "0190c0de-0000-7000-8000-000000000000", NULL, "x"), 0);
	assert_int_equal(crew_ended(h->core, w, job, NULL, "enough"), 0);
	await_and_drop(h, "failed");
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

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_up, house_down)
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(a_job_goes_through_and_comes_back_by_its_door),
		IN_A_HOUSE(a_refusal_comes_back_by_its_door),
		IN_A_HOUSE(only_max_jobs_run_and_the_queue_is_limited),
		IN_A_HOUSE(a_context_whose_workers_fail_is_broken_and_mends_by_itself),
		IN_A_HOUSE(a_lost_worker_fails_its_job_or_retries_it),
		IN_A_HOUSE(a_cancel_asks_the_worker_then_ends_it),
		IN_A_HOUSE(outcomes_are_acknowledged_once_durable),
		IN_A_HOUSE(frames_out_of_turn_are_answered_so),
		IN_A_HOUSE(a_started_job_that_its_worker_forgot_uses_up_an_attempt),
		IN_A_HOUSE(a_drain_is_sent_again_after_the_connection_broke),
		IN_A_HOUSE(what_a_worker_gets_after_its_bye_goes_to_another),
		IN_A_HOUSE(a_context_with_a_worker_that_works_is_not_broken_by_others),
	};
	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
