/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments against a function's type tree. */
#include "unit.h"

#include <string.h>

#include "domain/params.h"

static const char execute[] = "{\"i\": {\"type\": \"MInt\"}, \"s\": {\"type\": \"MOption\", "
			      "\"args\": [{\"type\": \"MString\"}]},"
			      " \"l\": {\"type\": \"MOption\", \"args\": [{\"type\": \"MList\", "
			      "\"args\": [{\"type\": \"MDouble\"}]}]},"
			      " \"m\": {\"type\": \"MOption\", \"args\": [{\"type\": \"MMap\", "
			      "\"args\": [{\"type\": \"MString\"}, {\"type\": \"MInt\"}]}]},"
			      " \"o\": {\"type\": \"MOption\", \"args\": [{\"type\": \"MObj\", "
			      "\"fields\": {\"b\": {\"type\": \"MBoolean\"}}}]},"
			      " \"any\": {\"type\": \"MAny\"}}";

static void arguments_are(const char *arguments, const char *expected)
{
	struct fault f = { 0 };
	json_t *types = json_loads(execute, 0, NULL),
	       *args = json_loads(arguments, JSON_DECODE_ANY, NULL);
	assert_non_null(types);
	assert_non_null(args);
	assert_int_equal(params_check_types(types, &f), 0);
	int r = params_check(types, args, &f);
	if (!expected) {
		assert_int_equal(r, 0);
	} else {
		assert_true(r < 0);
		assert_int_equal(f.code, FAULT_BAD_REQUEST);
		assert_string_equal(f.text, expected);
	}
	json_decref(types);
	json_decref(args);
}

static void good_arguments_pass(void **state)
{
	(void)state;
	arguments_are("{\"i\": 1}", NULL);
	arguments_are("{\"i\": 2.0, \"s\": null, \"extra\": [1]}", NULL);
	arguments_are("{\"i\": -3, \"s\": \"x\", \"l\": [1, 2.5], \"m\": {\"k\": 1}, \"o\": "
		      "{\"b\": true}, \"any\": {\"x\": []}}",
		NULL);
}

static void bad_arguments_name_the_field_and_what_was_expected(void **state)
{
	(void)state;
	arguments_are("{}", "Invalid field i: Invalid type: expected Int, got nothing");
	arguments_are("{\"i\": null}", "Invalid field i: Invalid type: expected Int, got nothing");
	arguments_are("{\"i\": \"1\"}", "Invalid field i: Invalid type: expected Int, got \"1\"");
	arguments_are("{\"i\": 1.5}", "Invalid field i: Invalid type: expected Int, got 1.5");
	arguments_are(
		"{\"i\": 1, \"s\": 4}", "Invalid field s: Invalid type: expected String, got 4");
	arguments_are("{\"i\": 1, \"l\": {}}",
		"Invalid field l: Invalid type: expected List[Double], got {}");
	arguments_are("{\"i\": 1, \"l\": [1, \"x\"]}",
		"Invalid field l[1]: Invalid type: expected Double, got \"x\"");
	arguments_are("{\"i\": 1, \"m\": {\"k\": true}}",
		"Invalid field m.k: Invalid type: expected Int, got true");
	arguments_are("{\"i\": 1, \"o\": {}}",
		"Invalid field o.b: Invalid type: expected Boolean, got nothing");
	arguments_are("{\"i\": 1, \"o\": []}",
		"Invalid field o: Invalid type: expected Object {b=Boolean}, got []");
	arguments_are("{\"s\": 1}",
		"Errors[Invalid field i: Invalid type: expected Int, got nothing,"
		"Invalid field s: Invalid type: expected String, got 1]");
	arguments_are("[]", "the arguments must be a JSON object, not an array");
}

static void trees_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = { "{\"a\": {\"type\": \"Int\"}}",
		"{\"a\": {\"type\": \"MList\"}}", "{\"a\": 1}", "[]",
		"{\"a\": {\"type\": \"MObj\"}}",
		"{\"a\": {\"type\": \"MMap\", \"args\": [{\"type\": \"MString\"}]}}" };
	struct fault f;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *types = json_loads(bad[i], 0, NULL);
		assert_true(params_check_types(types, &f) < 0);
		json_decref(types);
	}
}

static void a_deep_tree_is_refused(void **state)
{
	json_t *type = json_pack("{s:s}", "type", "MInt");
	struct fault f;
	(void)state;
	for (int i = 0; i < 100; i++)
		type = json_pack("{s:s, s:[o]}", "type", "MList", "args", type);
	json_t *types = json_pack("{s:o}", "a", type);
	assert_true(params_check_types(types, &f) < 0);
	json_decref(types);
}

/* A long key over many items: where the work grows with the square of the body, the test's time is
 * over long before it ends. */
static void a_large_body_is_checked_at_once(void **state)
{
	enum { HALF = 1 << 19 };
	struct fault f;
	(void)state;
	_cleanup_(freep) char *key = xcalloc(1, HALF + 1);
	memset(key, 'k', HALF);
	_cleanup_(json_decrefp) json_t *types =
		json_loads("{\"m\": {\"type\": \"MMap\", \"args\": [{\"type\": \"MString\"}, "
			   "{\"type\": \"MList\", \"args\": [{\"type\": \"MInt\"}]}]}}",
			0, NULL);
	json_t *list = json_array();
	for (int i = 0; i < HALF / 2; i++)
		json_array_append_new(list, json_integer(i));
	_cleanup_(json_decrefp) json_t *good = json_pack("{s:{s:o}}", "m", key, list);
	assert_int_equal(params_check(types, good, &f), 0);
	for (int i = 0; i < HALF / 2; i++)
		json_array_set_new(list, i, json_string("x"));
	assert_true(params_check(types, good, &f) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_arguments_pass),
		cmocka_unit_test(bad_arguments_name_the_field_and_what_was_expected),
		cmocka_unit_test(trees_that_are_none_are_refused),
		cmocka_unit_test(a_deep_tree_is_refused),
		cmocka_unit_test(a_large_body_is_checked_at_once),
	};
	return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
