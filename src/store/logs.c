/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of jobs: `logs/job-<id>.log` in the data directory, appended to and never rewritten, so
 * that a reader may follow one by its size.
 *
 * They are kept out of the database since they are large, written often and read rarely, and since
 * losing the end of one in a power cut is bearable: nothing here is synced. A few files stay open,
 * because the jobs that log at one moment are few; the oldest is closed for the next.
 *
 * Something may be in the place of a file that is none: nothing here waits for the other end of a
 * pipe, writes to a device, or follows a link. */
#include "store/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fail_point.h"
#include "base/log.h"

enum { PATH_SIZE = 4096 };

int logs_open(struct logs *l, const char *directory, struct fault *f)
{
	for (int i = 0; i < LOGS_OPEN_MAX; i++)
		l->open[i].fd = -1;
	l->folder = xasprintf("%s/logs", directory);
	if (mkdir(l->folder, 0750) < 0 && errno != EEXIST)
		return fault_set(f, FAULT_UNAVAILABLE,
			"the data directory %s cannot be written: %s", directory, strerror(errno));
	struct stat st;
	if (stat(l->folder, &st) < 0 || !S_ISDIR(st.st_mode))
		return fault_set(f, FAULT_UNAVAILABLE,
			"%s is in the way: the logs of jobs need a "
			"folder of that name",
			l->folder);
	return 0;
}

static void close_all(struct logs *l)
{
	for (int i = 0; i < LOGS_OPEN_MAX; i++) {
		closep(&l->open[i].fd);
		l->open[i].fd = -1;
	}
}

void logs_close(struct logs *l)
{
	if (!l->folder)
		return;
	close_all(l);
	free(TAKE_PTR(l->folder));
}

void logs_path(const struct logs *l, const struct uuid *id, char *ret, size_t size)
{
	char text[UUID_TEXT];
	uuid_format(id, text);
	snprintf(ret, size, "%s/job-%s.log", l->folder, text);
}

/* -EINVAL: it is no file. */
static int open_file(const char *path, int flags)
{
	struct stat st;
	_cleanup_(closep) int fd =
		open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY, 0640);
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == EISDIR ? -EINVAL : -errno;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

int logs_read(const struct logs *l, const struct uuid *id)
{
	char path[PATH_SIZE];
	logs_path(l, id, path, sizeof path);
	return open_file(path, O_RDONLY);
}

/* An open file of the job, or a negative errno. */
static int file_of(struct logs *l, const struct uuid *id)
{
	for (int i = 0; i < LOGS_OPEN_MAX; i++)
		if (l->open[i].fd >= 0 && memcmp(&l->open[i].id, id, sizeof *id) == 0)
			return l->open[i].fd;

	char path[PATH_SIZE];
	logs_path(l, id, path, sizeof path);
	int fd = open_file(path, O_WRONLY | O_APPEND | O_CREAT);
	if (fd == -ENOENT && mkdir(l->folder, 0750) == 0) /* somebody tidied up */
		fd = open_file(path, O_WRONLY | O_APPEND | O_CREAT);
	if (fd < 0)
		return fd;
	unsigned i = l->next++ % LOGS_OPEN_MAX;
	closep(&l->open[i].fd);
	l->open[i].id = *id;
	l->open[i].fd = fd;
	return fd;
}

/* All of it or nothing. */
static int write_all(int fd, const char *text, size_t len)
{
	struct stat before;
	if (fstat(fd, &before) < 0)
		return -errno;
	while (len) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int r = -errno;
			(void)!ftruncate(fd, before.st_size);
			return r;
		}
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool may_pass(int r)
{
	switch (-r) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EROFS:
	case EIO:
	case ENFILE:
	case EMFILE:
	case ENOENT:
		return true;
	}
	return false;
}

static struct uuid *told_of(struct logs *l, const struct uuid *id)
{
	for (int i = 0; l->n_told && i < LOGS_OPEN_MAX; i++)
		if (memcmp(&l->told[i], id, sizeof *id) == 0)
			return &l->told[i];
	return NULL;
}

/* Once for each job: it may print much. */
static void tell_lost(struct logs *l, const struct uuid *id, int r)
{
	char path[PATH_SIZE];
	if (told_of(l, id))
		return;
	l->told[l->n_told++ % LOGS_OPEN_MAX] = *id;
	logs_path(l, id, path, sizeof path);
	log_limited(&l->lost, LOG_LEVEL_WARN,
		"%s cannot be written, and what the log of a job would get is dropped: %s", path,
		r == -EINVAL ? "it is no file" : strerror(-r));
}

void logs_tick(struct logs *l)
{
	log_limit_tick(&l->lost);
}

int logs_append(struct logs *l, const struct uuid *id, const char *text, size_t len)
{
	int fd = file_of(l, id);
	int r = fd < 0 ? fd : fail_point(FAIL_STORE_LOG);
	if (r == 0)
		r = write_all(fd, text, len);
	struct uuid *told = r == 0 ? told_of(l, id) : NULL;
	if (told)
		*told = (struct uuid){ { 0 } };
	if (r == 0 || may_pass(r))
		return r;
	tell_lost(l, id, r);
	return 0;
}

/* The id in "job-<id>.log". */
static bool id_of(const char *name, struct uuid *ret)
{
	static const char head[] = "job-", tail[] = ".log";
	char text[UUID_TEXT];
	size_t len = strlen(name);
	if (len != strlen(head) + UUID_TEXT - 1 + strlen(tail) ||
		strncmp(name, head, strlen(head)) != 0 ||
		strcmp(name + len - strlen(tail), tail) != 0)
		return false;
	memcpy(text, name + strlen(head), UUID_TEXT - 1);
	text[UUID_TEXT - 1] = '\0';
	return uuid_parse(text, ret);
}

void logs_prune(struct logs *l, const struct uuid *last,
	bool (*is_gone)(void *owner, const struct uuid *id), void *owner)
{
	close_all(l); /* one of them may be removed, and would be written to nevertheless */
	_cleanup_(closedirp) DIR *d = opendir(l->folder);
	if (!d)
		return;
	struct dirent *e;
	while ((e = readdir(d))) {
		struct uuid id;
		if (id_of(e->d_name, &id) && memcmp(&id, last, sizeof id) <= 0 &&
			is_gone(owner, &id))
			unlinkat(dirfd(d), e->d_name, 0);
	}
}
