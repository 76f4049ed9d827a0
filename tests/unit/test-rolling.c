/* SPDX-License-Identifier: Apache-2.0 */
/* base/disk/rolling.h, and how worker/leavings.h moves it. */
#include "base/disk/rolling.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "unit.h"
#include "worker/leavings.h"

enum { MAX = 64 * 1024, LINE = 12 };

static char dir[] = "/tmp/test-rolling-XXXXXX";
static char path[64], older[64];

static int setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
	must(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/output", dir);
	snprintf(older, sizeof older, "%s/output.1", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(older);
	return rmdir(dir);
}

static void add(const char *to, int flags, const char *text, size_t len)
{
	_cleanup_(closep) int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
	check(fd >= 0 && write(fd, text, len) == (ssize_t)len);
}

/* What stands at these offsets when all that was ever printed are lines with their numbers. */
static char *lines_between(int64_t from, int64_t to)
{
	char *text = xcalloc(1, (size_t)(to - from) + 1), line[32];
	for (int64_t at = from; at < to; at++) {
		snprintf(line, sizeof line, "line %06lld\n", (long long)(at / LINE));
		text[at - from] = line[at % LINE];
	}
	return text;
}

static void print(int64_t from, int64_t to)
{
	_cleanup_(freep) char *text = lines_between(from, to);
	add(path, O_APPEND, text, (size_t)(to - from));
}

static void check_text(const struct rolling *r, int64_t from, int64_t to)
{
	_cleanup_(freep) char *want = lines_between(from, to);
	_cleanup_(freep) char *got = xcalloc(1, (size_t)(to - from) + 1);
	check_int(rolling_read(r, from, got, (size_t)(to - from)), to - from);
	check_str(got, want);
}

static void make(struct rolling *r)
{
	int fd = output_make(path);
	check(fd >= 0);
	close(fd);
	check_int(rolling_open(path, r), 0);
}

TEST(an_offset_means_the_same_byte_however_often_it_is_moved)
{
	struct rolling r;
	struct stat before, now;
	make(&r);
	check_int(r.begin[0], 0);
	check_int(r.end, 0);
	check(stat(older, &before) == 0);
	int64_t end = 0;
	for (int i = 0; i < 20; i++, end += 34567) {
		print(end, end + 34567);
		output_rotate(path, MAX);
		check(stat(path, &now) == 0 && now.st_size == 0);
		check(stat(older, &now) == 0 && now.st_ino == before.st_ino &&
			now.st_size <= MAX / 2);
		check_int(rolling_lock(&r), 0);
		check_int(r.end, end + 34567);
		check_int(r.begin[1], r.end);
		check_int(r.end - r.begin[0], MAX / 2 - ROLLING_LINE);
		check_text(&r, r.begin[0], r.end);
		rolling_unlock(&r);
	}
	print(end, end + 5000); /* across both */
	rolling_look(&r);
	check_text(&r, r.begin[0], end + 5000);
	check_text(&r, end - 7, end + 7);
	rolling_close(&r);
}

/* Whoever had it open before the first move. */
TEST(what_was_moved_and_removed_is_still_read)
{
	struct rolling r;
	make(&r);
	print(0, 40000);
	output_rotate(path, MAX);
	print(40000, 50000);
	unlink(path);
	unlink(older);
	check_int(rolling_lock(&r), 0);
	check_int(r.end, 50000);
	check_text(&r, 20000, 50000);
	rolling_close(&r);
	check_int(rolling_open(path, &r), -ENOENT);
}

TEST(it_is_not_moved_while_it_is_read_unless_it_gets_too_large)
{
	struct rolling r;
	struct stat st;
	make(&r);
	print(0, 40000);
	check_int(rolling_lock(&r), 0);
	output_rotate(path, MAX);
	check(stat(path, &st) == 0 && st.st_size == 40000);
	print(40000, MAX + 1);
	output_rotate(path, MAX);
	check(stat(path, &st) == 0 && st.st_size == 0);
	rolling_unlock(&r);
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	check(flock(fd, LOCK_EX | LOCK_NB) == 0);
	check_int(rolling_lock(&r), -EAGAIN);
	rolling_look(&r);
	check_text(&r, 40000, MAX + 1);
	rolling_close(&r);
}

TEST(where_the_disk_is_full_the_offsets_go_on)
{
	struct rolling r;
	struct rlimit limit, before;
	make(&r);
	print(0, 40000);
	signal(SIGXFSZ, SIG_IGN);
	must(getrlimit(RLIMIT_FSIZE, &before) == 0);
	limit = before;
	limit.rlim_cur = 1000;
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	output_rotate(path, MAX);
	must(setrlimit(RLIMIT_FSIZE, &before) == 0);
	rolling_look(&r);
	check_int(r.begin[0], 40000);
	check_int(r.end, 40000);
	print(40000, 41000);
	rolling_look(&r);
	check_text(&r, 40000, 41000);
	rolling_close(&r);
}

/* Of a worker of an older gateway: one without the line, or none at all. */
TEST(an_older_file_without_its_line_is_all_text)
{
	struct rolling r;
	static const char *const lines[] = { "", "# from byte",
		"# from byte 99999999999999999999\n", "# from byte  0000000000000000001x\n",
		"# from byte -0000000000000000001\n", "# from byte 09223372036854775807\n" };
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		add(path, O_TRUNC, "new", 3);
		add(older, O_TRUNC, lines[i], strlen(lines[i]));
		check_int(rolling_open(path, &r), 0);
		check_int(r.begin[0], 0);
		check_int(r.begin[1], strlen(lines[i]));
		check_int(r.end, strlen(lines[i]) + 3);
		rolling_close(&r);
	}
	unlink(path);
	unlink(older);
	print(0, 40000);
	check_int(rolling_open(path, &r), 0);
	check_text(&r, 0, 40000);
	output_rotate(path, MAX);
	rolling_look(&r);
	check_int(r.end, 40000);
	check_text(&r, 20000, 40000);
	rolling_close(&r);
}

TEST(what_stands_in_the_place_of_the_older_file_is_no_way_out)
{
	struct rolling r;
	print(0, 40000);
	check(symlink("/dev/null", older) == 0);
	check_int(rolling_open(path, &r), 0);
	check_text(&r, 0, 40000);
	output_rotate(path, MAX);
	rolling_look(&r);
	check_int(r.end, 40000);
	check_text(&r, 20000, 40000);
	rolling_close(&r);
}

#define IN_A_FOLDER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

RUN_TESTS(IN_A_FOLDER(an_offset_means_the_same_byte_however_often_it_is_moved),
	IN_A_FOLDER(what_was_moved_and_removed_is_still_read),
	IN_A_FOLDER(it_is_not_moved_while_it_is_read_unless_it_gets_too_large),
	IN_A_FOLDER(where_the_disk_is_full_the_offsets_go_on),
	IN_A_FOLDER(an_older_file_without_its_line_is_all_text),
	IN_A_FOLDER(what_stands_in_the_place_of_the_older_file_is_no_way_out))
