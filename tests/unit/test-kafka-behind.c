/* SPDX-License-Identifier: Apache-2.0 */
/* What a commit's metadata says of messages that are done behind one that is not: it is read as it
 * was written, and what is something else is nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "transport/kafka/private.h"

enum { AT_MS = 1000 };

#define MARK(offset, at_ms, hash) (&(struct mark){ (offset), (at_ms), (hash) })

static enum log_match match(struct partition *p, int64_t offset, int64_t at_ms)
{
	return same_log_match(p, MARK(offset, at_ms, 0), -1);
}

static void take(struct table *t, struct partition *p, int64_t offset, bool is_done)
{
	struct entry *e = table_take(t, p, &(rd_kafka_message_t){ .offset = offset });
	e->msg = NULL; /* nobody's */
	e->mark = (struct mark){ offset, AT_MS + offset, 0 };
	if (is_done)
		table_finish(t, e);
}

static void is_told_as(struct partition *p, int64_t base, const char *expected)
{
	_cleanup_(freep) char *text = behind_text(p, base);
	if (expected)
		assert_string_equal(text, expected);
	else
		assert_null(text);
}

static void test_runs_are_told_and_read(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	take(&t, p, 100, false);
	is_told_as(p, 100, NULL);
	take(&t, p, 103, true);
	take(&t, p, 104, false);
	take(&t, p, 105, true);
	take(&t, p, 107, true); /* there is no 106 */
	take(&t, p, 108, false);
	is_told_as(p, 100, "mist:+3+5-7");

	struct partition *next = table_add(&t, "topic", 1);
	behind_read(next, 100, "mist:+3+5-7", strlen("mist:+3+5-7"));
	for (int64_t i = 100; i < 110; i++)
		assert_int_equal(behind_has(next, i), i == 103 || (i >= 105 && i <= 107));
	is_told_as(next, 100, "mist:+3+5-7");
	/* What was taken since is told as it is. */
	take(&t, next, 100, false);
	take(&t, next, 103, true);
	take(&t, next, 104, true);
	is_told_as(next, 100, "mist:+3-4+5-7");
	take(&t, next, 105, true);
	is_told_as(next, 100, "mist:+3-5+6-7");

	next = table_add(&t, "topic", 2);
	behind_read(next, 100, "mist:+3-5+6-7", strlen("mist:+3-5+6-7"));
	for (int64_t i = 100; i < 110; i++)
		assert_int_equal(behind_has(next, i), i >= 103 && i <= 107);
	table_done(&t);
}

static void test_an_offset_is_committed_up_to_the_first_that_is_not_done(void **state)
{
	struct table t = { 0 };
	struct entry *entries[4];
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		take(&t, p, 100 + (int64_t)i, false);
		entries[i] = container_of(p->entries.prev, struct entry, node);
	}
	assert_int_equal(p->next, -1);
	table_finish(&t, entries[2]);
	assert_int_equal(p->next, -1);
	table_finish(&t, entries[0]);
	assert_int_equal(p->next, 101);
	table_finish(&t, entries[1]);
	assert_int_equal(p->next, 103);
	table_finish(&t, entries[3]);
	assert_int_equal(p->next, 104);
	table_done(&t);
}

/* Those that were refused last are held before others that came first. */
static void test_what_is_held_is_asked_again_in_its_order(void **state)
{
	static const int order[] = { 2, 0, 3, 1 };
	struct table t = { 0 };
	struct entry *entries[ARRAY_SIZE(order)];
	int n = 0;
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		take(&t, p, (int64_t)i, false);
		entries[i] = container_of(p->entries.prev, struct entry, node);
	}
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		table_hold(entries[order[i]]);
	list_each (it, &p->held)
		assert_ptr_equal(container_of(it, struct entry, held), entries[n++]);
	assert_int_equal(n, ARRAY_SIZE(order));
	table_done(&t);
}

static void test_another_log_makes_it_forgotten(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	behind_read(p, 100, "mist:+3", strlen("mist:+3"));
	assert_true(behind_has(p, 103));
	assert_false(behind_has(p, 99));
	assert_false(behind_has(p, 103));
	table_done(&t);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	for (int64_t i = 0; i < 10000; i++)
		take(&t, p, i, i % 2);
	_cleanup_(freep) char *text = behind_text(p, 0);
	assert_in_range(strlen(text), 2900, 3000);
	behind_read(p, 0, text, strlen(text));
	for (int64_t i = 0; i < 500; i++)
		assert_int_equal(behind_has(p, i), i % 2);
	table_done(&t);
}

static void test_something_else_is_nothing(void **state)
{
	static const char *const texts[] = { "", "mist:", "other", "mist:3", "mist:+", "mist:+x",
		"mist:+3-", "mist:+3-2", "mist:+3+3", "mist:+3+2", "mist:+3 ", "mist:+-3",
		"mist:+99999999999999999999", "mist:+3-9223372036854775808", "mist:@", "mist:@+3",
		"mist:@x+3", "mist:@-1", "mist:@.", "mist:@.x", "mist:@5.", "mist:@5.0",
		"mist:@5.A", "mist:@.0", "mist:@5.00112233445566778" };
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		behind_read(p, 0, texts[i], strlen(texts[i]));
		assert_int_equal(p->n_runs, 0);
		assert_int_equal(p->before.at_ms, -1);
	}
	table_done(&t);
}

static void test_the_record_before_is_told_and_read(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0), *next = table_add(&t, "topic", 1);
	take(&t, p, 100, true);
	is_told_as(p, 101, "mist:@1100");
	is_told_as(p, 100, NULL);
	take(&t, p, 101, false);
	take(&t, p, 102, true);
	is_told_as(p, 101, "mist:@1100+1");

	behind_read(next, 101, "mist:@1100+1", strlen("mist:@1100+1"));
	assert_true(behind_has(next, 102));
	assert_int_equal(next->before.offset, 100);
	assert_int_equal(next->before.at_ms, 1100);
	is_told_as(next, 101, "mist:@1100+1");
	behind_read(next, 101, "mist:@1100", strlen("mist:@1100"));
	assert_int_equal(next->n_runs, 0);
	is_told_as(next, 101, "mist:@1100");
	table_done(&t);
}

/* The record 5 of the time 50 was committed, and `verified` found in the same log before. */
static void expect(struct partition *p, int64_t verified)
{
	p->before = (struct mark){ 5, 50, 0 };
	p->verified = (struct mark){ verified, verified < 0 ? -1 : verified * 10, 0 };
	assert_int_equal(same_log_expect(p), verified < 0 ? 5 : verified);
}

static void test_the_record_that_was_compared_is_told_and_read(void **state)
{
	static const char text[] = "mist:@1104~3@1101+1";
	static const char *const bad[] = { "mist:@5~", "mist:@5~3", "mist:@5~3@", "mist:@5~x@1",
		"mist:@5~3@x", "mist:@5~3@-1", "mist:@5~3@1.", "mist:@5.~3@1" };
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0), *next = table_add(&t, "topic", 1);
	for (int64_t i = 101; i < 105; i++) {
		take(&t, p, i, true);
		same_log_seen(p, MARK(i, AT_MS + i, 0));
	}
	take(&t, p, 105, false);
	take(&t, p, 106, true);
	is_told_as(p, 105, text);
	behind_read(next, 105, text, strlen(text));
	assert_true(behind_has(next, 106));
	assert_int_equal(next->before.offset, 104);
	assert_int_equal(next->verified.offset, 101);
	assert_int_equal(next->verified.at_ms, 1101);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		behind_read(next, 105, bad[i], strlen(bad[i]));
		assert_int_equal(next->n_runs, 0);
		assert_int_equal(next->before.at_ms, -1);
		assert_int_equal(next->verified.at_ms, -1);
	}
	/* Before the first record there is none. */
	behind_read(next, 3, "mist:@5~3@1", strlen("mist:@5~3@1"));
	assert_int_equal(next->verified.at_ms, -1);
	table_done(&t);
}

/* A gateway was killed after it had taken what is behind `verified`, of another log perhaps. */
static void test_a_log_is_known_by_the_record_that_was_compared(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	expect(p, 2);
	assert_int_equal(match(p, 2, 20), LOG_AGAIN);
	assert_int_equal(match(p, 5, 50), LOG_AGAIN);
	assert_int_equal(match(p, 6, 60), LOG_NEXT);
	expect(p, 2);
	assert_int_equal(match(p, 2, 21), LOG_OTHER);
	expect(p, 2);
	assert_int_equal(match(p, 0, 1), LOG_OTHER_FROM_HERE);
	expect(p, 2); /* it was taken away since */
	assert_int_equal(match(p, 4, 40), LOG_AGAIN);
	table_done(&t);
}

static void test_a_log_is_known_by_its_newest_record(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	assert_int_equal(match(p, 5, 50), LOG_NEXT);
	same_log_seen(p, MARK(5, 50, 0));
	assert_int_equal(match(p, 6, 40), LOG_NEXT);
	assert_int_equal(match(p, 5, 50), LOG_AGAIN);
	/* The library has begun at another place by itself. */
	assert_int_equal(match(p, 5, 51), LOG_OTHER_FROM_HERE);
	assert_int_equal(match(p, 0, 50), LOG_OTHER_FROM_HERE);

	expect(p, -1);
	assert_int_equal(match(p, 5, 50), LOG_AGAIN);
	expect(p, -1);
	assert_int_equal(match(p, 5, 60), LOG_OTHER);
	expect(p, -1);
	assert_int_equal(match(p, 0, 60), LOG_OTHER_FROM_HERE);
	/* It was taken away since. */
	expect(p, -1);
	assert_int_equal(match(p, 8, 60), LOG_NEXT);
	/* What was taken since the last check proves nothing: it may be of another log. */
	expect(p, -1);
	assert_int_equal(match(p, 5, 50), LOG_AGAIN);
	same_log_seen(p, MARK(7, 70, 0));
	assert_int_equal(p->anchor.offset, 5);
	p->is_checked = true;
	assert_int_equal(match(p, 5, 60), LOG_OTHER);
	p->is_checked = true;
	assert_int_equal(match(p, 5, 50), LOG_AGAIN);
	assert_int_equal(p->anchor.offset, 7);
	assert_int_equal(match(p, 6, 60), LOG_AGAIN);
	assert_int_equal(match(p, 7, 70), LOG_AGAIN);
	assert_int_equal(match(p, 8, 80), LOG_NEXT);
	table_done(&t);
}

/* Records of one time, or of none, are told by what is in them. */
static void test_the_content_is_told_and_read(void **state)
{
	static const struct {
		struct mark before, anchor;
		const char *text;
	} cases[] = {
		{ { 104, 9, 0xc0ffee }, { 101, 9, 0xbeef }, "mist:@9.c0ffee~3@9.beef" },
		{ { 104, -1, UINT64_MAX }, { 101, -1, 1 }, "mist:@.ffffffffffffffff~3@.1" },
		{ { 104, -1, 10 }, { 104, -1, 10 }, "mist:@.a" },
	};
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0), *next = table_add(&t, "topic", 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct mark *before = &cases[i].before, *anchor = &cases[i].anchor;
		p->before = *before;
		p->anchor = *anchor;
		is_told_as(p, 105, cases[i].text);
		behind_read(next, 105, cases[i].text, strlen(cases[i].text));
		assert_int_equal(next->before.offset, before->offset);
		assert_int_equal(next->before.at_ms, before->at_ms);
		assert_int_equal(next->before.hash, before->hash);
		assert_int_equal(same_log_expect(next), anchor->offset);
		assert_int_equal(same_log_match(next, anchor, -1), LOG_AGAIN);
		assert_int_equal(same_log_match(next, before, -1), LOG_AGAIN);
		assert_int_equal(same_log_match(next, MARK(105, before->at_ms, 3), -1), LOG_NEXT);
		behind_read(next, 105, cases[i].text, strlen(cases[i].text));
		(void)same_log_expect(next);
		assert_int_equal(same_log_match(next, MARK(anchor->offset, anchor->at_ms, 3), -1),
			LOG_OTHER);
	}
	table_done(&t);
}

/* It has kept a time alone. */
static void test_what_an_earlier_version_kept_is_the_same_log(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	behind_read(p, 105, "mist:@50", strlen("mist:@50"));
	assert_int_equal(same_log_expect(p), 104);
	assert_int_equal(same_log_match(p, MARK(104, 50, 7), -1), LOG_AGAIN);
	(void)same_log_expect(p);
	assert_int_equal(same_log_match(p, MARK(104, 51, 7), -1), LOG_OTHER);
	table_done(&t);
}

/* Records 0 to 9 were taken, the record 4 at the last check: a tenth of a second apart, no two
 * alike.
 */
static struct mark record(int64_t offset)
{
	return (struct mark){ offset, AT_MS + 100 * offset, 0xabc0 + (uint64_t)offset };
}

static void take_ten(struct partition *p)
{
	struct mark seen = record(9);
	p->is_checked = p->is_doubted = p->is_repeated = false;
	p->anchor = record(4);
	same_log_seen(p, &seen);
}

static enum log_match match_record(struct partition *p, struct mark of, int64_t end)
{
	enum log_match is = same_log_match(p, &of, end);
	if (is == LOG_DOUBTED) /* as same_log_doubt does */
		p->is_checked = p->is_doubted = true;
	return is;
}

static void test_a_log_that_has_lost_its_newest_records_is_the_same(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	/* It is seen when the anchor is read again, */
	take_ten(p);
	p->is_checked = true;
	assert_int_equal(match_record(p, record(4), 7), LOG_CUT);
	take_ten(p);
	p->is_checked = true;
	assert_int_equal(match_record(p, record(4), 9), LOG_CUT);
	take_ten(p);
	p->is_checked = true;
	assert_int_equal(match_record(p, record(4), 10), LOG_AGAIN);
	/* or when the library begins at the earliest by itself: the anchor decides. */
	take_ten(p);
	assert_int_equal(match_record(p, record(0), -1), LOG_DOUBTED);
	assert_int_equal(match_record(p, record(4), -1), LOG_CUT);
	take_ten(p); /* which is the earliest */
	assert_int_equal(match_record(p, record(4), -1), LOG_CUT);
	table_done(&t);
}

static void test_a_log_that_goes_back_without_its_anchor_is_another(void **state)
{
	struct table t = { 0 };
	(void)state;
	table_init(&t);
	struct partition *p = table_add(&t, "topic", 0);
	for (int64_t offset = 0; offset < 10; offset++) {
		/* 4 is another record; of the others a log that is compacted may have some. */
		struct mark next = record(offset);
		next.hash += offset == 4;
		take_ten(p);
		assert_int_equal(match_record(p, record(0), -1), LOG_DOUBTED);
		assert_int_equal(match_record(p, next, -1), LOG_OTHER);
	}
	take_ten(p);
	assert_int_equal(match_record(p, record(5), -1), LOG_OTHER_FROM_HERE);
	take_ten(p);
	p->is_checked = true;
	assert_int_equal(match_record(p, record(0), 7), LOG_OTHER_FROM_HERE);
	/* A time alone, which an earlier version has kept, proves nothing. */
	take_ten(p);
	p->anchor.hash = 0;
	assert_int_equal(match_record(p, record(0), -1), LOG_OTHER_FROM_HERE);
	take_ten(p);
	p->anchor.hash = 0;
	p->is_checked = true;
	assert_int_equal(match_record(p, record(4), 7), LOG_AGAIN);
	table_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_are_told_and_read),
		cmocka_unit_test(test_an_offset_is_committed_up_to_the_first_that_is_not_done),
		cmocka_unit_test(test_what_is_held_is_asked_again_in_its_order),
		cmocka_unit_test(test_another_log_makes_it_forgotten),
		cmocka_unit_test(test_what_does_not_fit_is_left_out),
		cmocka_unit_test(test_something_else_is_nothing),
		cmocka_unit_test(test_the_record_before_is_told_and_read),
		cmocka_unit_test(test_the_record_that_was_compared_is_told_and_read),
		cmocka_unit_test(test_a_log_is_known_by_the_record_that_was_compared),
		cmocka_unit_test(test_a_log_is_known_by_its_newest_record),
		cmocka_unit_test(test_the_content_is_told_and_read),
		cmocka_unit_test(test_what_an_earlier_version_kept_is_the_same_log),
		cmocka_unit_test(test_a_log_that_has_lost_its_newest_records_is_the_same),
		cmocka_unit_test(test_a_log_that_goes_back_without_its_anchor_is_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
