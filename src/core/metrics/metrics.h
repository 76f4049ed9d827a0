/* SPDX-License-Identifier: Apache-2.0 */
/* What the core counts, for /metrics. The core's files only; its thread. */
#pragma once

#include "domain/job.h"

struct core;
struct exposition;
struct live_job;

/* job_series.c: how long jobs wait and run, and how they end, by function, context and transport.
 * Of each set of these there is one struct, limits.job-series of them; what is beyond counts in
 * one more for each transport. */
#define JOB_SERIES_UNREGISTERED "unregistered"
/* False: it is one of those, as a client made it up. */
bool job_series_has_context(const struct core *c, const char *name);
void job_series_started(struct live_job *l);
void job_series_ended(struct live_job *l, enum job_state how);
void job_series_put(struct core *c, struct exposition *e); /* declares and puts its metrics */
void job_series_free(struct core *c);

/* metrics.c: all that the core, the store and the transports know. */
void core_metrics_put(struct core *c, struct exposition *e);
