/* SPDX-License-Identifier: Apache-2.0 */
/* A text that others append to without an end, of which the newest is kept, in two files: PATH,
 * which they write to, and PATH.1, what stood before that. The older one begins with a line that
 * tells where the rest of it stands in all that was ever written: "# from byte N". So an offset
 * means the same byte for ever, also when what stood there was moved, or is gone. Both stay the
 * same files as long as there are any: who has them open can read what was moved, even when they
 * have been removed since. Any thread, one at a time for each struct. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rolling {
	char *path;
	int fd[2];        /* the older, which may be missing, -1, and the newer */
	int64_t skip;     /* of the older: the length of its line */
	int64_t begin[2]; /* offsets of what each has; the older ends where the newer begins */
	int64_t end;
};

/* Looks at it, too, as far as it can. -ENOENT: it is not there, or is no regular file. */
int rolling_open(const char *path, struct rolling *ret);
void rolling_close(struct rolling *r);

/* Where everything stands now; as long as nothing is unlocked it is not moved. -EAGAIN: it is being
 * moved, or somebody has locked it. */
int rolling_lock(struct rolling *r);
void rolling_unlock(struct rolling *r);
void rolling_look(struct rolling *r); /* the same without a lock */

/* As much as there is from that offset on, which is not before begin[0]. */
size_t rolling_read(const struct rolling *r, int64_t from, char *to, size_t len);

/* Of an open older file: where the newer begins, and the line, with which a new one is to begin.
 * The latter leaves nothing else in it, and the next write() behind it. 0, or a negative errno. */
int64_t rolling_end_of(int older_fd);
int rolling_begin(int older_fd, int64_t begin);
/* PATH.1, made if it is not there, for reading and writing, or a negative errno. */
int rolling_open_older(const char *path);

enum { ROLLING_LINE = 33 }; /* the length of that line */
