/* SPDX-License-Identifier: Apache-2.0 */
/* What the properties of an MQTT message must be, with such as no honest broker passes on, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "transport/mqtt/private.h"
#include "transport/reserved.h"

enum { PROPERTIES_MAX = 4 };

struct sample {
	MQTTProperty properties[PROPERTIES_MAX];
	int n;
	const char *says; /* NULL: it is good */
};

#define TEXT(s)                                                                                    \
	{                                                                                          \
		sizeof s - 1, (char *)s                                                            \
	}
#define DATA(code, s)                                                                              \
	{                                                                                          \
		.identifier = MQTTPROPERTY_CODE_##code, .value.data = TEXT(s)                      \
	}
#define PAIR(n, v)                                                                                 \
	{                                                                                          \
		.identifier = MQTTPROPERTY_CODE_USER_PROPERTY, .value.data = TEXT(n),              \
		.value.value = TEXT(v)                                                             \
	}
#define EXPIRY(n)                                                                                  \
	{                                                                                          \
		.identifier = MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, .value.integer4 = n       \
	}

static const struct sample samples[] = {
	{ { DATA(RESPONSE_TOPIC, "a/b"), PAIR("priority", "1"), EXPIRY(5) }, 3, NULL },
	{ { PAIR("colour", "red"), PAIR("colour", "red\0") }, 2, NULL },
	{ { DATA(CORRELATION_DATA, "a\0\xff") }, 1, NULL },
	{ { DATA(RESPONSE_TOPIC, "") }, 1, "response topic: expected a topic" },
	{ { DATA(RESPONSE_TOPIC, "a/+") }, 1, "response topic: expected a topic" },
	{ { DATA(RESPONSE_TOPIC, "a/#") }, 1, "response topic: expected a topic" },
	{ { DATA(RESPONSE_TOPIC, "a\0b") }, 1, "response topic: expected UTF-8 without NUL" },
	{ { DATA(RESPONSE_TOPIC, "a\xff") }, 1, "response topic: expected UTF-8 without NUL" },
	{ { DATA(RESPONSE_TOPIC, "$SYS/x") }, 1, "response topic: expected a topic that does not" },
	{ { DATA(RESPONSE_TOPIC, "p/jobs/1/cancel") }, 1, "response topic: p/jobs/1/cancel is" },
	{ { DATA(RESPONSE_TOPIC, "p/jobs") }, 1, "response topic: p/jobs is" },
	{ { DATA(RESPONSE_TOPIC, "p/jobsuite") }, 1, NULL },
	{ { DATA(CONTENT_TYPE, "a\0b") }, 1, "content type: expected UTF-8 without NUL" },
	{ { PAIR("priority", "1\0") }, 1, "the user property priority: expected UTF-8" },
	{ { PAIR("context", "\xff") }, 1, "the user property context: expected UTF-8" },
	{ { PAIR("a\0b", "1") }, 1, "the name of a user property: expected UTF-8" },
	{ { PAIR("events", "all"), PAIR("events", "all") }, 2, "expected once" },
	{ { PAIR("id", "1"), PAIR("id", "2") }, 2, NULL },
	{ { PAIR("specversion", "1.0"), PAIR("id", "1"), PAIR("id", "2") }, 3, "expected once" },
	{ { EXPIRY(0) }, 1, "message expiry interval: the request had no time left" },
};

static void properties_are_checked(void **state)
{
	struct mqtt m = { .settings = { .prefix = (char *)"p",
				  .subscribe_topic = (char *)"in",
				  .publish_topic = (char *)"out",
				  .payload_max = 1024 },
		.env.name = "a" };
	(void)state;
	reserved_add("mqtt", NULL, "p/jobs");
	reserved_add("mqtt", NULL, "p/jobs/*");
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		MQTTAsync_message message = MQTTAsync_message_initializer;
		struct sample s = samples[i];
		struct request r;
		struct fault f = { 0 };
		message.payload = (char *)"{}";
		message.payloadlen = 2;
		message.properties.count = s.n;
		message.properties.array = s.properties;
		mqtt_request_init(&r, &m, &message);
		int result = mqtt_request_read(&r, "p/functions/f/jobs", &f);
		if (s.says ? result == 0 || !strstr(f.text, s.says) : result < 0)
			fail_msg("%zu: %d %s", i, result, f.text);
		assert_non_null(r.reply);
		mqtt_request_done(&r);
	}
	reserved_drop(NULL);
	assert_false(reserved_has("mqtt", "p/jobs"));
}

static void a_cancel_is_known_by_its_topic_alone(void **state)
{
	static const char *const topics[][2] = { { "p/q/jobs/ID/cancel", "ID" },
		{ "p/q/jobs//cancel", "" }, { "p/q/jobs/cancel", NULL }, { "p/q/jobs/x", NULL },
		{ "p/q/jobs/ID/cancelled", NULL }, { "p/q/jobs/ID/parameters", NULL },
		{ "p/q", NULL }, { "p", NULL }, { "", NULL }, { "p/x/jobs/ID/cancel", NULL },
		{ "other/and/longer/than/that/is", NULL } };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
		_cleanup_(freep) char *id = control_job_of("p/q", topics[i][0]);
		if (!topics[i][1])
			assert_null(id);
		else
			assert_string_equal(id, topics[i][1]);
	}
}

static void hear(struct mqtt *m, const char *topic, const char *text)
{
	MQTTAsync_message message = MQTTAsync_message_initializer;
	message.payload = (char *)text;
	message.payloadlen = (int)strlen(text);
	peers_heard(m, topic, &message);
}

static void a_gateway_speaks_of_itself_only(void **state)
{
	static const char says[] = "{\"status\":\"offline\",\"gateway\":\"b\",\"transport\":\"t\","
				   "\"share\":\"s\",\"client\":\"mist-b-t\",\"receivers\":1%*s}";
	struct mqtt m = { .settings = { .share = (char *)"s", .take_over_ms = 1 },
		.status_topic = (char *)"p/status",
		.gateway_topic = (char *)"p/status/a",
		.env = { .name = "t", .gateway = "a" } };
	char text[8192];
	(void)state;
	snprintf(text, sizeof text, says, 0, "");
	hear(&m, "p/status/c", text);
	hear(&m, "p/status/b", "");
	assert_int_equal(m.n_peers, 0);
	hear(&m, "p/status/b", text);
	assert_int_equal(m.n_peers, 1);
	snprintf(text, sizeof text, says, 5000, ""); /* nobody has that much to say */
	hear(&m, "p/status/b", text);
	assert_int_equal(m.n_peers, 0);
	peers_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(properties_are_checked),
		cmocka_unit_test(a_cancel_is_known_by_its_topic_alone),
		cmocka_unit_test(a_gateway_speaks_of_itself_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
