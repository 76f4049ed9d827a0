/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest adapter: requests are function calls, events wait in an outbox. The documentation of
 * the seam and the double of unit tests. */
#pragma once

#include "mist/transport.h"

extern const struct transport_ops loopback_transport;

/* Any thread. Submits an asynchronous request; every event of the job goes to the outbox. As
 * intake_submit. */
int loopback_submit(
	struct transport *t, const char *function, json_t *arguments, const char *external_id);

/* Any thread. The next event as a new JSON object {"event", "id"?, "externalId"?, "result"?,
 * "error"?}; waits for it at most wait_ms. NULL: there was none. */
json_t *loopback_take(struct transport *t, int wait_ms);

/* Any thread. So many outcomes that are owed it takes before they are fetched; 0: any number. */
void loopback_limit(struct transport *t, size_t outcomes_max);
size_t loopback_outcomes(struct transport *t); /* so many of these are to be fetched */
