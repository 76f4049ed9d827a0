/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers do with a request: read its query, answer it, make it wait. */
#include "transport/http/request.h"
#include "transport/http/target.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/ignored.h"

static const struct {
	unsigned status;
	const char *title;
} fault_http[_FAULT_MAX] = {
	[FAULT_BAD_REQUEST] = { 400, "Bad Request" },
	[FAULT_UNAUTHORIZED] = { 401, "Unauthorized" },
	[FAULT_FORBIDDEN] = { 403, "Forbidden" },
	[FAULT_NOT_FOUND] = { 404, "Not Found" },
	[FAULT_MISDIRECTED] = { 421, "Misdirected Request" },
	[FAULT_METHOD] = { 405, "Method Not Allowed" },
	[FAULT_CONFLICT] = { 409, "Conflict" },
	[FAULT_PRECONDITION] = { 412, "Precondition Failed" },
	[FAULT_UNPROCESSABLE] = { 422, "Unprocessable Content" },
	[FAULT_TOO_LARGE] = { 413, "Content Too Large" },
	[FAULT_TOO_MANY] = { 429, "Too Many Requests" },
	[FAULT_AT_LIMIT] = { 429, "Too Many Requests" },
	[FAULT_UNAVAILABLE] = { 503, "Service Unavailable" },
	[FAULT_NO_WORKER] = { 503, "Service Unavailable" },
	[FAULT_INTERNAL] = { 500, "Internal Server Error" },
};

/* What may stand in a header, in JSON and in a log line as it is. */
static bool is_name(const char *text)
{
	static const char others[] = "-._~:/+=@|";
	size_t len = 0;
	while (isalnum((unsigned char)text[len]) || (text[len] && strchr(others, text[len])))
		len++;
	return len && len <= REQUEST_NAME_MAX && !text[len];
}

void request_name(struct request *rq, const char *given)
{
	struct http *http = rq->http;
	if (given && is_name(given))
		snprintf(rq->name, sizeof rq->name, "%s", given);
	else
		snprintf(rq->name, sizeof rq->name, "%s-%" PRIx64, http->names,
			atomic_fetch_add(&http->n_named, 1) + 1);
}

void answer_text(
	struct request *rq, unsigned status, const char *content_type, char *text, size_t len)
{
	must(!rq->answer);
	rq->status = status;
	rq->content_type = content_type;
	rq->answer = text;
	rq->answer_len = len;
}

void answer_json(struct request *rq, unsigned status, json_t *json)
{
	char *text = json_text(json);
	json_decref(json);
	answer_text(rq, status, "application/json", text, strlen(text));
}

static void log_fault(const struct request *rq, unsigned status, const struct fault *f)
{
	enum log_level level = status == 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG;
	if (log_is_on(level))
		log_write(level, "http: request %s to %s is answered with %u: %s", rq->name,
			rq->path ? rq->path : "nothing", status, f->text);
}

void answer_fault(struct request *rq, const struct fault *fault)
{
	struct fault shown = *fault, *f = &shown;
	target_show(f->text);
	enum fault_code code = f->code ? f->code : FAULT_INTERNAL;
	unsigned status = fault_http[code].status;
	_cleanup_(json_decrefp) json_t *problem = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type",
		"about:blank", "title", fault_http[code].title, "status", (int)status, "detail",
		f->text, "requestId", rq->name);
	if (rq->job[0]) {
		json_object_set_new(problem, "jobId", json_string(rq->job));
		free(rq->location);
		rq->location = xasprintf("/v2/api/jobs/%s", rq->job);
	} else if (status == 429 || status == 503) {
		rq->retry_after_s = 1;
	}
	if (rq->problem_errors)
		json_object_set_new(problem, "errors", json_loads(rq->problem_errors, 0, NULL));
	char *text = json_text(problem);
	rq->title = fault_http[code].title;
	log_fault(rq, status, f);
	answer_text(rq, status, "application/problem+json", text, strlen(text));
}

void answer_fd(struct request *rq, const char *content_type, int fd)
{
	rq->status = 200;
	rq->content_type = content_type;
	rq->answer_fd = fd;
}

void request_ignore(struct request *rq, const char *name)
{
	ignored_add(&rq->ignored, name);
}

void request_wait(struct request *rq)
{
	rq->is_waiting = true;
	if (!rq->is_owed)
		atomic_fetch_add(&rq->http->n_owed, 1);
	rq->is_owed = true;
	atomic_store(&rq->wait, REQUEST_WAITS);
	MHD_suspend_connection(rq->conn);
}

void request_resume(struct request *rq)
{
	struct http *http = rq->http;
	if (atomic_exchange(&rq->wait, REQUEST_RUNS) != REQUEST_ABANDONED) {
		http_resume(http, rq->conn);
		return;
	}
	pthread_mutex_lock(&http->lock);
	list_remove(&rq->abandoned);
	pthread_mutex_unlock(&http->lock);
	request_free(rq);
}

bool request_abandon(struct request *rq)
{
	struct http *http = rq->http;
	int waits = REQUEST_WAITS;
	pthread_mutex_lock(&http->lock);
	bool is_abandoned = atomic_compare_exchange_strong(&rq->wait, &waits, REQUEST_ABANDONED);
	if (is_abandoned) {
		list_append(&http->abandoned, &rq->abandoned);
		request_settled(rq);
	}
	pthread_mutex_unlock(&http->lock);
	return is_abandoned;
}

static void run_work(struct pool_task *t)
{
	struct request *rq = container_of(t, struct request, task);
	handler_fn *work = TAKE_PTR(rq->work);
	work(rq);
	request_resume(rq);
}

void answer_busy(struct request *rq)
{
	struct fault f;
	fault_set(&f, FAULT_TOO_MANY, "too many queries wait (http.queries)");
	answer_fault(rq, &f);
}

void request_work(struct request *rq, handler_fn *work)
{
	rq->work = work;
	rq->task.run = run_work;
	request_wait(rq);
	if (pool_post(rq->http->pool, &rq->task))
		return;
	answer_busy(rq);
	request_resume(rq);
}

void answers_charge(struct http *http, int64_t *charged, int64_t now)
{
	if (now != *charged)
		atomic_fetch_add(&http->answers, now - *charged);
	*charged = now;
}

bool answers_have_room(struct http *http)
{
	return atomic_load(&http->answers) <= http->settings.answers_max;
}

ssize_t answer_cut(struct MHD_Connection *conn)
{
	/* libmicrohttpd forgets a connection whose reader fails until all that are older have had
	 * their turn, unless its limit of time is another than theirs. */
	MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, 1U);
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

static void ask_answered(struct ask *a)
{
	request_resume(a->owner);
}

void request_refused(struct request *rq, int r)
{
	struct fault f;
	rq->then = NULL;
	if (r == -EAGAIN)
		fault_set(&f, FAULT_TOO_MANY, "too many requests wait (mist.mailbox)");
	else
		fault_set(&f, FAULT_UNAVAILABLE, "the gateway is stopping");
	answer_fault(rq, &f);
}

void request_ask(struct request *rq, handler_fn *then)
{
	rq->then = then;
	rq->ask.answered = ask_answered;
	rq->ask.owner = rq;
	request_wait(rq);
	int r = intake_ask(rq->http->env.in, &rq->ask);
	if (r) {
		request_refused(rq, r);
		request_resume(rq);
	}
}

void answer_asked(struct request *rq, const char *content_type)
{
	if (rq->ask.fault.code) {
		answer_fault(rq, &rq->ask.fault);
		return;
	}
	char *text = TAKE_PTR(rq->ask.text);
	answer_text(rq, 200, content_type, text, strlen(text));
}

void answer_asked_json(struct request *rq)
{
	answer_asked(rq, "application/json");
}

void request_view(struct request *rq, enum ask_kind kind)
{
	rq->ask.kind = kind;
	rq->ask.name = rq->id ? xstrdup(rq->id) : NULL;
	request_ask(rq, answer_asked_json);
}

const char *header_text(struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

const char *query_text(struct request *rq, const char *name)
{
	const char *value = MHD_lookup_connection_value(rq->conn, MHD_GET_ARGUMENT_KIND, name);
	return value;
}

int query_bool(struct request *rq, const char *name, bool *ret, struct fault *f)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
	const char *text = query_text(rq, name);
	if (!text)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*ret = i % 2;
			return 0;
		}
	}
	return fault_set(f, FAULT_BAD_REQUEST,
		"query parameter %s: expected true or false, got \"%.64s\"", name, text);
}

int query_int(struct request *rq, const char *name, int64_t min, int64_t max, int64_t *ret,
	struct fault *f)
{
	const char *text = query_text(rq, name);
	char *end;
	if (!text)
		return 0;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max)
		return fault_set(f, FAULT_BAD_REQUEST,
			"query parameter %s: expected an integer from %" PRId64 " to %" PRId64
			", got \"%.64s\"",
			name, min, max, text);
	*ret = n;
	return 0;
}

int query_level(struct request *rq, const char *name, enum log_line_level *ret, struct fault *f)
{
	const char *text = query_text(rq, name);
	if (!text || log_line_level_parse(text, ret))
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST,
		"query parameter %s: expected debug, info, warn or error, got \"%.64s\"", name,
		text);
}

int query_duration(struct request *rq, const char *name, int64_t *ret_ms, struct fault *f)
{
	const char *text = query_text(rq, name);
	if (!text || duration_parse(text, ret_ms) == 0)
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST,
		"query parameter %s: expected a duration such as 10s, 5 minutes or Inf, got "
		"\"%.64s\"",
		name, text);
}
