/* SPDX-License-Identifier: Apache-2.0 */
/* base/disk/tree.h */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/disk/tree.h"

enum { DEPTH = 3000, WIDTH = 40, DESCRIPTORS = 8, NOBODY = 65534 };

static bool is_there(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static int make_folder(int at, const char *name)
{
	check_int(mkdirat(at, name, 0700), 0);
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(fd >= 0);
	return fd;
}

static void make_file(int at, const char *name)
{
	_cleanup_(closep) int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0);
}

TEST(a_tree_goes_however_deep_it_is_and_with_few_descriptors)
{
	char path[] = "/tmp/mist-tree-XXXXXX";
	struct rlimit before, few;
	check(mkdtemp(path));
	int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), highest = dup(at);
	for (int i = 0; i < DEPTH; i++) {
		make_file(at, ".moved-1");
		if (i % 2)
			make_file(at, "file");
		else
			close(make_folder(at, "empty"));
		int next = make_folder(at, i % 3 ? "deeper" : ".moved-0");
		close(at);
		at = next;
	}
	close(at);
	close(highest);
	check_int(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)highest + DESCRIPTORS;
	check_int(setrlimit(RLIMIT_NOFILE, &few), 0);
	int r = tree_remove(path);
	check_int(setrlimit(RLIMIT_NOFILE, &before), 0);
	check_int(r, 0);
	check(!is_there(path));
}

TEST(a_wide_tree_goes)
{
	char path[] = "/tmp/mist-tree-XXXXXX";
	check(mkdtemp(path));
	_cleanup_(closep) int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < WIDTH; i++) {
		char name[32];
		snprintf(name, sizeof name, "%d", i);
		_cleanup_(closep) int one = make_folder(top, name);
		for (int j = 0; j < WIDTH; j++) {
			snprintf(name, sizeof name, "%d", j);
			_cleanup_(closep) int two = make_folder(one, name);
			make_file(two, "file");
		}
	}
	check_int(tree_remove(path), 0);
	check(!is_there(path));
}

TEST(a_link_goes_and_what_it_leads_to_stays)
{
	char path[] = "/tmp/mist-tree-XXXXXX", other[] = "/tmp/mist-tree-XXXXXX";
	check(mkdtemp(path) && mkdtemp(other));
	_cleanup_(freep) char *file = xasprintf("%s/kept", other);
	_cleanup_(closep) int out = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closep) int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closep) int one = make_folder(top, "one"), two = make_folder(one, "two");
	make_file(out, "kept");
	check_int(symlinkat(other, top, "out"), 0);
	check_int(symlinkat(other, one, "out"), 0);
	check_int(symlinkat(other, two, "out"), 0);
	check_int(symlinkat("..", two, "up"), 0);
	check_int(tree_remove(path), 0);
	check(!is_there(path));
	check(is_there(file));
	/* A link in place of the tree is removed itself. */
	check_int(symlink(other, path), 0);
	check_int(tree_remove(path), 0);
	check(!is_there(path));
	check(is_there(file));
	check_int(tree_remove(other), 0);
}

TEST(folders_without_rights_go)
{
	char path[] = "/tmp/mist-tree-XXXXXX";
	bool is_root = geteuid() == 0; /* whom no right stops */
	check_int(is_root ? seteuid(NOBODY) : 0, 0);
	check(mkdtemp(path));
	_cleanup_(closep) int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closep) int one = make_folder(top, "one"), two = make_folder(one, "two"),
			      three = make_folder(two, "three");
	make_file(three, "file");
	check(fchmod(three, 0500) == 0 && fchmod(two, 0) == 0 && fchmod(one, 0500) == 0 &&
		fchmod(top, 0) == 0);
	int r = tree_remove(path);
	check_int(is_root ? seteuid(0) : 0, 0);
	check_int(r, 0);
	check(!is_there(path));
}

TEST(what_is_no_tree_goes_and_what_cannot_go_says_why)
{
	char path[] = "/tmp/mist-tree-XXXXXX";
	int fd = mkstemp(path);
	check(fd >= 0);
	close(fd);
	check_int(tree_remove(path), 0);
	check(!is_there(path));
	check_int(tree_remove(path), 0); /* there is nothing */
	check_int(tree_remove("/proc/self/task"), -EPERM);
}

RUN_TESTS(PROVES(a_tree_goes_however_deep_it_is_and_with_few_descriptors), PROVES(a_wide_tree_goes),
	PROVES(a_link_goes_and_what_it_leads_to_stays), PROVES(folders_without_rights_go),
	PROVES(what_is_no_tree_goes_and_what_cannot_go_says_why))
