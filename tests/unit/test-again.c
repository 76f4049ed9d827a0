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
		cmocka_unit_test(test_lines_are_summed_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
