/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs over HTTP: submit, show, list, cancel, read the log. Shapes are Mist's (reference, section
 * 2).
 *
 * History is read on the HTTP thread from the store; before that the core is asked to settle, so
 * that a client sees what it was told a moment ago, also of a job that was answered before its row
 * was written. */
#include "transport/http/request.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"

enum {
	PARAMETER_DEPTH_MAX = 64,
	PAGE_MAX = 1000,
	CANCEL_WAIT_MS = 10000,
	PRIORITY_MAX = 100,
	TEXT_MAX = 1024
};
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

static int read_request(struct request *rq, struct job_request *job, struct fault *f)
{
	int64_t priority = 0;
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
	int r = query_bool(rq, "force", &job->is_sync, f);
	if (r == 0)
		r = query_duration(rq, "startTimeout", &job->start_timeout_ms, f);
	if (r == 0)
		r = query_duration(rq, "performTimeout", &job->perform_timeout_ms, f);
	if (r == 0)
		r = query_int(rq, "priority", -PRIORITY_MAX, PRIORITY_MAX, &priority, f);
	if (r == 0)
		r = read_external_id(rq, &job->external_id, f);
	if (r < 0)
		return r;
	job->priority = priority;
	job->context = copy_query(rq, "context");
	job->parameters = buf_take(&rq->body);
	return 0;
}

static void submit(struct request *rq, struct job_request *taken)
{
	_cleanup_(job_request_freep) struct job_request *job = taken;
	struct fault f = { 0 };
	job->door = rq->http->env.self;
	job->source = "Http";
	job->to.live = rq;
	job->to.wants = EVENT_BIT(EVENT_REFUSED) |
			(job->is_sync ? EVENTS_FINAL : EVENT_BIT(EVENT_ACCEPTED));
	request_wait(rq);
	int r = intake_submit(rq->http->env.in, &job);
	if (r < 0) {
		fault_set(&f, r == -EAGAIN ? FAULT_TOO_MANY : FAULT_UNAVAILABLE,
			r == -EAGAIN ? "too many requests wait (limits.mailbox)"
				     : "the gateway is stopping");
		answer_fault(rq, &f);
		request_resume(rq);
	}
}

void job_submit(struct request *rq)
{
	_cleanup_(job_request_freep) struct job_request *job = job_request_new();
	struct fault f = { 0 };
	if (read_request(rq, job, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	job->function = xstrdup(rq->id);
	submit(rq, TAKE_PTR(job));
}

/* A member of a devrun or of a first-generation job; NULL when it is not there. */
static int read_member(
	const json_t *body, const char *name, bool is_required, char **ret, struct fault *f)
{
	const json_t *value = json_object_get(body, name);
	if (!is_required && (!value || json_is_null(value)))
		return 0;
	if (!json_is_string(value))
		return fault_set(f, FAULT_BAD_REQUEST, "%s: expected a string, got %s", name,
			json_kind(value));
	*ret = xstrdup(json_string_value(value));
	return 0;
}

/* The names that a generation of Mist gave to the same things. */
struct run_names {
	const char *function, *path, *class_name, *context, *external_id;
};

static int read_run(
	struct request *rq, const struct run_names *names, struct job_request *job, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *body = json_parse(
		rq->body.data ? rq->body.data : "", rq->body.len, PARAMETER_DEPTH_MAX + 1, f);
	if (!body)
		return fault_prefix(f, "The request content was malformed");
	if (!json_is_object(body))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the request's body: expected a JSON object, got %s", json_kind(body));
	int r = names->function ? read_member(body, names->function, true, &job->function, f) : 0;
	if (r == 0)
		r = read_member(body, names->path, true, &job->path, f);
	if (r == 0)
		r = read_member(body, names->class_name, true, &job->class_name, f);
	if (r == 0)
		r = read_member(body, names->context, names->function, &job->context, f);
	if (r == 0)
		r = read_member(body, names->external_id, false, &job->external_id, f);
	if (r == 0)
		r = query_bool(rq, "force", &job->is_sync, f);
	if (r < 0)
		return r;
	json_t *parameters = json_object_get(body, "parameters");
	if (parameters && !json_is_object(parameters))
		return fault_set(f, FAULT_BAD_REQUEST, "parameters: expected an object, got %s",
			json_kind(parameters));
	job->parameters = parameters ? json_text(parameters) : xstrdup("{}");
	/* A tree of its own: nobody else may hold a part of it. */
	job->arguments = json_loads(job->parameters, 0, NULL);
	if (!job->function)
		job->function = xstrdup(job->class_name);
	if (!name_is_good(job->function))
		return fault_set(f, FAULT_BAD_REQUEST,
			"%s: expected 1 to 128 letters, digits, '.', '_' and '-', not a dot first, "
			"got \"%.64s\"",
			names->function ? names->function : names->class_name, job->function);
	return 0;
}

/* Runs a file without registering a function. */
void job_devrun(struct request *rq)
{
	static const struct run_names names = { "fakeName", "path", "className", "context",
		"externalId" };
	_cleanup_(job_request_freep) struct job_request *job = job_request_new();
	struct fault f = { 0 };
	if (read_run(rq, &names, job, &f) < 0)
		answer_fault(rq, &f);
	else
		submit(rq, TAKE_PTR(job));
}

/* First generation: POST /api/{function} and POST /jobs wait for the outcome, and the answer
 * repeats the request. */
static void submit_first_generation(struct request *rq, struct job_request *job)
{
	rq->echo = json_pack("{s:s*, s:s*, s:s*, s:O, s:s*, s:s*}", "path", job->path, "className",
		job->class_name, "namespace", job->context, "parameters", job->arguments,
		"externalId", job->external_id, "route", job->path ? NULL : job->function);
	job->is_sync = true;
	_cleanup_(json_decrefp) json_t *shared = job->arguments;
	job->arguments = json_deep_copy(shared);
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
	static const struct run_names names = { NULL, "path", "className", "namespace",
		"externalId" };
	_cleanup_(job_request_freep) struct job_request *job = job_request_new();
	struct fault f = { 0 };
	if (read_run(rq, &names, job, &f) < 0)
		answer_fault(rq, &f);
	else
		submit_first_generation(rq, TAKE_PTR(job));
}

/* Mist's job result: a failed run is a 200 with success false. */
static void answer_outcome(struct request *rq, const struct job_event *ev)
{
	struct buf out;
	buf_init(&out, ANSWER_MAX);
	if (ev->kind == EVENT_FINISHED) {
		buf_puts(&out, "{\"success\":true,\"payload\":");
		buf_add(&out, ev->result, ev->result_len);
		buf_puts(&out, ",\"errors\":[]}");
	} else {
		_cleanup_(json_decrefp) json_t *json = json_pack(
			"{s:b, s:{}, s:[s]}", "success", 0, "payload", "errors", ev->error);
		if (!json)
			json = json_pack("{s:b, s:{}, s:[s]}", "success", 0, "payload", "errors",
				"(an error text that is not UTF-8)");
		_cleanup_(freep) char *text = json_text(json);
		buf_puts(&out, text);
	}
	if (rq->echo) {
		_cleanup_(freep) char *echo = json_text(rq->echo);
		out.len--; /* the last bracket */
		buf_printf(&out, ",\"request\":%s}", echo);
	}
	size_t len = out.len;
	answer_text(rq, 200, "application/json", buf_take(&out), len);
}

void http_publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	struct request *rq = to->live;
	char id[UUID_TEXT];
	(void)self;
	if (ev->kind == EVENT_REFUSED) {
		answer_fault(rq, ev->fault);
	} else if (ev->kind == EVENT_ACCEPTED) {
		uuid_format(&ev->job->id, id);
		char *text = xasprintf("{\"id\":\"%s\"}", id);
		answer_text(rq, 200, "application/json", text, strlen(text));
	} else {
		answer_outcome(rq, ev);
	}
	request_resume(rq);
}

static bool parse_job_id(struct request *rq, struct uuid *ret)
{
	struct fault f;
	if (uuid_parse(rq->id, ret))
		return true;
	fault_set(&f, FAULT_NOT_FOUND, "there is no job %.128s", rq->id);
	answer_fault(rq, &f);
	return false;
}

/* The row, or an answer that says why not. */
static struct job_row *read_row(struct request *rq)
{
	struct job_row *row = NULL;
	struct fault f;
	int r = store_job_get(rq->http->env.store, &rq->ask.job, &row);
	if (r == -ENOENT)
		fault_set(&f, FAULT_NOT_FOUND, "there is no job %.128s", rq->id);
	else if (r < 0)
		fault_set(&f, FAULT_UNAVAILABLE, "the store cannot be read: %s", strerror(-r));
	if (r < 0)
		answer_fault(rq, &f);
	return row;
}

static void answer_row(struct request *rq, unsigned status, const struct job_row *row)
{
	struct buf out;
	buf_init(&out, ANSWER_MAX);
	job_row_print(row, &out);
	size_t len = out.len;
	answer_text(rq, status, "application/json", buf_take(&out), len);
}

static void show_settled(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	if (row)
		answer_row(rq, 200, row);
}

void job_show(struct request *rq)
{
	if (!parse_job_id(rq, &rq->ask.job))
		return;
	rq->ask.kind = ASK_SETTLE;
	request_ask(rq, show_settled);
}

/* 200: it is cancelled, or had ended before. 202: it is still being cancelled after CANCEL_WAIT_MS.
 * 400: it ended otherwise meanwhile. */
static void cancel_done(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	if (!row)
		return;
	if (rq->ask.fault.code == FAULT_CONFLICT) {
		rq->ask.fault.code = FAULT_BAD_REQUEST;
		answer_fault(rq, &rq->ask.fault);
	} else {
		answer_row(rq, job_state_is_final(row->state) ? 200 : 202, row);
	}
}

void job_cancel(struct request *rq)
{
	if (!parse_job_id(rq, &rq->ask.job))
		return;
	rq->ask.kind = ASK_CANCEL;
	rq->ask.wait_ms = CANCEL_WAIT_MS;
	request_ask(rq, cancel_done);
}

static void logs_settled(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	char path[4096];
	struct fault f;
	if (!row)
		return;
	store_log_path(rq->http->env.store, &row->id, path, sizeof path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		answer_fd(rq, TEXT_PLAIN, fd);
	} else if (errno == ENOENT) { /* nothing was logged */
		answer_text(rq, 200, TEXT_PLAIN, xstrdup(""), 0);
	} else {
		fault_set(&f, FAULT_UNAVAILABLE, "the log cannot be read: %s", strerror(errno));
		answer_fault(rq, &f);
	}
}

void job_logs(struct request *rq)
{
	if (!parse_job_id(rq, &rq->ask.job))
		return;
	rq->ask.kind = ASK_SETTLE;
	request_ask(rq, logs_settled);
}

struct list_query {
	struct job_query query;
	bool paginate;
	struct buf unknown, out;
	bool is_full;
};

static enum MHD_Result add_status(
	void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct list_query *lq = arg;
	(void)kind;
	if (strcmp(name, "status") != 0)
		return MHD_YES;
	enum job_state s = job_state_parse(value ? value : "");
	if (s == _JOB_STATE_INVALID)
		buf_printf(&lq->unknown, "%sUnknown status %.64s", lq->unknown.len ? "," : "",
			value ? value : "");
	else
		lq->query.states |= BIT(s);
	return MHD_YES;
}

static int read_list_query(struct request *rq, struct list_query *lq, struct fault *f)
{
	lq->query.limit = 25;
	buf_init(&lq->unknown, TEXT_MAX);
	MHD_get_connection_values(rq->conn, MHD_GET_ARGUMENT_KIND, add_status, lq);
	int r = 0;
	if (lq->unknown.len)
		r = fault_set(f, FAULT_BAD_REQUEST, "Unknown statuses: %s", lq->unknown.data);
	buf_done(&lq->unknown);
	if (r == 0)
		r = query_int(rq, "limit", 0, PAGE_MAX, &lq->query.limit, f);
	if (r == 0)
		r = query_int(rq, "offset", 0, INT64_MAX, &lq->query.offset, f);
	if (r == 0)
		r = query_bool(rq, "paginate", &lq->paginate, f);
	if (strstr(rq->route->path, "/functions/"))
		lq->query.function = rq->id;
	else if (strstr(rq->route->path, "/workers/"))
		lq->query.worker = rq->id;
	return r;
}

static void list_row(void *arg, const struct job_row *row)
{
	struct list_query *lq = arg;
	const char last = lq->out.data[lq->out.len - 1];
	if (last != '[')
		lq->is_full |= buf_puts(&lq->out, ",");
	lq->is_full |= job_row_print(row, &lq->out);
}

static void list_settled(struct request *rq)
{
	struct list_query lq = { 0 };
	struct fault f;
	int64_t total = 0;
	if (read_list_query(rq, &lq, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	buf_init(&lq.out, ANSWER_MAX);
	buf_puts(&lq.out, lq.paginate ? "{\"jobs\":[" : "[");
	int r = store_job_list(rq->http->env.store, &lq.query, list_row, &lq, &total);
	if (r < 0 || lq.is_full) {
		fault_set(&f, r < 0 ? FAULT_UNAVAILABLE : FAULT_TOO_LARGE,
			r < 0 ? "the store cannot be read: %s"
			      : "the page is too large: ask for fewer jobs by limit",
			strerror(-r));
		answer_fault(rq, &f);
		buf_done(&lq.out);
		return;
	}
	if (lq.paginate)
		buf_printf(&lq.out, "],\"total\":%lld}", (long long)total);
	else
		buf_puts(&lq.out, "]");
	size_t len = lq.out.len;
	answer_text(rq, 200, "application/json", buf_take(&lq.out), len);
}

void job_list(struct request *rq)
{
	rq->ask.kind = ASK_SETTLE;
	request_ask(rq, list_settled);
}
