/* SPDX-License-Identifier: Apache-2.0 */
/* An MQTT message, from its bytes to the answers to it, and the answers that are told after a
 * restart, by what was kept of it.
 *
 * An input begins with the topic; lines "t TEXT" (content type), "r TEXT" (response topic), "c
 * BYTES" (correlation), "e N" (expiry) and "u NAME=VALUE" (user property) follow, an empty line,
 * and the payload. With the topic "!kept" the payload is what a row has of the message instead, and
 * may be anything. Whatever is read, a reply can be printed, restored, and made into letters that a
 * broker takes: the topic without wildcards, texts in UTF-8, the payload JSON. */
#include "fuzz.h"

#include <stdlib.h>

#include "messages.h"
#include "transport/mqtt/private.h"

enum { INPUT_MAX = 64 * 1024, PROPERTIES_MAX = 32 };

static struct mqtt *instance(void)
{
	static const char *const sets[] = { "it.url=tcp://127.0.0.1:1", "it.subscribe-topic=in",
		"it.publish-topic=out", "it.message=16k" };
	static struct mqtt m;
	if (m.env.name)
		return &m;
	settings_read(mqtt_conf, sizeof m.settings, sets, ARRAY_SIZE(sets), &m.settings);
	m.env.name = "fuzz";
	m.env.gateway = "gateway";
	m.env.in = intake_of_nobody();
	m.events = m.settings.events;
	return &m;
}

static void check_letter(struct letter *l)
{
	const char *pairs = l->pairs.data;
	must(mqtt_topic_is_good(l->topic));
	must_be_json(l->payload.data, l->payload.len);
	for (size_t at = 0, n; at < l->pairs.len; at += n + 1) {
		n = strlen(pairs + at);
		must(utf8_is_valid(pairs + at, n));
	}
	mqtt_letter_free(l);
}

struct telling {
	struct mqtt *m;
	const char *text;
	uint32_t wants;
};

static void tell(void *arg, const struct job_event *ev)
{
	const struct telling *t = arg;
	struct letter *l = t->wants & EVENT_BIT(ev->kind) ? reply_letter(t->m, t->text, ev) : NULL;
	if (l)
		check_letter(l);
}

/* As after a restart. */
static void tell_restored(struct mqtt *m, const char *text, const struct fault *refusal)
{
	_cleanup_(job_unrefp) struct job *j = job_example();
	_cleanup_(freep) char *copy = xstrdup(text);
	struct reply_to to = { .text = copy };
	if (mqtt_transport.restore(&m, &to) < 0) /* an instance is a pointer to it */
		return;
	struct telling t = { m, to.text, to.wants };
	each_event(j, refusal, tell, &t);
}

static MQTTLenString string_of(const char *text, size_t len)
{
	return (MQTTLenString){ (int)len, bytes_copy(text, len) };
}

static bool read_property(const char *line, size_t len, MQTTProperty *ret)
{
	const char *value = line + 2;
	size_t n = len - 2;
	if (len < 2 || line[1] != ' ')
		return false;
	*ret = (MQTTProperty){ 0 };
	switch (line[0]) {
	case 't':
		ret->identifier = MQTTPROPERTY_CODE_CONTENT_TYPE;
		break;
	case 'r':
		ret->identifier = MQTTPROPERTY_CODE_RESPONSE_TOPIC;
		break;
	case 'c':
		ret->identifier = MQTTPROPERTY_CODE_CORRELATION_DATA;
		break;
	case 'e':
		ret->identifier = MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL;
		for (size_t i = 0; i < n && value[i] >= '0' && value[i] <= '9'; i++)
			ret->value.integer4 =
				ret->value.integer4 * 10u + (unsigned)(value[i] - '0');
		return true;
	case 'u':
		ret->identifier = MQTTPROPERTY_CODE_USER_PROPERTY;
		const char *equals = memchr(value, '=', n);
		if (!equals)
			return false;
		ret->value.data = string_of(value, (size_t)(equals - value));
		ret->value.value = string_of(equals + 1, n - (size_t)(equals - value) - 1);
		return true;
	default:
		return false;
	}
	ret->value.data = string_of(value, n);
	return true;
}

static void play(struct mqtt *m, const char *topic, MQTTAsync_message *message)
{
	struct request r;
	struct fault f = { 0 };
	mqtt_request_init(&r, m, message);
	if (mqtt_request_read(&r, topic, &f) == 0 && r.body.kind == MESSAGE_JOB) {
		const struct job_request *job = r.body.job;
		must(job->function && job->parameters && json_is_object(job->arguments));
		must_be_json(job->parameters, strlen(job->parameters));
		must(!job->idempotency_key == !job->idempotency_digest);
		must(r.reply);
	}
	must(f.code == FAULT_NONE || utf8_is_valid(f.text, strlen(f.text)));
	if (f.code == FAULT_NONE)
		fault_set(&f, FAULT_TOO_MANY, "not now");
	if (r.reply)
		tell_restored(m, r.reply, &f);
	mqtt_request_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MQTTProperty properties[PROPERTIES_MAX];
	MQTTAsync_message message = MQTTAsync_message_initializer;
	struct mqtt *m = instance();
	const char *at = (const char *)data, *end = at + size, *line;
	size_t len;
	int n = 0;
	if (size == 0 || size > INPUT_MAX || !line_take(&at, end, &line, &len))
		return 0;
	_cleanup_(freep) char *topic = strndup(line, len);
	while (line_take(&at, end, &line, &len) && n < PROPERTIES_MAX)
		n += read_property(line, len, &properties[n]);
	_cleanup_(freep) char *payload = bytes_copy(at, (size_t)(end - at));
	if (strcmp(topic, "!kept") == 0) {
		struct fault f = { 0 };
		_cleanup_(freep) char *text = strndup(at, (size_t)(end - at));
		fault_set(&f, FAULT_TOO_MANY, "not now");
		tell_restored(m, text, &f);
	} else {
		message.payload = payload;
		message.payloadlen = (int)(end - at);
		message.properties.count = n;
		message.properties.max_count = PROPERTIES_MAX;
		message.properties.array = properties;
		play(m, topic, &message);
	}
	while (n-- > 0) {
		if (properties[n].identifier == MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL)
			continue;
		free(properties[n].value.data.data);
		if (properties[n].identifier == MQTTPROPERTY_CODE_USER_PROPERTY)
			free(properties[n].value.value.data);
	}
	return 0;
}
