/* SPDX-License-Identifier: Apache-2.0 */
/* A function: a name for a callable in an artifact. Immutable once made and shared by reference, so
 * that a job keeps the one it was accepted with while a reload brings another. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/conf.h"
#include "base/json.h"

struct function_settings {
	char *path, *class_name, *context;
	int64_t retries;
	int unknown_arguments; /* enum function_unknown */
};

/* What the setting unknown-arguments of a function says. */
enum function_unknown {
	FUNCTION_UNKNOWN_DEFAULT, /* as the gateway has it, or whoever the function was written for
				   */
	FUNCTION_UNKNOWN_REFUSE,
	FUNCTION_UNKNOWN_IGNORE,
};
extern const char *const function_unknown_names[]; /* ended by NULL */

extern const struct conf_field function_conf[];

/* Where a path points, by its scheme. Only what is PATH_HERE is looked at by the gateway. */
enum path_kind {
	PATH_HERE,   /* no scheme: a file of this machine */
	PATH_AWAY,   /* file, http, https: any worker gets it */
	PATH_HADOOP, /* hdfs, s3a, …: a worker with Spark gets it, by Hadoop's client there */
	_PATH_INVALID,
};
enum path_kind path_kind_of(const char *path);

/* Refuses _PATH_INVALID, what leads nowhere, is too long or has control characters; the fault names
 * `path`. "" is good: whether there is a program that needs no path, the catalog knows
 * (catalog_check_path). */
int path_check(const char *path, struct fault *f);

struct function {
	_Atomic unsigned refs;
	char *name;
	struct function_settings settings;
	char *location; /* where the artifact is: settings.path, or the file of that name in the
			   repository */
	enum path_kind path_kind; /* of the location */
	char *start_members;      /* what a `start` frame says of it:
				     "function":"…","path":"…","className":"…" */
};

/* Copies everything. One reference, the caller's. */
struct function *function_new(
	const char *name, const struct function_settings *s, const char *location);
struct function *function_ref(const struct function *f);

/* Mist's Function (config) object: {"name", "path", "className", "defaultContext"}; a new
 * reference. */
json_t *function_json(const struct function *f);

/* The settings of a Function (config) object; `retries` and `unknownArguments` may stand in it too.
 * To be freed with conf_done(function_conf, …). Members that mean nothing here are added to
 * `ignored` (base/ignored.h; NULL: nobody wants to know). */
int function_read_json(
	const json_t *object, struct function_settings *ret, char **ignored, struct fault *f);

void function_unref(const struct function *f);
DEFINE_CLEANUP(const struct function *, function_unref)
