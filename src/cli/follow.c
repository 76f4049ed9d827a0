/* SPDX-License-Identifier: Apache-2.0 */
/* Watching a job: its state, then what its log has grown by, then a pause.
 *
 * The state is asked before the log: when it is a final one, the log read after it is complete. The
 * log is asked from the byte where the last answer ended; a gateway that ignores the range sends
 * all of it, and the part that was shown is skipped. Pauses grow from a blink to a second, and
 * begin anew whenever something happens.
 *
 * A gateway that is too busy to answer says nothing of the job, so it is asked again: to end with
 * "refused" would have a script start the job a second time. */
#include "cli/follow.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/http.h"
#include "cli/interrupt.h"
#include "cli/shown.h"
#include "cli/table.h"

enum { PAUSE_FIRST_MS = 20, PAUSE_MAX_MS = 1000, DOT_MS = 1000 };
enum { BUSY_FIRST_MS = 100, BUSY_PAUSE_MAX_MS = 5000, BUSY_MAX_MS = 60000 };
enum { PARTIAL_CONTENT = 206, RANGE_NOT_SATISFIABLE = 416 };

static bool is_final(const char *status)
{
	return strcmp(status, "finished") == 0 || strcmp(status, "failed") == 0 ||
	       strcmp(status, "cancelled") == 0;
}

static void end_dots(struct follow *follow)
{
	if (follow->has_dots)
		fputc('\n', stderr);
	follow->has_dots = false;
}

static void show_state(struct follow *follow, bool is_new)
{
	int64_t now = clock_mono_ms();
	if (!follow->is_showing)
		return;
	if (is_new) {
		end_dots(follow);
		fprintf(stderr, "%s\n", follow->status);
	} else if (now >= follow->dot_due_ms && !follow->is_mid_line) {
		fputc('.', stderr);
		follow->has_dots = true;
	} else {
		return;
	}
	follow->dot_due_ms = now + DOT_MS;
}

static bool is_busy(long status)
{
	enum { TOO_MANY = 429, BAD_GATEWAY = 502, UNAVAILABLE = 503, GATEWAY_TIMEOUT = 504 };
	return status == TOO_MANY || status == BAD_GATEWAY || status == UNAVAILABLE ||
	       status == GATEWAY_TIMEOUT;
}

/* 0, EXIT_INTERRUPTED or EXIT_TIME. */
static int pause_until(int64_t due_ms, int64_t deadline_ms)
{
	bool is_last = deadline_ms && deadline_ms <= due_ms;
	int64_t end_ms = is_last ? deadline_ms : due_ms, now_ms;
	while (!interrupt_came() && (now_ms = clock_mono_ms()) < end_ms)
		interrupt_or_ms(end_ms - now_ms);
	return interrupt_came() ? EXIT_INTERRUPTED : is_last ? EXIT_TIME : 0;
}

int follow_ask(
	struct cli *cli, const struct http_call *call, int64_t deadline_ms, struct http_reply *ret)
{
	struct http_call watched = *call;
	int64_t pause_ms = BUSY_FIRST_MS, give_up_ms = 0;
	watched.is_watched = true;
	for (;;) {
		int code = http_ask(cli, &watched, ret);
		if (code || !is_busy(ret->status))
			return code;
		int64_t now_ms = clock_mono_ms(),
			wait_ms = ret->retry_after_ms > pause_ms ? ret->retry_after_ms : pause_ms;
		give_up_ms = give_up_ms ? give_up_ms : now_ms + BUSY_MAX_MS;
		if (now_ms + wait_ms > give_up_ms) {
			http_judge(ret);
			return EXIT_UNREACHABLE;
		}
		http_reply_done(ret);
		code = pause_until(now_ms + wait_ms, deadline_ms);
		if (code)
			return code;
		pause_ms = 2 * pause_ms < BUSY_PAUSE_MAX_MS ? 2 * pause_ms : BUSY_PAUSE_MAX_MS;
	}
}

/* The job as it is now, with its status, which is borrowed from it. */
static int ask_job(struct cli *cli, const char *id, int64_t deadline_ms, struct http_reply *reply,
	json_t **ret_job, const char **ret_status)
{
	_cleanup_(freep) char *path = path_of("jobs", id, NULL);
	const struct http_call call = { .path = path };
	int code = follow_ask(cli, &call, deadline_ms, reply);
	if (code == 0)
		code = http_conclude(cli, &call, reply);
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *job = http_json(reply);
	*ret_status = json_is_object(job) ? json_string_of(job, "status") : NULL;
	if (!*ret_status)
		return complain(EXIT_GATEWAY, "the gateway's answer is no job");
	*ret_job = TAKE_PTR(job);
	return 0;
}

/* How far the job says that it is, "50 % half way"; NULL: it does not. The caller frees it. */
static char *progress_of(const json_t *job)
{
	const json_t *progress = json_object_get(job, "progress"),
		     *value = json_object_get(progress, "value");
	const char *note = progress ? json_string_of(progress, "note") : NULL;
	_cleanup_(freep) char *line = note ? shown_line(note) : NULL;
	if (!json_is_number(value))
		return TAKE_PTR(line);
	return xasprintf(
		"%.0f %%%s%s", 100 * json_number_value(value), line ? " " : "", line ? line : "");
}

static void show_progress(struct follow *follow, const json_t *job)
{
	char *progress = follow->is_showing ? progress_of(job) : NULL;
	if (progress && (!follow->progress || strcmp(progress, follow->progress) != 0)) {
		end_dots(follow);
		fprintf(stderr, "%s\n", progress);
		follow->dot_due_ms = clock_mono_ms() + DOT_MS;
	}
	free(follow->progress);
	follow->progress = progress;
}

static int ask_state(struct cli *cli, struct follow *follow, bool *ret_is_new)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(json_decrefp) json_t *job = NULL;
	const char *status;
	int code = ask_job(cli, follow->id, follow->deadline_ms, &reply, &job, &status);
	if (code)
		return code;
	*ret_is_new = strcmp(status, follow->status) != 0;
	snprintf(follow->status, sizeof follow->status, "%s", status);
	if (!follow->is_mid_line)
		show_progress(follow, job);
	return 0;
}

/* What is new in the job's log, once. */
static int follow_log(struct cli *cli, struct follow *follow)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path = path_of("jobs", follow->id, "logs");
	const struct http_call call = { .path = path, .from = follow->log_offset };
	int code = follow_ask(cli, &call, follow->deadline_ms, &reply);
	if (code || reply.status == RANGE_NOT_SATISFIABLE)
		return code;
	code = http_judge(&reply);
	if (code)
		return code;
	size_t skip = reply.status == PARTIAL_CONTENT ? 0 : (size_t)follow->log_offset;
	if (reply.body.len <= skip)
		return 0;
	end_dots(follow);
	fwrite(reply.body.data + skip, 1, reply.body.len - skip, follow->log);
	fflush(follow->log);
	follow->log_offset += (int64_t)(reply.body.len - skip);
	follow->is_mid_line = reply.body.data[reply.body.len - 1] != '\n';
	return 0;
}

static int64_t next_pause(const struct follow *follow, int64_t pause_ms, bool is_new)
{
	int64_t next = is_new ? PAUSE_FIRST_MS : pause_ms + pause_ms / 2;
	int64_t left = follow->deadline_ms ? follow->deadline_ms - clock_mono_ms() : PAUSE_MAX_MS;
	next = next < PAUSE_MAX_MS ? next : PAUSE_MAX_MS;
	return next < left ? next : left;
}

static int follow_on(struct cli *cli, struct follow *follow)
{
	int64_t pause_ms = PAUSE_FIRST_MS;
	for (;;) {
		bool is_new = false;
		int64_t offset = follow->log_offset;
		int code = ask_state(cli, follow, &is_new);
		if (code == 0 && follow->log)
			code = follow_log(cli, follow);
		if (code == 0)
			show_state(follow, is_new);
		if (code || is_final(follow->status)) {
			end_dots(follow);
			return code;
		}
		if (follow->deadline_ms && clock_mono_ms() >= follow->deadline_ms) {
			end_dots(follow);
			return EXIT_TIME;
		}
		pause_ms = next_pause(follow, pause_ms, is_new || offset != follow->log_offset);
		interrupt_or_ms(pause_ms);
		if (interrupt_came()) {
			end_dots(follow);
			return EXIT_INTERRUPTED;
		}
	}
}

int follow_job(struct cli *cli, struct follow *follow)
{
	int code = follow_on(cli, follow);
	free(TAKE_PTR(follow->progress));
	return code;
}

int follow_again(int code, const char *command, const char *id)
{
	if (code == EXIT_UNREACHABLE || code == EXIT_GATEWAY)
		complain(code, "job %s: it goes on without being watched; to go on: mist %s %s", id,
			command, id);
	return code;
}

/* What a traceback of Python ends with, behind its indented lines; else all of it. */
static const char *raised_of(const char *error)
{
	const char *raised = error;
	if (strncmp(error, "Traceback ", strlen("Traceback ")) != 0)
		return error;
	for (const char *p = error; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (*p == ' ')
			raised = p + strcspn(p, "\n");
	raised += *raised == '\n';
	return *raised && raised > error ? raised : error;
}

/* Says why the job was cancelled, if that is what the gateway's sentence says; it may be NULL. */
static bool is_told_cancelled(const char *id, const char *error, const char *limit)
{
	static const char head[] = "Job was cancelled: ";
	if (!error || strncmp(error, head, strlen(head)) != 0)
		return false;
	const char *why = error + strlen(head);
	bool is_late = strcmp(why, "timeout") == 0;
	complain(EXIT_JOB, "job %s was cancelled: %s%s%s", id,
		is_late ? "over its time limit (timeout)" : why, is_late && limit ? " of " : "",
		is_late && limit ? limit : "");
	return true;
}

int follow_outcome(struct cli *cli, const char *id, const char *limit, bool is_log_shown)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(json_decrefp) json_t *job = NULL;
	const char *status;
	int code = ask_job(cli, id, 0, &reply, &job, &status);
	if (code)
		return complain(code, "%sjob %s has ended; to see how: mist wait %s",
			code == EXIT_INTERRUPTED ? "interrupted, " : "", id, id);
	if (is_told_cancelled(id, json_string_of(job, "cancelReason"), limit))
		return EXIT_JOB;
	if (strcmp(status, "finished") != 0) {
		const char *error = json_string_of(job, "jobResult");
		if (error && is_log_shown)
			error = raised_of(error);
		return complain(EXIT_JOB, "job %s: %s%s%s", id, status, error ? ": " : "",
			error ? error : "");
	}
	size_t len = 0;
	const char *result = json_member_text(reply.body.data, reply.body.len, "jobResult", &len);
	json_print(cli, result ? result : "null", result ? len : 4);
	return EXIT_FINE;
}
