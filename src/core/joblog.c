/* SPDX-License-Identifier: Apache-2.0 */
/* What a job says of itself: its own log, in Mist's format: `LEVEL 2019-10-07T12:48:23.123 [jobId]
 * message`, and how far it is.
 *
 * The file comes with the first line that is worth one (what the function logs, a failure, a
 * cancel) or with the first who follows it. The lines of the job's life so far are then written
 * before it. A job that just runs and ends leaves no file behind, which is what lets tens of
 * thousands of them end in a second. Lines go through the store's thread, in order with the job's
 * rows.
 *
 * How far a job is may be said as often as it likes: the newest is kept here, told in events at
 * intervals, and written with the next change of its row, so that it costs no write of its own. A
 * worker says it again to a gateway that it finds anew. */
#include "core/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "domain/log_line.h"

/* END_MAX: what is kept free of limits.job-log for the line that says that the log ends. HEAD_MAX:
 * what stands in a line beside its message. */
enum { LOG_LINE_MAX = 1 << 20, TEXT_MAX = 64 << 20, END_MAX = 160, HEAD_MAX = 80 };

/* What is added at once. */
struct lines {
	struct live_job *job;
	char id[UUID_TEXT];
	struct buf text;
};

/* At most `max` bytes of the message. */
static void add_part(struct lines *lines, enum log_line_level level, int64_t at_ms,
	const char *message, size_t max)
{
	struct log_line line = { .job = lines->id,
		.level = level,
		.at_ms = at_ms,
		.message = message,
		.len = strlen(message) };
	if (line.len > max)
		line.len = utf8_whole(message, max);
	log_line_print(&line, &lines->text);
}

static void add_line(
	struct lines *lines, enum log_line_level level, int64_t at_ms, const char *message)
{
	add_part(lines, level, at_ms, message, LOG_LINE_MAX);
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

/* The line that does not fit is cut and fills the log up, so that its size alone says, after a
 * restart too, that it has ended. */
void joblog_add(struct live_job *l, const char *level, int64_t at_ms, const char *message)
{
	int64_t max = l->core->limits.log_max;
	if (l->log_bytes > max - END_MAX)
		return;
	struct lines lines = { .job = l };
	uuid_format(&l->job->id, lines.id);
	buf_init(&lines.text, TEXT_MAX);
	if (l->log_bytes == 0)
		add_life_so_far(&lines);
	int64_t left = max - END_MAX - HEAD_MAX - l->log_bytes - (int64_t)lines.text.len,
		wanted = (int64_t)strnlen(message, LOG_LINE_MAX);
	if (left >= 0)
		add_part(&lines, log_line_level_of(level), at_ms, message,
			(size_t)(left < wanted ? left : wanted));
	if (left < wanted) {
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

struct job_progress {
	struct live_job *job;
	struct timer timer; /* until more may be told */
	struct progress now;
	char *note;
	bool is_untold;
};

const struct progress *progress_now(const struct live_job *l)
{
	return l->progress ? &l->progress->now : NULL;
}

char *progress_of(const struct live_job *l)
{
	return l->progress ? progress_text(&l->progress->now) : NULL;
}

static void progress_fired(struct timers *t, struct timer *timer)
{
	struct job_progress *p = container_of(timer, struct job_progress, timer);
	(void)t;
	progress_tell(p->job);
}

void progress_tell(struct live_job *l)
{
	struct job_progress *p = l->progress;
	if (!p || !p->is_untold)
		return;
	p->is_untold = false;
	timer_set(&l->core->timers, &p->timer, l->core->limits.progress_ms);
	publish(l, EVENT_PROGRESS, NULL, 0, NULL);
}

static bool is_said_again(const struct job_progress *p, const struct progress *said)
{
	return p->now.has_value == said->has_value && p->now.value == said->value &&
	       (p->note && said->note ? strcmp(p->note, said->note) == 0 : p->note == said->note);
}

void progress_say(struct live_job *l, const struct progress *said)
{
	struct job_progress *p = l->progress;
	if (p && is_said_again(p, said))
		return;
	if (!p) {
		p = l->progress = xcalloc(1, sizeof *p);
		p->job = l;
		p->timer.fire = progress_fired;
	}
	/* Its time is a part of the event's id. */
	int64_t after_ms = p->now.at_ms + 1, at_ms = clock_wall_ms();
	free(p->note);
	p->note = said->note ? xstrdup(said->note) : NULL;
	if (p->note && strlen(p->note) > PROGRESS_NOTE_MAX)
		p->note[utf8_whole(p->note, PROGRESS_NOTE_MAX)] = '\0';
	p->now = *said;
	p->now.note = p->note;
	p->now.at_ms = at_ms < after_ms ? after_ms : at_ms;
	p->is_untold = true;
	if (!timer_is_set(&p->timer))
		progress_tell(l);
}

void progress_forget(struct live_job *l)
{
	if (!l->progress)
		return;
	timer_clear(&l->core->timers, &l->progress->timer);
	free(l->progress->note);
	free(TAKE_PTR(l->progress));
}
