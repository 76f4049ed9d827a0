/* SPDX-License-Identifier: Apache-2.0 */
/* Where the answers to a request go, and what they look like.
 *
 * It is kept with the job as text: a letter that says how it is told, then a JSON object with the
 * requester's own data (topic, correlation, and what message_print understands). A requester that
 * gave a response topic gets one answer there, the outcome, or every event when it asked for all.
 * Without one, the requests of subscribe-topic are answered on publish-topic, as Mist did, and
 * others on the job's own topic; those two get the events of all jobs anyway, so for these jobs
 * they are told here, outcome included, and left out where the watch tells the rest. A response
 * topic that is publish-topic is no other than that.
 *
 * What was kept is read again without trust: the text may be of another version of this program or
 * of a disk that forgets, and one job's answer must not stop the gateway. */
#include "transport/mqtt/private.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "transport/reserved.h"

enum way {
	WAY_OUTCOME = 'R', /* to the response topic */
	WAY_ALL = 'A',     /* the same, every event */
	WAY_COMMON = 'P',  /* every event, to publish-topic */
	WAY_OWN = 'E',     /* to the topic of the job */
};

#define ANSWERS (EVENT_BIT(EVENT_ACCEPTED) | EVENT_BIT(EVENT_REFUSED))

static bool is_all(const struct mqtt *m, const char *text)
{
	return text[0] == WAY_ALL || text[0] == WAY_COMMON ||
	       (text[0] == WAY_OWN && m->events == MQTT_EVENTS_ALL);
}

uint32_t reply_wants(const struct mqtt *m, const char *text)
{
	uint32_t all = ~0u;
	if (text[0] != WAY_ALL && !m->settings.with_progress)
		all &= ~EVENT_BIT(EVENT_PROGRESS);
	return is_all(m, text) ? all : ANSWERS | EVENTS_FINAL;
}

bool reply_is_on_common(const char *text)
{
	return text && text[0] == WAY_COMMON;
}

bool reply_is_on_own(const char *text)
{
	return text && text[0] == WAY_OWN;
}

bool mqtt_topic_is_good(const char *topic)
{
	return *topic && strlen(topic) <= UINT16_MAX && !strpbrk(topic, "+#") &&
	       utf8_is_valid(topic, strlen(topic));
}

int reply_check_topic(const struct mqtt *m, const char *topic, struct fault *f)
{
	if (!mqtt_topic_is_good(topic))
		return fault_set(f, FAULT_BAD_REQUEST,
			"response topic: expected a topic without + and #, of 1 to %d bytes of "
			"UTF-8",
			UINT16_MAX);
	if (topic[0] == '$')
		return fault_set(f, FAULT_BAD_REQUEST,
			"response topic: expected a topic that does not begin with $, which are "
			"the broker's own, got \"%.*s\"",
			utf8_cut(topic, 64), topic);
	if (m->settings.publish_topic[0] && strcmp(topic, m->settings.publish_topic) == 0)
		return 0;
	if (reserved_has("mqtt", topic))
		return fault_set(f, FAULT_BAD_REQUEST,
			"response topic: %.*s is one by which Mist takes requests or tells of "
			"jobs, and no answer is sent there",
			utf8_cut(topic, 128), topic);
	return 0;
}

char *reply_text(const struct mqtt *m, json_t *reply, const char *response_topic, bool wants_all,
	bool is_common)
{
	enum way way = WAY_OWN;
	if (response_topic && strcmp(response_topic, m->settings.publish_topic) == 0)
		way = WAY_COMMON;
	else if (response_topic)
		way = wants_all ? WAY_ALL : WAY_OUTCOME;
	else if (is_common && m->settings.publish_topic[0])
		way = WAY_COMMON;
	if (response_topic)
		json_object_set_new(reply, "topic", json_string(response_topic));
	_cleanup_(freep) char *json = json_text(reply);
	return xasprintf("%c%s", way, json);
}

static bool is_hex(const char *text)
{
	size_t len = strlen(text);
	return len % 2 == 0 && strspn(text, "0123456789abcdef") == len;
}

/* The object behind the letter; NULL: the text is none of reply_text(). */
static json_t *reply_parse(const char *text, struct fault *f)
{
	if (!text[0] ||
		!strchr((const char[]){ WAY_OUTCOME, WAY_ALL, WAY_COMMON, WAY_OWN, 0 }, text[0])) {
		fault_set(f, FAULT_BAD_REQUEST, "it does not begin with a way to answer");
		return NULL;
	}
	_cleanup_(json_decrefp) json_t *reply = json_parse_kept(text + 1, f);
	if (!reply)
		return NULL;
	const json_t *correlation = json_object_get(reply, "correlation");
	const char *topic = json_string_of(reply, "topic");
	bool needs_topic = text[0] == WAY_OUTCOME || text[0] == WAY_ALL;
	if (!json_is_object(reply))
		fault_set(f, FAULT_BAD_REQUEST, "expected an object, got %s", json_kind(reply));
	else if (needs_topic && (!topic || !mqtt_topic_is_good(topic)))
		fault_set(f, FAULT_BAD_REQUEST, "topic: expected one to publish to");
	else if (correlation &&
		 (!json_is_string(correlation) || !is_hex(json_string_value(correlation))))
		fault_set(f, FAULT_BAD_REQUEST, "correlation: expected bytes in hexadecimal");
	else
		return TAKE_PTR(reply);
	return NULL;
}

int reply_check(const char *text, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *reply = reply_parse(text, f);
	return reply ? 0 : -EBADMSG;
}

bool reply_is_allowed(const struct mqtt *m, const char *text, struct fault *f)
{
	if (text[0] != WAY_OUTCOME && text[0] != WAY_ALL)
		return true;
	_cleanup_(json_decrefp) json_t *reply = reply_parse(text, f);
	return reply && reply_check_topic(m, json_string_of(reply, "topic"), f) == 0;
}

static char *topic_of(const struct mqtt *m, char way, const json_t *reply, const char *job)
{
	switch ((enum way)way) {
	case WAY_OUTCOME:
	case WAY_ALL: {
		const char *topic = json_string_of(reply, "topic");
		return topic ? xstrdup(topic) : NULL;
	}
	case WAY_OWN:
		if (job[0])
			return xasprintf("%s/jobs/%s/events", m->settings.prefix, job);
		/* fall through: a refusal has no job */
	case WAY_COMMON:
		break;
	}
	return m->settings.publish_topic[0] ? xstrdup(m->settings.publish_topic) : NULL;
}

static unsigned nibble(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

static void set_correlation(struct letter *l, const char *hex)
{
	l->has_correlation = hex;
	for (; hex && hex[0] && hex[1]; hex += 2) {
		char byte = (char)(nibble(hex[0]) << 4 | nibble(hex[1]));
		buf_add(&l->correlation, &byte, 1);
	}
}

/* Takes the payload of `out`. */
static void fill(struct letter *l, struct message_out *out)
{
	l->payload = out->payload;
	out->payload = (struct buf){ 0 };
	l->content_type = out->content_type;
	if (out->job[0])
		mqtt_letter_pair(l, "job-id", out->job);
	mqtt_letter_pair(l, "event", out->event);
	mqtt_letter_pair(l, "event-id", out->id);
	if (out->trace)
		mqtt_letter_pair(l, "traceparent", out->trace);
	if (out->ignored)
		mqtt_letter_pair(l, "mist-ignored", out->ignored);
	for (size_t i = 0; i < out->n_attributes; i++)
		mqtt_letter_pair(l, out->attributes[i].name, out->attributes[i].value);
}

/* In properties brokers may take control characters and noncharacters for malformed, and end the
 * connection (MQTT 5, 1.5.4). It is valid UTF-8. */
bool mqtt_text_is_clean(const char *text)
{
	size_t left = strlen(text), n;
	for (; left; text += n, left -= n) {
		unsigned point = 0; /* its lower 16 bits */
		n = utf8_shown(text, left);
		for (size_t i = 0; i < n; i++)
			point = point << 6 | ((unsigned char)text[i] & 0x3f);
		point &= 0xffff;
		bool is_odd = (n >= 3 && (point & 0xfffe) == 0xfffe) ||
			      (n == 3 && point >= 0xfdd0 && point <= 0xfdef);
		if (!n || is_odd)
			return false;
	}
	return true;
}

struct letter *reply_letter(struct mqtt *m, const char *text, const struct job_event *ev)
{
	struct message_out out;
	struct fault f;
	_cleanup_(json_decrefp) json_t *reply = reply_parse(text, &f);
	if (!reply) {
		log_error("transport %s: an answer has nowhere to go: %s", m->env.name, f.text);
		return NULL;
	}
	const char *external_id = json_string_of(reply, "externalId");
	message_print(reply, ev, &out);
	_cleanup_(freep) char *topic = topic_of(m, text[0], reply, out.job);
	struct letter *l = topic ? mqtt_letter_new(topic) : NULL;
	if (l) {
		fill(l, &out);
		if (external_id && mqtt_text_is_clean(external_id))
			mqtt_letter_pair(l, "externalId", external_id);
		set_correlation(l, json_string_of(reply, "correlation"));
		l->is_news = text[0] == WAY_COMMON || text[0] == WAY_OWN;
		l->is_kept = EVENT_BIT(ev->kind) & (EVENTS_FINAL | EVENT_BIT(EVENT_REFUSED));
	}
	message_out_done(&out);
	return l;
}

struct letter *news_letter(const char *topic, const struct watch_event *ev)
{
	struct message_out out;
	struct letter *l = mqtt_letter_new(topic);
	message_print_watched(ev, &out);
	fill(l, &out);
	message_out_done(&out);
	l->is_news = true;
	return l;
}
