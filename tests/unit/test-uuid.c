/* SPDX-License-Identifier: Apache-2.0 */
/* base/uuid.h: ids are UUIDs of version 7, and each is greater than the one before. */
#include "unit.h"

#include <ctype.h>
#include <string.h>

#include "base/uuid.h"

static int64_t time_of(const struct uuid *u)
{
	int64_t ms = 0;
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | u->bytes[i];
	return ms;
}

static int order(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

TEST(an_id_carries_version_variant_and_time)
{
	struct uuid u;
	uuid_make(&u, 1700000000123);
	check_int(u.bytes[6] >> 4, 7);
	check_int(u.bytes[8] >> 6, 2);
	check_int(time_of(&u), 1700000000123);
}

TEST(ids_of_one_millisecond_go_up_and_run_into_the_next)
{
	struct uuid last, u;
	int64_t now = 1700000001000;
	uuid_make(&last, now);
	for (int i = 0; i < 20000; i++) {
		uuid_make(&u, now);
		check(order(&last, &u) < 0);
		last = u;
	}
	check(time_of(&last) > now && time_of(&last) <= now + 20000 / 2048 + 1);
}

TEST(ids_go_up_when_the_clock_goes_back)
{
	struct uuid before, after;
	uuid_make(&before, 1700000100000);
	uuid_make(&after, 1600000000000);
	check(order(&before, &after) < 0);
	uuid_make(&before, 1700000100001);
	check(order(&after, &before) < 0);
	check_int(time_of(&before), 1700000100001);
}

/* As a process whose clock is right does after one whose clock ran ahead. */
TEST(ids_go_on_from_the_last_one_of_another_process)
{
	struct uuid last, u;
	assert_true(uuid_parse("01912345-6789-7ffe-bfff-ffffffffffff", &last));
	check(uuid_has_room_after(&last));
	check(uuid_go_on_from(&last));
	for (int i = 0; i < 5000; i++) {
		uuid_make(&u, 1700000150000);
		check(order(&last, &u) < 0);
		last = u;
	}
	check(time_of(&u) - 0x019123456789 < 10);

	assert_true(uuid_parse("00812345-6789-7ffe-bfff-ffffffffffff", &u));
	check(uuid_go_on_from(&u)); /* a smaller one changes nothing */
	uuid_make(&u, 1700000150000);
	check(order(&last, &u) < 0);
}

TEST(ids_do_not_go_on_from_what_is_no_id_or_has_no_room_after_it)
{
	static const char *const wrong[] = {
		"ffffffff-ffff-7fff-bfff-ffffffffffff",
		"e677d21f-dc00-7000-8000-000000000000", /* of the year 10000 */
		"01a12345-6789-4fff-bfff-ffffffffffff",
		"01a12345-6789-7fff-3fff-ffffffffffff",
	};
	struct uuid u, next;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_true(uuid_parse(wrong[i], &u));
		check(!uuid_has_room_after(&u));
		check(!uuid_go_on_from(&u));
	}
	uuid_make(&next, 1700000160000);
	assert_true(uuid_parse("01a12345-6789-7000-8000-000000000000", &u));
	check(order(&next, &u) < 0);
}

TEST(text_and_back_is_the_same_id)
{
	struct uuid u, back;
	char text[UUID_TEXT], upper[UUID_TEXT];
	uuid_make(&u, 1700000200000);
	uuid_format(&u, text);
	check_int(strlen(text), 36);
	check(uuid_parse(text, &back));
	check_int(order(&u, &back), 0);
	for (int i = 0; i < UUID_TEXT; i++)
		upper[i] = (char)toupper((unsigned char)text[i]);
	check(uuid_parse(upper, &back));
	check_int(order(&u, &back), 0);
}

TEST(the_order_of_texts_is_the_order_of_ids)
{
	struct uuid u;
	char last[UUID_TEXT], text[UUID_TEXT];
	uuid_make(&u, 1700000300000);
	uuid_format(&u, last);
	for (int i = 0; i < 1000; i++) {
		uuid_make(&u, 1700000300000 + i / 10);
		uuid_format(&u, text);
		check(strcmp(last, text) < 0);
		memcpy(last, text, sizeof last);
	}
}

TEST(only_the_36_character_form_is_an_id)
{
	static const char *const wrong[] = {
		"",
		"018bcfe5-687b-7000-8000-00000000000",
		"018bcfe5-687b-7000-8000-0000000000000",
		"018bcfe5687b70008000000000000000",
		"018bcfe5-687b-7000-8000+000000000000",
		"018bcfe5-687b-7000-8000-00000000000g",
		"{18bcfe5-687b-7000-8000-00000000000}",
		"018bcfe56-87b-7000-8000-000000000000",
		" 18bcfe5-687b-7000-8000-000000000000",
	};
	struct uuid u = { { 1, 2, 3 } };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		check(!uuid_parse(wrong[i], &u));
	check_int(u.bytes[2], 3);
}

RUN_TESTS(PROVES(an_id_carries_version_variant_and_time),
	PROVES(ids_of_one_millisecond_go_up_and_run_into_the_next),
	PROVES(ids_go_up_when_the_clock_goes_back),
	PROVES(ids_go_on_from_the_last_one_of_another_process),
	PROVES(ids_do_not_go_on_from_what_is_no_id_or_has_no_room_after_it),
	PROVES(text_and_back_is_the_same_id), PROVES(the_order_of_texts_is_the_order_of_ids),
	PROVES(only_the_36_character_form_is_an_id))
