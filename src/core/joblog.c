/* SPDX-License-Identifier: Apache-2.0 */
/* A job's own log, in Mist's format: `LEVEL 2019-10-07T12:48:23.123 [jobId] message`.
 *
 * The file comes with the first line that is worth one (what the function logs, a failure, a
 * cancel) or with the first who follows it. The lines of the job's life so far are then written
 * before it. A job that just runs and ends leaves no file behind, which is what lets tens of
 * thousands of them end in a second. Lines go through the store's thread, in order with the job's
 * rows. */
#include "core/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "domain/log_line.h"

enum { LOG_LINE_MAX = 1 << 20, TEXT_MAX = 64 << 20 };

/* What is added at once. */
struct lines {
	struct live_job *job;
	char id[UUID_TEXT];
	struct buf text;
};

static void add_line(
	struct lines *lines, enum log_line_level level, int64_t at_ms, const char *message)
{
	struct log_line line = { .job = lines->id,
		.level = level,
		.at_ms = at_ms,
		.message = message,
		.len = strlen(message) };
	if (line.len > LOG_LINE_MAX)
		line.len = utf8_whole(message, LOG_LINE_MAX);
	log_line_print(&line, &lines->text);
}

static void post(struct lines *lines)
{
	struct live_job *l = lines->job;
	struct store_op *op = store_op_new(STORE_LOG, NULL);
	op->job_id = l->job->id;
	l->log_bytes += lines->text.len;
	watch_tell_logs(l, &lines->text);
	op->text_len = lines->text.len;
	op->text = buf_take(&lines->text);
	store_post(l->core->store, op);
}

static void add_life_so_far(struct lines *lines)
{
	const struct live_job *l = lines->job;
	const struct job *j = l->job;
	if (j->queued_ms)
		add_line(lines, LOG_LINE_INFO, j->queued_ms, "QueuedEvent");
	if (l->worker_id) {
		_cleanup_(freep) char *line =
			xasprintf("WorkerAssigned(workerId=%s)", l->worker_id);
		add_line(lines, LOG_LINE_INFO, j->started_ms ? j->started_ms : j->queued_ms, line);
	}
	if (j->started_ms)
		add_line(lines, LOG_LINE_INFO, j->started_ms, "StartedEvent");
}

void joblog_add(struct live_job *l, const char *level, int64_t at_ms, const char *message)
{
	int64_t max = l->core->limits.log_max;
	if (l->log_bytes >= max)
		return;
	struct lines lines = { .job = l };
	uuid_format(&l->job->id, lines.id);
	buf_init(&lines.text, TEXT_MAX);
	if (l->log_bytes == 0)
		add_life_so_far(&lines);
	add_line(&lines, log_line_level_of(level), at_ms, message);
	if (l->log_bytes + (int64_t)lines.text.len >= max) {
		_cleanup_(freep) char *line = xasprintf(
			"The log ends here: it is over limits.job-log, %" PRId64 " bytes", max);
		add_line(&lines, LOG_LINE_WARN, at_ms, line);
	}
	post(&lines);
	buf_done(&lines.text);
}

void joblog_begin(struct live_job *l)
{
	struct lines lines = { .job = l };
	l->is_log_begun = true;
	if (l->log_bytes || l->core->limits.log_max <= 0)
		return;
	uuid_format(&l->job->id, lines.id);
	buf_init(&lines.text, TEXT_MAX);
	add_life_so_far(&lines);
	if (lines.text.len)
		post(&lines);
	buf_done(&lines.text);
}

void joblog_event(struct live_job *l, const char *line)
{
	if (l->log_bytes)
		joblog_add(l, "INFO", clock_wall_ms(), line);
}
