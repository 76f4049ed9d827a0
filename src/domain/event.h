/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a job, as it is told to whoever asked and whoever listens. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/uuid.h"

enum event_kind {
	EVENT_REFUSED,  /* there is no job: `fault` says why */
	EVENT_ACCEPTED, /* the job is durable, or (a synchronous one) known */
	EVENT_QUEUED,
	EVENT_WORKER_ASSIGNED,
	EVENT_DOWNLOADING,
	EVENT_STARTED,
	EVENT_PROGRESS,
	EVENT_CANCELLING,
	EVENT_FINISHED,
	EVENT_CANCELLED,
	EVENT_FAILED,
	_EVENT_MAX
};

#define EVENT_BIT(kind) (1u << (kind))
#define EVENTS_FINAL                                                                               \
	(EVENT_BIT(EVENT_FINISHED) | EVENT_BIT(EVENT_CANCELLED) | EVENT_BIT(EVENT_FAILED))

/* Everything is borrowed for the time of the call. */
struct job;
struct job_event {
	enum event_kind kind;
	const struct job *job;     /* NULL with EVENT_REFUSED */
	const struct fault *fault; /* EVENT_REFUSED only */
	int64_t at_ms;
	const char *worker; /* EVENT_WORKER_ASSIGNED */
	const char *result; /* EVENT_FINISHED: JSON text */
	size_t result_len;
	const char *error; /* EVENT_FAILED, EVENT_CANCELLED: plain text */
};
