/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses between attempts grow and end; repeated lines are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "transport/again.h"

enum { START_MS = 1000000 };

static void test_pauses_grow_until_it_lasts(void **state)
{
	struct again a = { 0 };
	int64_t now = START_MS;
	(void)state;
	assert_int_equal(again_pause(&a, now), 0);
	for (int64_t expected = AGAIN_MIN_MS; expected < AGAIN_MAX_MS; expected *= 2) {
		int64_t pause = again_pause(&a, now);
		assert_int_equal(pause, expected);
		now += pause + 1; /* it fails at once */
	}
	assert_int_equal(again_pause(&a, now), AGAIN_MAX_MS);
	now += AGAIN_MAX_MS + 1;
	assert_int_equal(again_pause(&a, now), AGAIN_MAX_MS);
	now += AGAIN_MAX_MS + AGAIN_CALM_MS;
	assert_int_equal(again_pause(&a, now), 0);
}

static void look(struct again *a, int64_t now, bool is_due, int64_t pause)
{
	int64_t given;
	assert_int_equal(again_is_due(a, now, &given), is_due);
	assert_int_equal(given, pause);
}

static void test_who_must_not_wait_looks_until_it_is_time(void **state)
{
	struct again a = { 0 };
	int64_t now = START_MS;
	(void)state;
	look(&a, now, true, 0);
	for (int64_t pause = AGAIN_MIN_MS; pause < AGAIN_MAX_MS; pause *= 2) {
		look(&a, now, false, pause);
		look(&a, now + 1, false, -1);
		look(&a, now + pause - 1, false, -1);
		now += pause;
		look(&a, now, true, -1);
	}
	now += AGAIN_CALM_MS;
	look(&a, now, true, 0);
	look(&a, now, false, AGAIN_MIN_MS);
}

static void test_lines_are_summed_up(void **state)
{
	struct said s = { 0 };
	uint64_t n = 7;
	(void)state;
	assert_true(said_is_due(&s, 1000, START_MS, &n));
	assert_int_equal(n, 0);
	assert_false(said_is_due(&s, 1000, START_MS + 1, &n));
	assert_false(said_is_due(&s, 1000, START_MS + 999, &n));
	assert_true(said_is_due(&s, 1000, START_MS + 1000, &n));
	assert_int_equal(n, 2);
	assert_true(said_is_due(&s, 1000, START_MS + 2000, &n));
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pauses_grow_until_it_lasts),
		cmocka_unit_test(test_who_must_not_wait_looks_until_it_is_time),
		cmocka_unit_test(test_lines_are_summed_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
