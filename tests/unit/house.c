/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture of the core's tests. The test's thread is the core's: nothing happens but while it
 * waits for something. */
#include "house.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/private.h"
#include "transport/registry.h"

static void crew_turn(struct timers *t, struct timer *timer)
{
	struct crew *crew = container_of(timer, struct crew, turn);
	(void)t;
	while (crew->n_starting && !crew->is_slow) {
		struct worker *w = crew->starting[--crew->n_starting];
		json_t *forget = NULL, *hello = json_pack("{s:i, s:i, s:[]}", "protocol", 1,
					       "capacity", 100, "resumes");
		if (crew->start_failure && crew->is_hindered) {
			crew->n_hindered++;
			crew_start_hindered(crew->core, w, crew->start_failure);
		} else if (crew->start_failure) {
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
	crew->last_worker = w;
	crew->n_started++;
	crew_started(crew->core, w, crew->last_job, clock_wall_ms());
	if (crew->holds_jobs)
		return;
	crew_ended(crew->core, w, crew->last_job, xstrdup(j->parameters), NULL);
}

static void fake_cancel(void *room, struct worker *w, const struct uuid *job, const char *reason)
{
	struct crew *crew = room;
	(void)w, (void)reason;
	crew->n_cancelled++;
	uuid_format(job, crew->cancelled_job);
}

static void fake_describe(
	void *room, struct worker *w, const char *id, const char *path, const char *class_name)
{
	struct crew *crew = room;
	(void)path;
	json_t *signature = json_pack("{s:s, s:{s:{s:s}, s:{s:s, s:[{s:s}]}}, s:[]}", "lang", "c",
		"execute", "n", "type", strcmp(class_name, "texts") == 0 ? "MString" : "MInt",
		"pad", "type", "MOption", "args", "type", "MString", "tags");
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
	((struct crew *)room)->n_killed++;
	((struct crew *)room)->last_killed = w;
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

struct context_settings house_context(void)
{
	return (struct context_settings){ .spark_conf = json_object(),
		.run_options = (char *)"",
		.runtime = (char *)"r",
		.downtime_ms = DURATION_INF,
		.streaming_ms = 1000,
		.max_jobs = 1,
		.jobs_per_worker = 1,
		.max_conn_failures = 2,
		.worker_mode = WORKER_SHARED };
}

struct catalog *catalog_with(struct context_settings context, int64_t retries, const char *name)
{
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
	if (name)
		assert_int_equal(catalog_add_context(c, name, &context), 0);
	assert_int_equal(catalog_add_runtime(c, "r", &runtime), 0);
	assert_int_equal(catalog_add_function(c, "f", &function), 0);
	json_decref(context.spark_conf);
	json_decref(runtime.environment);
	return c;
}

struct catalog *catalog_of(int max_jobs, int64_t retries)
{
	struct context_settings context = house_context();
	context.max_jobs = max_jobs;
	return catalog_with(context, retries, NULL);
}

const struct core_limits limits = { .queue_max = 5,
	.queue_bytes_max = 1 << 20,
	.jobs_max = 100,
	.contexts_max = 3,
	.workers_max = 100,
	.worker_turn_ms = 60000,
	.backlog_max = 1000,
	.backlog_bytes_max = 100000,
	.cancel_grace_ms = 20,
	.describe_timeout_ms = 60000,
	.log_max = 1 << 20,
	.progress_ms = 100,
	.keys_max = 10,
	.key_ms = 60000,
	.job_series_max = 2,
	.history_ms = DURATION_INF,
	.neighbour_grace_ms = 50,
	.broken_retry_ms = 10 };

_Atomic int house_disk, house_commit, house_commits_tried;
_Atomic bool house_reading_hangs;
_Atomic int house_reading;

static int apply(void *self, const struct store_op *op)
{
	int r = op->kind == STORE_LISTENER_PUT ? house_disk : 0;
	return r < 0 ? r : store_mem.apply(self, op);
}

static int commit(void *self)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	house_commits_tried++;
	while (house_commit == HOUSE_HOLDS)
		nanosleep(&moment, NULL);
	return house_commit < 0 ? house_commit : store_mem.commit(self);
}

static int job_get(void *self, const struct uuid *id, struct job_row **ret)
{
	const struct timespec pause = { 0, 1000000 };
	house_reading++;
	while (house_reading_hangs)
		nanosleep(&pause, NULL);
	house_reading--;
	return store_mem.job_get(self, id, ret);
}

/* The core and the doors, on the store that is there. */
static void open_core(struct house *h)
{
	struct fault f;
	h->core = core_new(&(struct core_parts){ .loop = &h->loop,
		.store = h->store,
		.crew = &fake_crew,
		.crew_room = &h->crew,
		.mailbox_max = 1000 });
	h->crew = (struct crew){ .core = h->core, .turn.fire = crew_turn };
	struct context_settings context = house_context();
	if (h->is_exclusive)
		context.worker_mode = WORKER_EXCLUSIVE;
	core_configure(h->core, catalog_with(context, h->retries, NULL), &limits);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "other" : "loopback";
		const struct transport_env env = { .name = name,
			.in = core_intake(h->core, name),
			.loop = &h->loop,
			.timers = core_timers(h->core),
			.store = h->store,
			.artifacts = "/nowhere",
			.directory = "/nowhere" };
		assert_int_equal(
			transport_open(&h->doors[i], &loopback_transport, NULL, &env, &f), 0);
		loopback_limit(h->doors[i], h->outcomes_max[i]);
	}
	h->door = h->doors[0];
	core_set_doors(h->core, h->doors, 2);
	if (h->expected)
		assert_non_null(crew_expect(h->core, h->expected, "default", h->expected_settings));
	assert_int_equal(core_recover(h->core), 0);
	core_start(h->core);
	assert_int_equal(core_tell_owed(h->core), 0);
}

static void close_core(struct house *h)
{
	core_close(h->core);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 2; i++) {
		h->doors[i]->ops->stop(h->doors[i]->self);
		transport_close(h->doors[i]);
	}
	core_free(h->core);
}

int house_up(void **state)
{
	struct house *h = xcalloc(1, sizeof *h);
	struct fault f;
	snprintf(h->directory, sizeof h->directory, "/tmp/mist-core-XXXXXX");
	assert_non_null(mkdtemp(h->directory));
	const struct store_settings ss = { .directory = h->directory };
	uv_loop_init(&h->loop);
	house_disk = 0;
	h->disk = store_mem;
	h->disk.apply = apply;
	h->disk.commit = commit;
	house_commit = 0;
	h->disk.job_get = job_get;
	assert_int_equal(store_open(&h->store, &h->disk, &ss, &f), 0);
	assert_int_equal(store_start(h->store), 0);
	open_core(h);
	*state = h;
	return 0;
}

static atomic_bool is_fence_passed;

/* On the store's thread. */
static void fence_passed(void *owner, struct store_op *op, int status)
{
	(void)owner, (void)op, (void)status;
	atomic_store(&is_fence_passed, true);
}

/* The store's thread has answered all that it was asked so far; nobody asks it meanwhile. */
static void await_store(struct house *h)
{
	const struct timespec moment = { .tv_nsec = 100000 };
	struct store_op *op = store_op_new(STORE_SETTLE, NULL);
	op->done = fence_passed;
	atomic_store(&is_fence_passed, false);
	store_post(h->store, op);
	while (!atomic_load(&is_fence_passed))
		nanosleep(&moment, NULL);
}

/* The gateway stops the store before its core; here it goes on, and must not answer a core that is
 * freed. An answer that is heard may ask for more. */
void house_restart(struct house *h)
{
	uv_run(&h->loop, UV_RUN_NOWAIT); /* what was reported is heard */
	core_let_go(h->core);
	for (await_store(h); h->core->mailbox.first; await_store(h))
		uv_run(&h->loop, UV_RUN_NOWAIT);
	close_core(h);
	open_core(h);
}

int house_down(void **state)
{
	struct house *h = *state;
	house_commit = 0;
	house_reading_hangs = false;
	core_let_go(h->core);
	store_stop(h->store);
	close_core(h);
	store_close(h->store);
	assert_int_equal(uv_loop_close(&h->loop), 0);
	_cleanup_(freep) char *remove = xasprintf("rm -rf %s", h->directory);
	assert_int_equal(system(remove), 0);
	free(h);
	return 0;
}

void submit(struct house *h, const char *arguments)
{
	json_t *json = json_loads(arguments, 0, NULL);
	assert_non_null(json);
	assert_int_equal(loopback_submit(h->door, "f", json, "mine"), 0);
	json_decref(json);
}

json_t *await(struct house *h, const char *kind)
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

void await_and_drop(struct house *h, const char *kind)
{
	json_decref(await(h, kind));
}

void await_true(struct house *h, bool (*probe)(struct house *h))
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (!probe(h)) {
		assert_true(clock_mono_ms() < deadline);
		uv_run(&h->loop, UV_RUN_NOWAIT);
	}
}

void turn_for(struct house *h, int64_t ms)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	for (; ms > 0; ms--) {
		uv_run(&h->loop, UV_RUN_NOWAIT);
		nanosleep(&moment, NULL);
	}
	uv_run(&h->loop, UV_RUN_NOWAIT);
}
