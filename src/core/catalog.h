/* SPDX-License-Identifier: Apache-2.0 */
/* What is configured: functions, contexts and runtimes by name. Built by the composition root,
 * owned by the core. */
#pragma once

#include "base/map.h"
#include "domain/context.h"
#include "domain/function.h"
#include "domain/runtime.h"

struct catalog;

struct catalog *catalog_new(const struct context_settings *defaults); /* copies */
void catalog_free(struct catalog *c);
DEFINE_CLEANUP(struct catalog *, catalog_free)

int catalog_add_function(struct catalog *c, const char *name, const struct function_settings *s);
int catalog_add_context(struct catalog *c, const char *name, const struct context_settings *s);
int catalog_add_runtime(struct catalog *c, const char *name, const struct runtime_settings *s);

const struct function *catalog_function(
	const struct catalog *c, const char *name); /* borrowed; NULL: none */
/* A name that is configured nowhere gets the defaults, as in Mist. A new reference. */
const struct context *catalog_context(const struct catalog *c, const char *name);
bool catalog_has_context(const struct catalog *c, const char *name);
const struct runtime_settings *catalog_runtime(
	const struct catalog *c, const char *name); /* NULL: none */

void catalog_each_function(
	const struct catalog *c, void (*each)(void *arg, const struct function *f), void *arg);
void catalog_each_context(
	const struct catalog *c, void (*each)(void *arg, const struct context *ctx), void *arg);
