/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a deployment: what its files replace, on the disk, so that another process can
 * finish or undo it. It lies in a hidden folder beside the files, with the ways back. All of it
 * waits for the disk: for the store's thread, and before that runs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/uuid.h"

/* What tells a file from others, also in a copy of the folder. */
struct journal_mark {
	uint64_t inode; /* 0: there is none */
	int64_t size, mtime_ns;
};

enum journal_way {
	JOURNAL_WAY_NONE,     /* the name was free: the new file only has to go */
	JOURNAL_WAY_LINK,     /* a second link to the old file */
	JOURNAL_WAY_COPY,     /* a copy of it */
	JOURNAL_WAY_EXCHANGE, /* the old file itself, from when the new one has its name */
	_JOURNAL_WAY_MAX
};

struct journal_file {
	char *name; /* plain, of the folder of artifacts; owned */
	enum journal_way way;
	struct journal_mark old, new;
};

struct journal {
	struct uuid id;             /* of the deployment */
	char *artifacts;            /* the folder of the files; owned */
	char *directory;            /* the hidden one in it; owned */
	struct journal_file *files; /* owned */
	size_t n_files;
};

/* A journal with no files yet, and an empty folder for it. 0 or a negative errno. */
int journal_begin(struct journal **ret, const char *artifacts);
void journal_add(struct journal *j, const char *name, enum journal_way way, const struct stat *old,
	const struct stat *new);                         /* old NULL: there is none */
char *journal_target(const struct journal *j, size_t i); /* the path of its name; the caller's */
char *journal_before(const struct journal *j, size_t i); /* the path of its way back */
/* Makes the journal durable, and the ways back with it. 0 or a negative errno. */
int journal_write(const struct journal *j);

/* The one that lies beside the artifacts. -ENOENT: there is none. -EBADMSG, -ENOTDIR, -ELOOP,
 * -ENXIO: what lies there is no journal, and will be none when it is read again. Any other negative
 * errno, such as -EIO or -EMFILE: it cannot be read now. The fault says why. */
int journal_read(struct journal **ret, const char *artifacts, struct fault *f);

bool journal_is_there(const char *artifacts);

/* The file of that name is again what it was before, if it is the new one. As often as one likes.
 * 1: it is neither of both, and stays as it is. A negative errno: it is the new one still. */
int journal_put_back(const struct journal *j, size_t i);

/* The journal goes, and then the ways back. 0 also when there is none, or a negative errno. */
int journal_remove(const char *artifacts);
enum { JOURNALS_ASIDE_MAX = 10 };

/* It goes out of the way, whole. *ret is where it is then, or was to be; the caller's. 0 or a
 * negative errno; -EEXIST: there are too many already, and only somebody who has looked at them may
 * remove one. */
int journal_set_aside(const char *artifacts, char **ret);
/* Where the n-th is, from 0 on, if there are so many. The caller's. */
char *journal_aside(const char *artifacts, int n);

void journal_free(struct journal *j); /* NULL is fine; what is on the disk stays there */
DEFINE_CLEANUP(struct journal *, journal_free)
