/* SPDX-License-Identifier: Apache-2.0 */
/* store/unwritten.h: texts of logs that the disk refuses. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "store/unwritten.h"

static bool add(struct unwritten *u, uint32_t job, const char *text)
{
	struct store_op *op = store_op_new(STORE_LOG, NULL);
	memcpy(&op->job_id, &job, sizeof job);
	op->text = xstrdup(text);
	op->text_len = strlen(text);
	return unwritten_add(u, op);
}

/* A disk that takes so many pieces. */
struct disk {
	struct buf taken;
	unsigned n_left, n_taken;
};

static int take(void *owner, const struct store_op *op)
{
	struct disk *disk = owner;
	if (disk->n_left == 0)
		return -1;
	disk->n_left--;
	disk->n_taken++;
	buf_add(&disk->taken, op->text, op->text_len);
	return 0;
}

TEST(lines_are_joined_in_their_order)
{
	enum { N = 20000 };
	struct unwritten u;
	struct disk disk = { .n_left = N };
	struct buf all;
	unwritten_init(&u);
	buf_init(&disk.taken, SIZE_MAX - 1);
	buf_init(&all, SIZE_MAX - 1);
	for (int i = 0; i < N; i++) {
		char line[20];
		snprintf(line, sizeof line, "line %d\n", i);
		buf_puts(&all, line);
		check(add(&u, 1, line));
	}
	check(u.bytes > all.len && u.bytes < 2 * all.len);
	unwritten_try(&u, take, &disk);
	check(disk.n_taken < 10);
	check_int(disk.taken.len, all.len);
	check_bytes(disk.taken.data, all.data, all.len);
	check_int(u.bytes, 0);
	check_int(u.count, 0);
	check_int(u.dropped_bytes, 0);
	buf_done(&disk.taken);
	buf_done(&all);
	unwritten_done(&u);
}

TEST(what_is_kept_is_bounded_by_the_memory_that_it_takes)
{
	enum { MAX = 16 << 20, N = MAX / 64 };
	struct unwritten u;
	size_t n_kept = 0;
	unwritten_init(&u);
	for (uint32_t i = 0; i < N; i++)
		n_kept += add(&u, i, "x");
	check(n_kept > 1000 && n_kept < MAX / sizeof(struct store_op));
	check(u.bytes <= MAX);
	check_int(u.dropped_bytes, N - n_kept);
	unwritten_done(&u);
}

TEST(only_that_of_which_nothing_was_taken_for_long_is_given_up)
{
	struct unwritten u;
	struct disk disk = { .n_left = 1 };
	_cleanup_(freep) char *long_text = xcalloc(1, 100001);
	memset(long_text, 'x', 100000);
	unwritten_init(&u);
	buf_init(&disk.taken, SIZE_MAX - 1);
	check(add(&u, 1, long_text) && add(&u, 1, "rest") && add(&u, 2, "two"));
	int64_t added_ms = clock_mono_ms();
	unwritten_give_up(&u, added_ms - 60000);
	check(unwritten_has(&u, &(struct uuid){ { 1 } }) &&
		unwritten_has(&u, &(struct uuid){ { 2 } }));
	while (clock_mono_ms() == added_ms)
		;
	unwritten_try(&u, take, &disk);
	check_int(disk.taken.len, 100000);
	unwritten_give_up(&u, added_ms);
	check(unwritten_has(&u, &(struct uuid){ { 1 } }));
	check(!unwritten_has(&u, &(struct uuid){ { 2 } }));
	check_int(u.dropped_bytes, strlen("two"));
	buf_done(&disk.taken);
	unwritten_done(&u);
}

RUN_TESTS(PROVES(lines_are_joined_in_their_order),
	PROVES(what_is_kept_is_bounded_by_the_memory_that_it_takes),
	PROVES(only_that_of_which_nothing_was_taken_for_long_is_given_up))
