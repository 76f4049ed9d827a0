/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of entity tags, as conditions have them. */
#include "unit.h"

#include "base/cleanup.h"
#include "domain/tag.h"

static const char tag[] = "\"aa11-bb22\"";

static void a_reader_compares_the_whole_tag(void **state)
{
	static const char *const same[] = { "*", "\"aa11-bb22\"", "W/\"aa11-bb22\"",
		" \"x\",\"aa11-bb22\"", "\"x, y\" , W/\"\", \"aa11-bb22\", \"z\"" };
	static const char *const other[] = { "", "aa11-bb22", "\"aa11-bb22", "\"aa11-bb2\"",
		"\"aa11-bb222\"", "\"aa11-\"", "\"aa11\"", "x \"aa11-bb22\"", "\"x\"aa11-bb22",
		"w/\"aa11-bb22\"", ",,, ,", "W/" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		assert_true(tag_is_listed(same[i], tag, TAG_WHOLE));
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		assert_false(tag_is_listed(other[i], tag, TAG_WHOLE));
}

static void an_editor_compares_the_settings(void **state)
{
	static const char *const same[] = { "*", "\"aa11-bb22\"", "\"aa11-\"", "\"aa11-other\"",
		"\"x\", \"aa11-0\"", "W/\"aa11-bb22\", \"aa11-cc\"" };
	static const char *const other[] = { "", "W/\"aa11-bb22\"", "\"aa1-bb22\"",
		"\"aa111-bb22\"", "\"aa11\"", "\"aa1\", \"-\"", "\"-bb22\"", "aa11-bb22" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		assert_true(tag_is_listed(same[i], tag, TAG_SETTINGS));
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		assert_false(tag_is_listed(other[i], tag, TAG_SETTINGS));
}

static void nothing_is_in_no_list(void **state)
{
	(void)state;
	assert_false(tag_is_listed("*", NULL, TAG_WHOLE));
	assert_false(tag_is_listed("*", NULL, TAG_SETTINGS));
	assert_false(tag_is_listed(NULL, tag, TAG_WHOLE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reader_compares_the_whole_tag),
		cmocka_unit_test(an_editor_compares_the_settings),
		cmocka_unit_test(nothing_is_in_no_list),
	};
	return cmocka_run_group_tests_name("tag", tests, NULL, NULL);
}
