/* SPDX-License-Identifier: Apache-2.0 */
/* A worker in C, to read as an example and to serve tests and benchmarks: a context whose runtime
 * has this program as `command` can run the functions in the table below, each under its className.
 * Everything it needs of Mist is in mist/worker.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mist/worker.h"

static json_int_t integer_of(struct mist_job *job, const char *name)
{
	return json_integer_value(json_object_get(mist_job_parameters(job), name));
}

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

/* Sleeps in short naps, so that a cancellation is seen soon. */
static void sleep_ms(struct mist_job *job, void *arg)
{
	enum { NAP_MS = 5, STEPS = 10 };
	json_int_t ms = integer_of(job, "ms"), slept = 0, told = 0;
	(void)arg;
	mist_job_log(job, MIST_INFO, "sleeping for %lld ms", (long long)ms);
	while (slept < ms) {
		json_int_t nap = ms - slept < NAP_MS ? ms - slept : NAP_MS;
		if (mist_job_is_cancelled(job)) {
			mist_job_fail(job, "woken by a cancellation");
			return;
		}
		nanosleep(&(struct timespec){ 0, (long)nap * 1000000 }, NULL);
		slept += nap;
		if (slept * STEPS / ms > told) {
			told = slept * STEPS / ms;
			mist_job_progress(job, (double)slept / (double)ms, NULL);
		}
	}
	mist_job_finish(job, json_integer(ms));
}

static void fail(struct mist_job *job, void *arg)
{
	const char *message =
		json_string_value(json_object_get(mist_job_parameters(job), "message"));
	(void)arg;
	mist_job_fail(job, message ? message : "failed on purpose");
}

static void crash(struct mist_job *job, void *arg)
{
	(void)arg;
	(void)job;
	abort();
}

static void big(struct mist_job *job, void *arg)
{
	json_int_t n = integer_of(job, "bytes");
	char *text = n >= 0 ? malloc((size_t)n + 1) : NULL;
	(void)arg;
	if (!text) {
		mist_job_fail(job, "bytes: no memory for so many");
		return;
	}
	memset(text, 'x', (size_t)n);
	mist_job_finish(job, json_stringn(text, (size_t)n));
	free(text);
}

static void log_lines(struct mist_job *job, void *arg)
{
	json_int_t n = integer_of(job, "lines");
	(void)arg;
	for (json_int_t i = 1; i <= n; i++)
		mist_job_log(job, MIST_INFO, "line %lld of %lld", (long long)i, (long long)n);
	mist_job_finish(job, json_integer(n));
}

/* Prints, to both, and leaves the last line without an end. */
static void prints(struct mist_job *job, void *arg)
{
	const char *text = json_string_value(json_object_get(mist_job_parameters(job), "text"));
	(void)arg;
	printf("printed %s\n", text);
	mist_job_log(job, MIST_INFO, "logged %s", text);
	fprintf(stderr, "to stderr\nno ");
	printf("end");
	mist_job_finish(job, NULL);
}

/* Leaves a line in a file, so that a test can count how often a job ran. */
static void record(struct mist_job *job, void *arg)
{
	const char *path = json_string_value(json_object_get(mist_job_parameters(job), "path"));
	json_int_t n = integer_of(job, "n");
	FILE *file = path ? fopen(path, "ae") : NULL;
	(void)arg;
	if (!file || fprintf(file, "%s %lld\n", mist_job_id(job), (long long)n) < 0 ||
		fclose(file)) {
		mist_job_fail(job, "path: it cannot be written");
		return;
	}
	mist_job_log(job, MIST_INFO, "recorded %lld", (long long)n);
	mist_job_finish(job, json_integer(n));
}

static const struct {
	const char *name, *execute;
	mist_function_fn *fn;
} functions[] = {
	{ "noop", "{}", noop },
	{ "echo", "{\"text\": {\"type\": \"MString\"}}", echo },
	{ "sleep", "{\"ms\": {\"type\": \"MInt\"}}", sleep_ms },
	{ "fail", "{\"message\": {\"type\": \"MOption\", \"args\": [{\"type\": \"MString\"}]}}",
		fail },
	{ "crash", "{}", crash },
	{ "big", "{\"bytes\": {\"type\": \"MInt\"}}", big },
	{ "record", "{\"path\": {\"type\": \"MString\"}, \"n\": {\"type\": \"MInt\"}}", record },
	{ "print", "{\"text\": {\"type\": \"MString\"}}", prints },
	{ "log", "{\"lines\": {\"type\": \"MInt\"}}", log_lines },
};

int main(void)
{
	struct mist_worker *w = mist_worker_new();
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		int r = mist_worker_add(
			w, functions[i].name, functions[i].execute, functions[i].fn, NULL);
		if (r < 0) {
			fprintf(stderr, "%s: %s\n", functions[i].name, strerror(-r));
			return EXIT_FAILURE;
		}
	}
	int status = mist_worker_run(w);
	mist_worker_free(w);
	return status;
}
