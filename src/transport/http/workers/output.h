/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker prints, as an answer that follows it. */
#pragma once

struct MHD_Response;
struct follower;
struct request;

/* The answer of rq->follower, which it takes. */
struct MHD_Response *follower_response(struct request *rq);
void follower_leave(struct follower *f); /* it is not to be answered */
