/* SPDX-License-Identifier: Apache-2.0 */
/* Texts for the logs of jobs that could not be written yet, job by job. For the store's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "base/map.h"
#include "mist/store.h"

struct unwritten {
	struct map jobs;
	struct list in_turn;  /* the same: who is tried next stands first */
	size_t count, bytes;  /* of the pieces that texts are joined to; what all of it takes */
	size_t dropped_bytes; /* of texts that were dropped; the user sets it to 0 */
};

void unwritten_init(struct unwritten *u);
void unwritten_done(struct unwritten *u); /* drops what is left */

/* Whether texts of the job wait: then what comes after them has to wait, too. */
bool unwritten_has(const struct unwritten *u, const struct uuid *job);

/* Keeps a STORE_LOG. False: there is no room, and it was freed. */
bool unwritten_add(struct unwritten *u, struct store_op *op);

/* Gives texts to `write`, each job's in order; those that it took (0) are freed. A job whose text
 * is refused is left for the next time. Jobs after UNWRITTEN_TRIES refusals are not tried: then it
 * is the disk. */
enum { UNWRITTEN_TRIES = 16 };
void unwritten_try(
	struct unwritten *u, int (*write)(void *owner, const struct store_op *op), void *owner);

/* Drops what is kept of the jobs of which nothing was taken since then (monotonic), nor begun to be
 * kept: they take the room of others. */
void unwritten_give_up(struct unwritten *u, int64_t since_ms);
