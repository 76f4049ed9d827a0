/* SPDX-License-Identifier: Apache-2.0 */
/* Deployments: what a document says of functions and contexts, and files that are to be artifacts,
 * made so together or not at all.
 *
 * First everything is checked while nothing has changed: each context is read, and each function
 * described from the file that is to be its artifact, in the context that it is to have. Functions
 * that the document does not name but whose artifact is replaced are described, too: if one of them
 * can be loaded now and could not be any more, nothing is done. All that is wrong is told at once.
 * Then one operation of the store gives the files their names and writes the definitions; when it
 * is durable they take effect.
 *
 * Each name is held as by any other edit, so nobody changes it between the look at it and the write
 * (edit.c), and so is each artifact that is replaced, with all functions that are being made of it.
 * A name that somebody else holds makes the whole deployment wait, before it holds any: two of them
 * never wait for each other. */
#include "core/deployment/deployment.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/near.h"
#include "base/text/plural.h"
#include "core/edit.h"

enum { PARTS_MAX = 1000, ERROR_MAX = 64 * 1024 };

/* One context or function. */
struct part {
	struct deployment *deployment;
	struct edit *edit; /* holds its name, and what is to be there */
	bool is_named;     /* by the document; else a function whose artifact is replaced */
	bool is_put;       /* its settings differ from what is there, or it is new */
	bool is_refused;
	json_t *before, *after; /* as they are shown; NULL: there was none, it is not known */
	/* Of a function: */
	const struct function *old, *trial; /* references; trial: with its artifact where that is
					       now. One of both, where nothing of it changes */
	const struct context *context;      /* that it is described in; NULL: the catalog's */
	struct described_wait old_wait, trial_wait;
	bool is_loading; /* before, or nobody can say just now */
	char *error;     /* of the trial */
	enum fault_code fault;
};

struct deployment {
	struct mail mail;
	struct core *core;
	struct ask *ask;
	struct part *parts; /* the contexts first */
	size_t n_parts, n_contexts, n_pending;
	struct edit **artifacts; /* that hold the names of those that are replaced */
	json_t *errors;
	enum fault_code fault; /* of the first of them */
	/* What the store's thread says of the write: */
	int status, file_status; /* negative errno: of all, of `file` */
	char *file;              /* that could not get its name; owned */
	size_t n_left;           /* artifacts that could not be put back */
};

/* The document's own members, and that each thing in it has a name of its own. */
static int check_document(const json_t *document, struct fault *f)
{
	static const char *const members[] = { "contexts", "functions", NULL };
	const char *key;
	json_t *list, *item;
	size_t i, n = 0;
	json_object_foreach ((json_t *)document, key, list) {
		_cleanup_(json_decrefp) json_t *names = json_object();
		char hint[NEAR_HINT];
		if (strcmp(key, members[0]) != 0 && strcmp(key, members[1]) != 0)
			return fault_set(f, FAULT_BAD_REQUEST,
				"deployment: %.64s: expected contexts and functions%s", key,
				near_hint_of(key, members, hint));
		if (!json_is_array(list))
			return fault_set(f, FAULT_BAD_REQUEST,
				"deployment: %s: expected an array, got %s", key, json_kind(list));
		json_array_foreach (list, i, item) {
			const char *name =
				json_is_object(item) ? json_string_of(item, "name") : NULL;
			if (!name)
				return fault_set(f, FAULT_BAD_REQUEST,
					"deployment: %s[%zu]: expected an object with a name", key,
					i);
			if (json_object_get(names, name))
				return fault_set(f, FAULT_BAD_REQUEST,
					"deployment: %s[%zu]: %.128s comes twice", key, i, name);
			json_object_set_new(names, name, json_true());
			n++;
		}
	}
	return n <= PARTS_MAX ? 0
			      : fault_set(f, FAULT_TOO_LARGE,
					"deployment: expected at most %d contexts and functions",
					PARTS_MAX);
}

static const struct staged_artifact *staged_find(const struct ask *a, const char *name)
{
	for (size_t i = 0; i < a->n_staged; i++)
		if (strcmp(a->staged[i].name, name) == 0)
			return &a->staged[i];
	return NULL;
}

static bool is_in(const json_t *document, const char *list, const char *name)
{
	json_t *item;
	size_t i;
	json_array_foreach (json_object_get(document, list), i, item)
		if (strcmp(json_string_of(item, "name"), name) == 0)
			return true;
	return false;
}

/* Functions that the document does not name, and whose artifact is replaced. */
struct affected {
	const struct ask *ask;
	const struct function **list; /* borrowed */
	size_t n;
};

static void affected_add(void *arg, const struct function *f)
{
	struct affected *all = arg;
	if (!staged_find(all->ask, f->settings.path) || is_in(all->ask->body, "functions", f->name))
		return;
	all->list = xrealloc(all->list, (all->n + 1) * sizeof *all->list);
	all->list[all->n++] = f;
}

/* True: the ask comes back when that name is free. */
static bool must_wait(struct core *c, struct ask *a, const struct affected *affected)
{
	json_t *item;
	size_t i;
	json_array_foreach (json_object_get(a->body, "contexts"), i, item)
		if (edit_must_wait(c, a, STORE_CONTEXT, json_string_of(item, "name")))
			return true;
	json_array_foreach (json_object_get(a->body, "functions"), i, item)
		if (edit_must_wait(c, a, STORE_FUNCTION, json_string_of(item, "name")))
			return true;
	for (i = 0; i < affected->n; i++)
		if (edit_must_wait(c, a, STORE_FUNCTION, affected->list[i]->name))
			return true;
	for (i = 0; i < a->n_staged; i++)
		if (edit_must_wait_for_artifact(c, a, a->staged[i].name) ||
			edit_must_wait_for_users(c, a, a->staged[i].name))
			return true;
	json_array_foreach (json_object_get(a->body, "functions"), i, item) {
		const char *path = json_string_of(item, "path");
		if (path && edit_must_wait_for_artifact(c, a, path))
			return true;
	}
	return false;
}

static const char *kind_of(const struct part *p)
{
	return p->edit->noun == STORE_CONTEXT ? "context" : "function";
}

static void add_error(struct part *p, enum fault_code code, const char *sentence)
{
	struct deployment *d = p->deployment;
	_cleanup_(json_decrefp) json_t *text = json_string_lossy(sentence);
	if (!json_array_size(d->errors))
		d->fault = code;
	json_array_append_new(d->errors, json_pack("{s:s, s:O, s:O}", "kind", kind_of(p), "name",
						 json_object_get(p->after, "name"), "error", text));
}

/* As add_error, the thing before the sentence. */
static void refuse(struct part *p, const struct fault *f)
{
	_cleanup_(freep) char *sentence =
		xasprintf("%s %s: %s", kind_of(p), p->edit->name, f->text);
	p->is_refused = true;
	add_error(p, f->code, sentence);
}

/* A worker speaks of the file where it lies before it is there. */
static char *with_final_paths(const struct deployment *d, const char *text)
{
	char *result = xstrdup(text);
	for (size_t i = 0; i < d->ask->n_staged; i++) {
		const struct staged_artifact *staged = &d->ask->staged[i];
		_cleanup_(freep) char *to = catalog_location(d->core->catalog, staged->name);
		_cleanup_(freep) char *rest = result;
		const char *from = rest, *found;
		struct buf out;
		buf_init(&out, ERROR_MAX);
		while ((found = strstr(from, staged->path))) {
			buf_add(&out, from, (size_t)(found - from));
			buf_puts(&out, to);
			from = found + strlen(staged->path);
		}
		buf_puts(&out, from);
		result = out.data ? buf_take(&out) : xstrdup("");
	}
	return result;
}

static void deployment_step(struct deployment *d);

static void old_described(struct described_wait *wait, struct core *c, const struct signature *s)
{
	struct part *p = container_of(wait, struct part, old_wait);
	(void)c;
	bool is_unknown = s->fault == FAULT_NO_WORKER || s->fault == FAULT_UNAVAILABLE;
	p->is_loading = s->described || is_unknown;
	p->before = s->described ? function_described_json(p->old, s) : function_json(p->old);
	deployment_step(p->deployment);
}

static void trial_described(struct described_wait *wait, struct core *c, const struct signature *s)
{
	struct part *p = container_of(wait, struct part, trial_wait);
	const struct function *f = p->edit->function ? p->edit->function : p->trial;
	(void)c;
	if (s->described) {
		json_decref(p->after);
		p->after = function_described_json(f, s);
	} else {
		p->error = with_final_paths(p->deployment, s->error);
		p->fault = s->fault == FAULT_NOT_FOUND ? FAULT_BAD_REQUEST : s->fault;
	}
	deployment_step(p->deployment);
}

static void describe_part(struct part *p)
{
	struct deployment *d = p->deployment;
	p->old_wait.ready = old_described;
	p->trial_wait.ready = trial_described;
	p->trial_wait.context = p->context;
	if (p->old) {
		d->n_pending++;
		describe(d->core, p->old, &p->old_wait);
	}
	/* Only a worker of the context could read it, and there is none before the context. */
	if (p->context && p->trial->path_kind == PATH_HADOOP)
		return;
	d->n_pending++;
	describe(d->core, p->trial, &p->trial_wait);
}

/* A name that is given, once the thing is known to be no other's. */
static int check_name(struct part *p, struct fault *f)
{
	const struct edit *e = p->edit;
	if (!name_is_good(e->name))
		return fault_set(f, FAULT_BAD_REQUEST,
			"name: expected 1 to 128 letters, digits, '.', '_' and '-', not a dot "
			"first");
	if (e->noun == STORE_CONTEXT && strcmp(e->name, "default") == 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"it is set by context-defaults of the configuration file");
	return 0;
}

static int check_configured(struct part *p, struct fault *f)
{
	if (!p->is_put ||
		!catalog_is_configured(p->deployment->core->catalog, p->edit->noun, p->edit->name))
		return 0;
	return fault_set(f, FAULT_CONFLICT, "it is in the configuration file and is changed there");
}

static int check_ignored(char *taken, struct fault *f)
{
	_cleanup_(freep) char *ignored = taken;
	return ignored ? fault_set(f, FAULT_BAD_REQUEST, "there is no such member: %.256s", ignored)
		       : 0;
}

static int read_context(struct part *p, const json_t *body, struct fault *f)
{
	struct core *c = p->deployment->core;
	struct context_settings s;
	char *ignored = NULL;
	int r = check_name(p, f);
	if (r == 0)
		r = context_read_json(body, catalog_defaults(c->catalog), &s, &ignored, f);
	if (r < 0) {
		free(ignored);
		return r;
	}
	p->edit->context = context_new(p->edit->name, &s);
	conf_done(context_conf, &s);
	r = check_ignored(ignored, f);
	if (r == 0 && catalog_check_runtime(c->catalog, p->edit->context->settings.runtime, f) < 0)
		return fault_prefix(f, "runtime");
	if (r < 0)
		return r;
	_cleanup_(context_unrefp) const struct context *old =
		catalog_has_context(c->catalog, p->edit->name)
			? catalog_context(c->catalog, p->edit->name)
			: NULL;
	json_decref(p->after);
	p->before = old ? context_json(old) : NULL;
	p->after = context_json(p->edit->context);
	p->is_put = !old || !json_equal(p->before, p->after);
	return check_configured(p, f);
}

/* The context that the function is to have, if this deployment makes or changes it. */
static const struct context *context_of(const struct deployment *d, const char *name)
{
	for (size_t i = 0; i < d->n_contexts; i++) {
		const struct part *p = &d->parts[i];
		if (p->is_put && strcmp(p->edit->name, name) == 0)
			return p->edit->context;
	}
	return NULL;
}

static int check_path(const struct part *p, const struct function_settings *s, struct fault *f)
{
	struct core *c = p->deployment->core;
	_cleanup_(context_unrefp) const struct context *context =
		p->context ? context_ref(p->context) : catalog_context(c->catalog, s->context);
	int r = catalog_check_path_in(c->catalog, s->path, context, f);
	return r < 0 ? r : artifact_check_stays(c, s->path, f);
}

static struct function *function_at(
	const struct deployment *d, const char *name, const struct function_settings *s)
{
	const struct staged_artifact *staged = staged_find(d->ask, s->path);
	_cleanup_(freep) char *location =
		staged ? xstrdup(staged->path) : catalog_location(d->core->catalog, s->path);
	return function_new(name, s, location);
}

static int take_function(struct part *p, const struct function_settings *s, struct fault *f)
{
	struct core *c = p->deployment->core;
	const char *name = p->edit->name;
	p->context = context_of(p->deployment, s->context);
	if (!p->context && !is_in(p->deployment->ask->body, "contexts", s->context) &&
		catalog_check_context(c->catalog, s->context, f) < 0)
		return fault_prefix(f, "defaultContext");
	if (p->context)
		context_ref(p->context);
	int r = check_path(p, s, f);
	if (r < 0)
		return r;
	_cleanup_(freep) char *location = catalog_location(c->catalog, s->path);
	p->edit->function = function_new(name, s, location);
	_cleanup_(json_decrefp) json_t *was = p->old ? function_stored_json(p->old) : NULL;
	_cleanup_(json_decrefp) json_t *is = function_stored_json(p->edit->function);
	p->is_put = !was || !json_equal(was, is);
	r = check_configured(p, f);
	if (r < 0)
		return r;
	if (!p->is_put && !p->context && !staged_find(p->deployment->ask, s->path)) {
		p->trial = p->old; /* nothing of it changes: it is described once */
		p->old = NULL;
	} else {
		p->trial = function_at(p->deployment, name, s);
	}
	json_decref(p->after);
	p->after = function_json(p->edit->function);
	return 0;
}

static int read_function(struct part *p, const json_t *body, struct fault *f)
{
	struct core *c = p->deployment->core;
	struct function_settings s;
	char *ignored = NULL;
	const struct function *old = catalog_function(c->catalog, p->edit->name);
	p->old = old ? function_ref(old) : NULL;
	int r = check_name(p, f);
	if (r == 0)
		r = function_read_json(body, &s, &ignored, f);
	if (r < 0) {
		free(ignored);
		return r;
	}
	function_keep_ours(&s, body, old);
	r = check_ignored(ignored, f);
	if (r == 0)
		r = take_function(p, &s, f);
	conf_done(function_conf, &s);
	return r;
}

static struct part *part_new(
	struct deployment *d, enum store_noun noun, const char *name, bool is_named)
{
	struct part *p = &d->parts[d->n_parts++];
	p->deployment = d;
	p->edit = edit_new(d->core, d->ask, noun, name);
	p->is_named = is_named;
	p->after = json_pack("{s:s}", "name", name);
	return p;
}

static void read_parts(struct deployment *d, const char *list, enum store_noun noun,
	int (*read)(struct part *p, const json_t *body, struct fault *f))
{
	json_t *item;
	size_t i;
	json_array_foreach (json_object_get(d->ask->body, list), i, item) {
		struct part *p = part_new(d, noun, json_string_of(item, "name"), true);
		struct fault f;
		if (read(p, item, &f) < 0)
			refuse(p, &f);
	}
}

static void add_affected(struct deployment *d, const struct affected *affected)
{
	for (size_t i = 0; i < affected->n; i++) {
		const struct function *f = function_ref(affected->list[i]);
		struct part *p = part_new(d, STORE_FUNCTION, f->name, false);
		const struct context *context = context_of(d, f->settings.context);
		p->old = f;
		p->trial = function_at(d, f->name, &f->settings);
		p->context = context ? context_ref(context) : NULL;
		json_decref(p->after);
		p->after = function_json(f);
	}
}

static void part_done(struct part *p, struct list *waiting)
{
	if (p->trial)
		describe_forget_later(p->deployment->core, p->trial, p->context);
	edit_leave(p->edit, waiting);
	function_unref(p->trial);
	function_unref(p->old);
	context_unref(p->context);
	json_decref(p->before);
	json_decref(p->after);
	free(p->error);
}

/* Answers. */
static void deployment_end(struct deployment *d)
{
	struct core *c = d->core;
	struct ask *a = d->ask;
	struct list waiting;
	list_init(&waiting);
	for (size_t i = 0; i < d->n_parts; i++)
		part_done(&d->parts[i], &waiting);
	for (size_t i = 0; i < a->n_staged; i++)
		edit_leave(d->artifacts[i], &waiting);
	free(d->artifacts);
	json_decref(d->errors);
	free(d->file);
	free(d->parts);
	free(d);
	ask_answer(a);
	edit_wake(c, &waiting);
}

static const char *action_of(const struct part *p)
{
	bool is_same = !p->is_put && (!p->before || json_equal(p->before, p->after));
	bool is_there = p->before || (p->edit->noun == STORE_FUNCTION && !p->is_put);
	return !is_there ? "created" : is_same ? "unchanged" : "updated";
}

static json_t *part_json(const struct part *p)
{
	const json_t *before = p->before ? p->before : p->is_put ? NULL : p->after;
	json_t *json = json_pack(
		"{s:O, s:s}", "name", json_object_get(p->after, "name"), "action", action_of(p));
	if (p->edit->noun == STORE_FUNCTION)
		json_object_set_new(json, "named", json_boolean(p->is_named));
	if (before)
		json_object_set(json, "before", (json_t *)before);
	json_object_set(json, "after", p->after);
	return json;
}

static void make_report(struct deployment *d)
{
	json_t *contexts = json_array(), *functions = json_array();
	for (size_t i = 0; i < d->n_parts; i++)
		json_array_append_new(
			i < d->n_contexts ? contexts : functions, part_json(&d->parts[i]));
	d->ask->json = json_pack("{s:o, s:o}", "contexts", contexts, "functions", functions);
}

static void deployment_refuse(struct deployment *d)
{
	size_t n = json_array_size(d->errors);
	const char *first = json_string_of(json_array_get(d->errors, 0), "error");
	fault_set(&d->ask->fault, d->fault, n > 1 ? "%.500s; and %zu more (errors)" : "%.580s",
		first, n - 1);
	d->ask->json = json_incref(d->errors);
	deployment_end(d);
}

static void tell_failure(struct deployment *d)
{
	struct fault *f = &d->ask->fault;
	json_decref(d->ask->json);
	d->ask->json = NULL;
	if (d->file)
		fault_set(f, fault_of_errno(-d->file_status),
			"nothing was changed: the artifact %.128s cannot be replaced: %s",
			strrchr(d->file, '/') + 1, strerror(-d->file_status));
	else
		fault_of_write(f, d->status, "nothing was changed", "the deployment takes effect");
	if (d->n_left)
		fault_set(f, f->code,
			"new artifacts that could not be put back: %zu; apart from these %s",
			d->n_left, f->text);
}

static void deployment_durable(struct mail *mail, void *owner)
{
	struct deployment *d = container_of(mail, struct deployment, mail);
	struct core *c = owner;
	if (d->status < 0) {
		tell_failure(d);
		deployment_end(d);
		return;
	}
	size_t n_contexts = 0, n_functions = 0;
	for (size_t i = 0; i < d->n_parts; i++) {
		if (!d->parts[i].is_put)
			continue;
		edit_take_effect(d->parts[i].edit);
		*(i < d->n_contexts ? &n_contexts : &n_functions) += 1;
	}
	for (size_t i = 0; i < d->ask->n_staged; i++) {
		_cleanup_(freep) char *location =
			catalog_location(c->catalog, d->ask->staged[i].name);
		describe_look_again(c, location);
	}
	log_info("a deployment took effect: %zu artifact%s, %zu context%s, %zu function%s",
		d->ask->n_staged, plural(d->ask->n_staged), n_contexts, plural(n_contexts),
		n_functions, plural(n_functions));
	deployment_end(d);
}

/* On the store's thread. */
static void deployment_written(void *owner, struct store_op *op, int status)
{
	struct deployment *d = owner;
	d->status = status;
	/* Of one that is in progress they are still another thread's. */
	for (size_t i = 0; i < op->n_files && status < 0 && status != -EINPROGRESS; i++) {
		const struct store_file *file = &op->files[i];
		d->n_left += file->is_replaced;
		if (file->status == 0 || d->file)
			continue;
		d->file = xstrdup(file->to);
		d->file_status = file->status;
	}
	mailbox_post_always(&d->core->mailbox, &d->mail);
}

static void add_put(struct store_op ***tail, const struct part *p)
{
	const struct edit *e = p->edit;
	_cleanup_(json_decrefp) json_t *settings =
		e->context ? context_stored_json(e->context) : function_stored_json(e->function);
	struct store_op *put = **tail = store_op_new(STORE_NOUN_PUT, NULL);
	put->noun = e->noun;
	put->name = xstrdup(e->name);
	put->text = json_text(settings);
	*tail = &put->next;
}

static void deployment_write(struct deployment *d)
{
	struct store_op *op = store_op_new(STORE_DEPLOY, NULL), **tail = &op->parts;
	op->files = xcalloc(d->ask->n_staged + 1, sizeof *op->files);
	for (; op->n_files < d->ask->n_staged; op->n_files++) {
		const struct staged_artifact *staged = &d->ask->staged[op->n_files];
		op->files[op->n_files] = (struct store_file){ .from = xstrdup(staged->path),
			.to = catalog_location(d->core->catalog, staged->name) };
	}
	for (size_t i = 0; i < d->n_parts; i++)
		if (d->parts[i].is_put)
			add_put(&tail, &d->parts[i]);
	op->done = deployment_written;
	op->owner = d;
	d->mail.deliver = deployment_durable;
	store_post(d->core->store, op);
}

static bool has_changes(const struct deployment *d)
{
	bool is_put = false;
	for (size_t i = 0; i < d->n_parts; i++)
		is_put |= d->parts[i].is_put;
	return is_put || d->ask->n_staged;
}

/* One describe less is awaited; after the last one the deployment goes on. */
static void deployment_step(struct deployment *d)
{
	if (--d->n_pending)
		return;
	for (size_t i = 0; i < d->n_parts; i++) {
		struct part *p = &d->parts[i];
		if (p->error && (p->is_named || p->is_loading))
			add_error(p, p->fault, p->error);
	}
	if (json_array_size(d->errors)) {
		deployment_refuse(d);
		return;
	}
	make_report(d);
	if (d->ask->is_dry_run || !has_changes(d))
		deployment_end(d);
	else
		deployment_write(d);
}

/* That is told already, and what else is wrong is not known. */
static bool has_refused_context(const struct part *p)
{
	const struct deployment *d = p->deployment;
	for (size_t i = 0; i < d->n_contexts; i++)
		if (d->parts[i].is_refused &&
			strcmp(d->parts[i].edit->name, p->trial->settings.context) == 0)
			return true;
	return false;
}

void deployment_begin(struct core *c, struct ask *a)
{
	struct affected affected = { .ask = a };
	if (check_document(a->body, &a->fault) < 0) {
		ask_answer(a);
		return;
	}
	catalog_each_function(c->catalog, affected_add, &affected);
	if (must_wait(c, a, &affected)) {
		free(affected.list);
		return;
	}
	size_t n_contexts = json_array_size(json_object_get(a->body, "contexts"));
	size_t n_functions = json_array_size(json_object_get(a->body, "functions"));
	struct deployment *d = xcalloc(1, sizeof *d);
	d->core = c;
	d->ask = a;
	d->errors = json_array();
	d->artifacts = xcalloc(a->n_staged + 1, sizeof(struct edit *));
	for (size_t i = 0; i < a->n_staged; i++)
		d->artifacts[i] = edit_new_artifact(c, a, a->staged[i].name);
	d->parts = xcalloc(n_contexts + n_functions + affected.n + 1, sizeof *d->parts);
	read_parts(d, "contexts", STORE_CONTEXT, read_context);
	d->n_contexts = d->n_parts;
	read_parts(d, "functions", STORE_FUNCTION, read_function);
	add_affected(d, &affected);
	free(affected.list);
	d->n_pending = 1;
	for (size_t i = d->n_contexts; i < d->n_parts; i++)
		if (d->parts[i].trial && !has_refused_context(&d->parts[i]))
			describe_part(&d->parts[i]);
	deployment_step(d);
}
