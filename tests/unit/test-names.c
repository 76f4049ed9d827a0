/* SPDX-License-Identifier: Apache-2.0 */
/* Names that nobody knows: what they were probably meant to be, and lists of those that were
 * ignored. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ignored.h"
#include "base/near.h"

static const char *const settings[] = { "max-jobs", "max-conn-failures", "worker-mode", "downtime",
	"queue", "jobs", NULL };

static void the_nearest_name_is_found(void **state)
{
	static const char *const samples[][2] = {
		{ "max-job", "max-jobs" },
		{ "max_jobs", "max-jobs" },
		{ "maxJobs", "max-jobs" },
		{ "max-jbos", "max-jobs" },
		{ "MAX-JOBS", "max-jobs" },
		{ "dwontime", "downtime" },
		{ "wroker-moed", "worker-mode" },
		{ "max-con-failure", "max-conn-failures" },
		{ "queeu", "queue" },
		{ "job", "jobs" },
	};
	char hint[NEAR_HINT];
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		_cleanup_(freep) char *expected = xasprintf("; did you mean %s?", samples[i][1]);
		assert_string_equal(near_hint_of(samples[i][0], settings, hint), expected);
	}
}

static void no_name_is_found_that_is_far(void **state)
{
	static const char *const samples[] = { "", "x", "zz", "spark", "heartbeat", "mode",
		"completely-different" };
	static const char *const one[] = { "a", "", NULL };
	char hint[NEAR_HINT];
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		assert_string_equal(near_hint_of(samples[i], settings, hint), "");
	assert_string_equal(near_hint_of("b", one, hint), "");
	assert_string_equal(near_hint_of("", one, hint), "");
}

static void long_names_are_not_compared(void **state)
{
	char longest[NEAR_NAME_MAX + 1], longer[NEAR_NAME_MAX + 2], hint[NEAR_HINT];
	const char *const names[] = { longest, NULL };
	(void)state;
	memset(longest, 'a', sizeof longest - 1);
	memset(longer, 'a', sizeof longer - 1);
	longest[sizeof longest - 1] = longer[sizeof longer - 1] = '\0';
	assert_string_equal(near_hint_of(longer, names, hint), "");
	longer[NEAR_NAME_MAX - 1] = '\0';
	near_hint_of(longer, names, hint);
	assert_int_equal(strlen(hint), strlen("; did you mean ?") + NEAR_NAME_MAX);
}

static void what_was_ignored_is_named_once(void **state)
{
	_cleanup_(freep) char *list = NULL, *other = NULL;
	(void)state;
	ignored_add_all(&list, NULL);
	assert_null(list);
	ignored_add(&list, "mode");
	ignored_add(&list, "workerId");
	ignored_add(&list, "mode");
	ignored_add(&list, "work");
	assert_string_equal(list, "mode, workerId, work");
	ignored_add(&other, "work");
	ignored_add(&other, "force");
	ignored_add_all(&list, other);
	assert_string_equal(list, "mode, workerId, work, force");
}

static void any_name_fits_in_a_header(void **state)
{
	static const char *const samples[][2] = {
		{ "a name\r\nX: y", "a%20name%0D%0AX%3A%20y" },
		{ "caf\303\251", "caf%C3%A9" },
		{ "a,b", "a%2Cb" },
		{ "50%", "50%25" },
		{ "...", "%2E.." },
		{ "", "%00" },
		{ "items[3].x_y-z", "items[3].x_y-z" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		_cleanup_(freep) char *list = NULL;
		ignored_add(&list, samples[i][0]);
		assert_string_equal(list, samples[i][1]);
	}
}

static void what_was_ignored_has_a_limit(void **state)
{
	_cleanup_(freep) char *list = NULL, *one = NULL;
	char name[2000];
	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "name-%d", i);
		ignored_add(&list, name);
	}
	assert_in_range(strlen(list), IGNORED_MAX / 2, IGNORED_MAX);
	assert_string_equal(list + strlen(list) - 5, ", ...");
	memset(name, ' ', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	ignored_add(&one, name);
	assert_in_range(strlen(one), 100, 140);
	assert_string_equal(one + strlen(one) - 6, "%20...");
	ignored_add(&one, "next");
	assert_non_null(strstr(one, "..., next"));
}

static void members_are_named_with_their_path(void **state)
{
	static const char *const known[] = { "contextId", NULL };
	_cleanup_(json_decrefp) json_t *object =
		json_loads("{\"contextId\":1,\"mode\":2,\"workerId\":null}", 0, NULL);
	_cleanup_(freep) char *list = NULL;
	(void)state;
	ignored_add_members(&list, NULL, "runSettings", known);
	assert_null(list);
	ignored_add_members(&list, object, "runSettings", known);
	ignored_add_members(&list, object, NULL, known);
	assert_string_equal(list, "runSettings.mode, runSettings.workerId, mode, workerId");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nearest_name_is_found),
		cmocka_unit_test(no_name_is_found_that_is_far),
		cmocka_unit_test(long_names_are_not_compared),
		cmocka_unit_test(what_was_ignored_is_named_once),
		cmocka_unit_test(any_name_fits_in_a_header),
		cmocka_unit_test(what_was_ignored_has_a_limit),
		cmocka_unit_test(members_are_named_with_their_path),
	};
	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
