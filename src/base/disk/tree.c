/* SPDX-License-Identifier: Apache-2.0 */
/* Removes trees that others have made, and may have made to be in the way: folders nested without
 * end, links that lead out, folders without a right, things that are moved meanwhile.
 *
 * A folder in a folder of the top one is not walked into but moved up, into the top one, under
 * another name. So there are never more than two levels to see, and nothing here grows with the
 * depth: not the stack, not the descriptors that are open, not the length of a name; and no ".."
 * is ever followed, which may have come to be another folder. A folder that rmdir() refuses as busy
 * is a mount point, behind which things may lie that are somebody else's: it is left alone. */
#include "base/disk/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Each pass over the top folder takes at least one level of each tree in it. Who adds without end
 * is not waited for. */
enum { PASSES_MAX = 1000000, NAMES_MAX = 100000, NAME_SIZE = 32 };

struct removal {
	DIR *top;
	unsigned long long n_moved;
	bool gets_on; /* in this pass something went, or moved up */
	int error;    /* the first of this pass, negative */
};

static void note(struct removal *r, int result)
{
	if (result == 0)
		r->gets_on = true;
	else if (r->error == 0)
		r->error = result;
}

static bool is_child(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

/* 0: it is gone. 1: it is a folder with something in it. */
static int remove_entry(int folder, const char *name)
{
	if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
		return 0;
	int error = errno;
	if (error != EISDIR && error != EPERM)
		return -error;
	if (unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return 1;
	return errno == ENOTDIR ? -error : -errno;
}

/* With all rights of its owner, of which its maker may have left some out. */
static int open_folder(int folder, const char *name)
{
	struct stat st;
	_cleanup_(closep) int fd =
		openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IRWXU) != S_IRWXU) {
		char self[64]; /* fchmod() takes no such descriptor */
		snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
		(void)chmod(self, (st.st_mode & ALLPERMS) | S_IRWXU);
	}
	int r = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

/* Takes the descriptor, also on failure. */
static DIR *open_stream(int fd)
{
	DIR *d = fdopendir(fd);
	if (!d)
		close(fd);
	return d;
}

static int move_to_top(struct removal *r, int folder, const char *name)
{
	for (int i = 0; i < NAMES_MAX; i++) {
		char moved[NAME_SIZE];
		snprintf(moved, sizeof moved, ".moved-%llu", r->n_moved++);
		if (renameat(folder, name, dirfd(r->top), moved) == 0)
			return 0;
		if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR && errno != EISDIR)
			return -errno; /* else that name is taken */
	}
	return -EEXIST;
}

static int move_up(struct removal *r, int folder, const char *name)
{
	int result = move_to_top(r, folder, name);
	if (result != -EACCES)
		return result;
	/* Its own right to be written is needed: its ".." changes. */
	_cleanup_(closep) int fd = open_folder(folder, name);
	return fd < 0 ? fd : move_to_top(r, folder, name);
}

/* Leaves it empty, as far as that goes. */
static void empty_folder(struct removal *r, DIR *d)
{
	for (struct dirent *e; (e = readdir(d));) {
		if (!is_child(e))
			continue;
		int result = remove_entry(dirfd(d), e->d_name);
		note(r, result > 0 ? move_up(r, dirfd(d), e->d_name) : result);
	}
}

static void remove_child(struct removal *r, const char *name)
{
	int top = dirfd(r->top), result = remove_entry(top, name);
	if (result <= 0) {
		note(r, result);
		return;
	}
	int fd = open_folder(top, name);
	DIR *d = fd >= 0 ? open_stream(fd) : NULL;
	if (!d) {
		note(r, fd < 0 ? fd : -errno);
		return;
	}
	empty_folder(r, d);
	closedir(d);
	result = remove_entry(top, name);
	if (result <= 0)
		note(r, result);
}

static int remove_folder(const char *path)
{
	struct removal r = { .gets_on = true };
	int fd = open_folder(AT_FDCWD, path);
	if (fd < 0)
		return fd;
	r.top = open_stream(fd);
	if (!r.top)
		return -errno;
	int result = 1;
	for (int i = 0; result > 0 && r.gets_on && i < PASSES_MAX; i++) {
		r.gets_on = false;
		r.error = 0;
		rewinddir(r.top);
		for (struct dirent *e; (e = readdir(r.top));)
			if (is_child(e))
				remove_child(&r, e->d_name);
		result = remove_entry(AT_FDCWD, path);
	}
	closedir(r.top);
	if (result > 0)
		return r.error ? r.error : -ENOTEMPTY;
	return result;
}

int tree_remove(const char *path)
{
	int r = remove_entry(AT_FDCWD, path);
	return r > 0 ? remove_folder(path) : r;
}
