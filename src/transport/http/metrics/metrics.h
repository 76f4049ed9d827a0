/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics, and what the HTTP adapter counts for it. */
#pragma once

#include "base/metrics/exposition.h"

struct request;

/* Which of the two formats the header Accept (NULL: there is none) asks for. OpenMetrics is for
 * those who name it, in the version that we write, and want it at least as much as plain text.
 * Everybody else gets plain text, which every reader of metrics knows: also those who say nothing,
 * who take anything, or who ask for what is not to be had. */
enum exposition_format exposition_of_accept(const char *accept);

/* durations.c: how long requests took until their answer began, by route and status. Each HTTP
 * thread has its own. */
struct http_durations;
struct http_durations *durations_new(void);
void durations_free(struct http_durations *d); /* NULL is fine */
/* The request has its answer. Its HTTP thread. */
void durations_observe(const struct request *rq);
/* Of the n threads together, which may go on counting. Any thread. */
void durations_put(struct http_durations *const *threads, size_t n, const struct metric *m,
	struct exposition *e);

/* transport_ops.metrics */
void http_metrics_put(void *self, struct exposition *e);
