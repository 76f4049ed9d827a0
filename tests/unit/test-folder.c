/* SPDX-License-Identifier: Apache-2.0 */
/* base/disk/folder.h */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/disk/folder.h"

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

RUN_TESTS(PROVES(what_is_no_folder_cannot_be_synced))
