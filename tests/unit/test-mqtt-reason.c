/* SPDX-License-Identifier: Apache-2.0 */
/* Every reason that MQTT defines has words, and something that can be done about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "transport/mqtt/reason.h"

enum { FIRST = 0x80, LAST = 0xa2, SIZE = 512 };

static void test_every_code_is_in_words(void **state)
{
	(void)state;
	for (int code = FIRST; code <= LAST; code++) {
		const struct mqtt_reason *r = mqtt_reason(code);
		assert_int_equal(r->code, code);
		assert_true(r->name[0] && r->remedy[0]);
		assert_in_range(r->pause_ms, 100, 60000);
		assert_in_range(r->kind, 0, _TRANSPORT_ERROR_MAX - 1);
		for (int other = FIRST; other < code; other++)
			assert_string_not_equal(r->name, mqtt_reason(other)->name);
	}
	assert_string_equal(mqtt_reason(0)->name, "Normal disconnection");
}

/* The codes of a PUBACK of which the specification says nothing that would last. */
static void test_what_may_be_taken_later(void **state)
{
	static const int later[] = { 0x80, 0x83, 0x91, 0x97 }, never[] = { 0x87, 0x90, 0x95, 0x99 };
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_true(mqtt_reason(later[i])->is_again);
		assert_false(mqtt_reason(never[i])->is_again);
	}
}

static void test_codes_of_the_old_version_stand_for_new_ones(void **state)
{
	static const int codes[] = { 0x84, 0x85, 0x88, 0x86, 0x87 };
	(void)state;
	for (int i = 0; i < 5; i++)
		assert_ptr_equal(mqtt_reason(i + 1), mqtt_reason(codes[i]));
}

static void test_others_are_told_as_they_are(void **state)
{
	static const int codes[] = { -3, 6, 0x7f, 0xa3, 0xff, 100000 };
	char text[SIZE];
	(void)state;
	for (size_t i = 0; i < 6; i++) {
		char number[16];
		snprintf(number, sizeof number, "(%d)", codes[i]);
		mqtt_reason_print(text, sizeof text, codes[i], NULL);
		assert_non_null(strstr(text, number));
		assert_true(mqtt_reason(codes[i])->pause_ms > 0);
	}
}

#define TEXT(s)                                                                                    \
	{                                                                                          \
		sizeof s - 1, (char *)s                                                            \
	}

static void test_what_the_broker_says_is_told_and_harmless(void **state)
{
	char text[SIZE], small[24], *long_text = memset(xcalloc(1, 70001), 'a', 70000);
	(void)state;
	MQTTProperty array[] = {
		{ .identifier = MQTTPROPERTY_CODE_USER_PROPERTY,
			.value.data = TEXT("a"),
			.value.value = TEXT("b") },
		{ .identifier = MQTTPROPERTY_CODE_REASON_STRING,
			.value.data = TEXT("go \xff\0\x1b[31m") },
		{ .identifier = MQTTPROPERTY_CODE_SERVER_REFERENCE, .value.data = TEXT("b:1") },
	};
	MQTTProperties said = { .count = 3, .array = array };
	mqtt_reason_print(text, sizeof text, 0x9c, &said);
	assert_string_equal(text,
		"Use another server (156), the broker says \"go ?\", it names the server \"b:1\"; "
		"set url to the server to be used for now");
	array[1].value.data = (MQTTLenString){ 70000, long_text };
	mqtt_reason_print(text, sizeof text, 0x9c, &said);
	assert_true(strlen(text) < 300 && strstr(text, "set url"));
	mqtt_reason_print(small, sizeof small, 0x9c, &said);
	assert_true(strlen(small) < sizeof small && utf8_is_valid(small, strlen(small)));
	free(long_text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_code_is_in_words),
		cmocka_unit_test(test_what_may_be_taken_later),
		cmocka_unit_test(test_codes_of_the_old_version_stand_for_new_ones),
		cmocka_unit_test(test_others_are_told_as_they_are),
		cmocka_unit_test(test_what_the_broker_says_is_told_and_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
