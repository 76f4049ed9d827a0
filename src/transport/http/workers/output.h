/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker prints, as an answer that follows it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "transport/http/server/pool.h"

struct MHD_Response;
struct follower;
struct request;

/* Those who ask the pool for more, and its task, which is posted while there are any. */
struct followers {
	pthread_mutex_t lock;
	struct list asking;
	bool is_posted;
	struct pool *pool; /* borrowed */
	struct pool_task task;
};

void followers_init(struct followers *all);
void followers_done(struct followers *all); /* none is left, and the pool has ended */

/* The answer of rq->follower, which it takes. */
struct MHD_Response *follower_response(struct request *rq);
void follower_leave(struct follower *f); /* it is not to be answered */
