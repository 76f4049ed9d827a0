/* SPDX-License-Identifier: Apache-2.0 */
/* Files that take the place of others where these cannot have a second link. The calls of the
 * system that a test refuses are defined here, in place of the library's. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/files.h"

static int link_error, exchange_error, rename_error; /* 0: the system decides */

int link(const char *from, const char *to)
{
	errno = link_error;
	return link_error ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	errno = exchange_error;
	return exchange_error ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int rename(const char *from, const char *to)
{
	errno = rename_error;
	return rename_error ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static char folder[64];

static char *path_of(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void file_write(const char *name, const char *text)
{
	_cleanup_(freep) char *path = path_of(name);
	_cleanup_(fclosep) FILE *f = fopen(path, "we");
	must(f && fputs(text, f) >= 0);
}

/* "" when there is none. */
static const char *file_read(const char *name)
{
	static char text[64];
	_cleanup_(freep) char *path = path_of(name);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	if (!f || !fgets(text, sizeof text, f))
		text[0] = '\0';
	return text;
}

static int setup(void **state)
{
	(void)state;
	link_error = exchange_error = rename_error = 0;
	snprintf(folder, sizeof folder, "/tmp/mist-files-XXXXXX");
	must(mkdtemp(folder));
	_cleanup_(freep) char *staged = path_of("staged");
	must(mkdir(staged, 0700) == 0);
	file_write("a", "old");
	file_write("staged/a", "new");
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "a", "staged/a", "staged/.before-a" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(freep) char *path = path_of(names[i]);
		(void)unlink(path);
	}
	_cleanup_(freep) char *staged = path_of("staged"), *a = path_of("a");
	(void)rmdir(a);
	must(rmdir(staged) == 0); /* nothing was left in it */
	must(rmdir(folder) == 0);
	return 0;
}

/* staged/a is to be a. */
static struct store_op *op_new(void)
{
	struct store_op *op = store_op_new(STORE_DEPLOY, NULL);
	op->files = xcalloc(1, sizeof *op->files);
	op->files[0] = (struct store_file){ .from = path_of("staged/a"), .to = path_of("a") };
	op->n_files = 1;
	return op;
}

static void replaces_and_keeps(void)
{
	struct store_op *op = op_new();
	check_int(files_replace(op), 0);
	check_str(file_read("a"), "new");
	check_int(files_replace(op), 0);
	check_str(file_read("a"), "new");
	files_keep(op);
	check_str(file_read("a"), "new");
	check_str(file_read("staged/a"), "");
	check_str(file_read("staged/.before-a"), "");
	store_op_free(op);
}

static void replaces_and_puts_back(void)
{
	struct store_op *op = op_new();
	check_int(files_replace(op), 0);
	check_str(file_read("a"), "new");
	files_put_back(op);
	check_str(file_read("a"), "old");
	check_str(file_read("staged/.before-a"), "");
	store_op_free(op);
}

TEST(a_file_that_can_have_a_link_is_replaced_by_a_rename)
{
	exchange_error = EINVAL;
	replaces_and_keeps();
}

TEST(a_file_that_can_have_a_link_is_put_back)
{
	exchange_error = EINVAL;
	replaces_and_puts_back();
}

TEST(a_file_that_can_have_no_link_changes_its_name_with_the_new_one)
{
	link_error = EPERM;
	rename_error = EIO; /* it takes one step */
	replaces_and_keeps();
}

TEST(a_file_that_can_have_no_link_is_put_back)
{
	link_error = EOPNOTSUPP;
	replaces_and_puts_back();
}

TEST(a_file_that_can_do_neither_is_copied)
{
	link_error = EPERM;
	exchange_error = EINVAL;
	replaces_and_keeps();
}

TEST(a_file_that_can_do_neither_is_put_back)
{
	link_error = ENOSYS;
	exchange_error = ENOSYS;
	replaces_and_puts_back();
}

TEST(a_copy_has_the_content_and_the_mode_of_the_file)
{
	_cleanup_(freep) char *a = path_of("a");
	struct stat st;
	must(chmod(a, 0640) == 0);
	link_error = EPERM;
	exchange_error = EINVAL;
	struct store_op *op = op_new();
	check_int(files_replace(op), 0);
	check_str(file_read("staged/.before-a"), "old");
	files_put_back(op);
	must(stat(a, &st) == 0);
	check_int(st.st_mode & 0777, 0640);
	store_op_free(op);
}

/* Of the three ways. */
TEST(what_cannot_be_renamed_leaves_nothing_behind)
{
	static const int errors[][2] = { { 0, 0 }, { EPERM, EACCES }, { EPERM, EINVAL } };
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct store_op *op = op_new();
		link_error = errors[i][0];
		exchange_error = errors[i][1];
		rename_error = EACCES;
		check_int(files_replace(op), -EACCES);
		rename_error = 0;
		files_put_back(op);
		check_str(file_read("a"), "old");
		check_str(file_read("staged/a"), "new");
		check_str(file_read("staged/.before-a"), "");
		store_op_free(op);
	}
}

TEST(a_name_that_is_free_needs_no_way_back)
{
	_cleanup_(freep) char *a = path_of("a");
	must(unlink(a) == 0);
	struct store_op *op = op_new();
	check_int(files_replace(op), 0);
	check_str(file_read("a"), "new");
	files_put_back(op);
	check_str(file_read("a"), "");
	store_op_free(op);
}

TEST(a_folder_stays_where_it_is)
{
	_cleanup_(freep) char *a = path_of("a");
	must(unlink(a) == 0 && mkdir(a, 0700) == 0);
	struct store_op *op = op_new();
	check_int(files_replace(op), -EISDIR);
	files_put_back(op);
	check_str(file_read("staged/a"), "new");
	store_op_free(op);
}

#define IN_A_FOLDER(sentence) cmocka_unit_test_setup_teardown(sentence, setup, teardown)

RUN_TESTS(IN_A_FOLDER(a_file_that_can_have_a_link_is_replaced_by_a_rename),
	IN_A_FOLDER(a_file_that_can_have_a_link_is_put_back),
	IN_A_FOLDER(a_file_that_can_have_no_link_changes_its_name_with_the_new_one),
	IN_A_FOLDER(a_file_that_can_have_no_link_is_put_back),
	IN_A_FOLDER(a_file_that_can_do_neither_is_copied),
	IN_A_FOLDER(a_file_that_can_do_neither_is_put_back),
	IN_A_FOLDER(a_copy_has_the_content_and_the_mode_of_the_file),
	IN_A_FOLDER(what_cannot_be_renamed_leaves_nothing_behind),
	IN_A_FOLDER(a_name_that_is_free_needs_no_way_back), IN_A_FOLDER(a_folder_stays_where_it_is))
