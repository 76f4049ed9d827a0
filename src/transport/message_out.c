/* SPDX-License-Identifier: Apache-2.0 */
/* Events in messages: Mist's event JSON; CloudEvents 1.0 with that JSON as data, in one object or
 * with the attributes beside it; and the one answer of Mist's first generation, which repeats the
 * request. A refusal has no job: it is told as a `failed` with the sender's own id. */
#include "transport/message.h"

#include <gnutls/crypto.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/ignored.h"

#define PAYLOAD_MAX ((size_t)1 << 30)
#define JSON_TYPE   "application/json"
#define CLOUD_TYPE  "application/cloudevents+json; charset=UTF-8"

static void print_refusal(const json_t *reply, const struct job_event *ev, struct buf *out)
{
	_cleanup_(json_decrefp) json_t *json = json_pack("{s:s*, s:I, s:s, s:s}", "externalId",
		json_string_of(reply, "externalId"), "time", (json_int_t)ev->at_ms, "error",
		ev->fault->text, "event", event_name(EVENT_FAILED));
	_cleanup_(freep) char *text = json_text(json);
	buf_puts(out, text);
}

/* The first generation's answer. */
static void print_answer(const json_t *echo, const struct job_event *ev, struct buf *out)
{
	const char *error = ev->kind == EVENT_REFUSED ? ev->fault->text : ev->error;
	_cleanup_(freep) char *request = json_text(echo);
	if (ev->kind == EVENT_FINISHED) {
		buf_puts(out, "{\"success\":true,\"payload\":");
		buf_add(out, ev->result, ev->result_len);
		buf_puts(out, ",\"errors\":[]");
	} else {
		_cleanup_(freep) char *quoted =
			json_quote(error ? error : "", strlen(error ? error : ""));
		buf_printf(out, "{\"success\":false,\"payload\":{},\"errors\":[%s]", quoted);
	}
	buf_printf(out, ",\"request\":%s}", request);
}

static void add_attribute(struct message_out *out, const char *name, const char *value)
{
	out->attributes[out->n_attributes].name = name;
	snprintf(out->attributes[out->n_attributes].value, sizeof out->attributes[0].value, "%s",
		value);
	out->n_attributes++;
}

/* RFC 3339. */
static void format_time(int64_t ms, char ret[static CLOCK_TEXT + 1])
{
	clock_format(ms, ret);
	memcpy(ret + CLOCK_TEXT - 1, "Z", 2);
}

static void wrap_structured(struct message_out *out, int64_t at_ms)
{
	struct buf data = out->payload;
	char time[CLOCK_TEXT + 1];
	format_time(at_ms, time);
	buf_init(&out->payload, PAYLOAD_MAX);
	buf_printf(&out->payload,
		"{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"" MESSAGE_SOURCE "\","
		"\"type\":\"" MESSAGE_TYPE "%s\",",
		out->id, out->event);
	if (out->job[0])
		buf_printf(&out->payload, "\"subject\":\"%s\",", out->job);
	if (out->trace)
		buf_printf(&out->payload, "\"traceparent\":\"%s\",", out->trace);
	buf_printf(&out->payload,
		"\"time\":\"%s\",\"datacontenttype\":\"" JSON_TYPE "\",\"data\":", time);
	buf_add(&out->payload, data.data, data.len);
	buf_puts(&out->payload, "}");
	buf_done(&data);
	out->content_type = CLOUD_TYPE;
}

static void add_attributes(struct message_out *out, int64_t at_ms)
{
	char type[64], time[CLOCK_TEXT + 1];
	snprintf(type, sizeof type, MESSAGE_TYPE "%s", out->event);
	format_time(at_ms, time);
	add_attribute(out, "specversion", "1.0");
	add_attribute(out, "id", out->id);
	add_attribute(out, "source", MESSAGE_SOURCE);
	add_attribute(out, "type", type);
	add_attribute(out, "time", time);
	if (out->job[0])
		add_attribute(out, "subject", out->job);
}

/* Nothing of a refusal is kept that could name it, so a UUID does: version 7, with random bits in
 * place of the counter, for any thread may print. What was printed is sent until it has arrived. */
static void refusal_id(int64_t at_ms, char ret[static EVENT_ID])
{
	enum { TIME_BYTES = 6 };
	struct uuid id;
	char text[UUID_TEXT];
	uuid_at(&id, at_ms);
	must(gnutls_rnd(GNUTLS_RND_NONCE, id.bytes + TIME_BYTES, sizeof id.bytes - TIME_BYTES) ==
		0);
	id.bytes[6] = 0x70 | (id.bytes[6] & 0x0f);
	id.bytes[8] = 0x80 | (id.bytes[8] & 0x3f);
	uuid_format(&id, text);
	snprintf(ret, EVENT_ID, "refused:%s", text);
}

void message_print(const json_t *reply, const struct job_event *ev, struct message_out *ret)
{
	const json_t *echo = json_object_get(reply, "echo");
	const char *form = json_string_of(reply, "form");
	bool is_refused = ev->kind == EVENT_REFUSED;
	*ret = (struct message_out){ .content_type = JSON_TYPE,
		.event = event_name(is_refused ? EVENT_FAILED : ev->kind) };
	buf_init(&ret->payload, PAYLOAD_MAX);
	ignored_add_all(&ret->ignored, json_string_of(reply, "ignored"));
	if (is_refused) {
		refusal_id(ev->at_ms, ret->id);
	} else {
		uuid_format(&ev->job->id, ret->job);
		event_id(ev, ret->id);
		ret->trace = ev->job->trace;
		ignored_add_all(&ret->ignored, ev->job->ignored);
	}
	bool is_end = is_refused || EVENT_BIT(ev->kind) & EVENTS_FINAL;
	if (echo && is_end) {
		print_answer(echo, ev, &ret->payload);
	} else if (is_refused) {
		print_refusal(reply, ev, &ret->payload);
	} else {
		const struct event_facts facts = event_facts_of(ev);
		event_print(&facts, &ret->payload);
	}
	if (form && strcmp(form, "structured") == 0)
		wrap_structured(ret, ev->at_ms);
	else if (form)
		add_attributes(ret, ev->at_ms);
}

void message_print_watched(const struct watch_event *ev, struct message_out *ret)
{
	*ret = (struct message_out){ .content_type = JSON_TYPE, .event = ev->name };
	uuid_format(ev->job, ret->job);
	if (ev->id)
		snprintf(ret->id, sizeof ret->id, "%s", ev->id);
	else
		snprintf(ret->id, sizeof ret->id, "%s:logs:%" PRId64, ret->job, ev->log_bytes);
	buf_init(&ret->payload, PAYLOAD_MAX);
	buf_add(&ret->payload, ev->text, ev->len);
}

void message_out_done(struct message_out *out)
{
	buf_done(&out->payload);
	free(out->ignored);
	out->ignored = NULL;
}

char *message_too_large(const struct uuid *job, size_t len)
{
	char id[UUID_TEXT];
	_cleanup_(freep) char *error = xasprintf("the event has %zu bytes, more than the broker "
						 "takes; it can be read from the history of jobs",
		len);
	if (job)
		uuid_format(job, id);
	_cleanup_(json_decrefp) json_t *json =
		json_pack("{s:s*, s:s}", "id", job ? id : NULL, "error", error);
	return json_text(json);
}
