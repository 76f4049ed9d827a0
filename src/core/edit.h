/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and contexts that the API makes, and the answers that show one of them. */
#pragma once

#include "core/private.h"

/* A change of one function or context under way; nobody else changes it meanwhile. Or a
 * deployment's hold on an artifact that it replaces: nobody makes a function of that meanwhile. */
struct edit {
	struct mail mail;
	struct core *core;
	struct list node; /* in core->edits */
	struct ask *ask;
	const char *name;    /* the ask's */
	struct list waiting; /* asks to edit the same */
	int status;
	/* One of them; NULL: the thing of that name is deleted. */
	struct function *function;
	struct context *context;
	enum store_noun noun;
	bool is_artifact; /* `name` is an artifact's, and nothing of the above is there */
	struct described_wait wait;
};

void edit_function(struct core *c, struct ask *a);
void edit_context(struct core *c, struct ask *a);

/* The answer and its tag. They take the reference to what is shown. */
void ask_show_function(struct ask *a, const struct function *f, json_t *shown);
void ask_show_context(struct ask *a, const struct context *context, json_t *shown);

/* For deployment/deployment.c, which changes several at once. */

struct edit *edit_new(struct core *c, struct ask *a, enum store_noun noun, const char *name);
/* True: the ask comes back when the edit before it has ended. */
bool edit_must_wait(struct core *c, struct ask *a, enum store_noun noun, const char *name);
struct edit *edit_new_artifact(struct core *c, struct ask *a, const char *name);
/* The same: somebody replaces the artifact of that name. */
bool edit_must_wait_for_artifact(struct core *c, struct ask *a, const char *name);
/* The same: somebody makes a function of it, which is described from the file that is there now. */
bool edit_must_wait_for_users(struct core *c, struct ask *a, const char *artifact);
/* What was written is what there is. */
void edit_take_effect(struct edit *e);
/* Frees it. Those who waited for it are added to `waiting`, and go on with edit_wake. */
void edit_leave(struct edit *e, struct list *waiting);
void edit_wake(struct core *c, struct list *waiting);

/* Mist's four members, and what is ours. */
json_t *function_stored_json(const struct function *f);
/* What Mist's clients do not know of stays as it is when they change a function. */
void function_keep_ours(
	struct function_settings *s, const json_t *body, const struct function *old);
