/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker leaves behind when it is gone: processes, its directory, what it printed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The variable that every process of a worker has, and its value for the worker of this directory;
 * the caller frees it. */
#define WORKER_MARK "MIST_WORKER_FILE"
char *worker_file(const char *directory);

/* The start time of a process in ticks of the kernel: a pid alone is used again. -1: there is no
 * such process, or it has ended. Any thread. */
long long process_born(int pid);

/* That process, of that start time, was made for the worker of this directory. Any thread. */
bool process_is_of(int pid, long long born, const char *directory);

/* The file that a worker prints to, for appending; made if it is not there. Negative errno; what is
 * no regular file is -EEXIST. */
int output_open(const char *path);

/* The same for a worker that is to be started, with what output_rotate needs. */
int output_make(const char *path);

/* Bounds the file of a living worker to `max` bytes, of which the older half stands in PATH.1
 * (base/disk/rolling.h). The worker goes on writing to PATH. Not on the core's thread. */
void output_rotate(const char *path, int64_t max);

/* What the worker of that directory printed and could not pass on itself, since it crashed, is
 * added to the file that it prints to: 4 MiB of it at most. What that file has no room for stays
 * where it is, for the next call. */
void output_collect(const char *directory, const char *output);

/* Bounds what a worker has not passed on yet: of more than `max` bytes the newer half stays. */
void output_bound_unread(const char *directory, int64_t max);

/* What to do once a worker's process is gone, or never was. Copied. */
struct leavings {
	const char *directory;     /* removed, with all that is in it */
	const char *output;        /* what it printed to; NULL: that is left alone */
	bool keeps_output;         /* else it is removed */
	const char *logs;          /* the folder of outputs */
	const char *const *in_use; /* those of workers that live, NULL-ended: of the others of the
				      folder the `keep` newest are kept. NULL: all are */
	int64_t keep;
};

/* Ends every process that was made for the worker, wherever it went, and then removes its files, on
 * a thread of the loop's pool; the loop does not end before that is done. Loop's thread. */
void leavings_clear(uv_loop_t *loop, const struct leavings *l);
