/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and contexts made by the API.
 *
 * An edit is checked, written to the store, and takes effect when it is durable: then the catalog
 * changes and the asker is answered. What the configuration file says stays as it is there: the API
 * shows it and refuses to change it. A new or changed function is described first, so that a wrong
 * class name is refused when the function is made, not when it is called; `force` leaves that out.
 *
 * One name has one edit at a time; others wait until it has taken effect or failed. So what an edit
 * was checked against (is there one of that name? is it still what the asker read?) is what it
 * changes, and of two askers with the same If-Match one is refused. An artifact that a deployment
 * replaces is held in the same way: a function of it is described from the old file or from the new
 * one, and not from the old one to be called with the new one. */
#include "core/edit.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "domain/tag.h"

struct edit *edit_new(struct core *c, struct ask *a, enum store_noun noun, const char *name)
{
	struct edit *e = xcalloc(1, sizeof *e);
	e->core = c;
	e->ask = a;
	e->noun = noun;
	e->name = name;
	list_init(&e->waiting);
	list_append(&c->edits, &e->node);
	return e;
}

struct edit *edit_new_artifact(struct core *c, struct ask *a, const char *name)
{
	struct edit *e = edit_new(c, a, STORE_FUNCTION, name);
	e->is_artifact = true;
	return e;
}

bool edit_must_wait(struct core *c, struct ask *a, enum store_noun noun, const char *name)
{
	list_each (n, &c->edits) {
		struct edit *e = container_of(n, struct edit, node);
		if (!e->is_artifact && e->noun == noun && strcmp(e->name, name) == 0) {
			list_append(&e->waiting, &a->waiting);
			return true;
		}
	}
	return false;
}

bool edit_must_wait_for_artifact(struct core *c, struct ask *a, const char *name)
{
	list_each (n, &c->edits) {
		struct edit *e = container_of(n, struct edit, node);
		if (e->is_artifact && strcmp(e->name, name) == 0) {
			list_append(&e->waiting, &a->waiting);
			return true;
		}
	}
	return false;
}

bool edit_must_wait_for_users(struct core *c, struct ask *a, const char *artifact)
{
	list_each (n, &c->edits) {
		struct edit *e = container_of(n, struct edit, node);
		if (e->function && strcmp(e->function->settings.path, artifact) == 0) {
			list_append(&e->waiting, &a->waiting);
			return true;
		}
	}
	return false;
}

static void edit_free(struct edit *e)
{
	if (e->function)
		describe_forget_later(e->core, e->function, NULL);
	function_unref(e->function);
	context_unref(e->context);
	free(e);
}

void edit_leave(struct edit *e, struct list *waiting)
{
	struct list *n;
	while ((n = list_pop(&e->waiting)))
		list_append(waiting, n);
	list_remove(&e->node);
	edit_free(e);
}

void edit_wake(struct core *c, struct list *waiting)
{
	struct list *n;
	while ((n = list_pop(waiting))) {
		struct ask *next = container_of(n, struct ask, waiting);
		next->mail.deliver(&next->mail, c);
	}
}

static void edit_end(struct edit *e)
{
	struct core *c = e->core;
	struct ask *a = e->ask;
	struct list waiting;
	list_init(&waiting);
	edit_leave(e, &waiting);
	ask_answer(a);
	edit_wake(c, &waiting);
}

static void context_changed(struct core *c, const char *name)
{
	struct lane *lane = lane_find(c, name);
	_cleanup_(context_unrefp) const struct context *context = catalog_context(c->catalog, name);
	if (lane) {
		lane_update(c, lane, NULL);
		lane_heal(c, lane); /* any update of a broken context lets it try again */
	}
	lane_start_precreated(c, context);
}

void edit_take_effect(struct edit *e)
{
	struct core *c = e->core;
	const char *name = e->name;
	const struct function *old =
		e->noun == STORE_FUNCTION ? catalog_function(c->catalog, name) : NULL;
	if (old)
		describe_forget_later(c, old, NULL);
	if (e->function)
		(void)catalog_put_function(c->catalog, e->function);
	else if (e->context)
		(void)catalog_put_context(c->catalog, e->context);
	else if (e->noun == STORE_FUNCTION)
		(void)catalog_drop_function(c->catalog, name);
	else
		(void)catalog_drop_context(c->catalog, name);
	struct lane *lane = lane_find(c, name);
	if (e->context)
		context_changed(c, name);
	else if (e->noun == STORE_CONTEXT && lane)
		lane_delete(c, lane);
}

static void edit_durable(struct mail *mail, void *owner)
{
	struct edit *e = container_of(mail, struct edit, mail);
	(void)owner;
	if (e->status == 0) {
		edit_take_effect(e);
	} else {
		json_decref(e->ask->json);
		e->ask->json = NULL;
		fault_of_write(&e->ask->fault, e->status, "it was not kept", "it was kept");
	}
	edit_end(e);
}

/* On the store's thread. */
static void edit_written(void *owner, struct store_op *op, int status)
{
	struct edit *e = owner;
	(void)op;
	e->status = status;
	mailbox_post_always(&e->core->mailbox, &e->mail);
}

/* Takes settings, a new reference; NULL deletes. */
static void edit_write(struct edit *e, json_t *settings)
{
	struct store_op *op = store_op_new(settings ? STORE_NOUN_PUT : STORE_NOUN_DROP, NULL);
	op->noun = e->noun;
	op->name = xstrdup(e->ask->name);
	op->text = settings ? json_text(settings) : NULL;
	op->done = edit_written;
	op->owner = e;
	e->mail.deliver = edit_durable;
	json_decref(settings);
	store_post(e->core->store, op);
}

json_t *function_stored_json(const struct function *f)
{
	json_t *json = function_json(f);
	json_object_set_new(json, "retries", json_integer(f->settings.retries));
	json_object_set_new(json, "unknownArguments",
		json_string(function_unknown_names[f->settings.unknown_arguments]));
	return json;
}

static void show(struct ask *a, json_t *settings, json_t *shown, bool is_whole)
{
	free(a->tag);
	a->tag = tag_new(settings, is_whole ? shown : NULL);
	json_decref(a->json);
	a->json = shown;
	json_decref(settings);
}

void ask_show_function(struct ask *a, const struct function *f, json_t *shown)
{
	show(a, function_stored_json(f), shown, json_object_get(shown, "execute"));
}

void ask_show_context(struct ask *a, const struct context *context, json_t *shown)
{
	show(a, context_json(context), shown, true);
}

/* Against what is there: its settings, of which it takes the reference, or NULL for nothing. */
static int check_conditions(const struct ask *a, json_t *settings, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *owned = settings;
	_cleanup_(freep) char *tag = owned ? tag_new(owned, NULL) : NULL;
	if (a->if_match && !tag_is_listed(a->if_match, tag, TAG_SETTINGS))
		return fault_set(f, FAULT_PRECONDITION,
			tag ? "If-Match: %.128s was changed since it was read"
			    : "If-Match: %.128s does not exist",
			a->name);
	if (a->if_none_match && tag_is_listed(a->if_none_match, tag, TAG_SETTINGS))
		return fault_set(
			f, FAULT_PRECONDITION, "If-None-Match: %.128s exists already", a->name);
	return 0;
}

static void function_described(
	struct described_wait *wait, struct core *c, const struct signature *s)
{
	struct edit *e = container_of(wait, struct edit, wait);
	(void)c;
	if (!s->described) {
		fault_set(&e->ask->fault, FAULT_BAD_REQUEST, "%s", s->error);
		edit_end(e);
		return;
	}
	ask_show_function(e->ask, e->function, function_described_json(e->function, s));
	edit_write(e, function_stored_json(e->function));
}

/* The last answer shows the function as it was; whether it still loads does not matter. */
static void deleted_described(
	struct described_wait *wait, struct core *c, const struct signature *s)
{
	struct edit *e = container_of(wait, struct edit, wait);
	const struct function *f = catalog_function(c->catalog, e->ask->name);
	if (f)
		e->ask->json = s->described ? function_described_json(f, s) : function_json(f);
	edit_write(e, NULL);
}

/* Mist says 404 here. */
static bool refuse_configured(struct core *c, struct ask *a, enum store_noun noun)
{
	if (!catalog_is_configured(c->catalog, noun, a->name))
		return false;
	fault_set(&a->fault, FAULT_NOT_FOUND,
		"%.128s is in the configuration file and is changed there", a->name);
	ask_answer(a);
	return true;
}

static void delete_function(struct core *c, struct ask *a)
{
	const struct function *f = catalog_function(c->catalog, a->name);
	if (!f) {
		ask_answer_missing(a, "function");
		return;
	}
	if (refuse_configured(c, a, STORE_FUNCTION))
		return;
	if (check_conditions(a, function_stored_json(f), &a->fault) < 0) {
		ask_answer(a);
		return;
	}
	struct edit *e = edit_new(c, a, STORE_FUNCTION, a->name);
	e->wait.ready = deleted_described;
	describe(c, f, &e->wait);
}

static int check_function(struct core *c, struct ask *a, struct fault *f)
{
	const struct function *old = catalog_function(c->catalog, a->name);
	if (!name_is_good(a->name))
		return fault_set(f, FAULT_BAD_REQUEST,
			"name: expected 1 to 128 letters, digits, '.', '_' and '-', not a dot "
			"first, got \"%.64s\"",
			a->name);
	if (!old && a->kind == ASK_FUNCTION_UPDATE)
		return fault_set(f, FAULT_BAD_REQUEST, "Endpoint %s does not exist", a->name);
	int r = check_conditions(a, old ? function_stored_json(old) : NULL, f);
	if (r < 0)
		return r;
	if (old && a->kind == ASK_FUNCTION_CREATE && !a->force)
		return fault_set(f, FAULT_BAD_REQUEST, "Endpoint %s already exists", a->name);
	if (old && catalog_is_configured(c->catalog, STORE_FUNCTION, a->name))
		return fault_set(f, FAULT_CONFLICT,
			"function %s is in the configuration file and is changed there", a->name);
	return 0;
}

void function_keep_ours(struct function_settings *s, const json_t *body, const struct function *old)
{
	if (old && !json_object_get(body, "retries"))
		s->retries = old->settings.retries;
	if (old && !json_object_get(body, "unknownArguments"))
		s->unknown_arguments = old->settings.unknown_arguments;
}

void edit_function(struct core *c, struct ask *a)
{
	struct function_settings s;
	if (edit_must_wait(c, a, STORE_FUNCTION, a->name))
		return;
	if (a->kind == ASK_FUNCTION_DELETE) {
		delete_function(c, a);
		return;
	}
	if (check_function(c, a, &a->fault) < 0 ||
		function_read_json(a->body, &s, &a->ignored, &a->fault) < 0) {
		ask_answer(a);
		return;
	}
	if (edit_must_wait_for_artifact(c, a, s.path)) {
		conf_done(function_conf, &s);
		free(TAKE_PTR(a->ignored)); /* it is all read again then */
		return;
	}
	bool is_forced = a->force && a->kind == ASK_FUNCTION_CREATE;
	if (!is_forced && catalog_check_context(c->catalog, s.context, &a->fault) < 0) {
		fault_prefix(&a->fault, "defaultContext");
		conf_done(function_conf, &s);
		ask_answer(a);
		return;
	}
	if (catalog_check_path(c->catalog, s.path, s.context, &a->fault) < 0 ||
		artifact_check_stays(c, s.path, &a->fault) < 0) {
		conf_done(function_conf, &s);
		ask_answer(a);
		return;
	}
	struct edit *e = edit_new(c, a, STORE_FUNCTION, a->name);
	_cleanup_(freep) char *location = catalog_location(c->catalog, s.path);
	const struct function *old = catalog_function(c->catalog, a->name);
	if (a->kind == ASK_FUNCTION_UPDATE)
		function_keep_ours(&s, a->body, old);
	e->function = function_new(a->name, &s, location);
	conf_done(function_conf, &s);
	if (is_forced) {
		ask_show_function(a, e->function, function_json(e->function));
		edit_write(e, function_stored_json(e->function));
	} else {
		e->wait.ready = function_described;
		describe(c, e->function, &e->wait);
	}
}

/* Mist's PUT wants all of them. */
static const char *missing_member(const json_t *context)
{
	static const char *const members[] = { "name", "sparkConf", "downtime", "maxJobs",
		"precreated", "runOptions", "workerMode", "streamingDuration", "maxConnFailures" };
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const json_t *value = json_object_get(context, members[i]);
		if (!value || json_is_null(value))
			return members[i];
	}
	return NULL;
}

static int check_context_conditions(struct core *c, struct ask *a, bool exists, struct fault *f)
{
	_cleanup_(context_unrefp) const struct context *old =
		exists ? catalog_context(c->catalog, a->name) : NULL;
	return check_conditions(a, old ? context_json(old) : NULL, f);
}

static int check_context(struct core *c, struct ask *a, struct fault *f)
{
	const char *missing = a->kind == ASK_CONTEXT_UPDATE ? missing_member(a->body) : NULL;
	bool exists = catalog_has_context(c->catalog, a->name);
	if (!name_is_good(a->name))
		return fault_set(f, FAULT_BAD_REQUEST,
			"name: expected 1 to 128 letters, digits, '.', '_' and '-', not a dot "
			"first, got \"%.64s\"",
			a->name);
	if (strcmp(a->name, "default") == 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"the context default is set by context-defaults of the configuration file");
	if (!exists && a->kind == ASK_CONTEXT_UPDATE)
		return fault_set(f, FAULT_NOT_FOUND, "Context with name %s not found", a->name);
	if (check_context_conditions(c, a, exists, f) < 0)
		return -1;
	if (missing)
		return fault_set(f, FAULT_BAD_REQUEST, "%s: it must be given", missing);
	if (exists && catalog_is_configured(c->catalog, STORE_CONTEXT, a->name))
		return fault_set(f, FAULT_CONFLICT,
			"context %s is in the configuration file and is changed there", a->name);
	return 0;
}

static void delete_context(struct core *c, struct ask *a)
{
	if (!catalog_has_context(c->catalog, a->name)) {
		ask_answer_missing(a, "context");
		return;
	}
	if (refuse_configured(c, a, STORE_CONTEXT))
		return;
	_cleanup_(context_unrefp) const struct context *context =
		catalog_context(c->catalog, a->name);
	if (check_conditions(a, context_json(context), &a->fault) < 0) {
		ask_answer(a);
		return;
	}
	a->json = context_json(context);
	edit_write(edit_new(c, a, STORE_CONTEXT, a->name), NULL);
}

/* A client of Mist's does not know jobsPerWorker and runtime: when it writes a context back, they
 * stay as they are. */
static int read_context(struct core *c, struct ask *a, struct context_settings *ret)
{
	struct context_settings base;
	conf_copy(context_conf, &base, catalog_defaults(c->catalog));
	_cleanup_(context_unrefp) const struct context *old =
		a->kind == ASK_CONTEXT_UPDATE ? catalog_context(c->catalog, a->name) : NULL;
	if (old) {
		free(base.runtime);
		base.runtime = xstrdup(old->settings.runtime);
		base.jobs_per_worker = old->settings.jobs_per_worker;
	}
	int r = context_read_json(a->body, &base, ret, &a->ignored, &a->fault);
	conf_done(context_conf, &base);
	return r;
}

void edit_context(struct core *c, struct ask *a)
{
	struct context_settings s;
	if (edit_must_wait(c, a, STORE_CONTEXT, a->name))
		return;
	if (a->kind == ASK_CONTEXT_DELETE) {
		delete_context(c, a);
		return;
	}
	if (check_context(c, a, &a->fault) < 0 || read_context(c, a, &s) < 0) {
		ask_answer(a);
		return;
	}
	struct edit *e = edit_new(c, a, STORE_CONTEXT, a->name);
	e->context = context_new(a->name, &s);
	conf_done(context_conf, &s);
	if (catalog_check_runtime(c->catalog, e->context->settings.runtime, &a->fault) < 0) {
		fault_prefix(&a->fault, "runtime");
		edit_end(e);
		return;
	}
	ask_show_context(a, e->context, context_json(e->context));
	edit_write(e, context_stored_json(e->context));
}

/* NULL: it is not what edit_write() writes, and the fault says why. */
static json_t *stored_json(const char *name, const char *text, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *json = json_parse_kept(text, f);
	if (json && !json_is_object(json))
		fault_set(f, FAULT_BAD_REQUEST, "settings: expected an object, got %s",
			json_kind(json));
	else if (json && !name_is_good(name))
		fault_set(f, FAULT_BAD_REQUEST,
			"name: expected letters, digits, '.', '_' and '-', got \"%.64s\"", name);
	else
		return TAKE_PTR(json);
	return NULL;
}

static void load_function(void *arg, const char *name, const char *text)
{
	struct core *c = arg;
	struct function_settings s;
	struct fault f;
	_cleanup_(json_decrefp) json_t *json = stored_json(name, text, &f);
	if (!json || function_read_json(json, &s, NULL, &f) < 0) {
		store_set_aside_definition(c->store, STORE_FUNCTION, name, f.text);
		return;
	}
	_cleanup_(freep) char *location = catalog_location(c->catalog, s.path);
	struct function *function = function_new(name, &s, location);
	if (catalog_put_function(c->catalog, function) < 0)
		log_warn("function %s of the store is hidden by the one in the configuration file",
			name);
	function_unref(function);
	conf_done(function_conf, &s);
}

static void load_context(void *arg, const char *name, const char *text)
{
	struct core *c = arg;
	struct context_settings s;
	struct fault f;
	_cleanup_(json_decrefp) json_t *json = stored_json(name, text, &f);
	if (!json || context_read_json(json, catalog_defaults(c->catalog), &s, NULL, &f) < 0) {
		store_set_aside_definition(c->store, STORE_CONTEXT, name, f.text);
		return;
	}
	struct context *context = context_new(name, &s);
	if (catalog_put_context(c->catalog, context) < 0)
		log_warn("context %s of the store is hidden by the one in the configuration file",
			name);
	context_unref(context);
	conf_done(context_conf, &s);
}

int core_load(struct core *c)
{
	int r = store_noun_each(c->store, STORE_CONTEXT, load_context, c);
	return r < 0 ? r : store_noun_each(c->store, STORE_FUNCTION, load_function, c);
}
