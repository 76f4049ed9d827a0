/* SPDX-License-Identifier: Apache-2.0 */
/* The words of our unit tests, over cmocka: a test is named as the sentence it proves.
 *
 *     TEST(an_empty_buf_takes_as_an_empty_text)
 *     {
 *             …
 *             check_str(text, "");
 *     }
 *
 *     RUN_TESTS(PROVES(an_empty_buf_takes_as_an_empty_text)) */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST(sentence)   static void sentence(void **state __attribute__((unused)))
#define PROVES(sentence) cmocka_unit_test(sentence)

#define RUN_TESTS(...)                                                                             \
	int main(void)                                                                             \
	{                                                                                          \
		const struct CMUnitTest tests[] = { __VA_ARGS__ };                                 \
		return cmocka_run_group_tests(tests, NULL, NULL);                                  \
	}

#define check(cond)                        assert_true(cond)
#define check_int(actual, expected)        assert_int_equal(actual, expected)
#define check_str(actual, expected)        assert_string_equal(actual, expected)
#define check_bytes(actual, expected, len) assert_memory_equal(actual, expected, len)
