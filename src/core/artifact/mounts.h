/* SPDX-License-Identifier: Apache-2.0 */
/* Where file systems are mounted, without a look at any of them. */
#pragma once

#include <stdio.h>

#include "base/cleanup.h"

struct mounts;

/* Of /proc/self/mountinfo; NULL: it cannot be read. mounts_free() frees it. */
struct mounts *mounts_read(void);
struct mounts *mounts_parse(FILE *mountinfo);
void mounts_free(struct mounts *m); /* NULL is fine */

/* The mount point that the path is below, by its text alone: a link in it may lead elsewhere. Lives
 * as long as `m`, and is the same pointer for all paths below it; "/" where the table has none, as
 * below a root that is a folder. NULL: there is no table, or the path is not absolute. */
const char *mounts_of(const struct mounts *m, const char *path);
