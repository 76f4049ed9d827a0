/* SPDX-License-Identifier: Apache-2.0 */
/* Whether folders can be written, as it was seen last. All calls but those that start and stop it
 * may be made on any thread, and none of them waits for a disk. */
#pragma once

#include <stdbool.h>

#include "base/fault.h"

enum { FOLDERS_WATCHED_MAX = 8 };

struct folder_watch;

/* Tries the folders of these names, NULL-ended and static, in `directory`: now and every two
 * seconds, on a thread of its own. 0, or a negative errno: there is none. */
int folder_watch_start(struct folder_watch **ret, const char *directory, const char *const *names);
/* Its thread ends when its disk lets it. NULL is fine. */
void folder_watch_stop(struct folder_watch *w);

/* 0: all of them could be written, or were not tried yet, or nobody watches (NULL). Else negative,
 * and the fault names the first that could not, or that does not answer, and why. */
int folder_watch_check(struct folder_watch *w, struct fault *f);

/* Each, by its name. None of NULL. */
void folder_watch_each(struct folder_watch *w,
	void (*each)(void *arg, const char *name, bool is_writable), void *arg);
