/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of jobs: one file each. For the store's thread, apart from logs_path. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/fault.h"
#include "base/uuid.h"

enum { LOGS_OPEN_MAX = 16 };

struct logs {
	char *folder;
	struct {
		struct uuid id;
		int fd; /* -1: free */
	} open[LOGS_OPEN_MAX];
	unsigned next;   /* the one to be closed for the next file */
	bool is_failing; /* the last append failed, and was reported */
};

int logs_open(struct logs *l, const char *directory, struct fault *f);
void logs_close(struct logs *l);

/* A text that cannot be written is dropped: no job waits for its log. */
void logs_append(struct logs *l, const struct uuid *id, const char *text, size_t len);

/* Removes the files of ids below `below` for which `is_gone` is true. */
void logs_prune(struct logs *l, const struct uuid *below,
	bool (*is_gone)(void *owner, const struct uuid *id), void *owner);

/* Any thread. */
void logs_path(const struct logs *l, const struct uuid *id, char *ret, size_t size);
