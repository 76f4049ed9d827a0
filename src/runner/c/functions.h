/* SPDX-License-Identifier: Apache-2.0 */
/* The functions a worker serves, by className. */
#pragma once

#include "base/buf.h"
#include "base/map.h"
#include "mist/worker.h"

struct function {
	struct map_node node;
	char *name;
	char *signature; /* JSON text, for `described` */
	mist_function_fn *fn;
	void *arg;
};

struct functions {
	struct map by_name;
};

void functions_init(struct functions *fs);
void functions_done(struct functions *fs);

/* As mist_worker_add. */
int functions_add(struct functions *fs, const char *name, const char *execute, mist_function_fn *fn,
	void *arg);
const struct function *functions_find(const struct functions *fs, const char *name); /* or NULL */

/* "no function x; there are: a, b", for a person; cut where the buf is full. */
void functions_miss(const struct functions *fs, const char *name, struct buf *ret);
