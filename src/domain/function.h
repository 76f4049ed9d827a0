/* SPDX-License-Identifier: Apache-2.0 */
/* A function: a name for a callable in an artifact. Immutable once made and shared by reference, so
 * that a job keeps the one it was accepted with while a reload brings another. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/conf.h"

struct function_settings {
	char *path, *class_name, *context;
	int64_t retries;
};

extern const struct conf_field function_conf[];

struct function {
	_Atomic unsigned refs;
	char *name;
	struct function_settings settings;
	char *start_members; /* what a `start` frame says of it:
				"function":"…","path":"…","className":"…" */
};

/* Copies the settings. One reference, the caller's. */
struct function *function_new(const char *name, const struct function_settings *s);
struct function *function_ref(const struct function *f);
void function_unref(const struct function *f);
DEFINE_CLEANUP(const struct function *, function_unref)
