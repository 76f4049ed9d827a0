/* SPDX-License-Identifier: Apache-2.0 */
/* Files that take the place of others, and what the next process makes of it when this one ends in
 * the middle: also where a file cannot have a second link. The calls of the system that a test
 * refuses are defined here, in place of the library's. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/files.h"

static int link_error, exchange_error, rename_error; /* 0: the system decides */
/* How many renames to a name that is no hidden one are left before they fail, as if the process had
 * ended there; <0: all are done. */
static int renames_left;

static bool is_refused(const char *to)
{
	if (strstr(to, "/.deployment") || strstr(to, "/staged/"))
		return false;
	errno = rename_error ? rename_error : EIO;
	return rename_error || (renames_left >= 0 && renames_left-- == 0);
}

int link(const char *from, const char *to)
{
	errno = link_error;
	return link_error ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	errno = exchange_error;
	if (exchange_error || (!rename_error && is_refused(to)))
		return -1;
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int rename(const char *from, const char *to)
{
	return is_refused(to) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static int reads_left =
	-1; /* each of them gives 10 bytes, and then the disk fails; <0: all go well */

ssize_t read(int fd, void *ret, size_t size)
{
	if (reads_left < 0)
		return syscall(SYS_read, fd, ret, size);
	errno = EIO;
	return reads_left-- > 0 ? syscall(SYS_read, fd, ret, (size_t)10) : -1;
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

static bool is_there(const char *name)
{
	_cleanup_(freep) char *path = path_of(name);
	struct stat st;
	return lstat(path, &st) == 0;
}

static void remove_file(const char *name)
{
	_cleanup_(freep) char *path = path_of(name);
	must(unlink(path) == 0);
}

/* Of that time, to the nanosecond. */
static void set_time(const char *name, time_t seconds)
{
	_cleanup_(freep) char *path = path_of(name);
	const struct timespec times[2] = { { seconds, 7 }, { seconds, 7 } };
	must(utimensat(AT_FDCWD, path, times, 0) == 0);
}

static int setup(void **state)
{
	(void)state;
	link_error = exchange_error = rename_error = 0;
	renames_left = -1;
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
	static const char *const names[] = { "a", "b", "staged/a", "staged/b" };
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

/* staged/a is to be a, and of two files staged/b is to be b. */
static struct store_op *op_of(size_t n)
{
	struct store_op *op = store_op_new(STORE_DEPLOY, NULL);
	op->files = xcalloc(n, sizeof *op->files);
	op->files[0] = (struct store_file){ .from = path_of("staged/a"), .to = path_of("a") };
	if (n > 1)
		op->files[1] =
			(struct store_file){ .from = path_of("staged/b"), .to = path_of("b") };
	op->n_files = n;
	return op;
}

static void replaces_and_keeps(void)
{
	struct store_op *op = op_of(1);
	check_int(files_replace(op, NULL), 0);
	check_str(file_read("a"), "new");
	check_int(files_replace(op, NULL), 0);
	check_str(file_read("a"), "new");
	files_keep(op);
	check_str(file_read("a"), "new");
	check_str(file_read("staged/a"), "");
	check(!is_there(".deployment"));
	store_op_free(op);
}

static void replaces_and_puts_back(void)
{
	struct store_op *op = op_of(1);
	check_int(files_replace(op, NULL), 0);
	check_str(file_read("a"), "new");
	files_put_back(op);
	check_str(file_read("a"), "old");
	check(!op->files[0].is_replaced && !is_there(".deployment"));
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
	struct store_op *op = op_of(1);
	check_int(files_replace(op, NULL), 0);
	check_str(file_read(".deployment/0"), "old");
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
		struct store_op *op = op_of(1);
		link_error = errors[i][0];
		exchange_error = errors[i][1];
		rename_error = EACCES;
		check_int(files_replace(op, NULL), -EACCES);
		rename_error = exchange_error = 0;
		files_put_back(op);
		check_str(file_read("a"), "old");
		check_str(file_read("staged/a"), "new");
		check(!is_there(".deployment"));
		store_op_free(op);
	}
}

TEST(a_name_that_is_free_needs_no_way_back)
{
	_cleanup_(freep) char *a = path_of("a");
	must(unlink(a) == 0);
	struct store_op *op = op_of(1);
	check_int(files_replace(op, NULL), 0);
	check_str(file_read("a"), "new");
	files_put_back(op);
	check_str(file_read("a"), "");
	store_op_free(op);
}

TEST(a_folder_stays_where_it_is)
{
	_cleanup_(freep) char *a = path_of("a");
	must(unlink(a) == 0 && mkdir(a, 0700) == 0);
	struct store_op *op = op_of(1);
	check_int(files_replace(op, NULL), -EISDIR);
	check(!op->journal && !is_there(".deployment"));
	check_str(file_read("staged/a"), "new");
	store_op_free(op);
}

/* The ways back. */
static const struct way {
	int link_error, exchange_error;
	bool is_free; /* there is no old file */
} ways[] = { { 0, 0, false }, { EPERM, 0, false }, { EPERM, EINVAL, false }, { 0, 0, true } };

static void begin(const struct way *way)
{
	link_error = way->link_error;
	exchange_error = way->exchange_error;
	file_write("a", "old");
	file_write("staged/a", "new");
	file_write("staged/b", "new");
	if (!way->is_free)
		file_write("b", "old");
}

/* The process ends when so many files were replaced: what it knew is gone. */
static struct uuid die_after(int n)
{
	struct store_op *op = op_of(2);
	renames_left = n < 2 ? n : -1;
	check_int(files_replace(op, NULL), n < 2 ? -EIO : 0);
	renames_left = -1;
	must(op->journal);
	struct uuid id = op->journal->id;
	store_op_free(op);
	return id;
}

static void end(const char *a, const char *b)
{
	check_str(file_read("a"), a);
	check_str(file_read("b"), b);
	check(!is_there(".deployment") && !is_there(".deployment-aside"));
	for (int i = 0; i < 4; i++) {
		static const char *const names[] = { "a", "b", "staged/a", "staged/b" };
		_cleanup_(freep) char *path = path_of(names[i]);
		(void)unlink(path);
	}
}

TEST(what_a_process_left_in_the_middle_is_undone)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		for (int n = 0; n <= 2; n++) {
			static const struct uuid earlier = { { 1 } };
			begin(&ways[i]);
			(void)die_after(n);
			check_int(files_recover(folder, n == 1 ? &earlier : NULL), 0);
			check_int(files_recover(folder, NULL), 0);
			end("old", ways[i].is_free ? "" : "old");
		}
}

TEST(what_took_effect_is_finished)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		begin(&ways[i]);
		struct uuid id = die_after(2);
		check_int(files_recover(folder, &id), 0);
		check_int(files_recover(folder, &id), 0);
		end("new", "new");
	}
}

/* And the next one goes on from there. */
TEST(what_was_put_back_in_part_is_put_back_whole)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		_cleanup_(journal_freep) struct journal *j = NULL;
		struct fault f;
		begin(&ways[i]);
		(void)die_after(2);
		check_int(journal_read(&j, folder, &f), 0);
		check_int(journal_put_back(j, 0), 0);
		check_int(journal_put_back(j, 0), 0);
		check_str(file_read("a"), "old");
		check_str(file_read("b"), "new");
		check_int(files_recover(folder, NULL), 0);
		end("old", ways[i].is_free ? "" : "old");
	}
}

/* The new one is in the hidden folder already, and the old one in its place. */
TEST(an_exchange_that_was_not_made_is_not_undone)
{
	_cleanup_(freep) char *from = path_of("staged/a"), *before = path_of(".deployment/0");
	begin(&ways[1]);
	(void)die_after(0);
	must(rename(from, before) == 0);
	check_int(files_recover(folder, NULL), 0);
	end("old", "old");
}

/* Before there is a journal nothing was replaced. */
TEST(ways_back_without_a_journal_mean_nothing)
{
	begin(&ways[0]);
	(void)die_after(0);
	remove_file(".deployment/journal");
	file_write(".deployment/journal.new", "{");
	check_int(files_recover(folder, NULL), 0);
	end("old", "old");
}

TEST(a_file_that_is_not_there_leaves_no_journal)
{
	struct store_op *op = op_of(2);
	check_int(files_replace(op, NULL), -ENOENT);
	check(!op->journal && op->files[1].status == -ENOENT);
	store_op_free(op);
	end("old", "");
}

/* All files have other inodes then. */
TEST(in_a_folder_that_was_copied_files_are_known_by_their_sizes_and_times)
{
	for (int is_new = 0; is_new < 2; is_new++) {
		begin(&ways[0]);
		set_time("a", 1000);
		set_time("staged/a", 2000);
		(void)die_after(is_new ? 2 : 0);
		file_write("staged/copy", is_new ? "new" : "old");
		set_time("staged/copy", is_new ? 2000 : 1000);
		_cleanup_(freep) char *a = path_of("a"), *copied = path_of("staged/copy");
		must(rename(copied, a) == 0);
		check_int(files_recover(folder, NULL), 0);
		end("old", "old");
	}
}

static void remove_one_aside(int n)
{
	_cleanup_(freep) char *aside = journal_aside(folder, n);
	static const char *const names[] = { "journal", "0", "1" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(freep) char *path = xasprintf("%s/%s", aside, names[i]);
		(void)unlink(path);
	}
	must(rmdir(aside) == 0);
}

static void remove_aside(void)
{
	remove_one_aside(0);
}

TEST(what_somebody_put_there_since_stays_and_the_old_one_is_kept)
{
	begin(&ways[0]);
	(void)die_after(2);
	file_write("staged/theirs", "theirs");
	_cleanup_(freep) char *a = path_of("a"), *theirs = path_of("staged/theirs");
	must(rename(theirs, a) == 0);
	check_int(files_recover(folder, NULL), 0);
	check_str(file_read(".deployment-aside/0"), "old");
	remove_aside();
	end("theirs", "old");
}

static int fail_to_undo(void)
{
	begin(&ways[0]);
	(void)die_after(2);
	renames_left = 1;
	int r = files_recover(folder, NULL);
	renames_left = -1;
	check_str(file_read("a"), "old");
	check_str(file_read("b"), "new");
	return r;
}

/* Nothing of it is lost by the next one. */
TEST(what_cannot_be_put_back_is_set_aside_beside_what_was_before)
{
	for (int n = 0; n < JOURNALS_ASIDE_MAX; n++) {
		_cleanup_(freep) char *aside = journal_aside(folder, n);
		_cleanup_(freep) char *before = xasprintf("%s/1", strrchr(aside, '/') + 1);
		check_int(fail_to_undo(), 0);
		check_str(file_read(before), "old");
		check(!is_there(".deployment"));
	}
	check_int(fail_to_undo(), -EEXIST);
	check_str(file_read(".deployment/1"), "old");
	for (int n = 0; n < JOURNALS_ASIDE_MAX; n++)
		remove_one_aside(n);
	check_int(files_recover(folder, NULL), 0);
	end("old", "old");
}

/* What is wrong now may be right the next time. */
TEST(a_journal_that_cannot_be_read_just_now_stays)
{
	struct rlimit usual, none;
	begin(&ways[0]);
	(void)die_after(2);
	must(getrlimit(RLIMIT_NOFILE, &usual) == 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = usual.rlim_max };
	must(setrlimit(RLIMIT_NOFILE, &none) == 0);
	int r = files_recover(folder, NULL);
	must(setrlimit(RLIMIT_NOFILE, &usual) == 0);
	check_int(r, -EMFILE);
	check(is_there(".deployment/journal") && !is_there(".deployment-aside"));
	check_int(files_recover(folder, NULL), 0);
	end("old", "old");
}

/* Not even when a part of it could be read. */
TEST(a_journal_of_which_the_disk_gives_a_part_stays)
{
	begin(&ways[0]);
	(void)die_after(2);
	reads_left = 1;
	int r = files_recover(folder, NULL);
	reads_left = -1;
	check_int(r, -EIO);
	check(is_there(".deployment/journal") && !is_there(".deployment-aside"));
	check_int(files_recover(folder, NULL), 0);
	end("old", "old");
}

TEST(a_socket_in_place_of_a_journal_is_set_aside)
{
	_cleanup_(freep) char *path = path_of(".deployment/journal");
	begin(&ways[0]);
	(void)die_after(0);
	remove_file(".deployment/journal");
	must(mknod(path, S_IFSOCK | 0600, 0) == 0);
	check_int(files_recover(folder, NULL), 0);
	check(is_there(".deployment-aside/journal") && !is_there(".deployment"));
	remove_aside();
	end("old", "old");
}

#define ID "{\"deployment\":\"00000000-0000-7000-8000-000000000000\",\"files\":"
#define MARKS                                                                                      \
	"\"old\":{\"inode\":0,\"size\":0,\"mtimeNs\":0},\"new\":{\"inode\":1,\"size\":0,"          \
	"\"mtimeNs\":0}"

/* Nothing is refused for ever by one. */
TEST(a_journal_that_cannot_be_read_is_set_aside)
{
	static const char *const texts[] = { "", "{", "[]", "{\"deployment\":\"x\",\"files\":[]}",
		ID "{}}", ID "[1]}", ID "[{\"name\":\"../a\",\"way\":\"none\"," MARKS "}]}",
		ID "[{\"name\":\"a\",\"way\":\"other\"," MARKS "}]}",
		ID "[{\"name\":\"a\",\"way\":\"none\"}]}" };
	_cleanup_(journal_freep) struct journal *j = NULL;
	struct fault f;
	begin(&ways[0]);
	struct uuid id = die_after(0);
	file_write(".deployment/journal", ID "[{\"name\":\"a\",\"way\":\"none\"," MARKS "}]}");
	check_int(journal_read(&j, folder, &f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		begin(&ways[0]);
		(void)die_after(0);
		file_write(".deployment/journal", texts[i]);
		check_int(files_recover(folder, &id), 0);
		check(is_there(".deployment-aside/journal"));
		check_str(file_read(".deployment-aside/0"), "old");
		check(!is_there(".deployment"));
		remove_aside();
	}
	end("old", "old");
}

TEST(a_file_in_place_of_the_hidden_folder_is_set_aside_too)
{
	_cleanup_(freep) char *aside = path_of(".deployment-aside");
	begin(&ways[0]);
	file_write(".deployment", "x");
	check_int(files_recover(folder, NULL), 0);
	check_str(file_read(".deployment-aside"), "x");
	must(unlink(aside) == 0);
	(void)die_after(2);
	check_int(files_recover(folder, NULL), 0);
	end("old", "old");
}

/* The disk refuses for a while: what the last one could not put back is put back before. */
TEST(the_next_deployment_finds_the_files_of_before_the_last)
{
	begin(&ways[0]);
	struct store_op *op = op_of(2);
	check_int(files_replace(op, NULL), 0);
	rename_error = EIO;
	files_put_back(op);
	rename_error = 0;
	check(op->files[0].is_replaced && !op->journal);
	check_str(file_read("a"), "new");
	store_op_free(op);

	file_write("staged/a", "newer");
	op = op_of(1);
	check_int(files_replace(op, NULL), 0);
	check_str(file_read("a"), "newer");
	check_str(file_read("b"), "old");
	files_put_back(op);
	store_op_free(op);
	end("old", "old");
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
	IN_A_FOLDER(a_name_that_is_free_needs_no_way_back), IN_A_FOLDER(a_folder_stays_where_it_is),
	IN_A_FOLDER(what_a_process_left_in_the_middle_is_undone),
	IN_A_FOLDER(what_took_effect_is_finished),
	IN_A_FOLDER(what_was_put_back_in_part_is_put_back_whole),
	IN_A_FOLDER(an_exchange_that_was_not_made_is_not_undone),
	IN_A_FOLDER(ways_back_without_a_journal_mean_nothing),
	IN_A_FOLDER(a_file_that_is_not_there_leaves_no_journal),
	IN_A_FOLDER(in_a_folder_that_was_copied_files_are_known_by_their_sizes_and_times),
	IN_A_FOLDER(what_somebody_put_there_since_stays_and_the_old_one_is_kept),
	IN_A_FOLDER(what_cannot_be_put_back_is_set_aside_beside_what_was_before),
	IN_A_FOLDER(a_journal_that_cannot_be_read_just_now_stays),
	IN_A_FOLDER(a_journal_of_which_the_disk_gives_a_part_stays),
	IN_A_FOLDER(a_socket_in_place_of_a_journal_is_set_aside),
	IN_A_FOLDER(a_journal_that_cannot_be_read_is_set_aside),
	IN_A_FOLDER(a_file_in_place_of_the_hidden_folder_is_set_aside_too),
	IN_A_FOLDER(the_next_deployment_finds_the_files_of_before_the_last))
