/* SPDX-License-Identifier: Apache-2.0 */
/* How a transport adapter is: what /health/ready and /metrics tell of it. A part of the seam in
 * mist/transport.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics/histogram.h"

/* A place in a log at which an adapter cannot read on, though it can elsewhere. */
enum { STUCK_MAX = 8, STUCK_TOPIC = 256 };
struct stuck_place {
	char topic[STUCK_TOPIC];
	int partition;
	int64_t offset;
};

/* What went wrong at an adapter, as the metrics count it. */
enum transport_error {
	TRANSPORT_ERROR_CONNECTION,     /* it was not made, or was lost */
	TRANSPORT_ERROR_AUTHENTICATION, /* the broker does not take us for who we say we are */
	TRANSPORT_ERROR_AUTHORIZATION,  /* it does not let us do something */
	TRANSPORT_ERROR_PROTOCOL,       /* it does not have, or not understand, what we need */
	TRANSPORT_ERROR_TOPIC,          /* a topic is not there, or takes no such thing */
	TRANSPORT_ERROR_GROUP,          /* our place among those who share the requests */
	TRANSPORT_ERROR_PARTITION,      /* a partition, at an offset, cannot be read */
	TRANSPORT_ERROR_COMMIT,         /* what is done could not be noted */
	TRANSPORT_ERROR_DELIVERY,       /* something that was sent was not taken */
	TRANSPORT_ERROR_FATAL,          /* a client is of no use any more, and was made anew */
	_TRANSPORT_ERROR_MAX
};

/* How an adapter is, for /health/ready and the metrics. */
struct transport_state {
	bool is_down;
	char why[512];              /* one sentence: when it is, or when a part of it is */
	uint64_t accepted, refused; /* requests that became jobs, and that did not */
	uint64_t errors[_TRANSPORT_ERROR_MAX];
	size_t in_flight;                /* requests taken, and not acknowledged to the broker */
	uint64_t told, waiting, dropped; /* events: delivered; to be; without room and not owed */
	size_t sent;                     /* those of `waiting` that the broker has been given */
	struct histogram deliveries; /* from the end of a job until the broker had its outcome */
	size_t outbox_bytes;         /* what outcomes to be delivered hold in memory */
	uint64_t skipped;            /* batches of a log that cannot be read, and were skipped */
	size_t n_stalled;            /* partitions of which nothing is taken, though there is */
	size_t n_stuck;              /* partitions of which nothing can be taken; the first: */
	struct stuck_place stuck[STUCK_MAX];
};
