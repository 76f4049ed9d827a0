/* SPDX-License-Identifier: Apache-2.0 */
/* Every error of the library has a row of its own, and those that people can end have a remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "transport/kafka/error.h"

static void test_every_error_has_a_row(void **state)
{
	const struct rd_kafka_err_desc *all;
	size_t n, seen = 0;
	(void)state;
	rd_kafka_get_err_descs(&all, &n);
	for (size_t i = 0; i < n; i++) {
		if (!all[i].name || !all[i].desc || all[i].code == RD_KAFKA_RESP_ERR_NO_ERROR)
			continue;
		if (kafka_error(all[i].code)->code != all[i].code)
			fail_msg("%s has no row", all[i].name);
		assert_in_range(kafka_error(all[i].code)->kind, 0, _TRANSPORT_ERROR_MAX - 1);
		seen++;
	}
	assert_true(seen > 150);
	assert_int_equal(kafka_error(12345)->code, RD_KAFKA_RESP_ERR_UNKNOWN);
}

static void test_what_is_to_be_told_has_words(void **state)
{
	static const rd_kafka_resp_err_t told[] = { RD_KAFKA_RESP_ERR__BAD_COMPRESSION,
		RD_KAFKA_RESP_ERR__BAD_MSG, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
		RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
		RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
		RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL,
		RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
		RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
		_cleanup_(freep) char *remedy = kafka_error_remedy(told[i]);
		if (strncmp(remedy, "; ", 2) != 0 || strlen(remedy) < 12)
			fail_msg("%s has no remedy", rd_kafka_err2name(told[i]));
		assert_false(kafka_error(told[i])->is & ERROR_IS_USUAL);
	}
	_cleanup_(freep) char *none = kafka_error_remedy(RD_KAFKA_RESP_ERR__TIMED_OUT);
	assert_string_equal(none, "");
}

static void is(rd_kafka_resp_err_t code, unsigned flag, bool expected)
{
	if (!(kafka_error(code)->is & flag) == expected)
		fail_msg("%s: %u", rd_kafka_err2name(code), flag);
}

static void test_what_becomes_of_it(void **state)
{
	(void)state;
	/* Another attempt would be refused, too; a topic that is short of replicas may mend. */
	is(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERROR_IS_FOR_GOOD, true);
	is(RD_KAFKA_RESP_ERR_POLICY_VIOLATION, ERROR_IS_FOR_GOOD, true);
	is(RD_KAFKA_RESP_ERR_INVALID_RECORD, ERROR_IS_FOR_GOOD, true);
	is(RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, ERROR_IS_FOR_GOOD, false);
	is(RD_KAFKA_RESP_ERR__QUEUE_FULL, ERROR_IS_FOR_GOOD, false);
	is(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERROR_IS_TOO_LARGE, true);
	is(RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, ERROR_IS_TOO_LARGE, true);
	/* What is wrong with the data is skipped, what is wrong with a place or a right never. */
	is(RD_KAFKA_RESP_ERR__BAD_MSG, ERROR_IS_UNREADABLE, true);
	is(RD_KAFKA_RESP_ERR__BAD_COMPRESSION, ERROR_IS_UNREADABLE, true);
	is(RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ERROR_IS_UNREADABLE, false);
	is(RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, ERROR_IS_UNREADABLE, false);
	is(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERROR_IS_UNREADABLE, false);
	is(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERROR_IS_OF_TOPIC, true);
	is(RD_KAFKA_RESP_ERR__PARTITION_EOF, ERROR_IS_USUAL, true);
	is(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, ERROR_IS_USUAL, true);
	is(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERROR_IS_USUAL, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error_has_a_row),
		cmocka_unit_test(test_what_is_to_be_told_has_words),
		cmocka_unit_test(test_what_becomes_of_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
