/* SPDX-License-Identifier: Apache-2.0 */
/* What is configured: functions, contexts and runtimes by name. Built by the composition root,
 * owned by the core. */
#pragma once

#include "base/map.h"
#include "base/near.h"
#include "domain/context.h"
#include "domain/function.h"
#include "domain/runtime.h"
#include "mist/store.h"

struct catalog;

/* Copies. `artifacts` is the folder of the repository. */
struct catalog *catalog_new(const struct context_settings *defaults, const char *artifacts);
void catalog_free(struct catalog *c);
DEFINE_CLEANUP(struct catalog *, catalog_free)

int catalog_add_function(struct catalog *c, const char *name, const struct function_settings *s);
int catalog_add_context(struct catalog *c, const char *name, const struct context_settings *s);
int catalog_add_runtime(struct catalog *c, const char *name, const struct runtime_settings *s);

/* What was made by the API: put over the one of that name, if it was made so too. -EPERM: that one
 * is configured. The catalog takes its own reference. */
int catalog_put_function(struct catalog *c, struct function *f);
int catalog_put_context(struct catalog *c, struct context *context);
int catalog_drop_function(struct catalog *c, const char *name); /* -ENOENT, -EPERM */
int catalog_drop_context(struct catalog *c, const char *name);

/* True if there is one of that name and the configuration has it. */
bool catalog_is_configured(const struct catalog *c, enum store_noun noun, const char *name);

/* Takes over what was made by the API in `from`, except under names that are configured in c. */
void catalog_adopt(struct catalog *c, const struct catalog *from);

/* In what the core is as lenient as Mist 1.1. None of it, in a new catalog. */
struct catalog_rules {
	bool takes_unknown_contexts; /* mist.unknown-contexts: they have the defaults */
	bool hides_broken_functions; /* mist.broken-functions: those that do not load */
	bool deletes_used_artifacts; /* mist.used-artifacts: without force, too */
};
void catalog_set_rules(struct catalog *c, const struct catalog_rules *rules);
const struct catalog_rules *catalog_rules_of(const struct catalog *c);

/* 0: there is one of that name, or it need not be there. Else the fault says which there are, and
 * which was probably meant: "there is no context plian; did you mean plain? There are: default, …"
 */
int catalog_check_context(const struct catalog *c, const char *name, struct fault *f);
int catalog_check_runtime(const struct catalog *c, const char *name, struct fault *f);

/* "; did you mean F?", or "" where no function, or context, has a name like that. Returns ret. */
const char *catalog_function_hint(
	const struct catalog *c, const char *name, char ret[static NEAR_HINT]);
const char *catalog_context_hint(
	const struct catalog *c, const char *name, char ret[static NEAR_HINT]);

/* Refuses the path "", naming `path`, unless workers of that context are a program: that brings its
 * own functions. */
int catalog_check_path(
	const struct catalog *c, const char *path, const char *context_name, struct fault *f);
/* The same of a context that the catalog need not have. */
int catalog_check_path_in(
	const struct catalog *c, const char *path, const struct context *context, struct fault *f);

/* Where an artifact of that path is: a name without a slash is one of the repository. The caller
 * frees it. */
char *catalog_location(const struct catalog *c, const char *path);
const struct context_settings *catalog_defaults(const struct catalog *c);

const struct function *catalog_function(
	const struct catalog *c, const char *name); /* borrowed; NULL: none */
/* A name that is configured nowhere gets the defaults, as in Mist: whoever does not want that asks
 * catalog_check_context before. A new reference. */
const struct context *catalog_context(const struct catalog *c, const char *name);
bool catalog_has_context(const struct catalog *c, const char *name);
const struct runtime_settings *catalog_runtime(
	const struct catalog *c, const char *name); /* NULL: none */

void catalog_each_runtime(const struct catalog *c,
	void (*each)(void *arg, const char *name, const struct runtime_settings *r), void *arg);
void catalog_each_function(
	const struct catalog *c, void (*each)(void *arg, const struct function *f), void *arg);
void catalog_each_context(
	const struct catalog *c, void (*each)(void *arg, const struct context *ctx), void *arg);
