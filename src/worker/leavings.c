/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing stays of a worker that is gone.
 *
 * A worker's process leads a group, and the group is ended with it. But what a function starts can
 * leave the group (setsid, a daemon) and go on for ever. What it cannot leave is the environment it
 * was started with, in which WORKER_MARK names the file of its worker: so /proc is searched for
 * that, again until a search finds nothing, because what is being ended may fork. A process is held
 * by a descriptor while its environment is read, so that its number cannot pass to a stranger in
 * between. A process that was given another environment on purpose is not found; one must not run
 * such code without isolation.
 *
 * All of it may take long (many processes, deep folders, a slow disk), so it runs on the pool of
 * the loop. */
#include "worker/leavings.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/disk/rolling.h"
#include "base/disk/tree.h"
#include "base/fail_point.h"
#include "base/log.h"

enum {
	SEARCHES_MAX = 100,
	PAUSE_MS = 5,
	OUTPUTS_MAX = 100000,
	COPY_BYTES = 64 * 1024,
	UNREAD_MAX = 4 << 20,
};
#define ENVIRON_MAX ((size_t)8 << 20)

char *worker_file(const char *directory)
{
	return xasprintf("%s/connect.json", directory);
}

long long process_born(int pid)
{
	char path[64], stat[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	size_t n = f ? fread(stat, 1, sizeof stat - 1, f) : 0;
	stat[n] = '\0';
	char *p = strrchr(stat, ')'); /* the name before it may hold anything */
	char state;
	long long born;
	if (!p || sscanf(p + 1,
			  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			  "%*d %lld",
			  &state, &born) != 2)
		return -1;
	return state == 'Z' ? -1 : born;
}

/* "NAME=value" is one of the entries. */
static bool has_entry(const struct buf *entries, const char *entry)
{
	const char *p = entries->data, *end = p + entries->len;
	size_t len = strlen(entry);
	while (p < end) {
		size_t n = strnlen(p, (size_t)(end - p));
		if (n == len && memcmp(p, entry, len) == 0)
			return true;
		p += n + 1;
	}
	return false;
}

static bool is_marked(int pid, const char *mark)
{
	char path[64], part[16 * 1024];
	struct buf entries;
	ssize_t n;
	snprintf(path, sizeof path, "/proc/%d/environ", pid);
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	buf_init(&entries, ENVIRON_MAX);
	while ((n = read(fd, part, sizeof part)) > 0 && buf_add(&entries, part, (size_t)n) == 0)
		;
	bool is_there = entries.len && has_entry(&entries, mark);
	buf_done(&entries);
	return is_there;
}

static char *mark_of(const char *directory)
{
	_cleanup_(freep) char *file = worker_file(directory);
	return xasprintf(WORKER_MARK "=%s", file);
}

bool process_is_of(int pid, long long born, const char *directory)
{
	_cleanup_(freep) char *mark = mark_of(directory);
	return pid > 1 && born >= 0 && process_born(pid) == born && is_marked(pid, mark);
}

/* Ends those that are found; how many. */
static unsigned end_marked(const char *mark)
{
	unsigned n = 0;
	DIR *d = opendir("/proc");
	for (struct dirent *e; d && (e = readdir(d));) {
		int pid =
			isdigit((unsigned char)e->d_name[0]) ? (int)strtol(e->d_name, NULL, 10) : 0;
		if (pid < 2 || pid == getpid())
			continue;
		_cleanup_(closep) int fd = pidfd_open(pid, 0);
		if (fd >= 0 && process_born(pid) >= 0 && is_marked(pid, mark) &&
			pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0)
			n++;
	}
	if (d)
		closedir(d);
	return n;
}

static void end_descendants(const char *directory)
{
	const struct timespec pause = { 0, PAUSE_MS * 1000000 };
	_cleanup_(freep) char *mark = mark_of(directory);
	for (int i = 0; i < SEARCHES_MAX && end_marked(mark); i++)
		nanosleep(&pause, NULL);
}

static void directory_remove(const char *path)
{
	int r = tree_remove(path);
	if (r < 0)
		log_warn("%s cannot be removed: %s", path, strerror(-r));
}

int output_open(const char *path)
{
	struct stat st;
	int fd = open(path,
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
		0640);
	if (fd < 0)
		return errno == ENXIO || errno == EISDIR || errno == ELOOP ? -EEXIST : -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return -EEXIST;
}

/* What stands from *at on, also what is being added meanwhile, but not for as long as somebody adds
 * faster than this: `most` bytes. *at is then behind what was copied. 0 or negative errno. */
static int copy_rest(int from, int to, off_t *at, int64_t most)
{
	char part[COPY_BYTES];
	ssize_t n = 0;
	while (most > 0 && (n = pread(from, part, sizeof part, *at)) > 0) {
		ssize_t written = write(to, part, (size_t)n);
		if (written > 0)
			*at += written;
		if (written != n)
			return -ENOSPC;
		most -= n;
	}
	return n < 0 ? -errno : 0;
}

int output_make(const char *path)
{
	_cleanup_(closep) int fd = output_open(path),
			      older = fd < 0 ? -1 : rolling_open_older(path);
	/* Who follows it from the start has the older file open, too, whenever it is needed. */
	if (older >= 0 && lseek(older, 0, SEEK_END) == 0)
		(void)rolling_begin(older, 0);
	return fd < 0 ? fd : TAKE_FD(fd);
}

/* The same file as before; what a function put into its place goes. */
static int open_older(const char *path)
{
	int fd = rolling_open_older(path);
	/* Not when only this process, or the disk, could not open it. */
	bool is_other =
		fd == -EEXIST || fd == -ELOOP || fd == -EISDIR || fd == -ENXIO || fd == -EACCES;
	if (fd >= 0 || !is_other)
		return fd;
	_cleanup_(freep) char *older = xasprintf("%s.1", path);
	unlink(older);
	return rolling_open_older(path);
}

void output_rotate(const char *path, int64_t max)
{
	struct stat st;
	int64_t kept_max = max / 2 > ROLLING_LINE ? max / 2 - ROLLING_LINE : 0;
	_cleanup_(closep) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= max / 2)
		return;
	/* Who follows it must not look in between, nor may a lock that a function took stop this.
	 */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK && st.st_size <= max)
		return;
	_cleanup_(closep) int to = open_older(path);
	int64_t begin = rolling_end_of(to), end;
	if (__builtin_add_overflow(begin, st.st_size, &end))
		end = st.st_size, begin = 0;
	off_t at = st.st_size > kept_max ? st.st_size - kept_max : 0;
	if (to < 0)
		;
	else if (rolling_begin(to, begin + at) < 0 || copy_rest(fd, to, &at, max) < 0)
		(void)rolling_begin(to, end); /* the disk is full: then it is lost */
	if (ftruncate(fd, 0) < 0)
		log_warn("%s cannot be cut: %s", path, strerror(errno));
}

/* The file that descriptors 1 and 2 of a Python worker are, as far as it exists, and may be a
 * file's: what it has passed on it has cut out (runner/python/mist/printed.py). */
static int unread_open(const char *directory, int flags, struct stat *ret)
{
	_cleanup_(freep) char *path = xasprintf("%s/printed", directory);
	_cleanup_(closep) int fd =
		open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode) || ret->st_nlink != 1)
		return -1;
	return TAKE_FD(fd);
}

/* All before `to`; nothing before `from` will be read. Not every file system can cut a hole: there
 * it is zeroes, which output_collect passes over, and which take no room that was not taken. */
static void cut_out(int fd, off_t from, off_t to)
{
	static const char zeroes[COPY_BYTES];
	ssize_t n = 1;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, to) == 0)
		return;
	for (; from < to && n > 0; from += n)
		n = pwrite(fd, zeroes, (size_t)(to - from < COPY_BYTES ? to - from : COPY_BYTES),
			from);
}

void output_collect(const char *directory, const char *output)
{
	char part[COPY_BYTES];
	struct stat st;
	_cleanup_(closep) int from = unread_open(directory, O_RDWR, &st);
	off_t least = from >= 0 && st.st_size > UNREAD_MAX ? st.st_size - UNREAD_MAX : 0;
	off_t at = from < 0 ? -1 : lseek(from, least, SEEK_DATA);
	if (at < 0)
		return;
	_cleanup_(closep) int to = output_open(output);
	ssize_t n = to < 0 ? 0 : pread(from, part, sizeof part, at);
	/* What was cut out of a block that is still in use is zeroes. */
	while (n > 0 && part[0] == '\0') {
		ssize_t zeroes = 1;
		while (zeroes < n && part[zeroes] == '\0')
			zeroes++;
		at += zeroes;
		n = pread(from, part, sizeof part, at);
	}
	/* It is not added twice: neither all of it, nor the beginning for which there was room. */
	off_t begin = at;
	if (n > 0 && copy_rest(from, to, &at, UNREAD_MAX) == 0)
		(void)!ftruncate(from, 0);
	else if (n > 0 && at > begin)
		cut_out(from, begin, at);
}

void output_bound_unread(const char *directory, int64_t max)
{
	enum { BLOCK = 512 };
	struct stat st;
	_cleanup_(closep) int fd = unread_open(directory, O_RDWR, &st);
	if (fd >= 0 && (int64_t)st.st_blocks * BLOCK > max && st.st_size > max / 2)
		(void)fallocate(
			fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, st.st_size - max / 2);
}

/* Nothing was ever moved there, and nobody prints any more. */
static void older_remove_unused(const char *path)
{
	struct stat st;
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 ||
		flock(fd, LOCK_EX | LOCK_NB) < 0) /* else the last rotation may be under way */
		return;
	_cleanup_(freep) char *older = xasprintf("%s.1", path);
	_cleanup_(closep) int moved = open(older, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (moved >= 0 && fstat(moved, &st) == 0 && S_ISREG(st.st_mode) &&
		st.st_size <= ROLLING_LINE && rolling_end_of(moved) == 0)
		unlink(older);
}

struct output {
	char *path;
	struct timespec at;
};

static int by_age(const void *a, const void *b)
{
	const struct output *x = a, *y = b;
	if (x->at.tv_sec != y->at.tv_sec)
		return x->at.tv_sec < y->at.tv_sec ? 1 : -1; /* the newest first */
	return x->at.tv_nsec < y->at.tv_nsec ? 1 : x->at.tv_nsec > y->at.tv_nsec ? -1 : 0;
}

static bool is_output(const char *name)
{
	static const char head[] = "worker-", tail[] = ".log";
	size_t len = strlen(name);
	return strncmp(name, head, sizeof head - 1) == 0 && len > sizeof tail &&
	       strcmp(name + len - (sizeof tail - 1), tail) == 0;
}

static void output_remove(const char *path)
{
	_cleanup_(freep) char *older = xasprintf("%s.1", path);
	unlink(path);
	unlink(older);
}

static bool is_among(char *const *paths, const char *path)
{
	for (; paths && *paths; paths++)
		if (strcmp(*paths, path) == 0)
			return true;
	return false;
}

static bool is_older(const struct stat *st, const struct timespec *than)
{
	const struct timespec *at = &st->st_mtim;
	return at->tv_sec < than->tv_sec ||
	       (at->tv_sec == than->tv_sec && at->tv_nsec < than->tv_nsec);
}

/* What was written to since then may be of a worker that is not in the list yet. */
static void prune_outputs(
	const char *logs, int64_t keep, char *const *in_use, const struct timespec *since)
{
	struct output *outputs = NULL;
	size_t n = 0;
	DIR *d = opendir(logs);
	for (struct dirent *e; d && n < OUTPUTS_MAX && (e = readdir(d));) {
		struct stat st;
		if (!is_output(e->d_name))
			continue;
		char *path = xasprintf("%s/%s", logs, e->d_name);
		if (lstat(path, &st) < 0 || is_among(in_use, path) || !is_older(&st, since)) {
			free(path);
			continue;
		}
		outputs = xrealloc(outputs, (n + 1) * sizeof *outputs);
		outputs[n++] = (struct output){ path, st.st_mtim };
	}
	if (d)
		closedir(d);
	if (n)
		qsort(outputs, n, sizeof *outputs, by_age);
	for (size_t i = 0; i < n; i++) {
		if ((int64_t)i >= keep)
			output_remove(outputs[i].path);
		free(outputs[i].path);
	}
	free(outputs);
}

struct clearing {
	uv_work_t work;
	char *directory, *output, *logs;
	bool keeps_output;
	char **in_use;
	int64_t keep;
	struct timespec since;
};

static void clear(uv_work_t *work)
{
	struct clearing *c = work->data;
	(void)fail_point(FAIL_LAUNCHER_REMOVE);
	end_descendants(c->directory);
	if (c->output && c->keeps_output)
		output_collect(c->directory, c->output);
	directory_remove(c->directory);
	if (c->output && c->keeps_output)
		older_remove_unused(c->output);
	if (c->output && !c->keeps_output)
		output_remove(c->output);
	if (c->in_use)
		prune_outputs(c->logs, c->keep, c->in_use, &c->since);
}

static void cleared(uv_work_t *work, int status)
{
	struct clearing *c = work->data;
	(void)status;
	for (char **p = c->in_use; p && *p; p++)
		free(*p);
	free(c->in_use);
	free(c->directory);
	free(c->output);
	free(c->logs);
	free(c);
}

static char **copy_paths(const char *const *paths)
{
	size_t n = 0;
	if (!paths)
		return NULL;
	while (paths[n])
		n++;
	char **copy = xcalloc(n + 1, sizeof *copy);
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(paths[i]);
	return copy;
}

void leavings_clear(uv_loop_t *loop, const struct leavings *l)
{
	struct clearing *c = xcalloc(1, sizeof *c);
	c->work.data = c;
	c->directory = xstrdup(l->directory);
	c->output = l->output ? xstrdup(l->output) : NULL;
	c->keeps_output = l->keeps_output;
	c->logs = xstrdup(l->logs);
	c->in_use = copy_paths(l->in_use);
	c->keep = l->keep;
	clock_gettime(CLOCK_REALTIME_COARSE, &c->since); /* by which files get their times */
	must(uv_queue_work(loop, &c->work, clear, cleared) == 0);
}
