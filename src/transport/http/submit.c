/* SPDX-License-Identifier: Apache-2.0 */
/* Submitting jobs over HTTP: Mist's call and its dev run, the first generation's calls, and the
 * ways of waiting.
 *
 * `force=true` (Mist) waits on the connection and is answered with the outcome, whatever it is, as
 * a 200. Without it the answer comes when the job is durable; `Prefer: wait=N` (RFC 7240) then
 * waits for the outcome of that durable job, at most N seconds, and `Prefer: respond-async` asks
 * for the plain 202. Answers come on the core's thread through http_publish. */
#include "transport/http/request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/ignored.h"
#include "base/utf8.h"
#include "transport/http/cloud.h"
#include "transport/message.h"

enum { KEY_MAX = 255, WAIT_MAX_S = 3600, PARAMETER_DEPTH_MAX = 64, TEXT_MAX = 1024 };
#define ANSWER_MAX ((size_t)1 << 30)

static char *copy_query(struct request *rq, const char *name)
{
	const char *text = query_text(rq, name);
	return text ? xstrdup(text) : NULL;
}

static int read_external_id(struct request *rq, char **ret, struct fault *f)
{
	const char *text = query_text(rq, "externalId");
	if (text && strlen(text) > TEXT_MAX)
		return fault_set(f, FAULT_BAD_REQUEST,
			"query parameter externalId: expected at most %d bytes", TEXT_MAX);
	*ret = copy_query(rq, "externalId");
	return 0;
}

static char *read_trace(struct request *rq)
{
	const char *text = MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, "traceparent");
	return trace_is_good(text) ? xstrdup(text) : NULL;
}

static int read_query(struct request *rq, struct job_request *job, struct fault *f)
{
	int64_t priority = 0;
	int r = query_bool(rq, "force", &job->is_sync, f);
	if (r == 0)
		r = query_duration(rq, "startTimeout", &job->start_timeout_ms, f);
	if (r == 0)
		r = query_duration(rq, "performTimeout", &job->perform_timeout_ms, f);
	if (r == 0)
		r = query_int(rq, "priority", -JOB_PRIORITY_MAX, JOB_PRIORITY_MAX, &priority, f);
	if (r == 0)
		r = read_external_id(rq, &job->external_id, f);
	if (r < 0)
		return r;
	job->priority = (int)priority;
	if (!job->trace)
		job->trace = read_trace(rq);
	if (!job->context)
		job->context = copy_query(rq, "context");
	return 0;
}

static int read_request(struct request *rq, struct job_request *job, struct fault *f)
{
	job->arguments = json_parse(
		rq->body.data ? rq->body.data : "", rq->body.len, PARAMETER_DEPTH_MAX, f);
	if (!job->arguments)
		return fault_prefix(
			f, "the request's body, the arguments of the function, is no JSON object");
	if (!json_is_object(job->arguments))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the request's body: expected a JSON object with the arguments of the "
			"function, got %s",
			json_kind(job->arguments));
	int r = read_query(rq, job, f);
	if (r < 0)
		return r;
	job->parameters = buf_take(&rq->body);
	return 0;
}

static void submit(struct request *rq, struct job_request *taken)
{
	_cleanup_(job_request_freep) struct job_request *job = taken;
	struct fault f = { 0 };
	job->door = rq->http->env.self;
	job->source = "Http";
	job->name = xstrdup(rq->name);
	job->to.live = rq;
	ignored_add_all(&rq->ignored, job->ignored); /* told also with a refusal */
	job->to.wants = EVENT_BIT(EVENT_REFUSED) |
			(job->is_sync ? EVENTS_FINAL : EVENT_BIT(EVENT_ACCEPTED));
	request_wait(rq);
	int r = intake_submit(rq->http->env.in, &job);
	if (r < 0) {
		fault_set(&f, r == -EAGAIN ? FAULT_TOO_MANY : FAULT_UNAVAILABLE,
			r == -EAGAIN ? "too many requests, or too large ones, wait (mist.mailbox, "
				       "limits.queue-bytes)"
				     : "the gateway is stopping");
		answer_fault(rq, &f);
		request_resume(rq);
	}
}

/* One preference of RFC 7240, "wait=10" or "respond-async"; NULL: not asked for. A copy. */
static char *prefer(struct request *rq, const char *name)
{
	const char *p = MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, "Prefer");
	size_t len = strlen(name);
	for (; p && *p; p += strcspn(p, ",")) {
		p += strspn(p, ", \t");
		size_t n = strcspn(p, ",; \t");
		if (n >= len && strncasecmp(p, name, len) == 0 && (n == len || p[len] == '='))
			return strndup(p, n);
	}
	return NULL;
}

/* How the caller prefers to wait. `force` is Mist's word and goes before. */
static void apply_preferences(struct request *rq, const struct job_request *job)
{
	int64_t seconds;
	_cleanup_(freep) char *wait = prefer(rq, "wait");
	char *end;
	if (job->is_sync)
		return;
	if ((rq->preference_applied = prefer(rq, "respond-async")))
		return;
	if (!wait || !strchr(wait, '='))
		return;
	seconds = strtoll(strchr(wait, '=') + 1, &end, 10);
	if (*end || seconds < 1 || seconds > WAIT_MAX_S)
		return; /* a preference that makes no sense is ignored, as the RFC says */
	rq->ask.wait_ms = seconds * 1000;
	rq->preference_applied = TAKE_PTR(wait);
}

static char *location_of(const char *id)
{
	return xasprintf("/v2/api/jobs/%s", id);
}

/* Idempotency-Key (IETF draft). A call that waits with one waits for a durable job, so that a
 * second call finds it. */
static int read_key(struct request *rq, struct job_request *job, struct fault *f)
{
	const char *key = MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, "Idempotency-Key");
	if (!key)
		return 0;
	if (!key[0] || strlen(key) > KEY_MAX || !utf8_is_valid(key, strlen(key)))
		return fault_set(f, FAULT_BAD_REQUEST,
			"header Idempotency-Key: expected 1 to %d bytes of UTF-8", KEY_MAX);
	if (message_key_is_reserved(key))
		return fault_set(f, FAULT_BAD_REQUEST,
			"header Idempotency-Key: one that begins with kafka: is for positions in a "
			"log");
	free(job->idempotency_key);
	free(job->idempotency_digest);
	job->idempotency_key = xstrdup(key);
	job->idempotency_digest = request_digest(job);
	return 0;
}

static void submit_as_preferred(struct request *rq, struct job_request *taken)
{
	_cleanup_(job_request_freep) struct job_request *job = taken;
	struct fault f = { 0 };
	apply_preferences(rq, job);
	if (read_key(rq, job, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	if (job->idempotency_key && job->is_sync) {
		rq->ask.wait_ms = DURATION_INF;
		job->is_sync = false;
	}
	submit(rq, TAKE_PTR(job));
}

static void submit_event(struct request *rq)
{
	struct job_request *read = NULL;
	struct fault f = { 0 };
	int r = cloud_read(rq, &read, &f);
	_cleanup_(job_request_freep) struct job_request *job = read;
	if (r == 0)
		r = read_query(rq, job, &f);
	if (r < 0)
		answer_fault(rq, &f);
	else
		submit_as_preferred(rq, TAKE_PTR(job));
}

void job_submit(struct request *rq)
{
	_cleanup_(job_request_freep) struct job_request *job = job_request_new();
	struct fault f = { 0 };
	if (cloud_is_asked(rq)) {
		submit_event(rq);
		return;
	}
	if (read_request(rq, job, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	job->function = xstrdup(rq->id);
	submit_as_preferred(rq, TAKE_PTR(job));
}

/* A sink for CloudEvents: the event's subject is the function, or its data names it. */
void job_submit_event(struct request *rq)
{
	struct fault f = { 0 };
	if (cloud_is_asked(rq)) {
		submit_event(rq);
		return;
	}
	fault_set(&f, FAULT_BAD_REQUEST,
		"expected a CloudEvent: Content-Type application/cloudevents+json, or the header "
		"ce-specversion");
	answer_fault(rq, &f);
}

static int read_run(
	struct request *rq, const struct run_form *form, struct job_request *job, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *body = json_parse(
		rq->body.data ? rq->body.data : "", rq->body.len, PARAMETER_DEPTH_MAX + 1, f);
	if (!body)
		return fault_prefix(f, "The request content was malformed");
	if (!json_is_object(body))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the request's body: expected a JSON object, got %s", json_kind(body));
	int r = run_form_read(form, body, job, f);
	if (r == 0)
		r = query_bool(rq, "force", &job->is_sync, f);
	if (r < 0 || name_is_good(job->function))
		return r;
	return fault_set(f, FAULT_BAD_REQUEST,
		"%s: expected 1 to 128 letters, digits, '.', '_' and '-', not a dot first, "
		"got \"%.64s\"",
		form->function ? form->function : form->class_name, job->function);
}

/* Runs a file without registering a function. */
void job_devrun(struct request *rq)
{
	_cleanup_(job_request_freep) struct job_request *job = job_request_new();
	struct fault f = { 0 };
	if (read_run(rq, &run_form_dev, job, &f) < 0)
		answer_fault(rq, &f);
	else
		submit(rq, TAKE_PTR(job));
}

/* First generation: POST /api/{function} and POST /jobs wait for the outcome, and the answer
 * repeats the request. */
static void submit_first_generation(struct request *rq, struct job_request *job)
{
	/* As text: values take many times as much memory, and it stays until the job ends. */
	json_t *route =
		job->path ? NULL : json_string_lossy(job->function); /* of a path: any bytes */
	json_t *echo = json_pack("{s:s*, s:s*, s:s*, s:O, s:s*, s:o*}", "path", job->path,
		"className", job->class_name, "namespace", job->context, "parameters",
		job->arguments, "externalId", job->external_id, "route", route);
	rq->echo = json_text(echo);
	json_decref(echo); /* now, since what it shares will be the core's */
	job->is_sync = job->makes_context = true;
	submit(rq, job);
}

void job_submit_route(struct request *rq)
{
	_cleanup_(job_request_freep) struct job_request *job = job_request_new();
	struct fault f = { 0 };
	if (read_request(rq, job, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	job->function = xstrdup(rq->id);
	submit_first_generation(rq, TAKE_PTR(job));
}

void job_submit_path(struct request *rq)
{
	_cleanup_(job_request_freep) struct job_request *job = job_request_new();
	struct fault f = { 0 };
	if (read_run(rq, &run_form_path, job, &f) < 0)
		answer_fault(rq, &f);
	else
		submit_first_generation(rq, TAKE_PTR(job));
}

/* Mist's job result: a failed run is a 200 with success false. */
static void answer_outcome(struct request *rq, const struct job_event *ev)
{
	struct buf out;
	if (!rq->location && rq->job[0])
		rq->location = location_of(rq->job);
	if (rq->cloud) {
		cloud_answer(rq, 200, ev);
		return;
	}
	buf_init(&out, ANSWER_MAX);
	if (ev->kind == EVENT_FINISHED) {
		buf_puts(&out, "{\"success\":true,\"payload\":");
		buf_add(&out, ev->result, ev->result_len);
		buf_puts(&out, ",\"errors\":[]}");
	} else {
		_cleanup_(json_decrefp) json_t *json = json_pack("{s:b, s:{}, s:[o]}", "success", 0,
			"payload", "errors", json_string_lossy(ev->error));
		_cleanup_(freep) char *text = json_text(json);
		buf_puts(&out, text);
	}
	if (rq->echo) {
		out.len--; /* the last bracket */
		buf_printf(&out, ",\"request\":%s}", rq->echo);
	}
	size_t len = out.len;
	answer_text(rq, 200, "application/json", buf_take(&out), len);
}

/* 200 and Mist's answer; 202 where the caller asked for the ways of RFC 7240. */
static void answer_accepted(struct request *rq, const struct job *job)
{
	unsigned status = rq->preference_applied ? 202 : 200;
	char id[UUID_TEXT];
	uuid_format(&job->id, id);
	rq->location = location_of(id);
	if (rq->cloud) {
		cloud_answer(rq, status,
			&(struct job_event){
				.kind = EVENT_ACCEPTED, .job = job, .at_ms = job->created_ms });
		return;
	}
	char *text = xasprintf("{\"id\":\"%s\"}", id);
	answer_text(rq, status, "application/json", text, strlen(text));
}

/* The job has ended, or the caller has waited as long as it wanted to. */
static void waited(struct request *rq)
{
	char id[UUID_TEXT];
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	if (!row)
		return;
	_cleanup_(job_unrefp) struct job *job = job_of_row(row);
	if (!job_state_is_final(row->state)) {
		answer_accepted(rq, job);
		return;
	}
	uuid_format(&row->id, id);
	rq->location = location_of(id);
	answer_outcome(rq, &(struct job_event){ .kind = job_final_event(row->state),
				   .job = job,
				   .at_ms = row->ended_ms,
				   .result = row->result,
				   .result_len = row->result ? strlen(row->result) : 0,
				   .error = row->error ? row->error : "" });
}

static void wait_over(struct request *rq)
{
	request_work(rq, waited);
}

static void wait_accepted(struct request *rq)
{
	rq->ask.kind = ASK_WAIT;
	request_ask(rq, wait_over);
}

void http_publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	struct request *rq = to->live;
	(void)self;
	if (ev->job) {
		ignored_add_all(&rq->ignored, ev->job->ignored);
		uuid_format(&ev->job->id, rq->job);
	}
	if (ev->kind == EVENT_REFUSED) {
		struct fault f = *ev->fault;
		if (rq->echo && f.code == FAULT_NOT_FOUND)
			f.code = FAULT_BAD_REQUEST; /* of Mist's first generation */
		rq->problem_errors = ev->errors ? xstrdup(ev->errors) : NULL;
		answer_fault(rq, &f);
	} else if (ev->kind == EVENT_ACCEPTED && rq->ask.wait_ms) {
		rq->ask.job = ev->job->id;
		rq->then = wait_accepted;
	} else if (ev->kind == EVENT_ACCEPTED) {
		answer_accepted(rq, ev->job);
	} else {
		answer_outcome(rq, ev);
	}
	request_resume(rq);
}
