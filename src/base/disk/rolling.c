/* SPDX-License-Identifier: Apache-2.0 */
/* The line of the older file is written before all else of a move, and the newer file is emptied
 * last. So a move that is cut off leaves some text in both files, at two offsets, and loses none;
 * an offset never comes a second time. Other programs can write to either, so that whatever the
 * line says is taken for text unless it is just what rolling_begin writes. */
#include "base/disk/rolling.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static const char line_head[] = "# from byte ";
enum { LINE_DIGITS = 20 };
#define OFFSET_MAX (INT64_MAX / 2) /* more was never written: it is no line of ours */

/* A regular file, or a negative errno. */
static int open_regular(const char *path, int flags)
{
	struct stat st;
	_cleanup_(closep) int fd =
		open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY, 0640);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EEXIST;
	return TAKE_FD(fd);
}

static int64_t size_of(int fd)
{
	struct stat st;
	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Where the text behind the line of the older file begins; -1: it has no such line. */
static int64_t line_read(int fd)
{
	char line[ROLLING_LINE + 1] = { 0 }, *end = NULL;
	const size_t head = sizeof line_head - 1;
	if (fd < 0 || pread(fd, line, ROLLING_LINE, 0) != ROLLING_LINE ||
		memcmp(line, line_head, head) != 0)
		return -1;
	errno = 0;
	long long at = strtoll(line + head, &end, 10);
	return errno || at < 0 || at > OFFSET_MAX || end != line + head + LINE_DIGITS ||
			       *end != '\n'
		       ? -1
		       : at;
}

int64_t rolling_end_of(int older_fd)
{
	int64_t begin = line_read(older_fd), size = size_of(older_fd), end;
	if (begin < 0)
		return size;
	return __builtin_add_overflow(begin, size - ROLLING_LINE, &end) ? 0 : end;
}

int rolling_begin(int older_fd, int64_t begin)
{
	char line[ROLLING_LINE + 1];
	snprintf(line, sizeof line, "%s%0*lld\n", line_head, LINE_DIGITS, (long long)begin);
	ssize_t n = pwrite(older_fd, line, ROLLING_LINE, 0);
	if (n != ROLLING_LINE)
		return n < 0 ? -errno : -ENOSPC;
	if (ftruncate(older_fd, ROLLING_LINE) < 0 || lseek(older_fd, ROLLING_LINE, SEEK_SET) < 0)
		return -errno;
	return 0;
}

int rolling_open_older(const char *path)
{
	_cleanup_(freep) char *older = xasprintf("%s.1", path);
	return open_regular(older, O_RDWR | O_CREAT);
}

/* One that was removed is read on, unless there is another in its place. */
static void open_missing(struct rolling *r)
{
	_cleanup_(freep) char *older = xasprintf("%s.1", r->path);
	struct stat st;
	if (r->fd[0] >= 0 && (fstat(r->fd[0], &st) < 0 || st.st_nlink > 0))
		return;
	int fd = open_regular(older, O_RDONLY);
	if (fd < 0)
		return;
	if (r->fd[0] >= 0)
		close(r->fd[0]);
	r->fd[0] = fd;
}

void rolling_look(struct rolling *r)
{
	open_missing(r);
	int64_t begin = line_read(r->fd[0]);
	r->skip = begin < 0 ? 0 : ROLLING_LINE;
	r->begin[0] = begin < 0 ? 0 : begin;
	r->begin[1] = rolling_end_of(r->fd[0]);
	if (r->begin[1] < r->begin[0])
		r->begin[0] = r->begin[1];
	if (__builtin_add_overflow(r->begin[1], size_of(r->fd[1]), &r->end))
		r->end = r->begin[1];
}

int rolling_open(const char *path, struct rolling *ret)
{
	*ret = (struct rolling){ .path = xstrdup(path), .fd = { -1, -1 } };
	ret->fd[1] = open_regular(path, O_RDONLY);
	if (ret->fd[1] < 0) {
		rolling_close(ret);
		return -ENOENT;
	}
	rolling_look(ret);
	return 0;
}

void rolling_close(struct rolling *r)
{
	for (int i = 0; i < 2; i++) {
		if (r->fd[i] >= 0)
			close(r->fd[i]);
		r->fd[i] = -1;
	}
	free(TAKE_PTR(r->path));
}

int rolling_lock(struct rolling *r)
{
	if (flock(r->fd[1], LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return -EAGAIN;
	rolling_look(r);
	return 0;
}

void rolling_unlock(struct rolling *r)
{
	(void)flock(r->fd[1], LOCK_UN);
}

size_t rolling_read(const struct rolling *r, int64_t from, char *to, size_t len)
{
	size_t n = 0;
	while (n < len) {
		bool is_newer = from >= r->begin[1];
		int64_t at = is_newer ? from - r->begin[1] : from - r->begin[0] + r->skip;
		size_t most = len - n;
		if (!is_newer && (int64_t)most > r->begin[1] - from)
			most = (size_t)(r->begin[1] - from);
		ssize_t got = pread(r->fd[is_newer], to + n, most, at);
		if (got <= 0)
			break;
		n += (size_t)got;
		from += got;
	}
	return n;
}
