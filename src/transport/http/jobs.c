/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs over HTTP: show, list, cancel, read the log. Shapes are Mist's (reference, section 2).
 *
 * History is read on the HTTP thread from the store; before that the core is asked to settle, so
 * that a client sees what it was told a moment ago, also of a job that was answered before its row
 * was written. */
#include "transport/http/request.h"

#include <errno.h>
#include <string.h>

#include "base/near.h"
#include "domain/log_line.h"

enum { PAGE_MAX = 10000, CANCEL_WAIT_MS = 10000, TEXT_MAX = 1024, LIFE_MAX = 4096 };
#define ANSWER_MAX ((size_t)1 << 30)

static bool parse_job_id(struct request *rq, struct uuid *ret)
{
	struct fault f;
	if (uuid_parse(rq->id, ret))
		return true;
	fault_set(&f, FAULT_NOT_FOUND, "Job %.128s not found", rq->id);
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
		fault_set(&f, FAULT_NOT_FOUND, "Job %.128s not found", rq->id);
	else if (r == -EBADMSG)
		fault_set(&f, FAULT_NOT_FOUND,
			"Job %.128s cannot be read, and was set aside: see "
			"/v2/api/store/unreadable",
			rq->id);
	else if (r == -EUCLEAN)
		(void)store_check_whole(rq->http->env.store, &f);
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
 * What it ended as does not matter: a job that is done is shown as it is, whether it ended before
 * the request or while it was looked at. */
static void cancel_done(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	if (!row)
		return;
	answer_row(rq, job_state_is_final(row->state) ? 200 : 202, row);
}

void job_cancel(struct request *rq)
{
	if (!parse_job_id(rq, &rq->ask.job))
		return;
	rq->ask.kind = ASK_CANCEL;
	rq->ask.wait_ms = CANCEL_WAIT_MS;
	request_ask(rq, cancel_done);
}

/* Of a job that logged nothing there is no file (core/joblog.c): the lines that would begin one are
 * made from its row. */
static char *life_of(const struct job_row *row)
{
	char id[UUID_TEXT];
	uuid_format(&row->id, id);
	_cleanup_(freep) char *assigned =
		row->worker ? xasprintf("WorkerAssigned(workerId=%s)", row->worker) : NULL;
	const struct {
		int64_t at_ms;
		const char *message;
	} moments[] = {
		{ row->state != JOB_INITIALIZED ? row->created_ms : 0, "QueuedEvent" },
		{ row->started_ms, assigned },
		{ row->started_ms, "StartedEvent" },
		{ row->ended_ms, row->state == JOB_FINISHED ? "FinishedEvent" : "CancelledEvent" },
	};
	struct buf text;
	buf_init(&text, LIFE_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(moments); i++) {
		const char *message = moments[i].message;
		const struct log_line line = { .job = id,
			.level = LOG_LINE_INFO,
			.at_ms = moments[i].at_ms,
			.message = message,
			.len = message ? strlen(message) : 0 };
		if (line.at_ms && line.len)
			log_line_print(&line, &text);
	}
	return buf_take(&text);
}

static void logs_settled(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	struct fault f;
	if (!row)
		return;
	int fd = store_log_open(rq->http->env.store, &row->id);
	if (fd >= 0) {
		answer_fd(rq, TEXT_PLAIN, fd);
	} else if (fd == -ENOENT) {
		char *text = life_of(row);
		answer_text(rq, 200, TEXT_PLAIN, text, strlen(text));
	} else {
		fault_set(&f, FAULT_UNAVAILABLE, "the log cannot be read: %s",
			fd == -EINVAL ? "something that is no file is in its place"
				      : strerror(-fd));
		answer_fault(rq, &f);
	}
}

void job_logs(struct request *rq)
{
	if (!parse_job_id(rq, &rq->ask.job))
		return;
	struct fault f;
	bool is_followed = false;
	if (query_bool(rq, "follow", &is_followed, &f) < 0 ||
		query_level(rq, "level", &rq->log_level, &f) < 0) {
		answer_fault(rq, &f);
	} else if (is_followed || rq->log_level) {
		log_stream(rq, is_followed);
	} else {
		rq->ask.kind = ASK_SETTLE;
		request_ask(rq, logs_settled);
	}
}

struct list_query {
	struct job_query query;
	bool paginate;
	struct buf unknown, out;
	bool is_full;
};

static const char *status_hint(const char *written, char ret[static NEAR_HINT])
{
	struct near n;
	near_init(&n, written);
	for (int s = 0; s < _JOB_STATE_MAX; s++)
		near_try(&n, job_state_name(s));
	return near_hint(&n, ret);
}

static enum MHD_Result add_status(
	void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct list_query *lq = arg;
	char hint[NEAR_HINT];
	(void)kind;
	if (strcmp(name, "status") != 0)
		return MHD_YES;
	enum job_state s = job_state_parse(value ? value : "");
	if (s == _JOB_STATE_INVALID)
		buf_printf(&lq->unknown, "%sUnknown status %.64s%s", lq->unknown.len ? "," : "",
			value ? value : "", status_hint(value ? value : "", hint));
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
		r = query_int(rq, "limit", 0, INT64_MAX, &lq->query.limit, f);
	if (lq->query.limit > PAGE_MAX)
		lq->query.limit = PAGE_MAX;
	if (r == 0)
		r = query_int(rq, "offset", 0, INT64_MAX, &lq->query.offset, f);
	if (r == 0)
		r = query_bool(rq, "paginate", &lq->paginate, f);
	lq->query.function = query_text(rq, "function");
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
	int r = store_job_list(rq->http->env.store, &lq.query, list_row, &lq,
		lq.paginate ? &total : NULL); /* counting costs */
	if (r < 0 || lq.is_full) {
		if (r >= 0)
			fault_set(&f, FAULT_TOO_LARGE,
				"the page is too large: ask for fewer jobs by limit");
		else if (r != -EUCLEAN || store_check_whole(rq->http->env.store, &f) == 0)
			fault_set(&f, FAULT_UNAVAILABLE, "the store cannot be read: %s",
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
