/* SPDX-License-Identifier: Apache-2.0 */
/* The past of a job, told as if one had listened.
 *
 * In the order of its life: initialized, queued, worker-assigned, started, then its log, then its
 * end; from the place where the reader was to the place where the core said that live events begin.
 * The row holds no moments of downloading and cancelling, so these are told live only. A log is
 * read piece by piece: a follower of a long one costs no memory for it.
 *
 * A job that is tried again goes back in its life. A reader that was told more than where the job
 * stands now is told again from `queued`. */
#include "transport/http/events/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "domain/log_line.h"
#include "mist/store.h"

enum { CHUNK = 64 * 1024, CHUNK_MAX = 4 * 1024 * 1024, LIFE_MAX = 4096 };
#define TEXT_MAX ((size_t)1 << 30)

void sse_add(struct buf *out, const char *id, const char *name, const char *text, size_t len)
{
	if (id)
		buf_printf(out, "id: %s\n", id);
	buf_printf(out, "event: %s\ndata: ", name);
	buf_add(out, text, len);
	buf_puts(out, "\n\n");
}

void place_format(const struct place *p, char ret[static PLACE_TEXT])
{
	snprintf(ret, PLACE_TEXT, "%d-%" PRId64, p->rank, p->offset);
}

bool place_parse(const char *text, struct place *ret)
{
	char *end;
	if (text[0] < '0' || text[0] > '0' + EVENT_RANK_FINAL || text[1] != '-' || text[2] < '0' ||
		text[2] > '9')
		return false;
	errno = 0;
	ret->rank = text[0] - '0';
	ret->offset = strtoll(text + 2, &end, 10);
	return !*end && !errno;
}

void replay_begin(struct replay *r, struct job_row *row, int log_fd, const struct place *told,
	const struct place *to)
{
	struct stat st;
	r->row = row;
	r->at = *told;
	r->rank = to->rank;
	r->log_fd = log_fd;
	r->log_end = to->offset;
	r->chunk = CHUNK;
	if (r->at.rank > r->rank)
		r->at.rank = event_rank(EVENT_ACCEPTED);
	if (log_fd < 0 || fstat(log_fd, &st) < 0)
		r->log_end = 0;
	else if (r->log_end < 0 || r->log_end > st.st_size)
		r->log_end = st.st_size;
}

bool replay_more(struct replay *r, int log_fd, int64_t from, int64_t to)
{
	struct stat st;
	closep(&r->log_fd);
	r->log_fd = log_fd;
	if (log_fd < 0 || fstat(log_fd, &st) < 0 || st.st_size < to)
		return false;
	r->at.offset = from;
	r->log_end = to;
	return true;
}

void replay_done(struct replay *r)
{
	if (!r->row)
		return;
	closep(&r->log_fd);
	job_row_freep(&r->row);
	r->row = NULL;
}

static void add_text(struct replay *r, const char *name, const struct buf *text, struct buf *out)
{
	char id[PLACE_TEXT];
	place_format(&r->at, id);
	sse_add(out, id, name, text->data, text->len);
}

char *replay_life(const struct job_row *row)
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

int replay_log_open(struct store *store, const struct job_row *row)
{
	int fd = store_log_open(store, &row->id);
	if (fd != -ENOENT)
		return fd;
	_cleanup_(freep) char *life = replay_life(row);
	_cleanup_(closep) int made = memfd_create("job-log", MFD_CLOEXEC);
	if (made < 0)
		return -errno;
	return pwrite(made, life, strlen(life), 0) < 0 ? -errno : TAKE_FD(made);
}

/* False: the job's life had no such moment, or the row does not know of it. */
static bool fill_facts(const struct job_row *row, struct event_facts *e)
{
	*e = (struct event_facts){ .kind = e->kind,
		.id = &row->id,
		.at_ms = e->kind == EVENT_STARTED ? row->started_ms : row->ended_ms,
		.function = row->function,
		.context = row->context,
		.path = row->path,
		.class_name = row->class_name,
		.arguments = row->parameters ? row->parameters : "{}",
		.external_id = row->external_id,
		.worker = row->worker,
		.result = row->result ? row->result : "null",
		.result_len = row->result ? strlen(row->result) : strlen("null"),
		.error = row->error ? row->error : "" };
	return !(e->kind == EVENT_WORKER_ASSIGNED && !row->worker) &&
	       !(e->kind == EVENT_STARTED && !row->started_ms);
}

static void add_moment(struct replay *r, enum event_kind kind, struct buf *out)
{
	struct event_facts facts = { .kind = kind };
	int rank = event_rank(kind);
	if (rank <= r->at.rank || rank > r->rank)
		return;
	r->at.rank = rank;
	if (!fill_facts(r->row, &facts))
		return;
	struct buf text;
	buf_init(&text, TEXT_MAX);
	event_print(&facts, &text);
	add_text(r, event_name(kind), &text, out);
	buf_done(&text);
}

/* Adds the whole entries of the piece; the number of its bytes they take. */
static size_t add_entries(
	struct replay *r, const char *piece, size_t len, bool is_last, struct buf *out)
{
	const char *p = piece, *end = piece + len;
	char id[UUID_TEXT];
	struct log_line line;
	struct buf entries, text;
	size_t taken = 0;
	uuid_format(&r->row->id, id);
	buf_init(&entries, TEXT_MAX);
	buf_init(&text, TEXT_MAX);
	while (log_line_read(&p, end, id, &line) && (p < end || is_last)) {
		taken = p - piece;
		if (line.level < r->log_level)
			continue;
		if (r->is_text)
			buf_add(out, line.text, line.text_len);
		else
			log_line_print_json(&line, &entries);
	}
	if (is_last)
		taken = len;
	r->at.offset += (int64_t)taken;
	if (entries.len) {
		event_print_logs(&r->row->id, &entries, r->at.offset, &text);
		add_text(r, "logs", &text, out);
	}
	buf_done(&entries);
	buf_done(&text);
	return taken;
}

/* A piece is read again, twice as long, when not one entry in it is whole. */
static bool add_log(struct replay *r, struct buf *out)
{
	int64_t left = r->log_end - r->at.offset;
	if (!r->with_logs || left <= 0)
		return false;
	size_t len = left < (int64_t)r->chunk ? (size_t)left : r->chunk;
	_cleanup_(freep) char *piece = xcalloc(1, len);
	ssize_t n = pread(r->log_fd, piece, len, r->at.offset);
	if (n <= 0) {
		r->at.offset = r->log_end;
		return false;
	}
	if (r->is_text && r->log_level <= LOG_LINE_DEBUG) {
		buf_add(out, piece, (size_t)n);
		r->at.offset += n;
		return true;
	}
	bool is_last = n >= left || r->chunk >= CHUNK_MAX;
	r->chunk = add_entries(r, piece, (size_t)n, is_last, out) ? CHUNK : r->chunk * 2;
	return true;
}

bool replay_next(struct replay *r, struct buf *out)
{
	static const enum event_kind past[] = { EVENT_ACCEPTED, EVENT_QUEUED, EVENT_WORKER_ASSIGNED,
		EVENT_STARTED };
	if (!r->row)
		return false;
	if (r->is_text)
		return add_log(r, out);
	for (size_t i = 0; !r->is_log && i < ARRAY_SIZE(past); i++)
		add_moment(r, past[i], out);
	if (add_log(r, out))
		return true;
	if (r->row->state == JOB_FINISHED)
		add_moment(r, EVENT_FINISHED, out);
	else if (r->row->state == JOB_CANCELLED)
		add_moment(r, EVENT_CANCELLED, out);
	else if (r->row->state == JOB_FAILED)
		add_moment(r, EVENT_FAILED, out);
	replay_done(r);
	return out->len > 0;
}
