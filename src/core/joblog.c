/* SPDX-License-Identifier: Apache-2.0 */
/* A job's own log, in Mist's format: `LEVEL 2019-10-07T12:48:23.123 [jobId] message`.
 *
 * The file comes with the first line that is worth one: what the function logs, a failure, a
 * cancel. The lines of the job's life so far are then written before it. A job that just runs and
 * ends leaves no file behind, which is what lets tens of thousands of them end in a second. Lines
 * go through the store's thread, in order with the job's rows. */
#include "core/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

enum { LOG_LINE_MAX = 1 << 20 };

static void add_line(
	struct live_job *l, struct buf *text, const char *level, int64_t at_ms, const char *message)
{
	char at[CLOCK_TEXT], id[UUID_TEXT];
	clock_format(at_ms, at);
	uuid_format(&l->job->id, id);
	if (buf_printf(text, "%s %s [%s] %.*s\n", level, at, id, LOG_LINE_MAX - 128, message) ==
		BUF_E_FULL)
		buf_puts(text, "…\n");
}

static void post(struct live_job *l, struct buf *text)
{
	struct store_op *op = store_op_new(STORE_LOG, NULL);
	op->job_id = l->job->id;
	op->text_len = text->len;
	op->text = buf_take(text);
	l->log_bytes += op->text_len;
	store_post(l->core->store, op);
}

static void add_life_so_far(struct live_job *l, struct buf *text)
{
	const struct job *j = l->job;
	if (j->queued_ms)
		add_line(l, text, "INFO", j->queued_ms, "QueuedEvent");
	if (l->worker_id) {
		_cleanup_(freep) char *line =
			xasprintf("WorkerAssigned(workerId=%s)", l->worker_id);
		add_line(l, text, "INFO", j->started_ms ? j->started_ms : j->queued_ms, line);
	}
	if (j->started_ms)
		add_line(l, text, "INFO", j->started_ms, "StartedEvent");
}

void joblog_add(struct live_job *l, const char *level, int64_t at_ms, const char *message)
{
	int64_t max = l->core->limits.log_max;
	struct buf text;
	buf_init(&text, 2 * LOG_LINE_MAX);
	if (l->log_bytes == 0)
		add_life_so_far(l, &text);
	if (l->log_bytes < max) {
		add_line(l, &text, level, at_ms, message);
		if (l->log_bytes + (int64_t)text.len >= max) {
			_cleanup_(freep) char *line = xasprintf(
				"The log ends here: it is over limits.job-log, %" PRId64 " bytes",
				max);
			add_line(l, &text, "WARN", at_ms, line);
		}
		post(l, &text);
	}
	buf_done(&text);
}

void joblog_event(struct live_job *l, const char *line)
{
	if (l->log_bytes)
		joblog_add(l, "INFO", clock_wall_ms(), line);
}
