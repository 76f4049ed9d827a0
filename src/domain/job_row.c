/* SPDX-License-Identifier: Apache-2.0 */
/* A job as history tells it, and its JSON: Mist's Job object.
 *
 * The JSON is put together as text, not through a tree: parameters and results are JSON texts
 * already (checked when they came in) and may be large, and a page of history holds many of them.
 *
 * A row that was read from a disk is checked first: all that comes after trusts it, and one row
 * must not end the gateway, or make an answer that is no JSON. */
#include "domain/job.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"
#include "domain/function.h"

#define TIME_MAX_MS INT64_C(253402300799999) /* the year 9999 */

void job_row_done(struct job_row *r)
{
	char *const owned[] = { r->function, r->path, r->class_name, r->context, r->parameters,
		r->source, r->external_id, r->reply_to, r->trace, r->worker, r->result, r->error,
		r->progress, r->ignored, r->door };
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
		free(owned[i]);
	memset(r, 0, sizeof *r);
}

void job_row_freep(struct job_row **r)
{
	if (!*r)
		return;
	job_row_done(*r);
	free(*r);
}

static int refuse(struct fault *f, const char *member, const char *expected)
{
	fault_set(f, FAULT_INTERNAL, "%s: expected %s", member, expected);
	return -EBADMSG;
}

static int check_texts(const struct job_row *r, struct fault *f)
{
	const struct {
		const char *name, *text;
		bool is_required;
	} texts[] = { { "function", r->function, true }, { "path", r->path, true },
		{ "className", r->class_name, true }, { "context", r->context, true },
		{ "source", r->source, true }, { "externalId", r->external_id, false },
		{ "trace", r->trace, false }, { "workerId", r->worker, false },
		{ "error", r->error, false }, { "transport", r->door, false },
		{ "replyTarget", r->reply_to, false }, { "ignored", r->ignored, false } };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *text = texts[i].text;
		if (!text && texts[i].is_required)
			return refuse(f, texts[i].name, "a text, got nothing");
		if (text && !utf8_is_valid(text, strlen(text)))
			return refuse(f, texts[i].name, "UTF-8");
	}
	if (!name_is_good(r->context))
		return refuse(f, "context", "a name of letters, digits, '.', '_' and '-'");
	if (!r->door != !r->reply_to)
		return refuse(f, "replyTarget", "a text together with its transport");
	return 0;
}

static int check_json(const struct job_row *r, struct fault *f)
{
	const char *p = r->parameters;
	if (!p || p[strspn(p, " \t\r\n")] != '{' || !json_is_text(p, strlen(p), JSON_KEPT_DEPTH))
		return refuse(f, "parameters", "a JSON object");
	if (r->result && !json_is_text(r->result, strlen(r->result), JSON_KEPT_DEPTH))
		return refuse(f, "result", "JSON");
	p = r->progress;
	if (p && (p[0] != '{' || !json_is_text(p, strlen(p), JSON_KEPT_DEPTH)))
		return refuse(f, "progress", "a JSON object");
	return 0;
}

static int check_numbers(const struct job_row *r, struct fault *f)
{
	const struct {
		const char *name;
		int64_t value, min, max;
	} numbers[] = { { "state", r->state, 0, _JOB_STATE_MAX - 1 },
		{ "createTime", r->created_ms, 0, TIME_MAX_MS },
		{ "startTime", r->started_ms, 0, TIME_MAX_MS },
		{ "endTime", r->ended_ms, 0, TIME_MAX_MS },
		{ "startTimeout", r->start_timeout_ms, 0, INT64_MAX },
		{ "performTimeout", r->perform_timeout_ms, 0, INT64_MAX },
		{ "priority", r->priority, -JOB_PRIORITY_MAX, JOB_PRIORITY_MAX },
		{ "attempt", r->attempt, 0, INT32_MAX } };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (numbers[i].value >= numbers[i].min && numbers[i].value <= numbers[i].max)
			continue;
		fault_set(f, FAULT_INTERNAL,
			"%s: expected a number from %" PRId64 " to %" PRId64 ", got %" PRId64,
			numbers[i].name, numbers[i].min, numbers[i].max, numbers[i].value);
		return -EBADMSG;
	}
	return 0;
}

/* A job that runs has begun, and one that waits has not: the core counts on it. */
static int check_start(const struct job_row *r, struct fault *f)
{
	if (r->state == JOB_STARTED && !r->started_ms)
		return refuse(f, "startTime", "a time, since the job has started");
	if (r->state < JOB_STARTED && r->started_ms)
		return refuse(f, "startTime", "none, since the job has not started");
	return 0;
}

int job_row_check(const struct job_row *r, struct fault *f)
{
	int n = check_numbers(r, f);
	if (n == 0)
		n = check_start(r, f);
	if (n == 0)
		n = check_texts(r, f);
	return n == 0 ? check_json(r, f) : n;
}

/* `,"name":"text"`; nothing for NULL. */
static int add_string(struct buf *out, const char *name, const char *text)
{
	if (!text)
		return 0;
	_cleanup_(freep) char *quoted =
		json_quote(text, strlen(text)); /* an error may be anything */
	return buf_printf(out, ",\"%s\":%s", name, quoted);
}

static int add_time(struct buf *out, const char *name, int64_t ms)
{
	return ms ? buf_printf(out, ",\"%s\":%" PRId64, name, ms) : 0;
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

struct job *job_of_row(const struct job_row *r)
{
	const struct function_settings settings = {
		.path = r->path, .class_name = r->class_name, .context = r->context
	};
	struct job *j = job_new();
	j->id = r->id;
	j->function = function_new(r->function, &settings, r->path);
	j->context = xstrdup(r->context);
	j->parameters = xstrdup(r->parameters);
	j->external_id = copy(r->external_id);
	j->reply_to = copy(r->reply_to);
	j->door = copy(r->door);
	j->trace = copy(r->trace);
	j->ignored = copy(r->ignored);
	j->source = xstrdup(r->source);
	j->created_ms = r->created_ms;
	j->started_ms = r->started_ms;
	j->ended_ms = r->ended_ms;
	j->start_timeout_ms = r->start_timeout_ms;
	j->perform_timeout_ms = r->perform_timeout_ms;
	j->priority = r->priority;
	j->attempt = r->attempt;
	j->is_sync = r->is_sync;
	j->state = r->state;
	return j;
}

int job_row_print(const struct job_row *r, struct buf *out)
{
	char id[UUID_TEXT];
	uuid_format(&r->id, id);

	int full = buf_printf(out, "{\"jobId\":\"%s\"", id);
	full |= add_string(out, "function", r->function);
	full |= buf_puts(out, ",\"params\":{\"action\":\"execute\"");
	full |= add_string(out, "filePath", r->path);
	full |= add_string(out, "className", r->class_name);
	full |= buf_puts(out, ",\"arguments\":");
	full |= buf_puts(out, r->parameters ? r->parameters : "{}");
	full |= buf_puts(out, "}");
	full |= add_string(out, "context", r->context);
	full |= add_string(out, "externalId", r->external_id);
	full |= add_string(out, "source", r->source);
	full |= add_string(out, "status", job_state_name(r->state));
	full |= add_string(out, "workerId", r->worker);
	full |= add_time(out, "createTime", r->created_ms);
	full |= add_time(out, "startTime", r->started_ms);
	full |= add_time(out, "endTime", r->ended_ms);
	if (r->state == JOB_FINISHED && r->result) {
		full |= buf_puts(out, ",\"jobResult\":");
		full |= buf_puts(out, r->result);
	} else if (r->state == JOB_FAILED) {
		full |= add_string(out, "jobResult", r->error ? r->error : "");
	} else if (r->state == JOB_CANCELLED) {
		full |= add_string(out, "cancelReason", r->error);
	}
	if (r->progress && job_state_is_final(r->state))
		full |= buf_printf(out, ",\"progress\":%s", r->progress);
	full |= buf_puts(out, "}");
	return full ? BUF_E_FULL : 0;
}

size_t job_row_bytes(const struct job_row *r)
{
	const char *const texts[] = { r->function, r->path, r->class_name, r->context,
		r->parameters, r->source, r->external_id, r->reply_to, r->trace, r->worker,
		r->result, r->error, r->progress, r->ignored, r->door };
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		n += texts[i] ? strlen(texts[i]) : 0;
	return n;
}
