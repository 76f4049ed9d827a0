/* SPDX-License-Identifier: Apache-2.0 */
/* base/json_scan: takes and refuses what json_parse does, and finds the members where they stand.
 */
#include "base/json_scan.h"

#include <string.h>

#include "base/json.h"
#include "unit.h"

enum { DEPTH = 8 };

static const char *const good[] = { "1", " [ ] ", "{}", "null", "\"x\"", "-0.5e-3",
	"[1,2,[3,{\"a\":[]}]]", "{\"a\":{\"a\":{\"b\":1}},\"b\":[{\"a\":1},{\"a\":2}]}",
	"[[[[[[[[]]]]]]]]", "\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\"é😀\x7f\"", "9223372036854775807",
	"-9223372036854775808", "1e308",
	"0.00000000000000000000000000000000000000000000000000000000000000001", "[true,false,null]",
	"{\"\":1,\" \":2}", "\t\r\n{\"a\" : 1 , \"b\" :\n[ ] }\n" };

static const char *const bad[] = {
	"", " ", "[", "[1", "[1,", "[1,]", "[,]", "[1 2]", "{", "{\"a\"", "{\"a\":", "{\"a\":1",
	"{\"a\":1,", "{\"a\":1,}", "{,}", "{a:1}", "{1:1}", "{\"a\" 1}", "[1]]", "[]x", "1 2",
	"tru", "nul", "truex", "NaN", "Infinity", "-", "01", "1.", ".5", "1e", "1e+", "+1", "'x'",
	"\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u0000\"", "\"\\ud800\"",
	"\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\n\"", "\"\x01\"", "\"\xff\"", "\"\xc3\"",
	"\"\xed\xa0\x80\"", "\"\xc0\x80\"", "9223372036854775808", "-9223372036854775809", "1e309",
	"-1e999", "[[[[[[[[[]]]]]]]]]", "{\"a\":1,\"a\":2}", "[{\"b\":1,\"a\":1,\"b\":2}]",
	"{\"\\u0061\":1,\"a\":2}", "{\"\\ud83d\\ude00\":1,\"😀\":2}",
	"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"c\":1}",
	"{\"\\u0061b\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"ab\":1}"
};

static void is_as_json_parse_has_it(const char *text, size_t len, bool is_good)
{
	struct fault f = { 0 }, g = { 0 };
	_cleanup_(json_decrefp) json_t *value = json_parse(text, len, DEPTH, &g);
	bool is_taken = json_scan(text, len, DEPTH, NULL, NULL, &f) == 0;
	if (is_taken != is_good || (value != NULL) != is_good)
		fail_msg("%.*s: %s / %s", (int)len, text, is_taken ? "taken" : f.text,
			value ? "taken" : g.text);
	check(is_taken || (f.code == FAULT_BAD_REQUEST && f.text[0]));
}

TEST(it_takes_what_json_parse_takes)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		is_as_json_parse_has_it(good[i], strlen(good[i]), true);
}

TEST(it_refuses_what_json_parse_refuses)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		is_as_json_parse_has_it(bad[i], strlen(bad[i]), false);
	is_as_json_parse_has_it("[1]\0", 4, false);
	is_as_json_parse_has_it("\"a\0b\"", 5, false);
}

/* Every beginning, and every byte changed: nothing is read beyond the end (a sanitizer says so). */
TEST(no_text_is_taken_differently_when_it_is_cut_or_changed)
{
	static const char text[] = "{\"a\\n\":[1,-2.5e3,\"é\\u00e9\",{\"b\":null}],\"c\":true}";
	static const char bytes[] = "\"\\{}[],: 0\xc3\n";
	for (size_t len = 0; len < sizeof text - 1; len++) {
		_cleanup_(freep) char *copy = memcpy(xcalloc(1, len + 1), text, len);
		struct fault f;
		_cleanup_(freep) char *exact = len ? memcpy(malloc(len), copy, len) : NULL;
		check(json_scan(exact ? exact : "", len, DEPTH, NULL, NULL, &f) < 0);
	}
	for (size_t at = 0; at < sizeof text - 1; at++) {
		for (size_t i = 0; i < sizeof bytes - 1; i++) {
			char copy[sizeof text];
			struct fault f, g;
			memcpy(copy, text, sizeof text);
			copy[at] = bytes[i];
			_cleanup_(json_decrefp) json_t *value =
				json_parse(copy, sizeof text - 1, DEPTH, &g);
			bool is_taken =
				json_scan(copy, sizeof text - 1, DEPTH, NULL, NULL, &f) == 0;
			if (is_taken != (value != NULL))
				fail_msg("%s: %s / %s", copy, is_taken ? "taken" : f.text,
					value ? "taken" : g.text);
		}
	}
}

struct found {
	char text[200];
	size_t n_values;
};

static int note(
	void *arg, struct json_span name, struct json_span value, size_t n_values, struct fault *f)
{
	struct found *found = arg;
	size_t used = strlen(found->text);
	(void)f;
	snprintf(found->text + used, sizeof found->text - used, "%.*s=%.*s;", (int)name.len,
		name.text, (int)value.len, value.text);
	found->n_values += n_values;
	return 0;
}

TEST(members_are_found_as_they_stand)
{
	static const char text[] =
		" { \"a\" : [ 1, {\"b\": 2} ] ,\"c\\n\":\"}\\\"\", \"d\":-1.50 ,\"e\":{} } ";
	struct found found = { 0 };
	struct fault f;
	check_int(json_scan(text, sizeof text - 1, DEPTH, note, &found, &f), 0);
	check_str(found.text, "a=[ 1, {\"b\": 2} ];c\\n=\"}\\\"\";d=-1.50;e={};");
	check_int(found.n_values, 4 + 1 + 1 + 1);
}

TEST(blanks_are_left_out_but_not_of_strings)
{
	char text[] = " { \"a b\" : [ 1 , \" \\\" \" ] ,\n\t\"c\": { } } ";
	size_t len = json_compact(text, sizeof text - 1);
	check_bytes(text, "{\"a b\":[1,\" \\\" \"],\"c\":{}}", len);
	check_int(len, strlen("{\"a b\":[1,\" \\\" \"],\"c\":{}}"));
}

TEST(many_names_are_compared_too)
{
	enum { N = 20000 };
	_cleanup_(freep) char *text = xcalloc(N + 1, 16);
	for (int twice = 0; twice < 2; twice++) {
		struct fault f = { 0 };
		size_t len = 0;
		for (int i = 0; i < N; i++)
			len += (size_t)snprintf(text + len, 16, "%c\"n%d\":1", i ? ',' : '{',
				twice && i == N - 1 ? 77 : i);
		text[len++] = '}';
		int r = json_scan(text, len, DEPTH, NULL, NULL, &f);
		check_int(r == 0, !twice);
		check(!twice || strstr(f.text, "a name stands twice in one object, \"n77\""));
	}
}

RUN_TESTS(PROVES(it_takes_what_json_parse_takes), PROVES(it_refuses_what_json_parse_refuses),
	PROVES(no_text_is_taken_differently_when_it_is_cut_or_changed),
	PROVES(members_are_found_as_they_stand), PROVES(blanks_are_left_out_but_not_of_strings),
	PROVES(many_names_are_compared_too))
