/* SPDX-License-Identifier: Apache-2.0 */
/* The frames a worker sends, as text added to a buf. Each returns 0 or BUF_E_FULL. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

/* A JSON string with its quotes. What is not UTF-8 becomes U+FFFD, because it comes from the
 * program's own texts and must not cost the connection. */
int say_string(struct buf *b, const char *text, size_t len);

int say_started(struct buf *b, const char *job, int64_t at);
int say_failed(struct buf *b, const char *job, int64_t at, const char *error);
int say_cancelled(struct buf *b, const char *job, int64_t at);
int say_progress(struct buf *b, const char *job, double value, const char *note);
int say_error(struct buf *b, const char *reason);

/* A value that the gateway would refuse is not said: 0, BUF_E_FULL, or SAY_E_BAD with *ret_why set.
 */
enum { SAY_E_BAD = 2 };
int say_finished(
	struct buf *b, const char *job, int64_t at, const json_t *result, const char **ret_why);

/* One entry of a `log` frame; the entries are put together by the job. */
int say_entry(struct buf *b, int64_t at, const char *level, const char *message);
