/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments against a function's type tree. */
#include "unit.h"

#include <string.h>

#include "domain/arg_format.h"
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
	int r = params_check(types, args, UNKNOWN_TAKE, NULL, NULL, &f);
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

/* One argument `a` of that type. */
static void value_is(const char *type, const char *value, const char *expected)
{
	struct fault f = { 0 };
	_cleanup_(json_decrefp) json_t *tree = json_loads(type, 0, NULL);
	assert_non_null(tree);
	_cleanup_(json_decrefp) json_t *types = json_pack("{s:O}", "a", tree);
	json_t *given = json_loads(value, JSON_DECODE_ANY, NULL);
	assert_non_null(given);
	_cleanup_(json_decrefp) json_t *args = json_pack("{s:o}", "a", given);
	assert_int_equal(params_check_types(types, &f), 0);
	int r = params_check(types, args, UNKNOWN_REFUSE, NULL, NULL, &f);
	if (r == 0 ? expected != NULL : !expected || strcmp(f.text, expected) != 0)
		fail_msg("%s of %s: %s", value, type, r ? f.text : "it was taken");
}

static void texts_have_the_form_that_the_type_names(void **state)
{
	static const struct {
		const char *format, *good[12], *bad[16];
	} rows[] = {
		{ "date", { "2019-10-07", "2024-02-29", "0001-01-01", "9999-12-31" },
			{ "2023-02-29", "2019-13-01", "2019-00-01", "2019-01-00", "2019-1-1",
				"0000-01-01", "19-10-07", "2019-10-07T00:00", "2019-10-07 ", "",
				"1900-02-29" } },
		{ "date-time",
			{ "2019-10-07T12:48:23", "2019-10-07 12:48", "2019-10-07",
				"2019-10-07T12:48:23.123+0000", "2019-10-07T12:48:23.123456Z",
				"2019-10-07T12:48:23.123456000-03:30",
				"1850-01-01T00:00:00-04:56:02" },
			{ "2019-10-07T24:00", "2019-10-07T12:60", "2019-10-07T12",
				"2019-10-07T12:48:60", "2019-10-07T12:48:23.",
				"2019-10-07T12:48:23.1234567", "2019-10-07T12:48+24:00",
				"2019-10-07T12:48+1", "2019-10-07T12:48Z+01:00", "today",
				"2019-10-07T", "2019-10-07TZ" } },
		{ "time", { "12:48", "23:59:59.999999", "00:00:00Z", "12:48:00+05:30" },
			{ "24:00", "1:2", "12", "12:48:", "12:48:00 ", "T12:48" } },
		{ "duration",
			{ "P1D", "PT1H30M", "-PT0.5S", "P1W", "P1DT2H3M4.000005S", "PT36H",
				"P999999998D" },
			{ "P", "PT", "P1Y", "P1M", "PT1H1H", "P1H", "PT1D", "1D", "PT1.5H", "P1DT",
				"P999999999D", "PT1M1H", "P-1D" } },
		{ "decimal", { "1", "-1.50", "+.5", "1.", "1e10", "1E-10" },
			{ "", ".", "e1", "1e", "NaN", "Infinity", "1,5", "0x1", " 1", "1e99999" } },
		{ "uuid", { "0190f0a0-0000-7000-8000-00000000ABCD" },
			{ "0190f0a000007000800000000000abcd", "0190f0a0-0000-7000-8000-00000000ABC",
				"g190f0a0-0000-7000-8000-00000000abcd", "" } },
		{ "base64", { "", "AA==", "AAA=", "AAAA", "+/+/" },
			{ "A", "AA", "A===", "AA=A", "A-_A", "AAAA\n", "====" } },
		{ "integer", { "0", "-12", "123456789012345678" },
			{ "", "-", "1.0", "1234567890123456789", "+1" } },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct arg_format *format = arg_format_find(rows[i].format);
		assert_non_null(format);
		for (size_t n = 0; n < ARRAY_SIZE(rows[i].good) && rows[i].good[n]; n++)
			if (!format->matches(rows[i].good[n]))
				fail_msg("%s: %s", rows[i].format, rows[i].good[n]);
		for (size_t n = 0; n < ARRAY_SIZE(rows[i].bad) && rows[i].bad[n]; n++)
			if (format->matches(rows[i].bad[n]))
				fail_msg("%s: %s", rows[i].format, rows[i].bad[n]);
	}
	assert_null(arg_format_find("no such format"));
}

static void what_runners_say_beside_mists_types_is_checked(void **state)
{
	(void)state;
	const char *date = "{\"type\": \"MString\", \"format\": \"date\"}";
	value_is(date, "\"2019-10-07\"", NULL);
	value_is(date, "\"07.10.2019\"",
		"Invalid field a: Invalid type: expected String (date as 2019-10-07), got "
		"\"07.10.2019\"");
	value_is(date, "20191007",
		"Invalid field a: Invalid type: expected String (date as 2019-10-07), got "
		"20191007");
	value_is("{\"type\": \"MString\", \"format\": \"of the future\"}", "\"x\"", NULL);
	const char *decimal = "{\"type\": \"MAny\", \"format\": \"decimal\"}";
	value_is(decimal, "1.5", NULL);
	value_is(decimal, "\"1.50\"", NULL);
	value_is(decimal, "true",
		"Invalid field a: Invalid type: expected Any (decimal number), got true");
	value_is(decimal, "null",
		"Invalid field a: Invalid type: expected Any (decimal number), got nothing");
	const char *duration = "{\"type\": \"MAny\", \"format\": \"duration\"}";
	value_is(duration, "-1.5", NULL);
	value_is(duration, "1000000000000000",
		"Invalid field a: Invalid type: expected Any (duration as PT1H30M, or seconds), "
		"got 1000000000000000");
	const char *colour = "{\"type\": \"MAny\", \"enum\": [\"red\", 1]}";
	value_is(colour, "\"red\"", NULL);
	value_is(colour, "1.0", NULL);
	value_is(colour, "true",
		"Invalid field a: Invalid type: expected one of \"red\", 1, got true");
	const char *either = "{\"type\": \"MAny\", \"anyOf\": [{\"type\": \"MInt\"}, {\"type\": "
			     "\"MList\", \"args\": [{\"type\": \"MString\"}]}]}";
	value_is(either, "1", NULL);
	value_is(either, "[\"x\"]", NULL);
	value_is(either, "[1]",
		"Invalid field a: Invalid type: expected Int or List[String], got [1]");
	value_is(either, "null",
		"Invalid field a: Invalid type: expected Int or List[String], got nothing");
	const char *pair = "{\"type\": \"MList\", \"args\": [{\"type\": \"MAny\"}], \"items\": "
			   "[{\"type\": \"MInt\"}, {\"type\": \"MString\"}]}";
	value_is(pair, "[1, \"x\"]", NULL);
	value_is(pair, "[1]", "Invalid field a: Invalid type: expected List[Int, String], got [1]");
	value_is(pair, "[1, 2]", "Invalid field a[1]: Invalid type: expected String, got 2");
	const char *closed = "{\"type\": \"MObj\", \"closed\": true, \"fields\": {\"low\": "
			     "{\"type\": \"MInt\"}}}";
	value_is(closed, "{\"low\": 1}", NULL);
	value_is(closed, "{\"low\": 1, \"lwo\": 1}",
		"Invalid field a.lwo: there is no such field; did you mean low?");
	const char *tree = "{\"type\": \"MObj\", \"closed\": true, \"fields\": {\"v\": {\"type\": "
			   "\"MInt\"}, \"of\": {\"type\": \"MOption\", \"args\": [{\"type\": "
			   "\"MList\", \"args\": [{\"type\": \"MAny\", \"again\": 0}]}]}}}";
	value_is(tree, "{\"v\": 1, \"of\": [{\"v\": 2, \"of\": [{\"v\": 3}]}]}", NULL);
	value_is(tree, "{\"v\": 1, \"of\": [{\"v\": 2, \"of\": [{\"v\": \"x\"}]}]}",
		"Invalid field a.of[0].of[0].v: Invalid type: expected Int, got \"x\"");
	value_is(tree, "{\"v\": 1, \"of\": [{\"w\": 2}]}",
		"Errors[Invalid field a.of[0].v: Invalid type: expected Int, got nothing,"
		"Invalid field a.of[0].w: there is no such field]");
	value_is("{\"type\": \"MAny\", \"again\": 7}", "1", NULL);
	/* One of its alternatives is itself: no value decides that. */
	const char *itself =
		"{\"type\": \"MObj\", \"anyOf\": [{\"type\": \"MAny\", \"again\": 0}], "
		"\"fields\": {\"of\": {\"type\": \"MAny\", \"again\": 0}}}";
	value_is(itself, "{\"of\": 1}", "Invalid field a.of: Invalid type: expected Any, got 1");
	const char *keys = "{\"type\": \"MMap\", \"args\": [{\"type\": \"MString\", \"format\": "
			   "\"integer\"}, {\"type\": \"MInt\"}]}";
	value_is(keys, "{\"1\": 2}", NULL);
	value_is(keys, "{\"x\": 2}",
		"Invalid field a.x: Invalid type: expected String (integer), got \"x\"");
}

static void unknown_arguments_are_refused_ignored_or_taken(void **state)
{
	struct fault f = { 0 };
	_cleanup_(freep) char *ignored = NULL;
	_cleanup_(json_decrefp) json_t *types = json_loads(
		"{\"start\": {\"type\": \"MOption\", \"args\": [{\"type\": \"MString\"}]}}", 0,
		NULL);
	_cleanup_(json_decrefp) json_t *args =
		json_loads("{\"strat\": \"2020\", \"zzzzzzzz\": 1}", 0, NULL);
	(void)state;
	assert_true(params_check(types, args, UNKNOWN_REFUSE, NULL, NULL, &f) < 0);
	assert_int_equal(f.code, FAULT_BAD_REQUEST);
	assert_string_equal(f.text,
		"Errors[Invalid field strat: there is no such argument; did you mean start?,"
		"Invalid field zzzzzzzz: there is no such argument]");
	assert_int_equal(params_check(types, args, UNKNOWN_IGNORE, &ignored, NULL, &f), 0);
	assert_string_equal(ignored, "strat, zzzzzzzz");
	assert_int_equal(params_check(types, args, UNKNOWN_TAKE, NULL, NULL, &f), 0);
}

/* Their texts may be what stands between two of them in the sentence. */
static void each_wrong_argument_is_told_by_itself(void **state)
{
	struct fault f;
	_cleanup_(json_decrefp) json_t *types = json_loads(execute, 0, NULL);
	_cleanup_(json_decrefp) json_t *args = json_loads(
		"{\"i\": \"x,Invalid field j: y\", \"l\": [1, \"x\"], \"no\": 1}", 0, NULL);
	_cleanup_(json_decrefp) json_t *errors = json_array();
	_cleanup_(json_decrefp) json_t *expected =
		json_loads("[{\"kind\": \"argument\", \"name\": \"i\", \"error\": "
			   "\"Invalid type: expected Int, got \\\"x,Invalid field j: y\\\"\"},"
			   " {\"kind\": \"argument\", \"name\": \"l[1]\", \"error\": "
			   "\"Invalid type: expected Double, got \\\"x\\\"\"},"
			   " {\"kind\": \"argument\", \"name\": \"no\", \"error\": "
			   "\"there is no such argument\"}]",
			0, NULL);
	(void)state;
	assert_true(params_check(types, args, UNKNOWN_REFUSE, NULL, errors, &f) < 0);
	assert_non_null(expected);
	assert_true(json_equal(errors, expected));
	json_array_clear(errors);
	assert_true(params_check(types, types, UNKNOWN_TAKE, NULL, errors, &f) < 0);
	assert_int_not_equal(json_array_size(errors), 0);
	json_array_clear(errors);
	_cleanup_(json_decrefp) json_t *good = json_pack("{s:i}", "i", 1);
	assert_int_equal(params_check(types, good, UNKNOWN_REFUSE, NULL, errors, &f), 0);
	assert_int_equal(json_array_size(errors), 0);
}

/* What is wrong may be longer than a sentence: its beginning is told. */
static void a_type_of_many_fields_is_told_as_far_as_there_is_room(void **state)
{
	enum { N = 500 };
	struct fault f;
	json_t *fields = json_object();
	(void)state;
	for (int i = 0; i < N; i++) {
		char name[16];
		snprintf(name, sizeof name, "field%d", i);
		json_object_set_new(fields, name, json_pack("{s:s}", "type", "MInt"));
	}
	_cleanup_(json_decrefp) json_t *types =
		json_pack("{s:{s:s, s:o}}", "a", "type", "MObj", "fields", fields);
	_cleanup_(json_decrefp) json_t *args = json_pack("{s:i}", "a", 1);
	_cleanup_(json_decrefp) json_t *errors = json_array();
	assert_true(params_check(types, args, UNKNOWN_REFUSE, NULL, errors, &f) < 0);
	assert_ptr_equal(
		strstr(f.text, "Invalid field a: Invalid type: expected Object {field0="), f.text);
	assert_int_equal(json_array_size(errors), 1);
}

static const char too_many[] =
	"the arguments have too many values of types that have alternatives (unions, enums): at "
	"most about 200000 may be tried in one request";

/* Many alternatives of many values: without a bound the test would not end in time. */
static void the_work_for_alternatives_is_bounded(void **state)
{
	enum { N = 30000 };
	struct fault f;
	json_t *any_of = json_array(), *list = json_array();
	(void)state;
	for (int i = 0; i < N; i++) {
		json_array_append_new(any_of, json_pack("{s:s}", "type", "MInt"));
		json_array_append_new(list, json_string("x"));
	}
	json_array_append_new(any_of, json_pack("{s:s}", "type", "MString"));
	_cleanup_(json_decrefp) json_t *types = json_pack("{s:{s:s, s:[{s:s, s:o}]}}", "a", "type",
		"MList", "args", "type", "MAny", "anyOf", any_of);
	_cleanup_(json_decrefp) json_t *args = json_pack("{s:o}", "a", list);
	_cleanup_(json_decrefp) json_t *errors = json_array();
	assert_true(params_check(types, args, UNKNOWN_REFUSE, NULL, errors, &f) < 0);
	assert_string_equal(f.text, too_many);
	assert_int_equal(json_array_size(errors), 0);
}

/* The same with many words, one of which a value may be. */
static void the_work_for_words_is_bounded(void **state)
{
	enum { N = 30000 };
	struct fault f;
	json_t *words = json_array(), *list = json_array();
	(void)state;
	for (int i = 0; i < N; i++) {
		json_array_append_new(words, json_integer(i));
		json_array_append_new(list, json_integer(N - 1));
	}
	_cleanup_(json_decrefp) json_t *types = json_pack("{s:{s:s, s:[{s:s, s:o}]}}", "a", "type",
		"MList", "args", "type", "MInt", "enum", words);
	_cleanup_(json_decrefp) json_t *args = json_pack("{s:o}", "a", list);
	assert_true(params_check(types, args, UNKNOWN_REFUSE, NULL, NULL, &f) < 0);
	assert_string_equal(f.text, too_many);
	json_array_clear(list);
	json_array_append_new(list, json_integer(N - 1));
	assert_int_equal(params_check(types, args, UNKNOWN_REFUSE, NULL, NULL, &f), 0);
}

/* What is large and plain is not counted, and of what is wrong only the beginning is printed. */
static void a_long_plain_list_is_looked_through(void **state)
{
	enum { N = 4000000 };
	struct fault f;
	json_t *list = json_array();
	(void)state;
	for (int i = 0; i < N; i++)
		json_array_append_new(list, json_true());
	_cleanup_(json_decrefp) json_t *types = json_loads(
		"{\"a\": {\"type\": \"MList\", \"args\": [{\"type\": \"MBoolean\"}]}}", 0, NULL);
	_cleanup_(json_decrefp) json_t *args = json_pack("{s:o}", "a", list);
	assert_int_equal(params_check(types, args, UNKNOWN_REFUSE, NULL, NULL, &f), 0);
	json_array_set_new(list, N - 1, json_integer(7));
	assert_true(params_check(types, args, UNKNOWN_REFUSE, NULL, NULL, &f) < 0);
	assert_string_equal(
		f.text, "Invalid field a[3999999]: Invalid type: expected Boolean, got 7");
}

static void trees_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = { "{\"a\": {\"type\": \"Int\"}}",
		"{\"a\": {\"type\": \"MList\"}}", "{\"a\": 1}", "[]",
		"{\"a\": {\"type\": \"MObj\"}}", "{\"a\": {\"type\": \"MInt\", \"enum\": 1}}",
		"{\"a\": {\"type\": \"MAny\", \"anyOf\": [1]}}",
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
	assert_int_equal(params_check(types, good, UNKNOWN_REFUSE, NULL, NULL, &f), 0);
	for (int i = 0; i < HALF / 2; i++)
		json_array_set_new(list, i, json_string("x"));
	assert_true(params_check(types, good, UNKNOWN_REFUSE, NULL, NULL, &f) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_arguments_pass),
		cmocka_unit_test(bad_arguments_name_the_field_and_what_was_expected),
		cmocka_unit_test(texts_have_the_form_that_the_type_names),
		cmocka_unit_test(what_runners_say_beside_mists_types_is_checked),
		cmocka_unit_test(unknown_arguments_are_refused_ignored_or_taken),
		cmocka_unit_test(each_wrong_argument_is_told_by_itself),
		cmocka_unit_test(a_type_of_many_fields_is_told_as_far_as_there_is_room),
		cmocka_unit_test(the_work_for_alternatives_is_bounded),
		cmocka_unit_test(the_work_for_words_is_bounded),
		cmocka_unit_test(a_long_plain_list_is_looked_through),
		cmocka_unit_test(trees_that_are_none_are_refused),
		cmocka_unit_test(a_deep_tree_is_refused),
		cmocka_unit_test(a_large_body_is_checked_at_once),
	};
	return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
