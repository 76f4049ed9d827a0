/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of jobs: GET /v2/api/jobs and those of a function or a worker.
 *
 * A page of history may hold gigabytes, since a job has its arguments and its result with it. It is
 * read from the store in pieces of about PIECE bytes, on the query pool, and the next piece when
 * the client has taken the one before: a client that reads slowly holds one piece, and a row that
 * is larger than it. What was read goes on behind the last row (ids are in the order of time), so a
 * job that is made meanwhile moves nothing. A page of one piece, the usual case, has a length;
 * a longer one comes in chunks, and when the store fails in the middle the chunks end without the
 * last one, so that nobody takes half of a page for all of it. */
#include "transport/http/request.h"

#include <errno.h>
#include <string.h>

#include "base/fail_point.h"
#include "base/log.h"
#include "base/near.h"

enum {
	PAGE_MAX = 10000,
	TEXT_MAX = 1024,
	PIECE = 256 * 1024,
	BLOCK = 64 * 1024,
	SMALL = 16 * 1024
};
#define PIECE_MAX ((size_t)1 << 30) /* one row is all there is a limit for, and it has its own */

struct pages {
	struct pool_task task;
	_Atomic int refs; /* the request's or the response's, and that of a task under way */
	struct http *http;
	struct MHD_Connection *conn;
	struct request *rq; /* that waits for the first piece */
	/* Whose turn it is: the task's while it runs, else libmicrohttpd's. */
	struct job_query query;
	char *function, *worker, *context, *external_id; /* what the query points to; owned */
	struct uuid last;
	bool paginate, has_rows, is_last, is_failed;
	int64_t total;
	size_t bytes; /* of the piece's rows, as the store counts them */
	struct buf out;
	size_t taken;
	int64_t charged;
	pthread_mutex_t lock;
	bool is_over; /* libmicrohttpd is done with the connection */
};

static void pages_unref(struct pages *p)
{
	if (atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	answers_charge(p->http, &p->charged, 0);
	buf_done(&p->out);
	free(p->function);
	free(p->worker);
	free(p->context);
	free(p->external_id);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void pages_leave(struct pages *p)
{
	pthread_mutex_lock(&p->lock);
	p->is_over = true;
	pthread_mutex_unlock(&p->lock);
	pages_unref(p);
}

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
	struct pages *p = arg;
	char hint[NEAR_HINT];
	(void)kind;
	if (strcmp(name, "status") != 0)
		return MHD_YES;
	enum job_state s = job_state_parse(value ? value : "");
	if (s == _JOB_STATE_INVALID)
		buf_printf(&p->out, "%sUnknown status %.64s%s", p->out.len ? "," : "",
			value ? value : "", status_hint(value ? value : "", hint));
	else
		p->query.states |= BIT(s);
	return MHD_YES;
}

static int refuse_statuses(const struct pages *p, struct fault *f)
{
	struct buf known;
	buf_init(&known, TEXT_MAX);
	for (int s = 0; s < _JOB_STATE_MAX; s++)
		buf_printf(&known, "%s%s", s ? ", " : "", job_state_name(s));
	int r = fault_set(f, FAULT_BAD_REQUEST, "Unknown statuses: %s (there are %s)", p->out.data,
		known.data);
	buf_done(&known);
	return r;
}

static char *copy_of(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static int read_query(struct request *rq, struct pages *p, struct fault *f)
{
	struct job_query *q = &p->query;
	q->limit = 25;
	buf_init(&p->out, TEXT_MAX);
	MHD_get_connection_values(rq->conn, MHD_GET_ARGUMENT_KIND, add_status, p);
	int r = 0;
	if (p->out.len)
		r = refuse_statuses(p, f);
	buf_done(&p->out);
	if (r == 0)
		r = query_int(rq, "limit", 0, INT64_MAX, &q->limit, f);
	if (q->limit > PAGE_MAX)
		q->limit = PAGE_MAX;
	if (r == 0)
		r = query_int(rq, "offset", 0, INT64_MAX, &q->offset, f);
	if (r == 0)
		r = query_bool(rq, "paginate", &p->paginate, f);
	p->function = strstr(rq->route->path, "/functions/") ? xstrdup(rq->id)
							     : copy_of(query_text(rq, "function"));
	if (strstr(rq->route->path, "/workers/"))
		p->worker = xstrdup(rq->id);
	p->context = copy_of(query_text(rq, "context"));
	p->external_id = copy_of(query_text(rq, "externalId"));
	q->function = p->function;
	q->worker = p->worker;
	q->context = p->context;
	q->external_id = p->external_id;
	q->bytes_max = PIECE;
	return r;
}

static void add_row(void *arg, const struct job_row *row)
{
	struct pages *p = arg;
	bool is_full = p->has_rows && buf_puts(&p->out, ",");
	is_full |= job_row_print(row, &p->out) != 0;
	p->is_failed |= is_full;
	p->has_rows = true;
	p->bytes += job_row_bytes(row);
	p->last = row->id;
	p->query.limit--;
}

/* The next piece. Negative: the store cannot be read. */
static int read_piece(struct pages *p, bool is_first)
{
	buf_init(&p->out, PIECE_MAX);
	p->taken = 0;
	p->bytes = 0;
	if (is_first)
		buf_puts(&p->out, p->paginate ? "{\"jobs\":[" : "[");
	int r = store_job_list(p->http->env.store, &p->query, add_row, p,
		is_first && p->paginate ? &p->total : NULL); /* counting costs */
	if (r < 0)
		return r;
	/* Of less than a piece the store had no more. What was printed does not tell: not all that
	 * the store counts is shown. */
	p->is_last = p->query.limit <= 0 || p->bytes < PIECE;
	p->query.before = &p->last;
	p->query.offset = 0;
	if (p->is_last && p->paginate)
		buf_printf(&p->out, "],\"total\":%lld}", (long long)p->total);
	else if (p->is_last)
		buf_puts(&p->out, "]");
	answers_charge(p->http, &p->charged, (int64_t)p->out.cap);
	return p->is_failed ? -EFBIG : 0;
}

/* On the pool: the answer, or its first piece. */
static void first_piece(struct pool_task *t)
{
	struct pages *p = container_of(t, struct pages, task);
	struct request *rq = p->rq;
	struct fault f;
	bool has_room = answers_have_room(p->http);
	int r = read_piece(p, true);
	if (r == 0 && !has_room && p->out.len > SMALL)
		r = -ENOBUFS;
	if (r == -ENOBUFS)
		fault_set(&f, FAULT_UNAVAILABLE,
			"too many bytes wait for their readers (http.answers)");
	else if (r == -EFBIG)
		fault_set(
			&f, FAULT_TOO_LARGE, "the page is too large: ask for fewer jobs by limit");
	else if (r < 0 && (r != -EUCLEAN || store_check_whole(p->http->env.store, &f) == 0))
		fault_set(&f, FAULT_UNAVAILABLE, "the store cannot be read: %s", strerror(-r));
	if (r < 0) {
		answer_fault(rq, &f);
	} else if (p->is_last) {
		size_t len = p->out.len;
		answer_text(rq, 200, "application/json", buf_take(&p->out), len);
		answers_charge(p->http, &p->charged, 0);
	} else {
		rq->status = 200;
		rq->content_type = "application/json";
	}
	request_resume(rq);
}

static void next_piece(struct pool_task *t)
{
	struct pages *p = container_of(t, struct pages, task);
	int r = fail_point(FAIL_HTTP_LIST);
	if (r == 0)
		r = answers_have_room(p->http) ? read_piece(p, false) : -ENOBUFS;
	if (r < 0) {
		p->is_failed = true;
		log_warn("http: a list of jobs was cut off: %s",
			r == -ENOBUFS ? "too many bytes wait for their readers (http.answers)"
				      : strerror(-r));
	}
	pthread_mutex_lock(&p->lock);
	if (!p->is_over)
		http_resume(p->http, p->conn);
	pthread_mutex_unlock(&p->lock);
	pages_unref(p);
}

static ssize_t pages_read(void *cls, uint64_t pos, char *to, size_t max)
{
	struct pages *p = cls;
	(void)pos;
	if (p->taken == p->out.len) {
		buf_done(&p->out);
		p->taken = 0;
		answers_charge(p->http, &p->charged, 0);
		if (p->is_failed)
			return answer_cut(p->conn);
		if (p->is_last)
			return MHD_CONTENT_READER_END_OF_STREAM;
		p->task.run = next_piece;
		atomic_fetch_add(&p->refs, 1);
		MHD_suspend_connection(p->conn);
		if (!pool_post(p->http->pool, &p->task)) { /* it is full for now: asked again */
			atomic_fetch_sub(&p->refs, 1);
			http_resume(p->http, p->conn);
		}
		return 0;
	}
	size_t n = p->out.len - p->taken < max ? p->out.len - p->taken : max;
	memcpy(to, p->out.data + p->taken, n);
	p->taken += n;
	return (ssize_t)n;
}

static void pages_left(void *cls)
{
	pages_leave(cls);
}

struct MHD_Response *pages_response(struct request *rq)
{
	struct MHD_Response *response;
	/* As of events.c: chunks after the head of a HEAD spoil the connection. */
	if (rq->is_head)
		response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	else
		response = MHD_create_response_from_callback(
			MHD_SIZE_UNKNOWN, BLOCK, pages_read, rq->pages, pages_left);
	if (response && !rq->is_head)
		rq->pages = NULL;
	return response;
}

static void list_settled(struct request *rq)
{
	struct pages *p = rq->pages;
	p->rq = rq;
	p->task.run = first_piece;
	request_wait(rq);
	if (!pool_post(rq->http->pool, &p->task)) {
		answer_busy(rq);
		request_resume(rq);
	}
}

void job_list(struct request *rq)
{
	struct fault f = { 0 };
	struct pages *p = rq->pages = xcalloc(1, sizeof *p);
	p->http = rq->http;
	p->conn = rq->conn;
	atomic_init(&p->refs, 1);
	must(pthread_mutex_init(&p->lock, NULL) == 0);
	if (read_query(rq, p, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	rq->ask.kind = ASK_SETTLE;
	request_ask(rq, list_settled);
}
