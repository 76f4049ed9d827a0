/* SPDX-License-Identifier: Apache-2.0 */
/* A context: how workers for a set of functions are made and limited. Immutable once made, shared
 * by reference. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/conf.h"
#include "base/json.h"

enum worker_mode { WORKER_EXCLUSIVE, WORKER_SHARED };

struct context_settings {
	json_t *spark_conf;
	char *run_options, *runtime;
	int64_t downtime_ms, streaming_ms;
	int64_t max_jobs, jobs_per_worker, max_conn_failures;
	int worker_mode; /* enum worker_mode */
	bool precreated;
};

extern const struct conf_field context_conf[];

struct context {
	_Atomic unsigned refs;
	char *name;
	struct context_settings settings;
};

struct context *context_new(const char *name, const struct context_settings *s);
struct context *context_ref(const struct context *c);
void context_unref(const struct context *c);
DEFINE_CLEANUP(const struct context *, context_unref)

/* Whether the words of run-options (or of a runtime's command) can be told apart: the fault says
 * what was expected, without a name before it. */
int run_options_check(const char *text, struct fault *f);

/* Whether the properties of Mist's own (spark.mist.…) are known and have a value that there is;
 * those of Spark are Spark's. The fault begins with the property. */
int spark_conf_check(const json_t *conf, struct fault *f);

/* How many jobs one worker of it holds at once. */
unsigned context_capacity(const struct context *c);

/* Mist's Context object; a new reference. */
json_t *context_json(const struct context *c);
json_t *context_stored_json(const struct context *c); /* the same, durations as they are */

/* The settings of a Context object (Mist's maxParallelJobs is another name of maxJobs, which goes
 * before it). What is absent is taken from `base`. To be freed with conf_done(context_conf, …).
 * Members that mean nothing here are added to `ignored` (base/ignored.h; NULL: nobody wants to
 * know). */
int context_read_json(const json_t *object, const struct context_settings *base,
	struct context_settings *ret, char **ignored, struct fault *f);
