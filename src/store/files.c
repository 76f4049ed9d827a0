/* SPDX-License-Identifier: Apache-2.0 */
/* Files take the place of others together with a transaction: before it, so that what is written
 * finds them there, and back again if it fails. A second link to what is replaced is what makes the
 * way back; it lies beside the new file, in a folder that its owner sweeps, so a process that is
 * killed leaves nothing for ever. */
#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fail_point.h"
#include "base/log.h"

static int sync_folder_of(const char *path)
{
	_cleanup_(freep) char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
	_cleanup_(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static char *name_of_before(const char *from)
{
	const char *name = strrchr(from, '/') + 1;
	return xasprintf("%.*s.before-%s", (int)(name - from), from, name);
}

static int replace(struct store_file *file)
{
	int r = fail_point(FAIL_ARTIFACT_RENAME);
	if (r < 0)
		return r;
	_cleanup_(freep) char *before = name_of_before(file->from);
	if (!file->before && link(file->to, before) == 0)
		file->before = TAKE_PTR(before);
	else if (!file->before && errno != ENOENT)
		return -errno;
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
			r = replace(&op->files[i]);
	for (size_t i = 0; r == 0 && i < op->n_files; i++)
		r = sync_folder_of(op->files[i].to);
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
		if (file->before)
			r = rename(file->before, file->to);
		else if (file->is_replaced)
			r = unlink(file->to);
		if (r < 0)
			log_error("%s is the new one, although it was to be put back: %s", file->to,
				strerror(errno));
		else if (file->is_replaced)
			(void)sync_folder_of(file->to);
		file->is_replaced = false;
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
