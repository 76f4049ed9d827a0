/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads for what may wait for the disk: history, hashes. The queue has a limit. */
#pragma once

#include <stdbool.h>

#include "base/list.h"

struct pool;

struct pool_task {
	struct list node;
	void (*run)(struct pool_task *t); /* on a thread of the pool; the task is its own again */
};

/* A positive errno. */
int pool_start(struct pool **ret, unsigned threads, unsigned queue_max);

/* Any thread. False: the queue is full, or the pool ends; the task is still the caller's. */
bool pool_post(struct pool *p, struct pool_task *t);

/* Runs what was posted, then ends the threads; what is posted from then on is refused. NULL is
 * fine. */
void pool_stop(struct pool *p);
/* Nobody posts any more. NULL is fine. */
void pool_free(struct pool *p);
