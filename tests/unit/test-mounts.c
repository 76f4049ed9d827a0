/* SPDX-License-Identifier: Apache-2.0 */
/* Which file system a path is on, by the table of mounts. */
#include "unit.h"

#include "core/artifact/mounts.h"

static char table[] = "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
		      "23 22 0:22 / /srv rw - tmpfs none rw\n"
		      "\n"
		      "24 22 0:23 / /srv/with\\040blank\\134 rw - nfs host:/x rw\n"
		      "25 23 0:24 / /srv rw - nfs host:/y rw\n"
		      "26 22 0:25 /a/b /srv/deep/er rw master:2 - nfs host:/z rw\n";

static void is_on(const struct mounts *m, const char *path, const char *expected)
{
	const char *point = mounts_of(m, path);
	if (!expected)
		assert_null(point);
	else
		assert_string_equal(point, expected);
}

static void a_path_is_below_the_longest_mount_point(void **state)
{
	FILE *f = fmemopen(table, sizeof table - 1, "r");
	(void)state;
	assert_non_null(f);
	struct mounts *m = mounts_parse(f);
	fclose(f);
	is_on(m, "/var/x.py", "/");
	is_on(m, "/srvx/x.py", "/");
	is_on(m, "/srv/x.py", "/srv");
	is_on(m, "/srv", "/srv");
	is_on(m, "/srv/deep/x.py", "/srv");
	is_on(m, "/srv/deep/er/x.py", "/srv/deep/er");
	is_on(m, "/srv/with blank\\/x.py", "/srv/with blank\\");
	is_on(m, "x.py", NULL);
	assert_ptr_equal(mounts_of(m, "/srv/a"), mounts_of(m, "/srv/b/c"));
	mounts_free(m);
	assert_null(mounts_of(NULL, "/srv/a"));
}

static void what_is_on_no_mount_is_on_the_root(void **state)
{
	static char below[] = "23 22 0:22 / /srv rw - tmpfs none rw\n";
	FILE *f = fmemopen(below, sizeof below - 1, "r");
	(void)state;
	assert_non_null(f);
	struct mounts *m = mounts_parse(f);
	fclose(f);
	is_on(m, "/srv/x.py", "/srv");
	is_on(m, "/var/x.py", "/");
	assert_ptr_equal(mounts_of(m, "/var/x.py"), mounts_of(m, "/tmp/y.py"));
	is_on(m, "x.py", NULL);
	mounts_free(m);
}

static void those_of_this_machine_can_be_read(void **state)
{
	struct mounts *m = mounts_read();
	(void)state;
	assert_non_null(m);
	is_on(m, "/proc/self/exe", "/proc");
	mounts_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_is_below_the_longest_mount_point),
		cmocka_unit_test(what_is_on_no_mount_is_on_the_root),
		cmocka_unit_test(those_of_this_machine_can_be_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
