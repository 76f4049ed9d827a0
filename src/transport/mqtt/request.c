/* SPDX-License-Identifier: Apache-2.0 */
/* What a message says: its payload is message_read's business, its topic and the properties of MQTT
 * 5 are read here. The seconds that a message has left become the start timeout of its job; one
 * that has none left is refused, as what a broker would not have passed on.
 *
 * Texts of properties are UTF-8 without NUL, as MQTT has it, or the message is refused: not every
 * broker looks. So it is when a property that is read stands twice, for two readers would believe
 * two values. Properties with other names are anybody's. */
#include "transport/mqtt/private.h"

#include <string.h>

#include "base/utf8.h"

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
	if (s->len > 0) /* an empty text may have no address */
		memcpy(t->text, s->data, (size_t)s->len);
	list_append(&r->texts, &t->node);
	return t->text;
}

static bool is_text(const MQTTLenString *s)
{
	return utf8_is_valid(s->data, (size_t)s->len) && !memchr(s->data, '\0', (size_t)s->len);
}

static const char *text_property(struct request *r, enum MQTTPropertyCodes code)
{
	const MQTTProperty *p = find(r, code);
	return p && is_text(&p->value.data) ? keep(r, &p->value.data) : NULL;
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
			return is_text(&p->value.value) ? keep(r, &p->value.value) : NULL;
	}
	return NULL;
}

static int check_text(const char *what, const MQTTLenString *s, struct fault *f)
{
	if (is_text(s))
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST, "%s: expected UTF-8 without NUL", what);
}

static int check_pair(struct request *r, int at, bool is_cloud, struct fault *f)
{
	const MQTTProperties *all = &r->message->properties;
	const MQTTProperty *p = &all->array[at];
	const MQTTLenString *name = &p->value.data;
	if (check_text("the name of a user property", name, f) < 0)
		return -1;
	const char *text = keep(r, name);
	if (!message_reads(text, is_cloud ? "" : NULL))
		return 0;
	_cleanup_(freep) char *what = xasprintf("the user property %s", text);
	if (check_text(what, &p->value.value, f) < 0)
		return -1;
	for (int i = 0; i < at; i++) {
		const MQTTProperty *other = &all->array[i];
		if (other->identifier == MQTTPROPERTY_CODE_USER_PROPERTY &&
			other->value.data.len == name->len &&
			memcmp(other->value.data.data, name->data, (size_t)name->len) == 0)
			return fault_set(
				f, FAULT_BAD_REQUEST, "%s: expected once, it stands twice", what);
	}
	return 0;
}

static int check_properties(struct request *r, struct fault *f)
{
	const MQTTProperties *all = &r->message->properties;
	const MQTTProperty *expiry = find(r, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
	const bool is_cloud = user_property(r, "specversion");
	int result = 0;
	for (int i = 0; result == 0 && i < all->count; i++) {
		const MQTTProperty *p = &all->array[i];
		if (p->identifier == MQTTPROPERTY_CODE_RESPONSE_TOPIC)
			result = check_text("response topic", &p->value.data, f);
		else if (p->identifier == MQTTPROPERTY_CODE_CONTENT_TYPE)
			result = check_text("content type", &p->value.data, f);
		else if (p->identifier == MQTTPROPERTY_CODE_USER_PROPERTY)
			result = check_pair(r, i, is_cloud, f);
	}
	if (result == 0 && expiry && expiry->value.integer4 == 0)
		result = fault_set(f, FAULT_BAD_REQUEST,
			"message expiry interval: the request had no time left when it came");
	return result;
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
	free(r->name);
}

/* Text as it is, other bytes in hexadecimal. */
static char *name_of(const MQTTLenString *data)
{
	size_t len = (size_t)data->len, shown = 0;
	while (shown < len && shown <= REQUEST_NAME_MAX) {
		size_t n = utf8_shown(data->data + shown, len - shown);
		if (!n)
			break;
		shown += n;
	}
	if (shown == len && len <= REQUEST_NAME_MAX)
		return strndup(data->data, len);
	const MQTTLenString start = { len < REQUEST_NAME_MAX / 2 ? data->len : REQUEST_NAME_MAX / 2,
		data->data };
	_cleanup_(json_decrefp) json_t *hex = hex_of(&start);
	return xstrdup(json_string_value(hex));
}

/* `body.reply` becomes the text. A topic that cannot be answered on is refused, and as none. */
static int make_reply(struct request *r, bool is_common, struct fault *f)
{
	const MQTTProperty *correlation = find(r, MQTTPROPERTY_CODE_CORRELATION_DATA);
	const char *topic = text_property(r, MQTTPROPERTY_CODE_RESPONSE_TOPIC);
	int result = topic ? reply_check_topic(r->mqtt, topic, f) : 0;
	if (correlation)
		json_object_set_new(r->body.reply, "correlation", hex_of(&correlation->value.data));
	if (correlation && correlation->value.data.len && !r->name)
		r->name = name_of(&correlation->value.data);
	r->reply = reply_text(
		r->mqtt, r->body.reply, result == 0 ? topic : NULL, r->body.wants_all, is_common);
	return result;
}

void mqtt_request_read_reply(struct request *r)
{
	const char *external_id = user_property(r, "externalId");
	struct fault ignored;
	r->body.reply = json_object();
	if (external_id)
		json_object_set_new(r->body.reply, "externalId", json_string(external_id));
	(void)make_reply(r, false, &ignored);
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
	char devrun[160];
	sentence_print(devrun, sizeof devrun, "transports.%.*s.devrun",
		utf8_cut(r->mqtt->env.name, 128), r->mqtt->env.name);
	const struct message message = { .payload = r->message->payload,
		.len = (size_t)r->message->payloadlen,
		.content_type = text_property(r, MQTTPROPERTY_CODE_CONTENT_TYPE),
		.function = r->function,
		.has_reply_address = find(r, MQTTPROPERTY_CODE_RESPONSE_TOPIC),
		.devrun_setting = s->devrun ? NULL : devrun,
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
	struct fault other;
	int result = message_read(&message, &r->body, f);
	if (make_reply(r, is_common, &other) < 0 || check_properties(r, &other) < 0) {
		*f = other;
		result = -1;
	}
	return result;
}
