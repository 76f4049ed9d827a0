/* SPDX-License-Identifier: Apache-2.0 */
/* store/check.h: a folder that can be read in part only is told, and what was read of it counted.
 */
#include "store/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "unit.h"

static bool is_broken;

struct dirent *__real_readdir64(DIR *d);
struct dirent *__wrap_readdir64(DIR *d);

/* A disk that gives the names that there are, and no end. */
struct dirent *__wrap_readdir64(DIR *d)
{
	struct dirent *e = __real_readdir64(d);
	if (!e && is_broken)
		errno = EIO;
	return e;
}

struct told {
	const char *path;
	size_t n;
};

static void count(void *arg, const char *sentence)
{
	struct told *told = arg;
	told->n += strstr(sentence, told->path) && strstr(sentence, " to its end: ");
}

static size_t complaints(const char *directory, const char *folder, struct store_census *ret)
{
	char path[64];
	snprintf(path, sizeof path, "%s/%s", directory, folder);
	struct told told = { .path = path };
	*ret = (struct store_census){ 0 };
	store_check_data(directory, count, &told, ret);
	return told.n;
}

TEST(a_folder_that_ends_in_an_error_is_told)
{
	static const char *const folders[] = { "logs", "artifacts", "workers" };
	char dir[] = "/tmp/test-check-XXXXXX", path[64];
	struct store_census census;
	(void)state;
	must(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
		must(mkdir(path, 0700) == 0);
	}
	snprintf(path, sizeof path, "%s/artifacts/a", dir);
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		is_broken = true;
		check_int(complaints(dir, folders[i], &census), 1);
		check_int(census.artifacts, 1);
		is_broken = false;
		check_int(complaints(dir, folders[i], &census), 0);
		check_int(census.artifacts, 1);
	}
	unlink(path);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
		rmdir(path);
	}
	check_int(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { PROVES(a_folder_that_ends_in_an_error_is_told) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
