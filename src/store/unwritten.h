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
	size_t count, bytes;  /* of the texts */
	size_t dropped_bytes; /* of texts for which there was no room, until they are taken */
};

void unwritten_init(struct unwritten *u);
void unwritten_done(struct unwritten *u); /* empty, or drained before */

/* Whether texts of the job wait: then what comes after them has to wait, too. */
bool unwritten_has(const struct unwritten *u, const struct uuid *job);

/* Keeps a STORE_LOG. False: there is no room, and it was freed. */
bool unwritten_add(struct unwritten *u, struct store_op *op);

/* Gives texts to `write`, each job's in order, and those that it took (0) to `written`, which
 * takes them. A job whose text is refused is left for the next time. Jobs after UNWRITTEN_TRIES
 * refusals are not tried: then it is the disk. */
enum { UNWRITTEN_TRIES = 16 };
void unwritten_try(struct unwritten *u, int (*write)(void *owner, const struct store_op *op),
	void (*written)(void *owner, struct store_op *op), void *owner);

/* One after the other out of it; NULL: none is left. */
struct store_op *unwritten_take(struct unwritten *u);
