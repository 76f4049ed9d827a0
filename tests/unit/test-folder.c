/* SPDX-License-Identifier: Apache-2.0 */
/* base/disk/folder.h */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/disk/folder.h"

enum { NOBODY = 65534 };

TEST(what_is_no_folder_cannot_be_synced)
{
	char path[] = "/tmp/mist-folder-XXXXXX";
	check(mkdtemp(path));
	check_int(folder_sync(path), 0);
	_cleanup_(freep) char *file = xasprintf("%s/file", path);
	_cleanup_(closep) int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0);
	check_int(folder_sync(path), 0);
	check_int(folder_sync(file), -ENOTDIR);
	unlink(file);
	check_int(folder_sync(file), -ENOENT);
	rmdir(path);
	check_int(folder_sync(path), -ENOENT);
}

TEST(a_folder_is_tried_by_writing_in_it)
{
	char path[] = "/tmp/mist-folder-XXXXXX";
	struct rlimit before, none;
	check(mkdtemp(path));
	check_int(folder_try(path), 0);
	/* A disk that is full: nothing can be written, though a file can be made. */
	signal(SIGXFSZ, SIG_IGN);
	check_int(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	check_int(setrlimit(RLIMIT_FSIZE, &none), 0);
	int full = folder_try(path);
	check_int(setrlimit(RLIMIT_FSIZE, &before), 0);
	check_int(full, -EFBIG);
	/* Rights, as who has all of them does not feel them. */
	bool is_root = geteuid() == 0;
	check_int(is_root ? seteuid(NOBODY) : 0, 0);
	check_int(is_root ? 0 : chmod(path, 0500), 0);
	int refused = folder_try(path);
	check_int(is_root ? seteuid(0) : 0, 0);
	check_int(refused, -EACCES);
	check_int(rmdir(path), 0); /* it is empty */
	check_int(folder_try(path), -ENOENT);
	check_int(folder_try("/dev/null"), -ENOTDIR);
	check(folder_try("/proc") < 0);
}

RUN_TESTS(PROVES(what_is_no_folder_cannot_be_synced), PROVES(a_folder_is_tried_by_writing_in_it))
