/* SPDX-License-Identifier: Apache-2.0 */
/* What a message says: its payload is message_read's business, its topic and the properties of MQTT
 * 5 are read here. The seconds that a message has left become the start timeout of its job. */
#include "transport/mqtt/private.h"

#include <string.h>

struct text {
	struct list node;
	char text[];
};

static const MQTTProperty *find(const struct request *r, enum MQTTPropertyCodes code)
{
	const MQTTProperties *all = &r->message->properties;
	for (int i = 0; i < all->count; i++)
		if (all->array[i].identifier == code)
			return &all->array[i];
	return NULL;
}

/* With a NUL behind it, for as long as the request. */
static const char *keep(struct request *r, const MQTTLenString *s)
{
	struct text *t = xcalloc(1, sizeof *t + (size_t)s->len + 1);
	memcpy(t->text, s->data, (size_t)s->len);
	list_append(&r->texts, &t->node);
	return t->text;
}

static const char *text_property(struct request *r, enum MQTTPropertyCodes code)
{
	const MQTTProperty *p = find(r, code);
	return p ? keep(r, &p->value.data) : NULL;
}

static const char *user_property(struct request *r, const char *name)
{
	const MQTTProperties *all = &r->message->properties;
	size_t len = strlen(name);
	for (int i = 0; i < all->count; i++) {
		const MQTTProperty *p = &all->array[i];
		if (p->identifier == MQTTPROPERTY_CODE_USER_PROPERTY &&
			(size_t)p->value.data.len == len &&
			memcmp(p->value.data.data, name, len) == 0)
			return keep(r, &p->value.value);
	}
	return NULL;
}

static const char *property(void *arg, const char *name)
{
	struct request *r = arg;
	const char *text = user_property(r, name);
	const MQTTProperty *expiry = find(r, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
	char seconds[16];
	if (text || strcmp(name, "startTimeout") != 0 || !expiry)
		return text;
	MQTTLenString s = { snprintf(seconds, sizeof seconds, "%us", expiry->value.integer4),
		seconds };
	return keep(r, &s);
}

static json_t *hex_of(const MQTTLenString *s)
{
	struct buf out;
	buf_init(&out, 2 * UINT16_MAX);
	for (int i = 0; i < s->len; i++)
		buf_printf(&out, "%02x", (unsigned char)s->data[i]);
	json_t *json = json_stringn(out.data ? out.data : "", out.len);
	buf_done(&out);
	return json;
}

void mqtt_request_init(struct request *r, const struct mqtt *m, const MQTTAsync_message *message)
{
	*r = (struct request){ .mqtt = m, .message = message };
	list_init(&r->texts);
}

void mqtt_request_done(struct request *r)
{
	struct list *n;
	while ((n = list_pop(&r->texts)))
		free(container_of(n, struct text, node));
	message_request_done(&r->body);
	free(r->function);
	free(r->reply);
}

/* `body.reply` becomes the text. A topic that cannot be answered on is as none. */
static bool make_reply(struct request *r, bool is_common)
{
	const MQTTProperty *correlation = find(r, MQTTPROPERTY_CODE_CORRELATION_DATA);
	const char *topic = text_property(r, MQTTPROPERTY_CODE_RESPONSE_TOPIC);
	bool is_good = !topic || mqtt_topic_is_good(topic);
	if (correlation)
		json_object_set_new(r->body.reply, "correlation", hex_of(&correlation->value.data));
	r->reply = reply_text(
		r->mqtt, r->body.reply, is_good ? topic : NULL, r->body.wants_all, is_common);
	return is_good;
}

void mqtt_request_read_reply(struct request *r)
{
	const char *external_id = user_property(r, "externalId");
	r->body.reply = json_object();
	if (external_id)
		json_object_set_new(r->body.reply, "externalId", json_string(external_id));
	make_reply(r, false);
}

/* PREFIX/functions/NAME/jobs; NULL: it is another topic. */
static char *function_of(const char *prefix, const char *topic)
{
	static const char before[] = "/functions/", after[] = "/jobs";
	size_t n = strlen(prefix);
	if (strncmp(topic, prefix, n) != 0 || strncmp(topic + n, before, strlen(before)) != 0)
		return NULL;
	topic += n + strlen(before);
	const char *end = strchr(topic, '/');
	return end && strcmp(end, after) == 0 ? strndup(topic, (size_t)(end - topic)) : NULL;
}

int mqtt_request_read(struct request *r, const char *topic, struct fault *f)
{
	const struct mqtt_settings *s = &r->mqtt->settings;
	bool is_common = strcmp(topic, s->subscribe_topic) == 0;
	if (!is_common)
		r->function = function_of(s->prefix, topic);
	const struct message message = { .payload = r->message->payload,
		.len = (size_t)r->message->payloadlen,
		.content_type = text_property(r, MQTTPROPERTY_CODE_CONTENT_TYPE),
		.function = r->function,
		.property = property,
		.arg = r,
		.cloud = "" };
	const bool is_too_large = r->message->payloadlen > s->payload_max;
	if (!is_common && !r->function) {
		/* Of a subscription that this gateway had under other settings. */
		r->body.kind = MESSAGE_NOISE;
		return 0;
	}
	if (is_too_large) {
		mqtt_request_read_reply(r);
		return fault_set(f, FAULT_TOO_LARGE,
			"the message is over transports.%s.message, %lld bytes", r->mqtt->env.name,
			(long long)s->payload_max);
	}
	int result = message_read(&message, &r->body, f);
	if (!make_reply(r, is_common) && result == 0)
		result = fault_set(
			f, FAULT_BAD_REQUEST, "response topic: expected a topic without + and #");
	return result;
}
