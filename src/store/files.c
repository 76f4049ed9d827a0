/* SPDX-License-Identifier: Apache-2.0 */
/* Files take the place of others together with a transaction: before it, so that what is written
 * finds them there, and back again if it fails. A second link to what is replaced is what makes the
 * way back; it lies beside the new file, in a folder that its owner sweeps, so a process that is
 * killed leaves nothing for ever.
 *
 * Some files cannot have a second link: those of other users, where the kernel protects hard links,
 * and all on a file system that has none. Then the two change their names with each other, in one
 * step. Where that cannot be done either a copy is made. In none of the three is there a moment
 * without a file of that name: a process that is killed leaves the old one or the new one. */
#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/disk/folder.h"
#include "base/fail_point.h"
#include "base/log.h"

static int sync_folder_of(const char *path)
{
	_cleanup_(freep) char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
	return folder_sync(folder);
}

static char *name_of_before(const char *from)
{
	const char *name = strrchr(from, '/') + 1;
	return xasprintf("%.*s.before-%s", (int)(name - from), from, name);
}

/* The same may be done in another way. */
static bool is_for_want_of_links(int error)
{
	return error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK ||
	       error == EXDEV;
}

static bool is_for_want_of_exchange(int error)
{
	return error == EINVAL || error == EOPNOTSUPP || error == ENOSYS;
}

static int copy(int from, const struct stat *st, const char *to)
{
	_cleanup_(closep) int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : 1;
	while (n > 0)
		n = sendfile(fd, from, NULL, 1 << 20);
	return n < 0 || fchmod(fd, st->st_mode & 0777) < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* As a link would do it, but with an owner and a time of its own. */
static int keep_copy(const char *path, const char *before)
{
	struct stat st;
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	int r = S_ISREG(st.st_mode) ? copy(fd, &st, before) : -EISDIR;
	if (r < 0)
		(void)unlink(before);
	return r;
}

/* -EOPNOTSUPP: the file system cannot do that. */
static int exchange(struct store_file *file)
{
	struct stat st;
	if (lstat(file->to, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode)) /* nobody could sweep that */
		return -EISDIR;
	if (renameat2(AT_FDCWD, file->from, AT_FDCWD, file->to, RENAME_EXCHANGE) < 0)
		return is_for_want_of_exchange(errno) ? -EOPNOTSUPP : -errno;
	file->before = xstrdup(file->from);
	file->is_replaced = true;
	return 0;
}

/* Makes the way back, and may make the whole step with it. */
static int keep_before(struct store_file *file)
{
	_cleanup_(freep) char *before = name_of_before(file->from);
	int r = link(file->to, before) < 0 ? -errno : 0;
	if (r == -ENOENT)
		return 0;
	if (r < 0 && is_for_want_of_links(-r)) {
		r = exchange(file);
		if (r != -EOPNOTSUPP)
			return r;
		r = keep_copy(file->to, before);
	}
	if (r == 0)
		file->before = TAKE_PTR(before);
	return r;
}

static int replace(struct store_file *file)
{
	int r = fail_point(FAIL_ARTIFACT_RENAME);
	if (r == 0 && !file->before)
		r = keep_before(file);
	if (r < 0 || file->is_replaced)
		return r;
	if (rename(file->from, file->to) < 0)
		return -errno;
	file->is_replaced = true;
	return 0;
}

int files_replace(struct store_op *op)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < op->n_files; i++)
		if (!op->files[i].is_replaced)
			r = op->files[i].status = replace(&op->files[i]);
	for (size_t i = 0; r == 0 && i < op->n_files; i++)
		r = op->files[i].status = sync_folder_of(op->files[i].to);
	return r;
}

void files_keep(struct store_op *op)
{
	for (size_t i = 0; i < op->n_files; i++)
		if (op->files[i].before)
			(void)unlink(op->files[i].before);
}

void files_put_back(struct store_op *op)
{
	for (size_t i = 0; i < op->n_files; i++) {
		struct store_file *file = &op->files[i];
		int r = 0;
		if (file->before && file->is_replaced)
			r = rename(file->before, file->to);
		else if (file->before)
			(void)unlink(file->before);
		else if (file->is_replaced)
			r = unlink(file->to);
		if (r < 0)
			log_error("%s is the new one, although it was to be put back: %s", file->to,
				strerror(errno));
		else if (file->is_replaced)
			(void)sync_folder_of(file->to);
		file->is_replaced = file->is_replaced && r < 0;
	}
}

void files_free(struct store_op *op)
{
	for (size_t i = 0; i < op->n_files; i++) {
		free(op->files[i].from);
		free(op->files[i].to);
		free(op->files[i].before);
	}
	free(op->files);
}
