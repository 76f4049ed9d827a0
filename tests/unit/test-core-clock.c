/* SPDX-License-Identifier: Apache-2.0 */
/* The core while somebody sets the clock: what has been accepted keeps its order, and nothing is
 * waited for longer or forgotten sooner. */
#include "house.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "domain/function.h"
#include "transport/thread_ends.h"

#define DAY_MS  INT64_C(86400000)
#define YEAR_MS (365 * DAY_MS)

static _Atomic int64_t ahead_ms; /* how far the wall clock of this process is */

/* In place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, id, ret);
	if (r == 0 && id == CLOCK_REALTIME)
		ret->tv_sec += ahead_ms / 1000;
	return r;
}

static int up(void **state)
{
	ahead_ms = 0;
	return house_up(state);
}

static int down(void **state)
{
	ahead_ms = 0;
	return house_down(state);
}

static void *hang(void *arg)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	while (!*(_Atomic bool *)arg)
		nanosleep(&moment, NULL);
	return NULL;
}

/* To the system it looks as if the clock was set back in the middle of the wait. */
static void the_end_of_a_thread_is_waited_for_no_longer_when_the_clock_goes_back(void **state)
{
	_Atomic bool may_end = false;
	pthread_t thread;
	(void)state;
	ahead_ms = YEAR_MS;
	assert_int_equal(pthread_create(&thread, NULL, hang, &may_end), 0);
	assert_false(thread_ends(thread, 20));
	may_end = true;
	assert_true(thread_ends(thread, DEADLINE_MS));
	ahead_ms = 0;
}

/* A job of f that the store has from a process whose clock was that far ahead. */
static void put_job(struct house *h, int64_t by_ms, enum job_state state, char ret[UUID_TEXT])
{
	_cleanup_(job_unrefp) struct job *j = job_new();
	const struct function_settings f = {
		.path = (char *)"", .class_name = (char *)"f", .context = (char *)"default"
	};
	static uint8_t n;
	j->created_ms = clock_wall_ms() + by_ms;
	uuid_at(&j->id, j->created_ms);
	j->id.bytes[6] = 0x70;
	j->id.bytes[7] = ++n;
	j->id.bytes[8] = 0x80;
	j->function = function_new("f", &f, "");
	j->context = xstrdup("default");
	j->parameters = xstrdup("{\"n\":1}");
	j->source = xstrdup("Loopback");
	j->start_timeout_ms = j->perform_timeout_ms = DURATION_INF;
	struct store_op *op = store_op_new(STORE_JOB_INSERT, j);
	op->change.state = state;
	op->change.ended_ms = job_state_is_final(state) ? j->created_ms : 0;
	store_post(h->store, op);
	uuid_format(&j->id, ret);
}

static bool is_one_started(struct house *h)
{
	return h->crew.n_started == 1;
}

static bool are_two_started(struct house *h)
{
	return h->crew.n_started == 2;
}

static void what_comes_after_a_clock_that_ran_ahead_is_newer_all_the_same(void **state)
{
	struct house *h = *state;
	char ended[UUID_TEXT];
	put_job(h, YEAR_MS, JOB_FINISHED, ended);
	house_restart(h);
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "finished");
	assert_true(strcmp(h->crew.last_job, ended) > 0);
}

static void jobs_of_a_clock_that_ran_ahead_run_before_later_ones(void **state)
{
	struct house *h = *state;
	char first[UUID_TEXT], second[UUID_TEXT];
	put_job(h, 2 * YEAR_MS, JOB_QUEUED, first);
	put_job(h, 2 * YEAR_MS, JOB_QUEUED, second);
	house_restart(h);
	h->crew.holds_jobs = true;
	await_true(h, is_one_started);
	assert_string_equal(h->crew.last_job, first);
	submit(h, "{\"n\": 1}");
	await_and_drop(h, "queued");
	crew_ended(h->core, h->crew.last_worker, first, xstrdup("1"), NULL);
	await_true(h, are_two_started);
	assert_string_equal(h->crew.last_job, second);
}

/* The same request each time. */
static void submit_with_key(struct house *h)
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = h->door;
	rq->source = "Loopback";
	rq->function = xstrdup("f");
	rq->parameters = xstrdup("{\"n\": 1}");
	rq->arguments = json_loads(rq->parameters, 0, NULL);
	rq->idempotency_key = xstrdup("key");
	rq->idempotency_digest = xstrdup("digest");
	rq->to.text = xstrdup("mine");
	rq->to.wants = ~0u;
	assert_int_equal(intake_submit(core_intake(h->core, "loopback"), &rq), 0);
}

static void a_key_is_known_as_long_as_before_wherever_the_clock_goes(void **state)
{
	struct house *h = *state;
	static const int64_t steps[] = { YEAR_MS, -YEAR_MS, 0 };
	submit_with_key(h);
	await_and_drop(h, "finished");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		ahead_ms = steps[i];
		submit_with_key(h);
		await_and_drop(h, "finished");
		assert_int_equal(h->crew.n_started, 1);
	}
}

int main(void)
{
#define IN_A_HOUSE(test) cmocka_unit_test_setup_teardown(test, up, down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			the_end_of_a_thread_is_waited_for_no_longer_when_the_clock_goes_back),
		IN_A_HOUSE(what_comes_after_a_clock_that_ran_ahead_is_newer_all_the_same),
		IN_A_HOUSE(jobs_of_a_clock_that_ran_ahead_run_before_later_ones),
		IN_A_HOUSE(a_key_is_known_as_long_as_before_wherever_the_clock_goes),
	};
	return cmocka_run_group_tests_name("core-clock", tests, NULL, NULL);
}
