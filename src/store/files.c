/* SPDX-License-Identifier: Apache-2.0 */
/* Files take the place of others together with a transaction: before it, so that what is written
 * finds them there, and back again if it fails. Each has its way back before the first is replaced,
 * and the journal tells of them, so that what a killed process began is finished or undone by the
 * next one (journal.c).
 *
 * The way back is a second link to what is replaced. Some files cannot have one: those of other
 * users, where the kernel protects hard links, and all on a file system that has none. Then the two
 * change their names with each other, in one step. Where that cannot be done either a copy is made.
 * In none of the three is there a moment without a file of that name. */
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
#include "base/text/plural.h"

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
	return S_ISREG(st.st_mode) ? copy(fd, &st, before) : -EISDIR;
}

static int touch(const char *path)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : 0;
}

/* Whether the file system can do that is tried with two others: what is replaced stays as it is
 * until the journal is there. 1: it can, 0: it cannot, or a negative errno. */
static int can_exchange(const struct journal *j)
{
	_cleanup_(freep) char *a = xasprintf("%s/try-a", j->directory);
	_cleanup_(freep) char *b = xasprintf("%s/try-b", j->directory);
	int r = touch(a);
	if (r == 0)
		r = touch(b);
	if (r < 0)
		return r;
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0 ||
	       !is_for_want_of_exchange(errno);
}

/* Makes the way back of the next file of the journal, and enters both. */
static int keep_before(struct journal *j, const struct store_file *file)
{
	_cleanup_(freep) char *before = xasprintf("%s/%zu", j->directory, j->n_files);
	const char *name = strrchr(file->to, '/') + 1;
	enum journal_way way = JOURNAL_WAY_LINK;
	struct stat old, new;
	int r = fail_point(FAIL_STORE_DEPLOYMENT_KEEP);
	if (r < 0)
		return r;
	if (lstat(file->from, &new) < 0)
		return -errno;
	if (lstat(file->to, &old) < 0) {
		if (errno != ENOENT)
			return -errno;
		journal_add(j, name, JOURNAL_WAY_NONE, NULL, &new);
		return 0;
	}
	if (S_ISDIR(old.st_mode))
		return -EISDIR;
	r = link(file->to, before) < 0 ? -errno : 0;
	if (r < 0 && is_for_want_of_links(-r)) {
		r = can_exchange(j);
		way = r > 0 ? JOURNAL_WAY_EXCHANGE : JOURNAL_WAY_COPY;
		if (r == 0)
			r = keep_copy(file->to, before);
	}
	if (r < 0)
		return r;
	journal_add(j, name, way, &old, &new);
	return 0;
}

static int prepare(struct store_op *op, const struct uuid *deployed)
{
	const char *to = op->files[0].to;
	const size_t len = (size_t)(strrchr(to, '/') - to);
	_cleanup_(freep) char *artifacts = strndup(to, len);
	_cleanup_(journal_freep) struct journal *j = NULL;
	must(artifacts);
	int r = files_recover(artifacts, deployed);
	if (r == 0)
		r = journal_begin(&j, artifacts);
	if (r < 0)
		return op->files[0].status = r;
	for (size_t i = 0; r == 0 && i < op->n_files; i++) {
		const char *path = op->files[i].to;
		bool is_there = (size_t)(strrchr(path, '/') - path) == len &&
				strncmp(path, artifacts, len) == 0;
		r = op->files[i].status = is_there ? keep_before(j, &op->files[i]) : -EXDEV;
	}
	if (r == 0)
		r = op->files[0].status = journal_write(j);
	if (r < 0)
		(void)journal_remove(artifacts);
	else
		op->journal = TAKE_PTR(j);
	return r;
}

static int exchange(const char *from, const char *before, const char *to)
{
	if (rename(from, before) < 0)
		return -errno;
	if (renameat2(AT_FDCWD, before, AT_FDCWD, to, RENAME_EXCHANGE) == 0)
		return 0;
	int r = -errno;
	(void)rename(before, from);
	return r;
}

static int replace(const struct journal *j, size_t i, struct store_file *file)
{
	_cleanup_(freep) char *before = journal_before(j, i);
	int r = fail_point(FAIL_ARTIFACT_RENAME);
	if (r < 0)
		return r;
	if (j->files[i].way == JOURNAL_WAY_EXCHANGE)
		r = exchange(file->from, before, file->to);
	else
		r = rename(file->from, file->to) < 0 ? -errno : 0;
	file->is_replaced = r == 0;
	return r;
}

int files_replace(struct store_op *op, const struct uuid *deployed)
{
	int r = 0;
	for (size_t i = 0; i < op->n_files; i++)
		op->files[i].status = 0;
	if (op->n_files && !op->journal)
		r = prepare(op, deployed);
	for (size_t i = 0; r == 0 && i < op->n_files; i++)
		if (!op->files[i].is_replaced)
			r = op->files[i].status = replace(op->journal, i, &op->files[i]);
	if (r == 0 && op->n_files)
		r = op->files[0].status = folder_sync(op->journal->artifacts);
	return r;
}

static int forget(const char *artifacts)
{
	(void)fail_point(FAIL_STORE_DEPLOYMENT_SETTLE);
	int r = journal_remove(artifacts);
	if (r < 0)
		log_error("what a deployment kept in %s cannot be removed: %s", artifacts,
			strerror(-r));
	return r;
}

void files_keep(struct store_op *op)
{
	(void)forget(op->journal->artifacts);
}

/* How many are the new ones still, and how many are neither: those stay. `files` may be NULL. A
 * negative errno: what was put back may not be on the disk. */
static int put_back(
	const struct journal *j, struct store_file *files, size_t *ret_new, size_t *ret_neither)
{
	*ret_new = *ret_neither = 0;
	for (size_t i = 0; i < j->n_files; i++) {
		_cleanup_(freep) char *to = journal_target(j, i);
		int r = journal_put_back(j, i);
		if (r < 0)
			log_error("%s is the new one, although it was to be put back: %s", to,
				strerror(-r));
		else if (r > 0)
			log_warn("%s is neither what it was before a deployment nor what it was "
				 "to be: it stays as it is",
				to);
		*ret_new += r < 0;
		*ret_neither += r > 0;
		if (files)
			files[i].is_replaced = r < 0;
	}
	int r = folder_sync(j->artifacts);
	if (r < 0)
		log_error("what was put back in %s may not be so after a loss of power: %s",
			j->artifacts, strerror(-r));
	return r;
}

/* The journal of one that could not be put back stays: the next deployment, or the next start,
 * tries again. */
void files_put_back(struct store_op *op)
{
	size_t n_new, n_neither;
	int r = put_back(op->journal, op->files, &n_new, &n_neither);
	if (r == 0 && !n_new)
		(void)forget(op->journal->artifacts);
	journal_free(TAKE_PTR(op->journal));
}

static int set_aside(const char *artifacts)
{
	_cleanup_(freep) char *aside = NULL;
	int r = journal_set_aside(artifacts, &aside);
	if (r == -EEXIST)
		log_error("the journal of a deployment cannot be set aside: %d are there, up to "
			  "%s; put back by hand what is to be kept of them, and remove them",
			JOURNALS_ASIDE_MAX, aside);
	else if (r < 0)
		log_error("the journal of a deployment cannot be set aside as %s: %s", aside,
			strerror(-r));
	else
		log_error("what is left of the deployment, its journal and what it replaced, is "
			  "set aside as %s",
			aside);
	return r;
}

static int undo(const struct journal *j, const char *id)
{
	size_t n_new, n_neither;
	int r = put_back(j, NULL, &n_new, &n_neither);
	if (r < 0)
		return r;
	size_t n_old = j->n_files - n_new - n_neither;
	log_warn("deployment %s was not finished and is undone: %zu of its %zu artifact%s %s "
		 "before it",
		id, n_old, j->n_files, plural(j->n_files),
		by_count(n_old, "is what it was", "are what they were"));
	return n_new || n_neither ? set_aside(j->artifacts) : forget(j->artifacts);
}

/* And will be none when it is read again. */
static bool is_no_journal(int error)
{
	return error == -EBADMSG || error == -ENOTDIR || error == -ELOOP || error == -ENXIO;
}

int files_recover(const char *artifacts, const struct uuid *deployed)
{
	_cleanup_(journal_freep) struct journal *j = NULL;
	char id[UUID_TEXT];
	struct fault f;
	int r = journal_read(&j, artifacts, &f);
	if (r == -ENOENT)
		return journal_remove(artifacts);
	if (r < 0) {
		log_error("a deployment was not finished, and its journal in %s cannot be read: %s",
			artifacts, f.text);
		return is_no_journal(r) ? set_aside(artifacts) : r;
	}
	uuid_format(&j->id, id);
	if (!deployed || memcmp(deployed->bytes, j->id.bytes, sizeof j->id.bytes) != 0)
		return undo(j, id);
	log_info("deployment %s took effect before the gateway ended", id);
	return forget(artifacts);
}

void files_free(struct store_op *op)
{
	for (size_t i = 0; i < op->n_files; i++) {
		free(op->files[i].from);
		free(op->files[i].to);
	}
	free(op->files);
	journal_free(op->journal);
}
