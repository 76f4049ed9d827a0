/* SPDX-License-Identifier: Apache-2.0 */
/* worker/leavings: what a worker that crashed could not pass on itself is added to its output. */
#include "worker/leavings.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "unit.h"

enum { LINES = 2000 };

static char dir[] = "/tmp/test-leavings-XXXXXX";
static char printed[64], output[64];

static bool has_holes = true;

/* In place of the C library's: a file system that cannot cut holes. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (has_holes)
		return (int)syscall(SYS_fallocate, fd, mode, offset, len);
	errno = EOPNOTSUPP;
	return -1;
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;
	signal(SIGXFSZ, SIG_IGN);
	must(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = bytes;
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void print_lines(const char *path)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "we");
	must(f);
	for (int i = 0; i < LINES; i++)
		fprintf(f, "line %d\n", i);
}

static char *read_all(const char *path)
{
	enum { MAX = 64 * 1024 };
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	must(f);
	char *text = xcalloc(1, MAX);
	text[fread(text, 1, MAX - 1, f)] = '\0';
	return text;
}

static int setup(void **state)
{
	(void)state;
	must(mkdtemp(dir));
	snprintf(printed, sizeof printed, "%s/printed", dir);
	snprintf(output, sizeof output, "%s/output", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(printed);
	unlink(output);
	return rmdir(dir);
}

TEST(what_was_collected_is_not_collected_again)
{
	print_lines(printed);
	_cleanup_(freep) char *all = read_all(printed);
	output_collect(dir, output);
	output_collect(dir, output);
	_cleanup_(freep) char *text = read_all(output);
	check_str(text, all);
	unlink(output);
}

/* The room ends within a block, and within a line. */
static void fill_disk(void)
{
	static const rlim_t rooms[] = { 5000, 12345 };
	print_lines(printed);
	_cleanup_(freep) char *all = read_all(printed);
	for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		limit_files(rooms[i]);
		output_collect(dir, output);
		limit_files(RLIM_INFINITY);
		_cleanup_(freep) char *some = read_all(output);
		check_int(strlen(some), rooms[i]);
		check(strncmp(some, all, rooms[i]) == 0);
	}
	output_collect(dir, output);
	_cleanup_(freep) char *text = read_all(output);
	check_str(text, all);
	unlink(output);
}

TEST(what_a_full_disk_took_of_it_is_not_collected_again)
{
	fill_disk();
}

TEST(what_a_full_disk_without_holes_took_of_it_is_not_collected_again)
{
	has_holes = false;
	fill_disk();
	has_holes = true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROVES(what_was_collected_is_not_collected_again),
		PROVES(what_a_full_disk_took_of_it_is_not_collected_again),
		PROVES(what_a_full_disk_without_holes_took_of_it_is_not_collected_again),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
