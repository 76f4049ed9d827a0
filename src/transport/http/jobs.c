/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs over HTTP: show, list, cancel, read the log. Shapes are Mist's (reference, section 2).
 *
 * History is read from the store on the query pool; before that the core is asked to settle, so
 * that a client sees what it was told a moment ago, also of a job that was answered before its row
 * was written. */
#include "transport/http/request.h"

#include <errno.h>
#include <string.h>

#include "transport/http/events/events.h"
#include "transport/http/events/replay.h"

enum { CANCEL_WAIT_MS = 10000 };
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

struct job_row *read_row(struct request *rq)
{
	char id[UUID_TEXT];
	struct job_row *row = NULL;
	struct fault f;
	int r = store_job_get(rq->http->env.store, &rq->ask.job, &row);
	uuid_format(&rq->ask.job, id);
	if (r == -ENOENT)
		fault_set(&f, FAULT_NOT_FOUND, "Job %s not found", id);
	else if (r == -EBADMSG)
		fault_set(&f, FAULT_NOT_FOUND,
			"Job %s cannot be read, and was set aside: see /v2/api/store/unreadable",
			id);
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

/* With what the core knows of it: what it waits for, or how far it is. */
static void show_read(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	struct buf out;
	if (!row)
		return;
	/* The row is the newer one. */
	if (!rq->ask.text || job_state_is_final(row->state) ||
		(row->state != JOB_QUEUED && strncmp(rq->ask.text, "{\"waiting\"", 10) == 0)) {
		answer_row(rq, 200, row);
		return;
	}
	buf_init(&out, ANSWER_MAX);
	job_row_print(row, &out);
	out.len--; /* the brace that closes the object */
	buf_printf(&out, ",%s", rq->ask.text + 1);
	size_t len = out.len;
	answer_text(rq, 200, "application/json", buf_take(&out), len);
}

static void show_settled(struct request *rq)
{
	request_work(rq, show_read);
}

void job_show(struct request *rq)
{
	if (!parse_job_id(rq, &rq->ask.job))
		return;
	rq->ask.kind = ASK_JOB_LIVE;
	request_ask(rq, show_settled);
}

/* 200: it is cancelled, or had ended before. 202: it is still being cancelled after CANCEL_WAIT_MS.
 * What it ended as does not matter: a job that is done is shown as it is, whether it ended before
 * the request or while it was looked at. */
static void cancel_read(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	if (!row)
		return;
	answer_row(rq, job_state_is_final(row->state) ? 200 : 202, row);
}

static void cancel_done(struct request *rq)
{
	request_work(rq, cancel_read);
}

void job_cancel(struct request *rq)
{
	if (!parse_job_id(rq, &rq->ask.job))
		return;
	rq->ask.kind = ASK_CANCEL;
	rq->ask.wait_ms = CANCEL_WAIT_MS;
	request_ask(rq, cancel_done);
}

static void logs_read(struct request *rq)
{
	_cleanup_(job_row_freep) struct job_row *row = read_row(rq);
	struct fault f;
	if (!row)
		return;
	int fd = store_log_open(rq->http->env.store, &row->id);
	if (fd >= 0) {
		answer_fd(rq, TEXT_PLAIN, fd);
	} else if (fd == -ENOENT) {
		char *text = replay_life(row);
		answer_text(rq, 200, TEXT_PLAIN, text, strlen(text));
	} else {
		fault_set(&f, FAULT_UNAVAILABLE, "the log cannot be read: %s",
			fd == -EINVAL ? "something that is no file is in its place"
				      : strerror(-fd));
		answer_fault(rq, &f);
	}
}

static void logs_settled(struct request *rq)
{
	request_work(rq, logs_read);
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
