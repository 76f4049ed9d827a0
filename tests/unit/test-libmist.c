/* SPDX-License-Identifier: Apache-2.0 */
/* libmist against the gateway of gate.h. The worker runs on a thread of its own, as it would in its
 * main(). */
#include "mist/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "frame.h"
#include "gate.h"
#include "unit.h"

#define JOB_1 "0190f3a0-0000-7000-8000-000000000001"
#define JOB_2 "0190f3a0-0000-7000-8000-000000000002"

static struct mist_worker *worker;
static pthread_t thread; /* that runs it */
static bool is_running;
static int kept_stdout;      /* functions print to nowhere meanwhile */
static atomic_bool released; /* what the function "hold" waits for */

static void noop(struct mist_job *job, void *arg)
{
	(void)arg;
	mist_job_finish(job, NULL);
}

static void echo(struct mist_job *job, void *arg)
{
	(void)arg;
	mist_job_finish(job, json_incref(json_object_get(mist_job_parameters(job), "text")));
}

static void hold(struct mist_job *job, void *arg)
{
	(void)arg;
	mist_job_log(job, MIST_WARN, "holding \"%s\"", mist_job_id(job));
	mist_job_progress(job, 0.25, "held");
	while (!atomic_load(&released) && !mist_job_is_cancelled(job))
		(void)poll(NULL, 0, 1);
	if (mist_job_is_cancelled(job))
		mist_job_fail(job, "cancelled");
	else
		mist_job_finish(job, json_string("released"));
}

static void notes(struct mist_job *job, void *arg)
{
	(void)arg;
	mist_job_progress(job, NAN, "a word");
	mist_job_finish(job, NULL);
}

static void fails(struct mist_job *job, void *arg)
{
	(void)arg;
	mist_job_fail(job, "line 1\nline 2 \xff");
	mist_job_finish(job, json_true());
}

static void silent(struct mist_job *job, void *arg)
{
	(void)job;
	(void)arg;
}

static void chatty(struct mist_job *job, void *arg)
{
	(void)arg;
	for (int i = 0; i < 2500; i++)
		mist_job_log(job, MIST_INFO, "line %d", i);
	mist_job_finish(job, NULL);
}

/* Prints what it was told to, until it is released. */
static void prints(struct mist_job *job, void *arg)
{
	(void)arg;
	printf("%s\nno end", json_string_value(json_object_get(mist_job_parameters(job), "text")));
	fflush(stdout);
	while (!atomic_load(&released))
		(void)poll(NULL, 0, 1);
	printf("\n\nafter\n");
	mist_job_finish(job, NULL);
}

static void result_of(struct mist_job *job, void *arg)
{
	json_t *(*make)(void) = (json_t * (*)(void)) arg;
	mist_job_finish(job, make());
}

static json_t *make_big(void)
{
	char text[GATE_FRAME_MAX];
	memset(text, 'x', sizeof text);
	return json_stringn(text, sizeof text);
}

static json_t *make_nul(void)
{
	return json_pack("[s%]", "a\0b", (size_t)3);
}

static json_t *make_broken(void)
{
	return json_pack("[o]", json_stringn_nocheck("\xff", 1));
}

static json_t *make_nul_in_a_name(void)
{
	json_t *v = json_object();
	json_object_setn_new_nocheck(v, "a\0b", 3, json_null());
	return v;
}

static json_t *make_deep(void)
{
	json_t *v = json_array();
	for (int i = 0; i < FRAME_DEPTH_MAX; i++)
		v = json_pack("[o]", v);
	return v;
}

/* The gateway. */

static int setup(void **state)
{
	static const struct {
		const char *name;
		mist_function_fn *fn;
		void *arg;
	} served[] = {
		{ "noop", noop, NULL },
		{ "echo", echo, NULL },
		{ "hold", hold, NULL },
		{ "fails", fails, NULL },
		{ "silent", silent, NULL },
		{ "chatty", chatty, NULL },
		{ "prints", prints, NULL },
		{ "big", result_of, (void *)make_big },
		{ "nul", result_of, (void *)make_nul },
		{ "nul-in-a-name", result_of, (void *)make_nul_in_a_name },
		{ "broken", result_of, (void *)make_broken },
		{ "deep", result_of, (void *)make_deep },
	};
	struct gate *g = xcalloc(1, sizeof *g);
	gate_init(g);
	/* Were it a file, what libmist itself says there would be taken for printed by functions.
	 */
	fflush(stdout);
	kept_stdout = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	check(kept_stdout >= 0 && null >= 0 && dup2(null, STDOUT_FILENO) >= 0);
	close(null);
	atomic_store(&released, false);
	worker = mist_worker_new();
	for (size_t i = 0; i < ARRAY_SIZE(served); i++)
		check_int(mist_worker_add(worker, served[i].name,
				  "{\"text\": {\"type\": \"MAny\"}}", served[i].fn, served[i].arg),
			0);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct gate *g = *state;
	fflush(stdout);
	check(dup2(kept_stdout, STDOUT_FILENO) >= 0);
	close(kept_stdout);
	gate_done(g);
	if (!is_running) /* after a failure it may still use its memory */
		mist_worker_free(worker);
	free(g);
	return 0;
}

static void *run(void *arg)
{
	return (void *)(intptr_t)mist_worker_run(arg);
}

static void start_worker(void)
{
	check_int(pthread_create(&thread, NULL, run, worker), 0);
	is_running = true;
}

static void start(struct gate *g, const char *job, const char *name)
{
	gate_say(g,
		"{\"type\":\"start\",\"job\":\"%s\",\"function\":\"f\",\"path\":\"p\","
		"\"className\":\"%s\","
		"\"parameters\":{\"text\":\"h\\u00e9\"},\"attempt\":1}",
		job, name);
}

static void ack(struct gate *g, const char *job)
{
	gate_say(g, "{\"type\":\"ack\",\"jobs\":[\"%s\"]}", job);
}

static int join(void)
{
	void *status;
	check_int(pthread_join(thread, &status), 0);
	is_running = false;
	return (int)(intptr_t)status;
}

/* Ends the worker in order. */
static void drain(struct gate *g)
{
	gate_say(g, "{\"type\":\"drain\"}");
	gate_expect(g, "bye");
	check_int(gate_expect_close(g), WS_CLOSE_NORMAL);
	gate_hang_up(g);
	check_int(join(), 0);
}

static void run_one(struct gate *g, const char *name)
{
	start(g, JOB_1, name);
	check_str(json_string_of(gate_expect(g, "started"), "job"), JOB_1);
}

static void is_failed_with(struct gate *g, const char *name, const char *sentence)
{
	run_one(g, name);
	check(strstr(json_string_of(gate_expect(g, "failed"), "error"), sentence));
	ack(g, JOB_1);
}

static void a_function_is_added_once_and_with_a_type_tree(void **state)
{
	struct mist_worker *w = mist_worker_new();
	(void)state;
	check_int(mist_worker_add(w, "f",
			  "{\"a\": {\"type\": \"MMap\", \"args\": [{\"type\": \"MString\"},"
			  "{\"type\": \"MObj\", \"fields\": {\"b\": {\"type\": \"MInt\"}}}]}}",
			  noop, NULL),
		0);
	check_int(mist_worker_add(w, "f", "{}", noop, NULL), -EEXIST);
	check_int(mist_worker_add(w, "g", "[]", noop, NULL), -EINVAL);
	check_int(mist_worker_add(w, "g", "{", noop, NULL), -EINVAL);
	check_int(mist_worker_add(w, "g", "{\"a\": {\"type\": \"Int\"}}", noop, NULL), -EINVAL);
	check_int(mist_worker_add(w, "g", "{\"a\": {\"type\": \"MList\"}}", noop, NULL), -EINVAL);
	mist_worker_free(w);
}

static void without_a_usable_file_it_ends_with_2(void **state)
{
	struct gate *g = *state;
	FILE *f = fopen(g->file, "we");
	fputs("{\"url\": \"http://127.0.0.1/\", \"worker\": \"w\", \"secret\": \"s\", \"grace\": "
	      "1}",
		f);
	fclose(f);
	check_int(mist_worker_run(worker), 2);
	unlink(g->file);
	check_int(mist_worker_run(worker), 2);
	unsetenv("MIST_WORKER_FILE");
	check_int(mist_worker_run(worker), 2);
}

static void it_asks_with_its_id_and_secret_and_ends_with_4_when_refused(void **state)
{
	struct gate *g = *state;
	start_worker();
	const char *head = gate_take(g);
	check_bytes(head, "GET /v2/workers/connect?worker=w_1 HTTP/1.1\r\n", 45);
	check(strstr(head, "\r\nAuthorization: Bearer s3cret\r\n"));
	gate_answer(g, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
	check_int(join(), 4);
}

static void it_tries_again_when_the_gateway_is_not_ready(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_take(g);
	gate_answer(g, "HTTP/1.1 503 Service Unavailable\r\n\r\n");
	gate_take(g);
	gate_answer(g,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
		"wrong\r\n\r\n");
	gate_open(g);
	drain(g);
}

static void hello_says_who_it_is_and_drain_ends_it_with_0(void **state)
{
	struct gate *g = *state;
	gate_write_file(g, 9e15); /* a grace that is Inf */
	start_worker();
	gate_upgrade(g);
	const json_t *hello = gate_expect(g, "hello");
	check_int(json_integer_value(json_object_get(hello, "protocol")), FRAME_PROTOCOL);
	check_int(json_integer_value(json_object_get(hello, "capacity")), GATE_CAPACITY);
	check_int(json_array_size(json_object_get(hello, "resumes")), 0);
	check_str(json_string_of(hello, "lang"), "c");
	gate_welcome(g, "");
	drain(g);
}

static void another_version_of_the_protocol_ends_it_with_4(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_upgrade(g);
	gate_expect(g, "hello");
	gate_say(g,
		"{\"type\":\"welcome\",\"protocol\":2,\"heartbeat\":10,\"maxFrame\":%d,\"forget\":["
		"]}",
		GATE_FRAME_MAX);
	gate_expect(g, "error");
	check_int(gate_expect_close(g), WS_CLOSE_VERSION);
	check_int(join(), 4);
}

static void a_job_is_started_and_finished_with_its_result(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	run_one(g, "echo");
	const json_t *finished = gate_expect(g, "finished");
	check_str(json_string_of(finished, "job"), JOB_1);
	check_str(json_string_of(finished, "result"), "h\xc3\xa9");
	ack(g, JOB_1);
	run_one(g, "noop");
	finished = gate_expect(g, "finished");
	check(json_is_null(json_object_get(finished, "result")));
	ack(g, JOB_1);
	drain(g);
}

static void many_jobs_in_one_read_all_end_in_their_order(void **state)
{
	struct gate *g = *state;
	char id[40];
	start_worker();
	gate_open(g);
	for (int i = 0; i < GATE_CAPACITY; i++) {
		snprintf(id, sizeof id, "0190f3a0-0000-7000-8000-%012d", i);
		_cleanup_(freep) char *text = xasprintf(
			"{\"type\":\"start\",\"job\":\"%s\",\"function\":\"f\","
			"\"path\":\"\",\"className\":\"noop\",\"parameters\":{},\"attempt\":1}",
			id);
		check_int(ws_send(g->ws, text, strlen(text)), 0);
	}
	check_int(ws_flush(g->ws), 0);
	for (int i = 0; i < GATE_CAPACITY; i++) {
		snprintf(id, sizeof id, "0190f3a0-0000-7000-8000-%012d", i);
		check_str(json_string_of(gate_expect(g, "started"), "job"), id);
		check_str(json_string_of(gate_expect(g, "finished"), "job"), id);
		ack(g, id);
	}
	drain(g);
}

static void a_failure_is_a_text_for_the_user(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	is_failed_with(g, "fails", "line 1\nline 2 \xef\xbf\xbd");
	is_failed_with(g, "silent", "returned without an outcome");
	is_failed_with(g, "nobody", "no function nobody; there are: ");
	is_failed_with(g, "big", "the result is too large");
	is_failed_with(g, "nul", "a text with a NUL");
	is_failed_with(g, "nul-in-a-name", "a text with a NUL");
	is_failed_with(g, "broken", "a text that is not UTF-8");
	is_failed_with(g, "deep", "nested too deep");
	drain(g);
}

static void long_words(struct mist_job *job, void *arg)
{
	char text[4000];
	(void)arg;
	memset(text, '\1', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	for (int i = 0; i < 10; i++)
		mist_job_log(job, MIST_INFO, "%s", text);
	mist_job_progress(job, 7, text);
	mist_job_progress(job, NAN, NULL);
	mist_job_progress(job, (double)INFINITY, "nowhere");
	mist_job_fail(job, text);
}

static void nothing_is_said_that_the_gateway_could_not_take(void **state)
{
	struct gate *g = *state;
	g->frame_max = 1024;
	check_int(mist_worker_add(worker, "long", "{}", long_words, NULL), 0);
	start_worker();
	gate_open(g);
	run_one(g, "long");
	for (int i = 0; i < 10;) {
		const json_t *entries = json_object_get(gate_expect(g, "log"), "entries");
		i += (int)json_array_size(entries);
	}
	const json_t *progress = gate_expect(g, "progress");
	check(json_number_value(json_object_get(progress, "value")) == 1);
	check(strlen(json_string_of(gate_expect(g, "failed"), "error")) == 1024 / 8);
	ack(g, JOB_1);
	is_failed_with(g, "big", "the result is too large");
	drain(g);
}

static void a_word_without_a_value_is_told_as_that(void **state)
{
	struct gate *g = *state;
	check_int(mist_worker_add(worker, "notes", "{}", notes, NULL), 0);
	start_worker();
	gate_open(g);
	run_one(g, "notes");
	const json_t *progress = gate_expect(g, "progress");
	check(!json_object_get(progress, "value"));
	check_str(json_string_of(progress, "note"), "a word");
	gate_expect(g, "finished");
	ack(g, JOB_1);
	drain(g);
}

static void every_line_that_is_logged_comes_before_the_end(void **state)
{
	struct gate *g = *state;
	int n = 0;
	start_worker();
	gate_open(g);
	run_one(g, "chatty");
	while (n < 2500) {
		const json_t *entries = json_object_get(gate_expect(g, "log"), "entries");
		assert_in_range(json_array_size(entries), 1, 1000);
		for (size_t i = 0; i < json_array_size(entries); i++) {
			char line[32];
			snprintf(line, sizeof line, "line %d", n++);
			check_str(json_string_of(json_array_get(entries, i), "message"), line);
			check_str(json_string_of(json_array_get(entries, i), "level"), "INFO");
		}
	}
	gate_expect(g, "finished");
	ack(g, JOB_1);
	drain(g);
}

/* Brings a job into the function and sees what the pulse thread tells about it. */
static void hold_one(struct gate *g)
{
	run_one(g, "hold");
	const json_t *entry = json_array_get(json_object_get(gate_expect(g, "log"), "entries"), 0);
	check_str(json_string_of(entry, "message"), "holding \"" JOB_1 "\"");
	check_str(json_string_of(entry, "level"), "WARN");
	const json_t *progress = gate_expect(g, "progress");
	check(json_number_value(json_object_get(progress, "value")) == 0.25);
	check_str(json_string_of(progress, "note"), "held");
}

static void a_running_job_can_be_heard_pinged_past_and_cancelled(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	hold_one(g);
	gate_say(g, "{\"type\":\"ping\"}");
	gate_expect(g, "pong");
	gate_say(g, "{\"type\":\"cancel\",\"job\":\"%s\",\"reason\":\"asked\"}", JOB_2);
	gate_say(g, "{\"type\":\"cancel\",\"job\":\"%s\",\"reason\":\"asked\"}", JOB_1);
	check_str(json_string_of(gate_expect(g, "cancelled"), "job"), JOB_1);
	ack(g, JOB_1);
	drain(g);
}

static void a_waiting_job_is_cancelled_without_being_started(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	hold_one(g);
	start(g, JOB_2, "noop");
	gate_say(g, "{\"type\":\"cancel\",\"job\":\"%s\",\"reason\":\"asked\"}", JOB_2);
	check_str(json_string_of(gate_expect(g, "cancelled"), "job"), JOB_2);
	atomic_store(&released, true);
	check_str(json_string_of(gate_expect(g, "finished"), "job"), JOB_1);
	gate_say(g, "{\"type\":\"ack\",\"jobs\":[\"%s\",\"%s\"]}", JOB_1, JOB_2);
	drain(g);
}

static void an_outcome_is_told_again_until_it_is_acknowledged(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	run_one(g, "noop");
	gate_expect(g, "finished");
	gate_upgrade(g);
	const json_t *resumes = json_object_get(gate_expect(g, "hello"), "resumes");
	check_int(json_array_size(resumes), 1);
	check_str(json_string_value(json_array_get(resumes, 0)), JOB_1);
	gate_welcome(g, "");
	gate_expect(g, "started");
	check_str(json_string_of(gate_expect(g, "finished"), "job"), JOB_1);
	ack(g, JOB_1);
	gate_say(g, "{\"type\":\"ping\"}");
	gate_expect(g, "pong");
	gate_upgrade(g);
	check_int(json_array_size(json_object_get(gate_expect(g, "hello"), "resumes")), 0);
	gate_welcome(g, "");
	drain(g);
}

static void what_is_to_be_forgotten_is_not_told_again_nor_is_a_drain_remembered(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	run_one(g, "noop");
	gate_expect(g, "finished");
	start(g, JOB_2, "hold");
	gate_expect(g, "started");
	gate_say(g, "{\"type\":\"drain\"}");
	gate_upgrade(g);
	check_int(json_array_size(json_object_get(gate_expect(g, "hello"), "resumes")), 2);
	gate_welcome(g, "\"" JOB_1 "\",\"" JOB_2 "\"");
	run_one(g, "noop");
	check_str(json_string_of(gate_expect(g, "finished"), "job"), JOB_1);
	ack(g, JOB_1);
	gate_say(g, "{\"type\":\"ping\"}");
	gate_expect(g, "pong"); /* it has none, and stays */
	drain(g);
}

static void an_ack_of_what_has_not_ended_is_nothing(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	hold_one(g);
	start(g, JOB_2, "noop");
	gate_say(g, "{\"type\":\"ack\",\"jobs\":[\"%s\",\"%s\"]}", JOB_1, JOB_2);
	gate_say(g, "{\"type\":\"ping\"}");
	gate_expect(g, "pong");
	atomic_store(&released, true);
	check_str(json_string_of(gate_expect(g, "finished"), "job"), JOB_1);
	gate_expect(g, "started");
	check_str(json_string_of(gate_expect(g, "finished"), "job"), JOB_2);
	gate_say(g, "{\"type\":\"ack\",\"jobs\":[\"%s\",\"%s\"]}", JOB_1, JOB_2);
	drain(g);
}

static void more_jobs_than_the_capacity_are_refused(void **state)
{
	struct gate *g = *state;
	struct buf forgotten;
	buf_init(&forgotten, 1 << 16);
	start_worker();
	gate_open(g);
	hold_one(g);
	buf_puts(&forgotten, "\"" JOB_1 "\"");
	for (int i = 1; i <= GATE_CAPACITY; i++) {
		_cleanup_(freep) char *id = xasprintf("0190f3a0-0000-7000-8000-1%011d", i);
		buf_printf(&forgotten, ",\"%s\"", id);
		start(g, id, "noop");
	}
	check_str(json_string_of(gate_expect(g, "error"), "reason"),
		"frame start: more jobs than the capacity");
	check_int(gate_expect_close(g), WS_CLOSE_PROTOCOL);
	gate_upgrade(g);
	check_int(json_array_size(json_object_get(gate_expect(g, "hello"), "resumes")),
		GATE_CAPACITY);
	gate_welcome(g, forgotten.data);
	buf_done(&forgotten);
	drain(g);
}

static void a_job_outlives_the_connection_and_a_gateway_that_moved(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	hold_one(g);
	close(g->listener);
	g->listener = gate_listen();
	gate_write_file(g, 30);
	gate_upgrade(g);
	check_int(json_array_size(json_object_get(gate_expect(g, "hello"), "resumes")), 1);
	gate_welcome(g, "");
	gate_expect(g, "started");
	check_str(json_string_of(gate_expect(g, "progress"), "note"), "held");
	atomic_store(&released, true);
	check_str(json_string_of(gate_expect(g, "finished"), "result"), "released");
	ack(g, JOB_1);
	drain(g);
}

static void without_a_gateway_it_ends_with_5_after_the_grace(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	hold_one(g);
	gate_write_file(g, 0.3); /* from the next connection on: it had time to come this far */
	gate_open(g);
	close(g->listener);
	gate_hang_up(g);
	g->listener = -1;
	check_int(join(), 5);
}

static void a_drain_waits_for_the_running_job_and_its_ack(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	hold_one(g);
	gate_say(g, "{\"type\":\"drain\"}");
	gate_say(g, "{\"type\":\"ping\"}");
	gate_expect(g, "pong");
	atomic_store(&released, true);
	gate_expect(g, "finished");
	gate_say(g, "{\"type\":\"ping\"}");
	gate_expect(g, "pong");
	ack(g, JOB_1);
	gate_expect(g, "bye");
	check_int(gate_expect_close(g), WS_CLOSE_NORMAL);
	check_int(join(), 0);
}

static void it_describes_what_it_serves(void **state)
{
	struct gate *g = *state;
	start_worker();
	gate_open(g);
	gate_say(g, "{\"type\":\"describe\",\"id\":\"d "
		    "\\\"1\\\"\",\"path\":\"\",\"className\":\"echo\"}");
	const json_t *described = gate_expect(g, "described");
	_cleanup_(freep) char *text = json_text(json_object_get(described, "signature"));
	check_str(json_string_of(described, "id"), "d \"1\"");
	check_str(text, "{\"lang\":\"c\",\"execute\":{\"text\":{\"type\":\"MAny\"}},\"tags\":[]}");
	gate_say(g, "{\"type\":\"describe\",\"id\":\"2\",\"path\":\"\",\"className\":\"x\"}");
	check(strstr(json_string_of(gate_expect(g, "described"), "error"),
		"no function x; there are: "));
	drain(g);
}

static void a_gateway_that_breaks_the_protocol_is_told_and_left(void **state)
{
	static const char *const bad[] = {
		"{\"type\":\"nonsense\"}",
		"{\"type\":\"start\",\"job\":\"1\",\"function\":\"f\",\"path\":\"p\",\"className\":"
		"\"c\","
		"\"parameters\":{},\"attempt\":1}",
		"{\"type\":\"ack\"}",
		"{\"type\":\"welcome\",\"protocol\":1,\"heartbeat\":10,\"maxFrame\":1000000,"
		"\"forget\":[]}",
	};
	struct gate *g = *state;
	start_worker();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		gate_open(g);
		gate_say(g, "%s", bad[i]);
		check(json_string_of(gate_expect(g, "error"), "reason")[0]);
		check_int(gate_expect_close(g), WS_CLOSE_PROTOCOL);
	}
	gate_upgrade(g);
	gate_expect(g, "hello");
	start(g, JOB_1, "noop");
	check_str(json_string_of(gate_expect(g, "error"), "reason"),
		"the first frame must be welcome");
	gate_open(g);
	drain(g);
}

/* The next entries of the log, in however many frames they come. */
static void expect_lines(struct gate *g, const char *const *lines, size_t n_lines)
{
	for (size_t n = 0; n < n_lines;) {
		const json_t *entries = json_object_get(gate_expect(g, "log"), "entries");
		for (size_t i = 0; i < json_array_size(entries); i++, n++) {
			const json_t *entry = json_array_get(entries, i);
			check(n < n_lines);
			check_str(json_string_of(entry, "level"), "INFO");
			check_str(json_string_of(entry, "message"), lines[n]);
		}
	}
}

static void what_a_function_prints_is_in_its_log(void **state)
{
	struct gate *g = *state;
	char path[] = "/tmp/mist-printed-XXXXXX";
	int file = mkostemp(path, O_APPEND | O_CLOEXEC);
	check(file >= 0 && dup2(file, STDOUT_FILENO) >= 0);
	unlink(path);
	check(write(file, "before\n", 7) == 7);
	start_worker();
	gate_open(g);
	run_one(g, "prints");
	/* The end of a line is not waited for for ever. */
	expect_lines(g, (const char *const[]){ "h\xc3\xa9", "no end" }, 2);
	check_int(ftruncate(file, 0), 0); /* the gateway has moved it away */
	atomic_store(&released, true);
	expect_lines(g, (const char *const[]){ "", "after" }, 2);
	gate_expect(g, "finished");
	ack(g, JOB_1);
	check(write(file, "between\n", 8) == 8);
	start(g, JOB_2, "noop");
	gate_expect(g, "started");
	gate_expect(g, "finished");
	ack(g, JOB_2);
	drain(g);
	close(file);
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_function_is_added_once_and_with_a_type_tree),
		ROW(without_a_usable_file_it_ends_with_2),
		ROW(it_asks_with_its_id_and_secret_and_ends_with_4_when_refused),
		ROW(an_ack_of_what_has_not_ended_is_nothing),
		ROW(more_jobs_than_the_capacity_are_refused),
		ROW(it_tries_again_when_the_gateway_is_not_ready),
		ROW(hello_says_who_it_is_and_drain_ends_it_with_0),
		ROW(another_version_of_the_protocol_ends_it_with_4),
		ROW(a_job_is_started_and_finished_with_its_result),
		ROW(many_jobs_in_one_read_all_end_in_their_order),
		ROW(a_failure_is_a_text_for_the_user),
		ROW(nothing_is_said_that_the_gateway_could_not_take),
		ROW(a_word_without_a_value_is_told_as_that),
		ROW(every_line_that_is_logged_comes_before_the_end),
		ROW(a_running_job_can_be_heard_pinged_past_and_cancelled),
		ROW(a_waiting_job_is_cancelled_without_being_started),
		ROW(an_outcome_is_told_again_until_it_is_acknowledged),
		ROW(what_is_to_be_forgotten_is_not_told_again_nor_is_a_drain_remembered),
		ROW(a_job_outlives_the_connection_and_a_gateway_that_moved),
		ROW(without_a_gateway_it_ends_with_5_after_the_grace),
		ROW(a_drain_waits_for_the_running_job_and_its_ack),
		ROW(what_a_function_prints_is_in_its_log),
		ROW(it_describes_what_it_serves),
		ROW(a_gateway_that_breaks_the_protocol_is_told_and_left),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
