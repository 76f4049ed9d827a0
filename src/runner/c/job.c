/* SPDX-License-Identifier: Apache-2.0 */
/* A job's own part: what its function may ask and say.
 *
 * Life: made from a `start` frame, waits in the session's queue, runs, ends, and is kept with its
 * last frame until the gateway has acknowledged that. The session moves it; here is what happens
 * inside.
 *
 * The function runs on the main thread without the session's lock, so that the pulse thread can
 * serve the connection meanwhile. What is said often (a log line, progress) is put down under the
 * lock and leaves with the next pulse or with the outcome; only a full batch is handed over at
 * once. When nobody takes the entries (the gateway is away), those that come after the batch is
 * full are counted and the count is said instead. */
#include "runner/c/job.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text/plural.h"
#include "base/utf8.h"
#include "runner/c/say.h"
#include "runner/c/session.h"

enum {
	LINE_BYTES = 16 * 1024,
	ERROR_BYTES = 32 * 1024,
	NOTE_BYTES = 4096,
	ENTRIES_ROOM = JOB_ENTRIES_BYTES + 6 * LINE_BYTES + 256, /* six: a byte may become \u001b */
};

static const char *const level_names[] = {
	[MIST_DEBUG] = "DEBUG",
	[MIST_INFO] = "INFO",
	[MIST_WARN] = "WARN",
	[MIST_ERROR] = "ERROR",
};

struct mist_job *job_new(struct session *s, const char *id, json_t *start)
{
	struct mist_job *job = xcalloc(1, sizeof *job);
	job->session = s;
	must(strlen(id) < sizeof job->id);
	memcpy(job->id, id, strlen(id) + 1);
	job->start = json_incref(start);
	list_init(&job->link);
	atomic_init(&job->cancelled, false);
	buf_init(&job->entries, ENTRIES_ROOM);
	return job;
}

static void let_go(struct mist_job *job)
{
	json_decref(job->start);
	json_decref(job->result);
	free(job->error);
	free(job->note);
	buf_done(&job->entries);
	job->start = job->result = NULL;
	job->error = job->note = NULL;
	job->has_progress = job->said_progress = false;
	job->n_entries = 0;
}

void job_free(struct mist_job *job)
{
	if (!job)
		return;
	let_go(job);
	buf_done(&job->end);
	free(job);
}

/* What fits into a frame when every byte of it is escaped, and not more than `most`. */
static void cut(char *text, size_t most, size_t frame_max)
{
	size_t fits = frame_max / 8 < most ? frame_max / 8 : most;
	if (strlen(text) > fits)
		text[utf8_whole(text, fits)] = '\0';
}

static void say_failure(struct mist_job *job, char *error, size_t frame_max)
{
	cut(error, ERROR_BYTES, frame_max);
	buf_done(&job->end);
	buf_init(&job->end, frame_max);
	must(say_failed(&job->end, job->id, clock_wall_ms(), error) == 0);
}

static void say_too_large(struct mist_job *job, size_t frame_max)
{
	_cleanup_(freep) char *text =
		xasprintf("the result is too large: the gateway takes frames of at most %zu bytes "
			  "(workers.frame)",
			frame_max);
	say_failure(job, text, frame_max);
}

static void say_result(struct mist_job *job, size_t frame_max)
{
	const char *why = NULL;
	buf_init(&job->end, frame_max);
	int r = say_finished(&job->end, job->id, clock_wall_ms(), job->result, &why);
	if (r == SAY_E_BAD) {
		_cleanup_(freep) char *text = xstrdup(why);
		say_failure(job, text, frame_max);
	} else if (r) {
		say_too_large(job, frame_max);
	}
}

void job_end(struct mist_job *job, size_t frame_max)
{
	if (job->result) {
		say_result(job, frame_max);
	} else if (atomic_load(&job->cancelled)) {
		buf_init(&job->end, frame_max);
		must(say_cancelled(&job->end, job->id, clock_wall_ms()) == 0);
	} else {
		if (!job->error)
			job->error = xstrdup("the function returned without an outcome");
		say_failure(job, job->error, frame_max);
	}
	let_go(job);
	job->is_ended = true;
}

void job_fit_end(struct mist_job *job, size_t frame_max)
{
	if (job->end.len > frame_max)
		say_too_large(job, frame_max);
}

bool job_has_news(const struct mist_job *job)
{
	return job->n_entries || job->has_progress;
}

void job_say_entries(struct mist_job *job, struct buf *ret)
{
	(void)buf_printf(ret, "{\"type\":\"log\",\"job\":\"%s\",\"entries\":[", job->id);
	(void)buf_add(ret, job->entries.data, job->entries.len);
	if (job->n_lost) {
		char text[80];
		snprintf(text, sizeof text, "%u line%s lost here: nobody took %s", job->n_lost,
			by_count(job->n_lost, " was", "s were"),
			by_count(job->n_lost, "it", "them"));
		(void)buf_puts(ret, ",");
		(void)say_entry(ret, clock_wall_ms(), level_names[MIST_WARN], text);
	}
	(void)buf_puts(ret, "]}");
}

void job_forget_entries(struct mist_job *job)
{
	buf_drop(&job->entries, job->entries.len);
	job->n_entries = job->n_lost = 0;
}

/* One place less than may travel together: the last is for the count of the lost. */
static bool is_full(const struct mist_job *job)
{
	size_t frame_max = job->session->frame_max;
	return job->n_entries >= JOB_ENTRIES_MAX - 1 || job->entries.len >= JOB_ENTRIES_BYTES ||
	       job->entries.len >= frame_max / 8;
}

void job_add_entry(struct mist_job *job, enum mist_level level, char *text)
{
	if (is_full(job))
		session_tell_running(job->session);
	if (is_full(job)) {
		job->n_lost++;
		return;
	}
	cut(text, LINE_BYTES, job->session->frame_max / 2);
	if (job->n_entries)
		(void)buf_puts(&job->entries, ",");
	(void)say_entry(&job->entries, clock_wall_ms(), level_names[level], text);
	job->n_entries++;
}

const json_t *mist_job_parameters(const struct mist_job *job)
{
	return json_object_get(job->start, "parameters");
}

const char *mist_job_id(const struct mist_job *job)
{
	return job->id;
}

bool mist_job_is_cancelled(struct mist_job *job)
{
	return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

void mist_job_log(struct mist_job *job, enum mist_level level, const char *format, ...)
{
	_cleanup_(freep) char *text = NULL;
	va_list args;
	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0) {
		text = NULL;
		return;
	}
	if ((unsigned)level > MIST_ERROR)
		level = MIST_ERROR;
	(void)fflush(stdout);
	session_lock(job->session);
	printed_take(&job->session->printed, job, false); /* what came before it */
	job_add_entry(job, level, text);
	session_unlock(job->session);
}

void mist_job_progress(struct mist_job *job, double value, const char *note)
{
	if (isinf(value) || (isnan(value) && !note))
		return;
	session_lock(job->session);
	job->has_progress = job->said_progress = true;
	job->progress = value;
	free(job->note);
	job->note = NULL;
	if (note) {
		job->note = xstrdup(note);
		cut(job->note, NOTE_BYTES, job->session->frame_max);
	}
	session_unlock(job->session);
}

void mist_job_finish(struct mist_job *job, json_t *result)
{
	if (job->has_outcome) {
		json_decref(result);
		return;
	}
	job->has_outcome = true;
	job->result = result ? result : json_null();
}

void mist_job_fail(struct mist_job *job, const char *error)
{
	if (job->has_outcome)
		return;
	job->has_outcome = true;
	job->error = xstrdup(error);
}
