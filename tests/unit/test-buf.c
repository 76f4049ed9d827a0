/* SPDX-License-Identifier: Apache-2.0 */
/* base/buf.h: what is added stays, what would cross the limit is not added. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

TEST(an_empty_buf_takes_as_an_empty_text)
{
	struct buf b;
	buf_init(&b, 10);
	_cleanup_(freep) char *text = buf_take(&b);
	check_str(text, "");
}

TEST(additions_join_and_end_in_a_nul)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, 100);
	check_int(buf_add(&b, "a\0b", 3), 0);
	check_int(buf_puts(&b, "cd"), 0);
	check_int(buf_printf(&b, "%d-%s", 42, "x"), 0);
	check_int(b.len, 9);
	check_bytes(b.data, "a\0bcd42-x", 10);
}

TEST(the_limit_counts_content_and_is_exact)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, 5);
	check_int(buf_puts(&b, "12345"), 0);
	check_int(buf_add(&b, "", 0), 0);
	check_int(buf_puts(&b, "6"), BUF_E_FULL);
	check_str(b.data, "12345");
}

TEST(what_does_not_fit_is_not_added_in_part)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, 70);
	check_int(buf_puts(&b, "kept"), 0);
	check_int(buf_printf(&b, "%0100d", 7), BUF_E_FULL);
	check_str(b.data, "kept");
	check_int(b.len, 4);
	check_int(buf_add(&b, "x", SIZE_MAX), BUF_E_FULL);
	check_int(buf_printf(&b, "%066d", 7), 0);
	check_int(b.len, 70);
}

TEST(a_limit_of_nothing_takes_nothing)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, 0);
	check_int(buf_puts(&b, "x"), BUF_E_FULL);
	check_int(buf_puts(&b, ""), 0);
	check_str(b.data, "");
}

TEST(printf_grows_over_any_length)
{
	for (int n = 1; n < 300; n++) {
		_cleanup_(buf_done) struct buf b;
		buf_init(&b, 1000);
		check_int(buf_printf(&b, "%0*d", n, 1), 0);
		check_int(buf_printf(&b, "%0*d", n, 2), 0);
		check_int(b.len, 2 * n);
		check_int(strlen(b.data), 2 * n);
		check_int(b.data[n - 1], '1');
		check_int(b.data[2 * n - 1], '2');
	}
}

TEST(dropping_keeps_the_rest)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, 100);
	buf_drop(&b, 0);
	buf_puts(&b, "hello world");
	buf_drop(&b, 6);
	check_str(b.data, "world");
	buf_drop(&b, 5);
	check_str(b.data, "");
	check_int(b.len, 0);
}

TEST(a_taken_buf_can_be_used_again)
{
	_cleanup_(buf_done) struct buf b;
	buf_init(&b, 3);
	buf_puts(&b, "one");
	_cleanup_(freep) char *text = buf_take(&b);
	check_str(text, "one");
	check_int(b.len, 0);
	check_int(buf_puts(&b, "two"), 0);
	check_int(buf_puts(&b, "x"), BUF_E_FULL);
}

TEST(done_may_be_called_twice_and_on_zeroes)
{
	struct buf b = { 0 };
	buf_done(&b);
	buf_init(&b, 3);
	buf_puts(&b, "one");
	buf_done(&b);
	buf_done(&b);
	check(b.data == NULL);
}

RUN_TESTS(PROVES(an_empty_buf_takes_as_an_empty_text), PROVES(additions_join_and_end_in_a_nul),
	PROVES(the_limit_counts_content_and_is_exact),
	PROVES(what_does_not_fit_is_not_added_in_part), PROVES(a_limit_of_nothing_takes_nothing),
	PROVES(printf_grows_over_any_length), PROVES(dropping_keeps_the_rest),
	PROVES(a_taken_buf_can_be_used_again), PROVES(done_may_be_called_twice_and_on_zeroes))
