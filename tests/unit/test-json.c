/* SPDX-License-Identifier: Apache-2.0 */
/* base/json.h: foreign bytes become a value or a sentence. */
#include "unit.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

static void check_refused(const char *text, size_t len, const char *sentence)
{
	struct fault f = { 0 };
	check(json_parse(text, len, 4, &f) == NULL);
	check_int(f.code, FAULT_BAD_REQUEST);
	check_str(f.text, sentence);
}

static void check_refused_text(const char *text, const char *sentence)
{
	check_refused(text, strlen(text), sentence);
}

TEST(any_json_value_is_read_and_written)
{
	static const char *const rows[] = { "{\"a\":[1,2.5,\"x\",true,false,null]}", "[]", "1",
		"\"text\"", "null", "[[[[]]]]", "\"[[[[[[[[\"", "{\"a\":\"\\\"[[[[[\\\\\"}" };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fault f = { 0 };
		_cleanup_(json_decrefp) json_t *value = json_parse(rows[i], strlen(rows[i]), 4, &f);
		check(value != NULL);
		_cleanup_(freep) char *text = json_text(value);
		check_str(text, rows[i]);
	}
}

TEST(small_values_take_far_more_memory_than_their_text)
{
	_cleanup_(json_decrefp) json_t *zeros = json_array();
	_cleanup_(json_decrefp) json_t *text = json_stringn("", 0);
	_cleanup_(json_decrefp) json_t *both = json_object();
	for (int i = 0; i < 1000; i++)
		json_array_append_new(zeros, json_integer(0));
	check(json_memory(zeros) > 32000 && json_memory(zeros) < 64000);
	check(json_memory(text) < 128);
	check(json_memory(json_null()) == 0 && json_memory(NULL) == 0);
	json_object_set(both, "zeros", zeros);
	json_object_set(both, "text", text);
	check(json_memory(both) > json_memory(zeros) + json_memory(text) + 9);
}

TEST(nothing_is_not_json)
{
	check_refused("", 0, "empty, expected a JSON text");
	check_refused_text(" \r\n\t", "empty, expected a JSON text");
}

TEST(a_mistake_is_told_with_its_place)
{
	check_refused_text("{\"a\": }", "not JSON: unexpected token near '}' at line 1 column 7");
	check_refused_text(
		"{\n\"a\": [1,\n", "not JSON: ']' expected near end of file at line 3 column 0");
	check_refused_text(
		"[1] x", "more bytes after the end of the JSON text, at line 1 column 5");
	check_refused_text("[1e999]", "a number is too large, at line 1 column 6");
	check_refused_text("[99999999999999999999]", "a number is too large, at line 1 column 21");
	check_refused_text(
		"[\"\\u0000\"]", "\\u0000 is not accepted in a string, at line 1 column 9");
}

TEST(a_name_twice_is_refused)
{
	const char *sentence =
		"a name stands twice in one object near '\"a\"', at line 1 column 10";
	check_refused_text("{\"a\":1,\"a\":2}", sentence);
}

TEST(bytes_that_are_not_utf8_are_refused)
{
	check_refused_text("[\"\xff\"]", "not UTF-8, at line 1 column 2");
	check_refused_text("[\"\xc0\x80\"]", "not UTF-8, at line 1 column 2");
	check_refused("[1,\0 2]", 7, "not JSON: a NUL byte at byte 4");
}

TEST(nesting_over_the_limit_is_refused)
{
	check_refused_text("[[[[[]]]]]", "nested deeper than 4");
	check_refused_text("{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}", "nested deeper than 4");
}

TEST(a_million_brackets_do_no_harm)
{
	enum { N = 1000000 };
	_cleanup_(freep) char *text = xcalloc(N, 1);
	memset(text, '[', N);
	check_refused(text, N, "nested deeper than 4");
	memset(text, ']', N);
	check_refused(text, N, "not JSON: unexpected token near ']' at line 1 column 1");
}

TEST(kinds_have_words)
{
	static const struct {
		const char *text, *kind;
	} rows[] = { { "{}", "an object" }, { "[]", "an array" }, { "\"\"", "a string" },
		{ "1", "an integer" }, { "1.5", "a real number" }, { "true", "a boolean" },
		{ "null", "null" } };
	struct fault f;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(json_decrefp) json_t *value =
			json_parse(rows[i].text, strlen(rows[i].text), 4, &f);
		check_str(json_kind(value), rows[i].kind);
	}
	check_str(json_kind(NULL), "nothing");
}

TEST(a_member_that_is_no_string_is_none)
{
	struct fault f;
	const char *text = "{\"a\":\"x\",\"b\":1}";
	_cleanup_(json_decrefp) json_t *value = json_parse(text, strlen(text), 4, &f);
	check_str(json_string_of(value, "a"), "x");
	check(json_string_of(value, "b") == NULL);
	check(json_string_of(value, "c") == NULL);
	check(json_string_of(NULL, "a") == NULL);
}

static void member_is(const char *text, const char *name, const char *expected)
{
	struct fault f;
	size_t len = 0;
	_cleanup_(json_decrefp) json_t *value = json_parse(text, strlen(text), 64, &f);
	check(value != NULL);
	const char *found = json_member_text(text, strlen(text), name, &len);
	check((found == NULL) == (expected == NULL));
	if (!expected)
		return;
	check_int(len, strlen(expected));
	check_bytes(found, expected, len);
}

TEST(the_text_of_a_member_is_as_it_was_written)
{
	member_is("{\"a\":1}", "a", "1");
	member_is(" { \"x\" : [1, {\"a\": 2}] , \"a\" :\t3.1400 } ", "a", "3.1400");
	member_is("{\"x\":\"\\\"a\\\":9,}\",\"a\":{\"b\":[\"]}\"]},\"c\":0}", "a",
		"{\"b\":[\"]}\"]}");
	member_is("{\"a\":\"\\\\\"}", "a", "\"\\\\\"");
	member_is("{\"ab\":1,\"b\":2}", "a", NULL);
	member_is("{\"\\u0061\":1}", "a", NULL);
	member_is("{}", "a", NULL);
	member_is("{\"b\":{\"a\":1}}", "a", NULL);
	member_is("{\"a\":null\n}", "a", "null");
}

TEST(a_text_that_is_not_built_is_judged_as_one_that_is)
{
	static const char *const good[] = { "{\"a\":[1,2.5,\"x\",true,false,null]}", " [ ] ", "-0",
		"1e5", "-1.5E-3", "0.25e+7", "\"\\u00e9\\\"\\/\\b\\f\\n\\r\\t\"", "{}",
		"[{},[],{\"a\":{}},[[]]]", "\r\n{ \"a\" :\t[ 1 , 2 ] , \"b\" : { } } ",
		"\"\xc3\xa4\"", "\"\x7f\"", "null", "{\"\":0}" };
	static const char *const bad[] = { "", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"}",
		"{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}", "[1 2]", "{\"a\":1 \"b\":2}", "01", "-",
		"1.", ".5", "1e", "1e+", "+1", "tru", "truee", "nul", "\"", "\"\\x\"",
		"\"\\u12g4\"", "\"\n\"", "\"\xff\"", "[\"\xc3\"]", "[]]", "[}", "{]", "1 1", "[1],",
		",", ":", "{\"a\":1]", "[\"a\":1]", "NaN", "'a'", "[1,,2]", "{,}", "\"\\" };
	struct fault f;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_(json_decrefp) json_t *value = json_parse(good[i], strlen(good[i]), 4, &f);
		check(value && json_is_text(good[i], strlen(good[i]), 4));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(!json_is_text(bad[i], strlen(bad[i]), 4));
	for (size_t at = 1; at < 20; at++) { /* wherever it stands among ASCII */
		char text[] = "\"0123456789012345678901\"";
		memcpy(text + at, "\xc3\xa4", 2);
		check(json_is_text(text, strlen(text), 4));
		text[at + 1] = '\xff';
		check(!json_is_text(text, strlen(text), 4));
	}
	check(json_is_text("[[[[0]]]]", 9, 4));
	check(!json_is_text("[[[[[0]]]]]", 11, 4));
	check(!json_is_text("[0]\0", 4, 4));
}

TEST(a_nul_byte_is_refused_wherever_it_stands)
{
	static const char *const texts[] = { "{\"a\":1#}", "1#", "#1", "[1,#2]", "{\"a\":true}#",
		"\"a#\"", "{\"a\":1.5#,\"b\":2}" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct fault f = { 0 };
		_cleanup_(freep) char *text = xstrdup(texts[i]);
		size_t len = strlen(text);
		*strchr(text, '#') = '\0';
		check(json_parse(text, len, 64, &f) == NULL);
		check(strstr(f.text, "a NUL byte at byte ") != NULL);
	}
}

TEST(a_text_of_outside_is_always_a_string)
{
	static const char *const texts[][2] = { { "", "\"\"" }, { "a\n", "\"a\\n\"" },
		{ "\xc3\xa9", "\"\xc3\xa9\"" }, { "\xc3", "\"?\"" }, { "a\xf0\x9f\x98", "\"a?\"" },
		{ "\xff\xfe", "\"??\"" } };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(json_decrefp) json_t *value = json_string_lossy(texts[i][0]);
		_cleanup_(freep) char *text = json_text(value),
				      *quoted = json_quote(texts[i][0], strlen(texts[i][0]));
		check_str(text, texts[i][1]);
		check_str(quoted, texts[i][1]);
	}
}

TEST(a_real_number_has_no_more_digits_than_it_needs)
{
	static const char *const texts[] = { "0.2", "[0.1,0.333333,{\"a\":1.5e300}]", "\"0.2\"",
		"0.30000000000000004", "0.12345678901234568", "1", "null", "\"a\\u0000b\"" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(json_decrefp) json_t *value =
			json_loads(texts[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		_cleanup_(freep) char *text = json_text_short(value);
		check_str(text, texts[i]);
	}
}

RUN_TESTS(PROVES(any_json_value_is_read_and_written),
	PROVES(small_values_take_far_more_memory_than_their_text), PROVES(nothing_is_not_json),
	PROVES(a_mistake_is_told_with_its_place), PROVES(a_name_twice_is_refused),
	PROVES(bytes_that_are_not_utf8_are_refused), PROVES(nesting_over_the_limit_is_refused),
	PROVES(a_million_brackets_do_no_harm), PROVES(kinds_have_words),
	PROVES(a_member_that_is_no_string_is_none),
	PROVES(a_text_that_is_not_built_is_judged_as_one_that_is),
	PROVES(the_text_of_a_member_is_as_it_was_written),
	PROVES(a_nul_byte_is_refused_wherever_it_stands),
	PROVES(a_text_of_outside_is_always_a_string),
	PROVES(a_real_number_has_no_more_digits_than_it_needs))
