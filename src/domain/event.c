/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a job as JSON texts, byte for byte as Mist writes them: members in its order, the
 * discriminator `event` last.
 *
 * The texts are put together, not built as trees: arguments and results are JSON already, may be
 * large, and go to many readers. They come as a client or a worker wrote them; blanks and line ends
 * between their tokens are left out, so that an event is one line whatever it travels in. */
#include "domain/event.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "domain/function.h"

static const struct {
	const char *name;
	int rank;
	bool has_time;
} kinds[_EVENT_MAX] = {
	[EVENT_REFUSED] = { "refused", 0, false },
	[EVENT_ACCEPTED] = { "initialized", 1, false },
	[EVENT_QUEUED] = { "queued", 2, false },
	[EVENT_WORKER_ASSIGNED] = { "worker-assigned", 3, false },
	[EVENT_DOWNLOADING] = { "job-file-downloading", 4, true },
	[EVENT_STARTED] = { "started", 5, true },
	[EVENT_PROGRESS] = { "progress", 0, true },
	[EVENT_CANCELLING] = { "cancelling", 6, true },
	[EVENT_FINISHED] = { "finished", EVENT_RANK_FINAL, true },
	[EVENT_CANCELLED] = { "cancelled", EVENT_RANK_FINAL, true },
	[EVENT_FAILED] = { "failed", EVENT_RANK_FINAL, true },
};

enum event_kind job_final_event(enum job_state s)
{
	static const enum event_kind ends[_JOB_STATE_MAX] = {
		[JOB_FINISHED] = EVENT_FINISHED,
		[JOB_CANCELLED] = EVENT_CANCELLED,
		[JOB_FAILED] = EVENT_FAILED,
	};
	must(job_state_is_final(s));
	return ends[s];
}

const char *event_name(enum event_kind kind)
{
	return kinds[kind].name;
}

int event_rank(enum event_kind kind)
{
	return kinds[kind].rank;
}

static int add_string(struct buf *out, const char *name, const char *text)
{
	_cleanup_(freep) char *quoted = json_quote(text, strlen(text));
	return buf_printf(out, ",\"%s\":%s", name, quoted);
}

static int add_json(struct buf *out, const char *text, size_t len)
{
	size_t to = out->len;
	bool in_string = false;
	int r = buf_add(out, text, len);
	if (r)
		return r;
	for (const char *p = out->data + to, *end = out->data + out->len; p < end; p++) {
		if (!in_string && memchr(" \t\r\n", *p, 4))
			continue;
		if (*p == '"')
			in_string = !in_string;
		out->data[to++] = *p;
		if (in_string && *p == '\\' && p + 1 < end)
			out->data[to++] = *++p;
	}
	out->data[to] = '\0';
	out->len = to;
	return 0;
}

static int add_params(const struct event_facts *e, struct buf *out)
{
	_cleanup_(freep) char *path = json_quote(e->path, strlen(e->path));
	int full = buf_printf(out, ",\"params\":{\"filePath\":%s", path);
	full |= add_string(out, "className", e->class_name);
	full |= buf_puts(out, ",\"arguments\":");
	full |= add_json(out, e->arguments, strlen(e->arguments));
	full |= buf_puts(out, ",\"action\":\"execute\"}");
	if (e->external_id)
		full |= add_string(out, "externalId", e->external_id);
	full |= add_string(out, "function", e->function);
	return full | add_string(out, "context", e->context);
}

struct event_facts event_facts_of(const struct job_event *ev)
{
	const struct job *j = ev->job;
	bool is_end = kinds[ev->kind].rank == EVENT_RANK_FINAL;
	return (struct event_facts){ .kind = ev->kind,
		.id = &j->id,
		.at_ms = ev->kind == EVENT_STARTED ? j->started_ms
			 : is_end                  ? j->ended_ms
						   : ev->at_ms,
		.function = j->function->name,
		.context = j->context,
		.path = j->function->settings.path,
		.class_name = j->function->settings.class_name,
		.arguments = j->parameters,
		.external_id = j->external_id,
		.worker = ev->worker,
		.result = ev->result,
		.result_len = ev->result_len,
		.is_compact = ev->is_compact,
		.error = ev->error,
		.progress = ev->progress };
}

void event_id(const struct job_event *ev, char ret[EVENT_ID])
{
	const char *name = kinds[ev->kind].name;
	unsigned attempt = ev->job->attempt;
	char id[UUID_TEXT];
	uuid_format(&ev->job->id, id);
	if (ev->kind == EVENT_PROGRESS)
		snprintf(ret, EVENT_ID, "%s:%s:%" PRId64, id, name, ev->at_ms);
	else if (kinds[ev->kind].rank == EVENT_RANK_FINAL || attempt < 2)
		snprintf(ret, EVENT_ID, "%s:%s", id, name);
	else
		snprintf(ret, EVENT_ID, "%s:%s:%u", id, name, attempt);
}

/* The value by its millionths: printf's decimal point is one of the locale. */
static int add_progress(const struct progress *p, struct buf *out)
{
	int full = 0;
	if (p->has_value) {
		long millionths = lround(p->value * 1e6);
		char text[32];
		int len = snprintf(
			text, sizeof text, "%ld.%06ld", millionths / 1000000, millionths % 1000000);
		while (text[len - 1] == '0')
			len--;
		len -= text[len - 1] == '.';
		full |= buf_printf(out, ",\"value\":%.*s", len, text);
	}
	return p->note ? full | add_string(out, "note", p->note) : full;
}

char *progress_text(const struct progress *p)
{
	struct buf out;
	buf_init(&out, 8 * PROGRESS_NOTE_MAX);
	must(buf_printf(&out, "{\"time\":%" PRId64, p->at_ms) == 0 && add_progress(p, &out) == 0 &&
		buf_puts(&out, "}") == 0);
	return buf_take(&out);
}

int event_print(const struct event_facts *e, struct buf *out)
{
	char id[UUID_TEXT];
	uuid_format(e->id, id);
	int full = buf_printf(out, "{\"id\":\"%s\"", id);
	if (kinds[e->kind].has_time)
		full |= buf_printf(out, ",\"time\":%" PRId64, e->at_ms);
	if (e->kind == EVENT_ACCEPTED) {
		full |= add_params(e, out);
	} else if (e->kind == EVENT_WORKER_ASSIGNED) {
		full |= add_string(out, "workerId", e->worker);
	} else if (e->kind == EVENT_FINISHED) {
		full |= buf_puts(out, ",\"result\":");
		full |= e->is_compact ? buf_add(out, e->result, e->result_len)
				      : add_json(out, e->result, e->result_len);
	} else if (e->kind == EVENT_FAILED) {
		full |= add_string(out, "error", e->error);
	} else if (e->kind == EVENT_PROGRESS) {
		full |= add_progress(e->progress, out);
	}
	full |= buf_printf(out, ",\"event\":\"%s\"}", kinds[e->kind].name);
	return full ? BUF_E_FULL : 0;
}

int event_print_logs(
	const struct uuid *id, const struct buf *entries, int64_t file_offset, struct buf *out)
{
	char text[UUID_TEXT];
	uuid_format(id, text);
	int full = buf_printf(out, "{\"id\":\"%s\",\"events\":[", text);
	full |= buf_add(out, entries->data, entries->len);
	full |= buf_printf(out, "],\"fileOffset\":%" PRId64 ",\"event\":\"logs\"}", file_offset);
	return full ? BUF_E_FULL : 0;
}
