/* SPDX-License-Identifier: Apache-2.0 */
/* Intake: a request from any transport becomes a job, or is refused with a sentence.
 *
 * Requests come as letters. Each is resolved to its function, checked against the function's
 * signature (waiting for a describer if it is not known yet) and against the limits; only then a
 * job exists. A refusal goes to the door the request came by. */
#include "core/private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "domain/params.h"

struct parked {
	struct described_wait wait;
	struct job_request *rq;
	const struct function *function;
};

struct job_request *job_request_new(void)
{
	struct job_request *rq = xcalloc(1, sizeof *rq);
	rq->start_timeout_ms = rq->perform_timeout_ms = DURATION_INF;
	return rq;
}

void job_request_free(struct job_request *rq)
{
	if (!rq)
		return;
	if (rq->charged)
		atomic_fetch_sub(rq->charged, rq->charge);
	json_decref(rq->arguments);
	free(rq->function);
	free(rq->path);
	free(rq->class_name);
	free(rq->parameters);
	free(rq->context);
	free(rq->external_id);
	free(rq->trace);
	free(rq->idempotency_key);
	free(rq->idempotency_digest);
	free(rq->former_key);
	free(rq->ignored);
	free(rq->errors);
	free(rq->name);
	free(rq->to.text);
	free(rq);
}

void intake_refuse(struct core *c, struct job_request *rq, const struct fault *f)
{
	c->counts[EVENT_REFUSED]++;
	if (rq->to.wants & EVENT_BIT(EVENT_REFUSED)) {
		const struct job_event ev = { .kind = EVENT_REFUSED,
			.fault = f,
			.errors = rq->errors,
			.at_ms = clock_wall_ms() };
		rq->door->ops->publish(rq->door->self, &rq->to, &ev);
	}
	job_request_free(rq);
}

static int check_limits(
	struct core *c, const struct lane *lane, const struct job_request *rq, struct fault *f)
{
	size_t reply_len = reply_bytes(rq->to.text), len = strlen(rq->parameters) + reply_len;
	if (c->is_stopping)
		return fault_set(f, FAULT_UNAVAILABLE, "the gateway is stopping");
	if (store_check_writable(c->store, f) < 0)
		return -1;
	/* Those whose row is being written will wait, too. */
	if (lane->n_jobs - lane->n_running >= (size_t)c->limits.queue_max)
		return fault_set(f, FAULT_TOO_MANY,
			"the queue of context %s is full: limits.queue is %" PRId64, lane->name,
			c->limits.queue_max);
	if (len > (size_t)c->limits.queue_bytes_max) /* at any time: not to be tried again */
		return fault_set(f, FAULT_TOO_LARGE,
			"the arguments%s take %zu bytes: limits.queue-bytes is %" PRId64,
			reply_len ? ", and what is to be sent back with the answer," : "", len,
			c->limits.queue_bytes_max);
	if (c->parameter_bytes + len > (size_t)c->limits.queue_bytes_max)
		return fault_set(f, FAULT_TOO_MANY,
			"the arguments of jobs take too much memory: limits.queue-bytes is "
			"%" PRId64,
			c->limits.queue_bytes_max);
	if (c->jobs.count >= (size_t)c->limits.jobs_max)
		return fault_set(f, FAULT_TOO_MANY,
			"too many jobs are waiting or running: limits.jobs is %" PRId64,
			c->limits.jobs_max);
	if (store_backlog(c->store) >= (size_t)c->limits.backlog_max)
		return fault_set(f, FAULT_TOO_MANY,
			"the disk does not keep up: limits.backlog is %" PRId64,
			c->limits.backlog_max);
	if (store_backlog_bytes(c->store) >= (size_t)c->limits.backlog_bytes_max)
		return fault_set(f, FAULT_TOO_MANY,
			"the disk does not keep up: limits.backlog-bytes is %" PRId64,
			c->limits.backlog_bytes_max);
	return 0;
}

static struct job *job_of(struct job_request *rq, const struct function *fn)
{
	struct job *j = job_new();
	j->created_ms = clock_wall_ms();
	uuid_make(&j->id, j->created_ms);
	j->function = function_ref(fn);
	j->context = rq->context ? TAKE_PTR(rq->context) : xstrdup(fn->settings.context);
	j->parameters = TAKE_PTR(rq->parameters);
	j->external_id = TAKE_PTR(rq->external_id);
	j->trace = TAKE_PTR(rq->trace);
	j->idempotency_key = TAKE_PTR(rq->idempotency_key);
	j->idempotency_digest = TAKE_PTR(rq->idempotency_digest);
	j->ignored = TAKE_PTR(rq->ignored);
	j->request = TAKE_PTR(rq->name);
	j->reply_to = TAKE_PTR(rq->to.text);
	j->door = j->reply_to ? xstrdup(rq->door->name) : NULL;
	j->source = xstrdup(rq->source);
	j->start_timeout_ms = rq->start_timeout_ms;
	j->perform_timeout_ms = rq->perform_timeout_ms;
	j->priority = rq->priority;
	j->is_sync = rq->is_sync;
	return j;
}

static void log_ignored(const struct job *j)
{
	char id[UUID_TEXT];
	if (!j->ignored)
		return;
	uuid_format(&j->id, id);
	log_debug("job %s of function %s: its request said without effect: %s", id,
		j->function->name, j->ignored);
}

/* The function's setting, else what its runner says of it, else the gateway's setting. */
static enum unknown_arguments unknown_arguments_of(
	const struct core *c, const struct function *fn, const struct signature *s)
{
	const char *extra = json_string_of(s->described, "extraArguments");
	if (extra && strcmp(extra, "taken") == 0)
		return UNKNOWN_TAKE;
	if (fn->settings.unknown_arguments != FUNCTION_UNKNOWN_DEFAULT)
		return fn->settings.unknown_arguments == FUNCTION_UNKNOWN_IGNORE ? UNKNOWN_IGNORE
										 : UNKNOWN_REFUSE;
	bool is_ignored = c->limits.ignores_unknown || (extra && strcmp(extra, "ignored") == 0);
	return is_ignored ? UNKNOWN_IGNORE : UNKNOWN_REFUSE;
}

static void accept_job(struct core *c, struct job_request *rq, const struct function *fn,
	const struct signature *s)
{
	if (keys_answer(c, rq))
		return;
	_cleanup_(job_request_freep) struct job_request *mine = rq;
	_cleanup_(json_decrefp) json_t *errors = json_array();
	struct fault f = { 0 };
	const char *context = rq->context ? rq->context : fn->settings.context;
	struct lane *lane = NULL;
	int r = 0;
	if (!s->described)
		r = fault_set(&f,
			rq->path && s->fault == FAULT_NOT_FOUND ? FAULT_BAD_REQUEST : s->fault,
			"%s", s->error);
	else
		r = params_check(json_object_get(s->described, "execute"), rq->arguments,
			unknown_arguments_of(c, fn, s), &rq->ignored, errors, &f);
	if (json_array_size(errors))
		rq->errors = json_text(errors);
	if (r == 0 && !(lane = lane_get(c, context, false)))
		r = fault_set(&f, FAULT_AT_LIMIT,
			"there are too many contexts: limits.contexts is %" PRId64,
			c->limits.contexts_max);
	if (r == 0)
		r = check_limits(c, lane, rq, &f);
	if (r < 0) {
		if (lane)
			lane_touch(lane);
		intake_refuse(c, TAKE_PTR(mine), &f);
		return;
	}
	struct live_job *l = life_begin(c, job_of(rq, fn), lane);
	l->door = rq->door;
	l->to = rq->to;
	l->to.text = l->job->reply_to;
	keys_add(c, l->job);
	log_ignored(l->job);
	life_accept(l);
}

static void parked_ready(struct described_wait *wait, struct core *c, const struct signature *s)
{
	struct parked *p = container_of(wait, struct parked, wait);
	bool is_unregistered = p->rq->path;
	accept_job(c, p->rq, p->function, s);
	if (is_unregistered)
		describe_forget_later(c, p->function, NULL);
	function_unref(p->function);
	free(p);
}

/* They are told to workers and shown in JSON. */
static int check_texts(const struct job_request *rq, struct fault *f)
{
	if (rq->external_id && !utf8_is_valid(rq->external_id, strlen(rq->external_id)))
		return fault_set(f, FAULT_BAD_REQUEST, "externalId: expected UTF-8");
	if (rq->trace && !utf8_is_valid(rq->trace, strlen(rq->trace)))
		return fault_set(f, FAULT_BAD_REQUEST, "traceparent: expected UTF-8");
	return rq->path ? path_check(rq->path, f) : 0;
}

/* A new reference; NULL: there is none. */
static const struct function *function_of(struct core *c, const struct job_request *rq)
{
	const struct function *known = rq->path ? NULL : catalog_function(c->catalog, rq->function);
	if (!rq->path)
		return known ? function_ref(known) : NULL;
	const struct function_settings s = { .path = rq->path,
		.class_name = rq->class_name,
		.context = rq->context ? rq->context : (char *)"default" };
	_cleanup_(freep) char *location = catalog_location(c->catalog, rq->path);
	return function_new(rq->function, &s, location);
}

/* The context that the request names. That of the function is looked at when it is described. */
static int check_context(const struct core *c, const struct job_request *rq, struct fault *f)
{
	if (!rq->context)
		return 0;
	if (!name_is_good(rq->context))
		return fault_set(f, FAULT_BAD_REQUEST,
			"context: expected a name of letters, digits, '.', '_' and '-', got "
			"\"%.64s\"",
			rq->context);
	if (rq->makes_context || catalog_check_context(c->catalog, rq->context, f) == 0)
		return 0;
	return fault_prefix(f, "context");
}

static void request_deliver(struct mail *mail, void *owner)
{
	struct job_request *rq = container_of(mail, struct job_request, mail);
	struct core *c = owner;
	struct fault f;
	char hint[NEAR_HINT];
	beat_doing("a job request");
	if (c->is_let_go) {
		fault_set(&f, FAULT_UNAVAILABLE, "the gateway is stopping");
		intake_refuse(c, rq, &f);
		return;
	}
	if (check_texts(rq, &f) < 0) {
		intake_refuse(c, rq, &f);
		return;
	}
	_cleanup_(function_unrefp) const struct function *fn = function_of(c, rq);
	if (!fn) {
		fault_set(&f, FAULT_NOT_FOUND, "there is no function %.128s%s", rq->function,
			catalog_function_hint(c->catalog, rq->function, hint));
		intake_refuse(c, rq, &f);
		return;
	}
	if (check_context(c, rq, &f) < 0 || (rq->path && catalog_check_path(c->catalog, rq->path,
								 fn->settings.context, &f) < 0)) {
		intake_refuse(c, rq, &f);
		return;
	}
	struct parked *p = xcalloc(1, sizeof *p);
	p->wait.ready = parked_ready;
	p->wait.takes_any_context = rq->makes_context;
	p->rq = rq;
	p->function = function_ref(fn);
	describe(c, fn, &p->wait);
}

int intake_submit(struct intake *in, struct job_request **rq)
{
	struct core *c = in->core;
	struct job_request *mine = *rq;
	mine->mail.deliver = request_deliver;
	size_t text = strlen(mine->parameters) + reply_bytes(mine->to.text);
	size_t values = json_memory(mine->arguments);
	mine->charge = (int64_t)(values > text ? values : text);
	if (atomic_fetch_add(&c->request_bytes, mine->charge) >
		atomic_load(&c->request_bytes_max)) {
		atomic_fetch_sub(&c->request_bytes, mine->charge);
		return -EAGAIN;
	}
	mine->charged = &c->request_bytes;
	*rq = NULL;
	int r = mailbox_post(&c->mailbox, &mine->mail);
	if (r == 0)
		return 0;
	atomic_fetch_sub(&c->request_bytes, mine->charge);
	mine->charged = NULL;
	*rq = mine;
	return r;
}
