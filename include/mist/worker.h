/* SPDX-License-Identifier: Apache-2.0 */
/* libmist: serve jobs from a C program. Link with -lmist.
 *
 *   static void add(struct mist_job *job, void *arg)
 *   {
 *           const json_t *p = mist_job_parameters(job);
 *           mist_job_finish(job, json_integer(json_integer_value(json_object_get(p, "a")) + 1));
 *   }
 *   int main(void)
 *   {
 *           struct mist_worker *w = mist_worker_new();
 *           mist_worker_add(w, "add", "{\"a\": {\"type\": \"MInt\"}}", add, NULL);
 *           int status = mist_worker_run(w);
 *           mist_worker_free(w);
 *           return status;
 *   }
 *
 * The gateway starts the program for a context whose runtime has it as `command`, with
 * MIST_WORKER_FILE in its environment (proto/README.md). Functions run one after the other on the
 * thread that called mist_worker_run(); a second thread keeps the connection alive, reports what is
 * ready and takes cancellations while a function runs. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mist_worker;
struct mist_job;

enum mist_level { MIST_DEBUG, MIST_INFO, MIST_WARN, MIST_ERROR };

/* Called with one job; must end it with mist_job_finish() or mist_job_fail() before it returns
 * (returning without is a failure of the job). The job is valid until then. */
typedef void mist_function_fn(struct mist_job *job, void *arg);

struct mist_worker *mist_worker_new(void);    /* ends the program when memory is out */
void mist_worker_free(struct mist_worker *w); /* NULL is fine */

/* Serves functions whose className is `name`. `execute` is the JSON text of its arguments, name →
 * Mist's type tree (see proto/README.md, describe); it is copied. "{}" says nothing of arguments:
 * the function is given whatever a request has. -EINVAL: not such a text. -EEXIST: the name is
 * taken. Before mist_worker_run() only. */
int mist_worker_add(struct mist_worker *w, const char *name, const char *execute,
	mist_function_fn *fn, void *arg);

/* Connects, serves, reconnects, until the gateway drains the worker or is gone for longer than the
 * grace. Returns the exit status for main(): 0 drained, 2 no usable MIST_WORKER_FILE, 4 refused, 5
 * gateway lost. */
int mist_worker_run(struct mist_worker *w);

/* All below: from within the function only. */
const json_t *mist_job_parameters(const struct mist_job *job); /* an object; borrowed */
const char *mist_job_id(const struct mist_job *job);
bool mist_job_is_cancelled(struct mist_job *job); /* then end the job soon, by mist_job_fail() */
void mist_job_log(struct mist_job *job, enum mist_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* How far it is, from 0 to 1, and a word on it: value NAN: the word only, note NULL: none. Copies,
 * at most 4096 bytes of it. May be called often: the newest is sent now and then. */
void mist_job_progress(struct mist_job *job, double value, const char *note);
void mist_job_finish(struct mist_job *job, json_t *result);  /* takes the reference; NULL is null */
void mist_job_fail(struct mist_job *job, const char *error); /* copies */

#ifdef __cplusplus
}
#endif
