/* SPDX-License-Identifier: Apache-2.0 */
/* How far the gateway is behind in a partition that is paused, of which the end is known by answers
 * of the brokers alone, each of which may be some seconds old. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "transport/kafka/private.h"

struct setup {
	struct kafka kafka;
	struct consumer consumer;
	struct partition *partition;
};

static int set_up(void **state)
{
	struct setup *s = xcalloc(1, sizeof *s);
	s->kafka.env.name = "main";
	s->kafka.settings.stalled_after_ms = INT64_MAX;
	s->consumer.kafka = &s->kafka;
	s->consumer.ask_ends_ms = INT64_MAX; /* there is nobody to ask */
	pthread_mutex_init(&s->consumer.lock, NULL);
	table_init(&s->consumer.table);
	s->partition = table_add(&s->consumer.table, "topic", 0);
	s->partition->is_paused = true;
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct setup *s = *state;
	table_done(&s->consumer.table);
	pthread_mutex_destroy(&s->consumer.lock);
	free(s);
	return 0;
}

static void take(struct setup *s, int64_t offset)
{
	struct entry *e = table_take(
		&s->consumer.table, s->partition, &(rd_kafka_message_t){ .offset = offset });
	e->msg = NULL; /* nobody's */
	table_finish(&s->consumer.table, e);
}

static int64_t lag(struct setup *s)
{
	s->consumer.lag_at_ms = 0;
	lag_tend(&s->consumer);
	return s->partition->lag;
}

static void test_the_end_says_how_many_wait(void **state)
{
	struct setup *s = *state;
	assert_int_equal(lag(s), -1);
	lag_ends_at(s->partition, 5000);
	assert_int_equal(lag(s), -1);
	take(s, 99);
	assert_int_equal(lag(s), 4900);
	lag_read_to(s->partition, 5000);
	assert_int_equal(lag(s), 0);
}

/* It went on for a moment, and paused again before the brokers were asked a second time. */
static void test_an_end_that_was_passed_since_is_no_lag(void **state)
{
	struct setup *s = *state;
	take(s, 4999);
	lag_ends_at(s->partition, 5000);
	assert_int_equal(lag(s), 0);
	take(s, 7999);
	assert_int_equal(lag(s), 0);
	lag_ends_at(s->partition, 8010);
	assert_int_equal(lag(s), 10);
}

static void test_all_of_another_log_waits(void **state)
{
	struct setup *s = *state;
	take(s, 4999);
	lag_ends_at(s->partition, 3);
	assert_int_equal(lag(s), 3);
	s->consumer.is_reset_elsewhere = true;
	assert_int_equal(lag(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_end_says_how_many_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_an_end_that_was_passed_since_is_no_lag, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_of_another_log_waits, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
