/* SPDX-License-Identifier: Apache-2.0 */
/* A file that was synced is there after a loss of power, but perhaps under no name, or under the
 * one that it had: names belong to the folder, which is synced by itself.
 *
 * Rights, a full disk and a file system that went read-only all show when something is written, and
 * some of them only then. What is written for that has no name, so nothing is left of it when the
 * process ends in between; some file systems of a network have files with names only. */
#include "base/disk/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"

int folder_sync(const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int open_named(const char *folder)
{
	_cleanup_(freep) char *path = xasprintf("%s/.tried", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)unlink(path);
	return fd;
}

int folder_try(const char *path)
{
	static const char block[4096];
	_cleanup_(closep) int fd = open(path, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		fd = open_named(path);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, block, sizeof block);
	if (n < 0)
		return -errno;
	return n < (ssize_t)sizeof block ? -ENOSPC : 0;
}
