/* SPDX-License-Identifier: Apache-2.0 */
/* A file that was synced is there after a loss of power, but perhaps under no name, or under the
 * one that it had: names belong to the folder, which is synced by itself. */
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
