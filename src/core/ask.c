/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the core: what there is, and the few orders that are no jobs. Answers are made at
 * once, except where they wait for something: a describer (functions), the end of a job (cancel),
 * the disk (settle, and every cancel after the job's end, so that its caller reads the outcome from
 * the store). */
#include "core/private.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/disk/folder_watch.h"
#include "base/metrics/exposition.h"
#include "core/deployment/deployment.h"
#include "core/edit.h"

void ask_done(struct ask *a)
{
	free(a->name);
	free(a->text);
	free(a->tag);
	free(a->if_match);
	free(a->if_none_match);
	free(a->ignored);
	json_decref(a->body);
	json_decref(a->json);
	for (size_t i = 0; i < a->n_staged; i++) {
		free(a->staged[i].name);
		free(a->staged[i].path);
	}
	free(a->staged);
	a->staged = NULL;
	a->n_staged = 0;
	exposition_free(TAKE_PTR(a->exposition));
	a->name = a->text = a->tag = a->if_match = a->if_none_match = a->ignored = NULL;
	a->json = a->body = NULL;
}

/* The tree shares parts with settings, whose references belong to this thread: only its text
 * leaves. */
void ask_answer(struct ask *a)
{
	if (a->json) {
		a->text = json_text(a->json);
		json_decref(a->json);
		a->json = NULL;
	}
	a->answered(a);
}

void ask_answer_missing(struct ask *a, const char *what)
{
	const struct catalog *catalog = a->in->core->catalog;
	const char *name = a->name ? a->name : "";
	char hint[NEAR_HINT] = "";
	if (strcmp(what, "function") == 0)
		catalog_function_hint(catalog, name, hint);
	else if (strcmp(what, "context") == 0)
		catalog_context_hint(catalog, name, hint);
	fault_set(&a->fault, FAULT_NOT_FOUND, "there is no %s %.128s%s", what, name, hint);
	ask_answer(a);
}

static int by_name(const void *x, const void *y)
{
	json_t *const *a = x, *const *b = y;
	return strcmp(json_string_of(*a, "name"), json_string_of(*b, "name"));
}

/* An array in the order of the members "name". */
static json_t *sorted(json_t *array)
{
	size_t n = json_array_size(array), i;
	json_t *item, **items = xcalloc(n ? n : 1, sizeof *items), *result = json_array();
	json_array_foreach (array, i, item)
		items[i] = item;
	qsort(items, n, sizeof *items, by_name);
	for (i = 0; i < n; i++)
		json_array_append(result, items[i]);
	free(items);
	json_decref(array);
	return result;
}

/* Functions: one wait for each, the last one answers. */
struct function_wait {
	struct described_wait wait;
	struct functions_ask *all;
	const struct function *function;
};

struct functions_ask {
	struct ask *ask;
	struct core *core;
	size_t n_pending;
};

json_t *function_described_json(const struct function *f, const struct signature *s)
{
	json_t *retries =
		f->settings.retries ? json_integer(f->settings.retries) : NULL; /* not Mist's */
	const char *unknown = f->settings.unknown_arguments
				      ? function_unknown_names[f->settings.unknown_arguments]
				      : NULL;
	return json_pack("{s:s, s:O, s:O, s:O, s:s, s:s, s:s, s:o*, s:s*}", "name", f->name, "lang",
		json_object_get(s->described, "lang"), "execute",
		json_object_get(s->described, "execute"), "tags",
		json_object_get(s->described, "tags"), "path", f->settings.path, "className",
		f->settings.class_name, "defaultContext", f->settings.context, "retries", retries,
		"unknownArguments", unknown);
}

/* As the runner of such a file would say; nothing has loaded it. */
static const char *probable_lang(const struct function *f)
{
	const char *dot = strrchr(f->settings.path, '.');
	if (!f->settings.path[0])
		return "c";
	return dot && strcmp(dot, ".jar") == 0 ? "java" : "python";
}

/* Of one that does not load: with what clients of Mist look at, and the error. */
static json_t *function_broken_json(const struct function *f, const struct signature *s)
{
	_cleanup_(json_decrefp) json_t *described =
		json_pack("{s:s, s:{}, s:[]}", "lang", probable_lang(f), "execute", "tags");
	const struct signature as_if = { .described = described };
	json_t *json = function_described_json(f, &as_if);
	_cleanup_(freep) char *quoted = json_quote(s->error, strlen(s->error));
	json_object_set_new(json, "error", json_loads(quoted, JSON_DECODE_ANY, NULL));
	return json;
}

static void functions_step(struct functions_ask *all)
{
	struct ask *a = all->ask;
	if (--all->n_pending)
		return;
	free(all);
	if (a->kind == ASK_FUNCTIONS)
		a->json = sorted(a->json);
	ask_answer(a);
}

static void function_ready(struct described_wait *wait, struct core *c, const struct signature *s)
{
	struct function_wait *fw = container_of(wait, struct function_wait, wait);
	struct ask *a = fw->all->ask;
	bool is_hidden =
		!s->described && (s->fault == FAULT_UNAVAILABLE ||
					 catalog_rules_of(c->catalog)->hides_broken_functions);
	json_t *shown = s->described ? function_described_json(fw->function, s)
			: is_hidden  ? NULL
				     : function_broken_json(fw->function, s);
	if (a->kind == ASK_FUNCTIONS && shown)
		json_array_append_new(a->json, shown);
	else if (shown)
		ask_show_function(a, fw->function, shown);
	else if (a->kind == ASK_FUNCTION)
		fault_set(&a->fault, s->fault, "%s", s->error);
	functions_step(fw->all);
	function_unref(fw->function);
	free(fw);
}

static void function_wait(void *arg, const struct function *f)
{
	struct functions_ask *all = arg;
	struct function_wait *fw = xcalloc(1, sizeof *fw);
	fw->wait.ready = function_ready;
	fw->all = all;
	fw->function = function_ref(f);
	all->n_pending++;
	describe(all->core, f, &fw->wait);
}

static void ask_functions(struct core *c, struct ask *a)
{
	const struct function *one =
		a->kind == ASK_FUNCTION ? catalog_function(c->catalog, a->name) : NULL;
	if (a->kind == ASK_FUNCTION && !one) {
		ask_answer_missing(a, "function");
		return;
	}
	struct functions_ask *all = xcalloc(1, sizeof *all);
	*all = (struct functions_ask){ .ask = a, .core = c, .n_pending = 1 };
	if (one) {
		function_wait(all, one);
	} else {
		a->json = json_array();
		catalog_each_function(c->catalog, function_wait, all);
	}
	functions_step(all);
}

static void context_add(void *arg, const struct context *context)
{
	json_array_append_new(arg, context_json(context));
}

/* Mist shows nothing of a context that has no workers; we say why and when it is tried again. */
static void context_add_state(struct core *c, json_t *json)
{
	const struct lane *lane = lane_find(c, json_string_of(json, "name"));
	if (!lane)
		return;
	int64_t pause = lane->not_before_ms - clock_mono_ms();
	if (pause < 0)
		pause = 0;
	if (lane->is_broken)
		json_object_set_new(json, "broken",
			json_pack("{s:s, s:I, s:I}", "reason", lane->last_failure, "failures",
				(json_int_t)lane->failures, "retryInMs", (json_int_t)pause));
	if (lane->hindrance && !lane->is_broken) {
		_cleanup_(freep) char *why = lane_hindered_text(lane);
		json_object_set_new(json, "hindered",
			json_pack("{s:o, s:I}", "reason", json_string_lossy(why), "retryInMs",
				(json_int_t)pause));
	}
}

static void ask_contexts(struct core *c, struct ask *a)
{
	json_t *item;
	size_t i;
	if (a->kind == ASK_CONTEXT && !catalog_has_context(c->catalog, a->name)) {
		ask_answer_missing(a, "context");
		return;
	}
	if (a->kind == ASK_CONTEXT) {
		_cleanup_(context_unrefp) const struct context *context =
			catalog_context(c->catalog, a->name);
		json_t *shown = context_json(context);
		context_add_state(c, shown);
		ask_show_context(a, context, shown);
	} else {
		a->json = json_array();
		catalog_each_context(c->catalog, context_add, a->json);
		a->json = sorted(a->json);
		json_array_foreach (a->json, i, item)
			context_add_state(c, item);
	}
	ask_answer(a);
}

/* Our workers have no limit of their own for artifacts; this is Mist's. */
enum { MIST_ARTIFACT_MAX = 250 << 20 };

static json_t *worker_json(const struct worker *w)
{
	const struct context_settings *s = &w->context->settings;
	const char *address = w->lane->core->address ? w->lane->core->address : "";
	char downtime[32], streaming[32];
	duration_format(s->downtime_ms, downtime, sizeof downtime);
	duration_format(s->streaming_ms, streaming, sizeof streaming);
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:i, s:{s:O, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:s}}", "name",
		w->id, "address", w->address ? w->address : "", "context", w->context->name, "jobs",
		(int)w->n_jobs, "initInfo", "sparkConf", s->spark_conf, "maxJobs",
		(int)(s->worker_mode == WORKER_SHARED ? s->max_jobs : 1), "downtime", downtime,
		"streamingDuration", streaming, "logService", address, "masterAddress", address,
		"masterHttpConf", address, "maxArtifactSize", MIST_ARTIFACT_MAX, "runOptions",
		s->run_options);
	if (w->spark_ui)
		json_object_set_new(json, "sparkUi", json_string(w->spark_ui));
	return json;
}

/* As in Mist a worker is listed from the time it is ready. */
static bool worker_is_listed(const struct worker *w)
{
	return (w->state == WORKER_READY || w->state == WORKER_AWAY) && !w->lane->is_describer;
}

static void ask_workers(struct core *c, struct ask *a)
{
	struct worker *w = a->name ? crew_find(c, a->name) : NULL;
	if (a->kind == ASK_WORKERS) {
		a->json = json_array();
		map_each (n, &c->workers) {
			const struct worker *it = container_of(n, struct worker, by_id);
			if (worker_is_listed(it))
				json_array_append_new(a->json, worker_json(it));
		}
		a->json = sorted(a->json);
	} else if (!w || !worker_is_listed(w)) {
		ask_answer_missing(a, "worker");
		return;
	} else if (a->kind == ASK_WORKER) {
		a->json = worker_json(w);
	} else {
		_cleanup_(freep) char *why = xasprintf(
			"the worker was stopped by a request for that (DELETE of the worker by %s)",
			a->in->door);
		worker_end(c, w, why);
	}
	ask_answer(a);
}

static void ask_settled(void *owner, int status)
{
	(void)status; /* a store that cannot write can still be read */
	ask_answer(owner);
}

static void ask_settle(struct core *c, struct ask *a)
{
	life_record_all(c);
	if (c->is_let_go || store_is_settled(c->store))
		ask_answer(a);
	else
		settle(c, ask_settled, a);
}

static void ask_job_live(struct core *c, struct ask *a)
{
	const struct live_job *l = life_find(c, &a->job);
	_cleanup_(freep) char *progress = l ? progress_of(l) : NULL;
	_cleanup_(json_decrefp) json_t *waiting = l ? scheduler_waiting_json(l) : NULL;
	if (progress || waiting) {
		_cleanup_(json_decrefp) json_t *json = json_pack("{s:O*, s:o*}", "waiting", waiting,
			"progress", progress ? json_loads(progress, 0, NULL) : NULL);
		a->text = json_text_short(json);
	}
	ask_settle(c, a);
}

static void cancel_timed_out(struct timers *t, struct timer *timer)
{
	struct ask *a = container_of(timer, struct ask, timer);
	(void)t;
	list_remove(&a->waiting);
	ask_settle(a->in->core, a);
}

static void ask_cancel(struct core *c, struct ask *a)
{
	struct live_job *l = life_find(c, &a->job);
	if (!l || l->job->state == JOB_INITIALIZED) {
		fault_set(&a->fault, FAULT_NOT_FOUND, "no such job is waiting or running");
		ask_settle(c, a);
		return;
	}
	list_append(&l->cancels, &a->waiting);
	a->timer.fire = cancel_timed_out;
	timer_set(&c->timers, &a->timer, a->wait_ms);
	life_cancel(l, "Job was cancelled: user request", a->in->door);
}

static void ask_wait(struct core *c, struct ask *a)
{
	struct live_job *l = life_find(c, &a->job);
	if (!l) {
		ask_settle(c, a);
		return;
	}
	list_append(&l->cancels, &a->waiting);
	a->timer.fire = cancel_timed_out;
	timer_set(&c->timers, &a->timer, a->wait_ms);
}

void cancel_answer_all(struct live_job *l)
{
	struct list *n;
	while ((n = list_pop(&l->cancels))) {
		struct ask *a = container_of(n, struct ask, waiting);
		timer_clear(&l->core->timers, &a->timer);
		ask_settle(l->core, a);
	}
}

static void ask_ready(struct core *c, struct ask *a)
{
	if (c->is_stopping)
		fault_set(&a->fault, FAULT_UNAVAILABLE, "the gateway is stopping");
	else if (store_check_whole(c->store, &a->fault) == 0)
		(void)folder_watch_check(c->folders, &a->fault);
	for (size_t i = 0; !a->fault.code && i < c->n_doors; i++) {
		struct transport_state s = { 0 };
		if (c->doors[i]->is_required)
			s = door_state(c, c->doors[i]);
		if (s.is_down)
			fault_set(&a->fault, FAULT_UNAVAILABLE, "transport %s: %s",
				c->doors[i]->name, s.why);
	}
	a->text = status_transports(c);
	ask_answer(a);
}

/* On the store's thread. */
static void unreadable_dropped(void *owner, struct store_op *op, int status)
{
	struct ask *a = owner;
	(void)op;
	if (status < 0)
		fault_set(
			&a->fault, FAULT_UNAVAILABLE, "it was not removed: %s", strerror(-status));
	mailbox_post_always(&a->in->core->mailbox, &a->mail);
}

static void unreadable_drop_told(struct mail *mail, void *owner)
{
	(void)owner;
	ask_answer(container_of(mail, struct ask, mail));
}

static void ask_unreadable_drop(struct core *c, struct ask *a)
{
	struct store_op *op = store_op_new(STORE_UNREADABLE_DROP, NULL);
	op->number = a->number;
	op->done = unreadable_dropped;
	op->owner = a;
	a->mail.deliver = unreadable_drop_told;
	store_post(c->store, op);
}

static void ask_metrics(struct core *c, struct ask *a)
{
	struct exposition *own =
		a->exposition ? NULL : exposition_new(EXPOSITION_PROMETHEUS, EXPOSITION_MAX);
	core_metrics_put(c, own ? own : a->exposition);
	if (own)
		a->text = exposition_take(own);
}

static void ask_deliver(struct mail *mail, void *owner)
{
	struct ask *a = container_of(mail, struct ask, mail);
	struct core *c = owner;
	beat_doing("a query or a command");
	if (c->is_let_go) {
		fault_set(&a->fault, FAULT_UNAVAILABLE, "the gateway is stopping");
		ask_answer(a);
		return;
	}
	switch (a->kind) {
	case ASK_FUNCTIONS:
	case ASK_FUNCTION:
		ask_functions(c, a);
		return;
	case ASK_CONTEXTS:
	case ASK_CONTEXT:
		ask_contexts(c, a);
		return;
	case ASK_FUNCTION_CREATE:
	case ASK_FUNCTION_UPDATE:
	case ASK_FUNCTION_DELETE:
		edit_function(c, a);
		return;
	case ASK_CONTEXT_CREATE:
	case ASK_CONTEXT_UPDATE:
	case ASK_CONTEXT_DELETE:
		edit_context(c, a);
		return;
	case ASK_DEPLOY:
		deployment_begin(c, a);
		return;
	case ASK_ARTIFACT_DELETE:
		ask_artifact_delete(c, a);
		return;
	case ASK_WORKERS:
	case ASK_WORKER:
	case ASK_WORKER_STOP:
		ask_workers(c, a);
		return;
	case ASK_STATUS:
		a->json = status_json(c);
		ask_answer(a);
		return;
	case ASK_METRICS:
		ask_metrics(c, a);
		ask_answer(a);
		return;
	case ASK_READY:
		ask_ready(c, a);
		return;
	case ASK_SETTLE:
		ask_settle(c, a);
		return;
	case ASK_JOB_LIVE:
		ask_job_live(c, a);
		return;
	case ASK_WAIT:
		ask_wait(c, a);
		return;
	case ASK_CANCEL:
		ask_cancel(c, a);
		return;
	case ASK_UNREADABLE_DROP:
		ask_unreadable_drop(c, a);
		return;
	}
	must(!"known ask");
}

int intake_ask(struct intake *in, struct ask *a)
{
	a->in = in;
	a->mail.deliver = ask_deliver;
	a->fault.code = FAULT_NONE;
	list_init(&a->waiting);
	return mailbox_post(&in->core->mailbox, &a->mail);
}
