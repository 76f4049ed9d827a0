/* SPDX-License-Identifier: Apache-2.0 */
/* base/fault.h: a sentence is clean, whatever it quotes. */
#include "unit.h"

#include <string.h>

#include "base/fault.h"
#include "base/utf8.h"

TEST(a_refusal_is_negative_and_has_code_and_sentence)
{
	struct fault f = { 0 };
	check(fault_set(&f, FAULT_NOT_FOUND, "no function %s", "pi") < 0);
	check_int(f.code, FAULT_NOT_FOUND);
	check_str(f.text, "no function pi");
}

TEST(a_prefix_comes_before_the_sentence)
{
	struct fault f = { 0 };
	int r = fault_set(&f, FAULT_CONFLICT, "too late");
	check_int(fault_prefix(&f, "job %d", 7), r);
	check_int(f.code, FAULT_CONFLICT);
	check_str(f.text, "job 7: too late");
}

TEST(what_cannot_be_shown_is_replaced)
{
	struct fault f = { 0 };
	fault_set(&f, FAULT_BAD_REQUEST, "%s",
		"a\nb\x1b[1m\x7f"
		"c\xff"
		"d \xc3\xa9 \xe2\x82\xac \xc0\x80 \xed\xa0\x80");
	check_str(f.text, "a b [1m c?d \xc3\xa9 \xe2\x82\xac ?? ???");
}

TEST(a_long_sentence_is_cut_at_a_character)
{
	char text[2000];
	struct fault f = { 0 };
	for (size_t shift = 0; shift < 3; shift++) {
		memset(text, 'x', shift);
		for (size_t i = shift; i + 3 < sizeof text; i += 3)
			memcpy(text + i, "\xe2\x82\xac", 4);
		fault_set(&f, FAULT_BAD_REQUEST, "%s", text);
		check(strlen(f.text) > sizeof f.text - 4);
		check(utf8_is_valid(f.text, strlen(f.text)));
		check(strchr(f.text, '?') == NULL);
		fault_prefix(&f, "place");
		check(strncmp(f.text, "place: ", 7) == 0);
		check(utf8_is_valid(f.text, strlen(f.text)));
		check(strchr(f.text, '?') == NULL);
		fault_prefix(&f, "%s", text);
		check(utf8_is_valid(f.text, strlen(f.text)));
	}
}

TEST(an_old_sentence_may_be_an_argument)
{
	struct fault f = { 0 };
	fault_set(&f, FAULT_INTERNAL, "inner");
	fault_set(&f, FAULT_UNAVAILABLE, "outer: %s", f.text);
	check_str(f.text, "outer: inner");
}

TEST(utf8_is_judged_by_the_standard)
{
	check_int(utf8_shown("\xf0\x9f\x98\x80", 4), 4);
	check_int(utf8_shown("\xf4\x90\x80\x80", 4), 0);
	check_int(utf8_shown("\xe0\x9f\xbf", 3), 0);
	check_int(utf8_shown("\xed\xa0\x80", 3), 0);
	check_int(utf8_shown("\xed\xbf\xbf", 3), 0);
	check_int(utf8_shown("\xed\x9f\xbf", 3), 3);
	check_int(utf8_shown("\xe2\x82\xac", 2), 0);
	check_int(utf8_shown("\xc2\x85", 2), 0);
	check_int(utf8_shown("\xe2\x80\xa8", 3), 0);
	check_int(utf8_shown("", 0), 0);
	check(utf8_is_valid("a\n\xc2\x85", 4));
	check(!utf8_is_valid("a\x80", 2));
	check_int(utf8_whole("ab\xe2\x82", 4), 2);
	check_int(utf8_whole("ab\xe2\x82\xac", 5), 5);
	check_int(utf8_whole("ab", 2), 2);
}

TEST(a_character_that_the_format_cut_is_one_mark)
{
	struct fault f = { 0 };
	fault_set(&f, FAULT_BAD_REQUEST, "job %.5s: no", "a\xf0\x9f\x98\x80\xf0\x9f\x98\x80");
	check_str(f.text, "job a\xf0\x9f\x98\x80: no");
	fault_set(&f, FAULT_BAD_REQUEST, "job %.4s: no", "a\xf0\x9f\x98\x80");
	check_str(f.text, "job a?: no");
	fault_prefix(&f, "%.2s", "\xe2\x82\xac");
	check_str(f.text, "?: job a?: no");
}

TEST(a_text_is_cut_between_characters)
{
	check_int(utf8_cut("abc", 5), 3);
	check_int(utf8_cut("abc", 3), 3);
	check_int(utf8_cut("abc", 2), 2);
	check_int(utf8_cut("a\xc3\xa9\xc3\xa9", 3), 3);
	check_int(utf8_cut("a\xc3\xa9\xc3\xa9", 4), 3);
	check_int(utf8_cut("a\xc3\xa9", 1), 1);
	check_int(utf8_cut("\xf0\x9f\x98\x80", 3), 0);
	check_int(utf8_cut("", 0), 0);
}

TEST(any_bytes_can_be_made_utf8)
{
	char text[] = "a\n\xff"
		      "b\xe2\x82"
		      "c\xf0\x9f\x98\x80\xc3\0\x80\xed\xa0\x80\xe2\x82";
	size_t n = utf8_clean(text, sizeof text - 1);
	static const char clean[] = "a\n?b?c\xf0\x9f\x98\x80?\0?????";
	check_int(n, sizeof clean - 1);
	check_bytes(text, clean, n);
	check_int(utf8_clean(text, 0), 0);
}

TEST(a_sentence_fits_its_field)
{
	char field[8];
	check_int(sentence_print(field, sizeof field, "%s", "a\nb\xff"), 4);
	check_str(field, "a b?");
	check_int(sentence_print(field, sizeof field, "%s", "1234\xe2\x82\xac"), 7);
	check_str(field, "1234\xe2\x82\xac");
	check_int(sentence_print(field, sizeof field, "%s", "12345\xe2\x82\xac"), 5);
	check_str(field, "12345");
	check_int(sentence_print(field, 1, "%d", 7), 0);
	check_str(field, "");
}

RUN_TESTS(PROVES(a_refusal_is_negative_and_has_code_and_sentence),
	PROVES(a_prefix_comes_before_the_sentence), PROVES(what_cannot_be_shown_is_replaced),
	PROVES(a_long_sentence_is_cut_at_a_character), PROVES(an_old_sentence_may_be_an_argument),
	PROVES(a_character_that_the_format_cut_is_one_mark),
	PROVES(a_text_is_cut_between_characters), PROVES(any_bytes_can_be_made_utf8),
	PROVES(utf8_is_judged_by_the_standard), PROVES(a_sentence_fits_its_field))
