/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes that wait for a broker in the store, not in memory: an adapter that holds more than its
 * limit keeps where such a one goes, and reads it again when its turn comes. */
#pragma once

#include "domain/event.h"

struct store;

struct stored_outcome {
	struct job_row *row;
	struct job *job;
	struct job_event ev; /* the same event, with the same id; borrows from both */
};

/* Waits for the disk: not the core's thread. 0: stored_outcome_done is due. -EAGAIN: not now; it is
 * not written yet, or the store cannot be read. -ENOENT, -EBADMSG: it is not there any more, or
 * cannot be read. */
int stored_outcome_read(struct store *st, const struct uuid *job, struct stored_outcome *ret);
void stored_outcome_done(struct stored_outcome *o);

/* A text by which it is known again. FNV-1a. */
uint64_t text_hash(const char *text);

/* Where an answer goes is kept with it up to this many bytes, else read from the job's row. */
enum { STORED_REPLY_MAX = 4096 };

/* Whether an adapter takes one more outcome, with n of them that hold so many bytes. When it is
 * full it takes none until half of them are gone: so the last ones need not wait in the store, and
 * they are read from there many at once. `is_idle`: all wait for what others need not wait for, and
 * four times as many may. What is not taken stays with the core, which keeps nothing of it in
 * memory. */
enum { OUTCOMES_MAX = 32768 };
bool outcomes_have_room(bool *is_full, bool is_idle, size_t n, size_t bytes, size_t bytes_max);
