/* SPDX-License-Identifier: Apache-2.0 */
/* From MIST_WORKER_FILE to an open WebSocket. Blocking, with a deadline; no shared state, so any
 * thread may call it. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

struct link_file {
	char *host, *port, *path; /* of the url */
	char *worker, *secret;
	int64_t grace_ms;
	int capacity;
};

/* Reads the file again. 0, or negative with the sentence. */
int link_read(struct link_file *ret, struct fault *f);
void link_file_done(struct link_file *file);

enum { LINK_E_REFUSED = 1 }; /* 401: there is no use in trying again */

/* 0: *ret_fd is a connected non-blocking socket that the caller closes, *rest holds what the
 * gateway has sent after its answer. Negative: not this time, with the sentence. */
int link_open(const struct link_file *file, int *ret_fd, struct buf *rest, struct fault *f);
