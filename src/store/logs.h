/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of jobs: one file each. For the store's thread, apart from logs_path. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/uuid.h"

enum { LOGS_OPEN_MAX = 16 };

struct logs {
	char *folder;
	struct {
		struct uuid id;
		int fd; /* -1: free */
	} open[LOGS_OPEN_MAX];
	unsigned next; /* the one to be closed for the next file */
	/* The newest jobs of which it was told that their logs are dropped; all zeroes: none. */
	struct uuid told[LOGS_OPEN_MAX];
	unsigned n_told;
	struct log_limit lost;
};

int logs_open(struct logs *l, const char *directory, struct fault *f);
void logs_close(struct logs *l);

void logs_tick(struct logs *l); /* now and then: writes how many such lines were left out */

/* 0: it is written, or can never be, as something that is no file is in its place. Negative: the
 * disk refuses, which may pass; nothing of it was written. */
int logs_append(struct logs *l, const struct uuid *id, const char *text, size_t len);

/* Any thread. The job's file, open for reading: its descriptor; -ENOENT: it has none; -EINVAL: it
 * is no file. */
int logs_read(const struct logs *l, const struct uuid *id);

/* Removes the files of ids up to `last` for which `is_gone` is true. */
void logs_prune(struct logs *l, const struct uuid *last,
	bool (*is_gone)(void *owner, const struct uuid *id), void *owner);

/* Any thread. */
void logs_path(const struct logs *l, const struct uuid *id, char *ret, size_t size);
