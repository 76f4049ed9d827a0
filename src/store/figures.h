/* SPDX-License-Identifier: Apache-2.0 */
/* What the store counts and measures, for /metrics: written by its thread, read by any. */
#pragma once

#include <stddef.h>

#include "base/metrics/histogram.h"

struct exposition;

struct store_figures {
	struct histogram commits; /* how long they took */
	_Atomic uint64_t operations, failures;
	_Atomic int64_t free_bytes, size_bytes; /* of the disk; -1: not known */
	_Atomic int64_t database_bytes;         /* the same */
	_Atomic int64_t refused_log_bytes;      /* unwritten.c */
	int64_t measured_ms;                    /* monotonic; the thread's */
};

void figures_init(struct store_figures *f);
/* Store's thread: asks the file system about the directory, at most once a second. */
void figures_measure(struct store_figures *f, const char *directory, int64_t database_bytes);
/* Store's thread: what the disk refuses of the logs of jobs, and is kept in memory to be tried
 * again, within a limit of its own (unwritten.c), and no part of the backlog. */
void figures_set_refused_logs(struct store_figures *f, size_t bytes);
/* Declares and puts the metrics of these figures. Any thread. */
void figures_put(const struct store_figures *f, struct exposition *e);
