/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures: what arguments a function takes, as a worker that loaded it says.
 *
 * Nobody has to write them down. The first request for a function (or for the list of functions)
 * makes a describer answer: a worker of the runtime of the function's context that runs no jobs
 * and, for a Spark runtime, starts no Spark. Its lane has the runtime's name with a "~" before it,
 * which no context can have. The answer is kept until the artifact changes (looked
 * at once a second at most) or a reload changes the function; that it cannot be loaded is kept for
 * some seconds only, since it may be a library that was missing. A describer that fails makes the
 * requests fail, not the gateway: the next request tries again.
 *
 * Artifacts lie where users put them, and a network's file system may not answer (artifact/look.c).
 * When a look is late, what was known is good enough, and where nothing was, the request fails.
 *
 * What only Hadoop's client can read is described by a worker of the function's own context, which
 * has that client and its settings; one is started if there is none. Of an artifact that is not on
 * this machine nothing can be seen here, so what is known of it is asked for again after a while.
 */
#include "core/private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "domain/params.h"

enum { LOOK_AGAIN_MS = 1000, ASK_AGAIN_MS = 5000 };

static void describe_timed_out(struct timers *t, struct timer *timer);
static void signature_begin(struct core *c, struct signature *s);

/* What a signature is of: not the name alone, since a definition that is being put, or run once, is
 * not the one that others call at the same time. */
static char *key_of(const struct function *f, const struct context *context)
{
	return xasprintf("%s\n%s\n%s\n%s%s%s", f->name, f->location, f->settings.class_name,
		f->settings.context, context ? "\n" : "", context ? context->settings.runtime : "");
}

static struct signature *signature_get(
	struct core *c, const struct function *f, const struct context *context)
{
	_cleanup_(freep) char *key = key_of(f, context);
	struct map_node *n = map_find_str(&c->signatures, key);
	struct signature *s = n ? container_of(n, struct signature, by_key) : NULL;
	if (!s) {
		s = xcalloc(1, sizeof *s);
		s->core = c;
		s->key = TAKE_PTR(key);
		s->name = xstrdup(f->name);
		s->context = context ? context_ref(context) : NULL;
		s->timeout.fire = describe_timed_out;
		list_init(&s->waiting);
		list_init(&s->in_lane);
		map_add_str(&c->signatures, &s->by_key, s->key);
	}
	return s;
}

static void signature_forget(struct signature *s)
{
	json_decref(s->described);
	free(s->error);
	s->described = NULL;
	s->error = NULL;
	s->fault = FAULT_BAD_REQUEST;
	s->failed_ms = 0;
}

/* Ends a describe, if one is under way: an answer to it will find nobody. */
static void signature_leave(struct signature *s)
{
	s->id[0] = '\0';
	s->asked = NULL;
	timer_clear(&s->core->timers, &s->timeout);
	list_remove(&s->in_lane);
	if (s->lane)
		lane_touch(s->lane);
	s->lane = NULL;
}

/* The log has each error of a function that somebody made once, and that it is over. */
static void signature_log(struct signature *s)
{
	if (catalog_function(s->core->catalog, s->name) != s->function ||
		(s->error && s->logged && strcmp(s->error, s->logged) == 0))
		return;
	if (s->error)
		log_warn("%s", s->error);
	else if (s->described && s->logged)
		log_info("function %s can be loaded now", s->name);
	if (s->error || s->described) {
		free(s->logged);
		s->logged = s->error ? xstrdup(s->error) : NULL;
	}
}

/* The same, and answers all who wait. */
static void signature_answer(struct signature *s)
{
	struct list *n;
	signature_leave(s);
	signature_log(s);
	while ((n = list_pop(&s->waiting))) {
		struct described_wait *wait = container_of(n, struct described_wait, node);
		wait->ready(wait, s->core, s);
	}
}

static void signature_fail(struct signature *s, const char *why)
{
	signature_forget(s);
	s->error = xasprintf("function %s cannot be described: %s", s->name, why);
	s->fault = s->core->is_stopping || s->core->is_let_go ? FAULT_UNAVAILABLE : FAULT_NO_WORKER;
	signature_answer(s);
	signature_forget(s); /* not worth remembering: the next request tries again */
}

static void describe_timed_out(struct timers *t, struct timer *timer)
{
	struct signature *s = container_of(timer, struct signature, timeout);
	struct worker *w = s->asked;
	(void)t;
	if (w && w->lane->is_describer) /* it may hang in this one for ever: the others get another
					 */
		worker_end(s->core, w,
			"the worker was ended because it did not describe a function in time "
			"(limits.describe-timeout)");
	_cleanup_(freep) char *why = !w && s->lane && s->lane->hindrance
					     ? xasprintf("no worker that describes it can be "
							 "started: %s",
						       s->lane->hindrance)
					     : NULL;
	signature_fail(s, why ? why
			      : "its worker did not describe it in time "
				"(limits.describe-timeout)");
}

static bool is_same_mark(const struct artifact_mark *a, const struct artifact_mark *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->changed_ns == b->changed_ns && a->modified_ns == b->modified_ns;
}

static void signature_look(struct signature *s)
{
	s->is_look_late = false;
	s->look = look_begin(s->core, s->key, s->function->location);
}

/* Drops what is known if its artifact is another by now. */
static void signature_looked(struct signature *s, const struct looked *look)
{
	s->look = NULL;
	s->is_look_late = false;
	s->checked_ms = clock_mono_ms();
	if (look->why || s->fault == FAULT_NOT_FOUND || !is_same_mark(&look->mark, &s->mark)) {
		signature_forget(s);
		signature_leave(s);
		s->mark = look->mark;
	}
	if (look->why) {
		s->fault = FAULT_NOT_FOUND;
		s->error = xasprintf("function %s: its artifact %s cannot be read: %s", s->name,
			look->path, look->why);
	}
	if (s->described || s->error)
		signature_answer(s);
	else if (!s->id[0] && !list_empty(&s->waiting))
		signature_begin(s->core, s);
}

/* That waits for this one. NULL: nobody does, any more. */
static struct signature *signature_of(struct core *c, const struct look *look, const char *key)
{
	struct map_node *n = map_find_str(&c->signatures, key);
	struct signature *s = n ? container_of(n, struct signature, by_key) : NULL;
	return s && s->look == look ? s : NULL;
}

void describe_looked(struct core *c, const struct looked *looked)
{
	struct signature *s = signature_of(c, looked->look, looked->key);
	if (s)
		signature_looked(s, looked);
}

static void signature_fail_unseen(struct signature *s)
{
	_cleanup_(freep) char *why =
		xasprintf("its artifact %s cannot be looked at: the disk does not answer",
			s->function->location);
	signature_fail(s, why);
}

void describe_look_late(struct core *c, const struct look *look, const char *key)
{
	struct signature *s = signature_of(c, look, key);
	if (!s)
		return;
	s->is_look_late = true;
	if (s->described || s->error)
		signature_answer(s);
	else if (!s->id[0])
		signature_fail_unseen(s);
}

/* False: what is known now is what there is to know. */
static bool signature_has_to_look(struct signature *s, const struct function *f)
{
	int64_t now = clock_mono_ms();
	if (s->function != f) {
		function_unref(s->function);
		s->function = function_ref(f);
		s->checked_ms = 0;
	}
	/* What it imports may be there by now, though the artifact is the same. */
	if (s->error && s->failed_ms && now - s->failed_ms >= ASK_AGAIN_MS)
		signature_forget(s);
	if (f->path_kind != PATH_HERE) {
		bool is_known = s->described || s->error;
		if (is_known && (!s->checked_ms || now - s->checked_ms >= ASK_AGAIN_MS))
			signature_forget(s);
		return false;
	}
	if (!f->location[0] || s->core->is_let_go ||
		(s->checked_ms && now - s->checked_ms < LOOK_AGAIN_MS && !s->error))
		return false;
	if (!s->look)
		signature_look(s);
	return !s->is_look_late;
}

static void signature_ask(struct signature *s, struct worker *w)
{
	const struct function_settings *fs = &s->function->settings;
	s->asked = w;
	s->core->crew->describe(s->core->room, w, s->id, s->function->location, fs->class_name);
}

static struct lane *lane_for(
	struct core *c, const struct function *f, const struct context *context)
{
	const char *name = context->settings.runtime;
	const struct runtime_settings *runtime = catalog_runtime(c->catalog, name);
	if (f->path_kind == PATH_HADOOP && runtime && runtime->kind == RUNTIME_SPARK)
		return lane_get(c, context->name, false);
	_cleanup_(freep) char *describer = xasprintf("~%s", name);
	return lane_get(c, describer, true);
}

static void signature_begin(struct core *c, struct signature *s)
{
	struct uuid u;
	_cleanup_(context_unrefp) const struct context *context =
		s->context ? context_ref(s->context)
			   : catalog_context(c->catalog, s->function->settings.context);
	struct lane *lane = lane_for(c, s->function, context);
	if (!lane) {
		signature_fail(s, "there are too many contexts (limits.contexts)");
		return;
	}
	if (lane->is_broken) {
		_cleanup_(freep) char *why = lane_broken_text(lane);
		lane_ask_broken(lane);
		lane_touch(lane);
		signature_fail(s, why);
		return;
	}
	uuid_make(&u, clock_wall_ms());
	uuid_format(&u, s->id);
	s->lane = lane;
	list_append(&lane->describes, &s->in_lane);
	timer_set(&c->timers, &s->timeout, c->limits.describe_timeout_ms);
	list_each (n, &lane->workers) {
		struct worker *w = container_of(n, struct worker, in_lane);
		if (w->state == WORKER_READY && !w->is_draining && !w->is_killed && !w->is_closed) {
			signature_ask(s, w);
			break;
		}
	}
	lane_touch(lane);
}

/* Nothing of it is kept: the next who asks may find the context there. */
static void answer_without_context(
	struct core *c, const struct function *f, struct described_wait *wait, const char *why)
{
	_cleanup_(freep) char *error = xasprintf("function %s: its context: %s", f->name, why);
	const struct signature s = {
		.name = f->name, .error = error, .fault = FAULT_BAD_REQUEST, .core = c
	};
	wait->ready(wait, c, &s);
}

void describe(struct core *c, const struct function *f, struct described_wait *wait)
{
	struct fault missing;
	if (!wait->takes_any_context && !wait->context &&
		catalog_check_context(c->catalog, f->settings.context, &missing) < 0) {
		answer_without_context(c, f, wait, missing.text);
		return;
	}
	struct signature *s = signature_get(c, f, wait->context);
	bool has_to_look = signature_has_to_look(s, f);
	if (!has_to_look && (s->described || s->error)) {
		signature_log(s);
		wait->ready(wait, c, s);
		return;
	}
	if (c->is_let_go) {
		list_append(&s->waiting, &wait->node);
		signature_fail(s, "the gateway is stopping");
		return;
	}
	list_append(&s->waiting, &wait->node);
	if (has_to_look || s->id[0])
		return;
	if (s->is_look_late)
		signature_fail_unseen(s);
	else
		signature_begin(c, s);
}

void describe_worker_ready(struct core *c, struct worker *w)
{
	(void)c;
	list_each (n, &w->lane->describes) {
		struct signature *s = container_of(n, struct signature, in_lane);
		if (!s->asked || s->asked == w) /* its connection broke meanwhile */
			signature_ask(s, w);
	}
}

void describe_lost(struct worker *w, const char *why)
{
	bool is_ended = w->is_killed || w->is_draining; /* by us */
	list_each (n, &w->lane->describes) {
		struct signature *s = container_of(n, struct signature, in_lane);
		if (s->asked != w)
			continue;
		s->asked = NULL; /* the next one is asked */
		if (!is_ended)
			signature_fail(s, why);
	}
}

void describe_failed(struct lane *lane, const char *why)
{
	while (!list_empty(&lane->describes))
		signature_fail(container_of(lane->describes.next, struct signature, in_lane), why);
}

int crew_described(
	struct core *c, struct worker *w, const char *id, json_t *signature, const char *error)
{
	struct signature *s = NULL;
	int64_t now = clock_mono_ms();
	struct fault f;
	(void)c;
	list_each (n, &w->lane->describes) {
		struct signature *owed = container_of(n, struct signature, in_lane);
		if (strcmp(owed->id, id) == 0)
			s = owed;
	}
	if (!s)
		return 0; /* it took longer than the timeout */
	if (!signature) {
		signature_forget(s);
		s->error = xasprintf("function %s cannot be loaded: %s", s->name,
			error ? error : "no reason was given");
		s->checked_ms = s->failed_ms = now;
		signature_answer(s);
		return 0;
	}
	if (!json_string_of(signature, "lang") ||
		!json_is_array(json_object_get(signature, "tags")))
		return CREW_E_VALUE;
	if (params_check_types(json_object_get(signature, "execute"), &f)) {
		signature_fail(s, f.text);
		return 0;
	}
	signature_forget(s);
	s->checked_ms = now;
	s->described = json_incref(signature);
	signature_answer(s);
	return 0;
}

void describe_fail_all(struct core *c, const char *why)
{
	map_each (n, &c->signatures) {
		struct signature *s = container_of(n, struct signature, by_key);
		if (s->id[0] || !list_empty(&s->waiting))
			signature_fail(s, why);
	}
}

static void signature_free(struct signature *s)
{
	if (s->look)
		look_forget(s->look);
	timer_clear(&s->core->timers, &s->timeout);
	list_remove(&s->in_lane);
	signature_forget(s);
	function_unref(s->function);
	context_unref(s->context);
	free(s->logged);
	free(s->key);
	free(s->name);
	free(s);
}

static bool is_current(const struct signature *s)
{
	const struct function *f = catalog_function(s->core->catalog, s->name);
	_cleanup_(freep) char *key = f ? key_of(f, NULL) : NULL;
	return key && strcmp(key, s->key) == 0;
}

static void forget_if_old(struct core *c, struct signature *s)
{
	if (s->id[0] || !list_empty(&s->waiting) || is_current(s))
		return;
	map_remove(&c->signatures, &s->by_key);
	signature_free(s);
}

void describe_forget_old(struct core *c)
{
	map_each (n, &c->signatures)
		forget_if_old(c, container_of(n, struct signature, by_key));
}

struct forget {
	struct mail mail;
	char *key;
};

static void forget_deliver(struct mail *mail, void *owner)
{
	struct forget *f = container_of(mail, struct forget, mail);
	struct core *c = owner;
	struct map_node *n = map_find_str(&c->signatures, f->key);
	if (n)
		forget_if_old(c, container_of(n, struct signature, by_key));
	free(f->key);
	free(f);
}

void describe_forget_later(
	struct core *c, const struct function *function, const struct context *context)
{
	struct forget *f = xcalloc(1, sizeof *f);
	f->mail.deliver = forget_deliver;
	f->key = key_of(function, context);
	if (mailbox_post_always(&c->mailbox, &f->mail) < 0) { /* stopping: it goes with the core */
		free(f->key);
		free(f);
	}
}

void describe_look_again(struct core *c, const char *location)
{
	map_each (n, &c->signatures) {
		struct signature *s = container_of(n, struct signature, by_key);
		if (!s->function || strcmp(s->function->location, location) != 0)
			continue;
		s->checked_ms = 0;
		if (s->look && look_is_begun(s->look)) /* perhaps at the file of before */
			signature_look(s);
	}
}

void describe_free_all(struct core *c)
{
	map_each (n, &c->signatures)
		signature_free(container_of(n, struct signature, by_key));
	map_done(&c->signatures);
}
