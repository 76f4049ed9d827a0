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

static void hear_kept(struct mqtt *m, const char *topic, const char *text, bool is_kept)
{
	MQTTAsync_message message = MQTTAsync_message_initializer;
	message.payload = (char *)text;
	message.payloadlen = (int)strlen(text);
	message.retained = is_kept;
	peers_heard(m, topic, &message);
}

static void hear(struct mqtt *m, const char *topic, const char *text)
{
	hear_kept(m, topic, text, false);
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

static void hear_of(struct mqtt *m, const char *gateway, const char *status, bool is_kept)
{
	char topic[64], text[512];
	snprintf(topic, sizeof topic, "p/status/%s", gateway);
	snprintf(text, sizeof text,
		"{\"status\":\"%s\",\"gateway\":\"%s\",\"transport\":\"t\",\"share\":\"s\","
		"\"client\":\"mist-%s-t\",\"receivers\":1,\"saysAgain\":true}",
		status, gateway, gateway);
	hear_kept(m, topic, text, is_kept);
}

static void let_pass(struct mqtt *m, int64_t ms)
{
	for (size_t i = 0; i < m->n_peers; i++) {
		m->peers[i].away_since_ms -= ms;
		m->peers[i].unsure_since_ms -= ms;
	}
}

static void check_next(struct mqtt *m, const char *session)
{
	_cleanup_(freep) char *next = peers_next_session(m);
	if (session)
		assert_string_equal(next, session);
	else
		assert_null(next);
}

static void one_that_only_the_broker_says_is_online_is_away(void **state)
{
	struct link control = { .state = LINK_UP, .n_ups = 1 };
	struct mqtt m = { .settings = { .share = (char *)"s", .take_over_ms = 1000 },
		.links = { [LINK_CONTROL] = &control },
		.status_topic = (char *)"p/status",
		.gateway_topic = (char *)"p/status/b",
		.gateway = (char *)"b",
		.env = { .name = "t", .gateway = "b" } };
	(void)state;
	pthread_cond_init(&m.changed, NULL);
	_cleanup_(freep) char *question = peers_question(&m);
	hear_of(&m, "a", "online", false); /* queued while we were away */
	assert_true(m.peers[0].is_unsure);
	hear(&m, "p/status/b", question);
	hear_of(&m, "a", "online", true);
	hear_of(&m, "c", "online", true);
	hear_of(&m, "c", "online", false); /* the answer */
	let_pass(&m, 9000);
	assert_true(peers_is_any_online(&m));
	hear_of(&m, "d", "offline", false);
	let_pass(&m, 900);
	check_next(&m, NULL);
	let_pass(&m, 200); /* a would have been the one to take over, and is away now */
	check_next(&m, "mist-d-t-0");
	check_next(&m, "mist-a-t-0");
	check_next(&m, NULL);
	assert_true(peers_is_any_online(&m));
	hear_of(&m, "c", "offline", false);
	assert_false(peers_is_any_online(&m));
	peers_free(&m);
	pthread_cond_destroy(&m.changed);
}

static void one_that_has_just_died_has_a_place_and_comes_first(void **state)
{
	struct link control = { .state = LINK_UP, .n_ups = 1 };
	struct mqtt m = { .settings = { .share = (char *)"s", .take_over_ms = 1000 },
		.links = { [LINK_CONTROL] = &control },
		.status_topic = (char *)"p/status",
		.gateway_topic = (char *)"p/status/b",
		.gateway = (char *)"b",
		.env = { .name = "t", .gateway = "b" } };
	char name[16];
	(void)state;
	pthread_cond_init(&m.changed, NULL);
	_cleanup_(freep) char *question = peers_question(&m);
	hear(&m, "p/status/b", question);
	for (int i = 0; i < 2 * PEERS_MAX; i++) {
		snprintf(name, sizeof name, "g%d", i);
		hear_of(&m, name, "offline", true);
	}
	assert_int_equal(m.n_peers, PEERS_MAX);
	hear_of(&m, "c", "online", true);
	hear_of(&m, "c", "offline", false);
	hear_of(&m, "d", "offline", false);
	assert_int_equal(m.n_peers, PEERS_MAX);
	let_pass(&m, 1100);
	_cleanup_(freep) char *first = peers_next_session(&m);
	_cleanup_(freep) char *second = peers_next_session(&m);
	assert_true((strcmp(first, "mist-c-t-0") == 0 && strcmp(second, "mist-d-t-0") == 0) ||
		    (strcmp(first, "mist-d-t-0") == 0 && strcmp(second, "mist-c-t-0") == 0));
	_cleanup_(freep) char *third = peers_next_session(&m);
	assert_memory_equal(third, "mist-g", strlen("mist-g"));
	peers_free(&m);
	pthread_cond_destroy(&m.changed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_only_the_broker_says_is_online_is_away),
		cmocka_unit_test(one_that_has_just_died_has_a_place_and_comes_first),
		cmocka_unit_test(properties_are_checked),
		cmocka_unit_test(a_cancel_is_known_by_its_topic_alone),
		cmocka_unit_test(a_gateway_speaks_of_itself_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
