/* SPDX-License-Identifier: Apache-2.0 */
/* A histogram keeps how many fell into each bucket alone; the cumulative counts that the text
 * formats want are made when it is read. So an observation is a search among at most sixteen
 * bounds and two additions, and the counts that a reader sees always add up to the total that it
 * sees. */
#include "base/metrics/histogram.h"

const struct histogram_bounds histogram_job_bounds = { .n = 15,
	.us = { 1000, 5000, 10000, 25000, 100000, 250000, 1000000, 2500000, 10000000, 30000000,
		60000000, 300000000, 900000000, 3600000000, 14400000000 } };

const struct histogram_bounds histogram_call_bounds = { .n = 15,
	.us = { 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,
		2500000, 10000000, 30000000 } };

void histogram_observe(struct histogram *h, const struct histogram_bounds *b, int64_t us)
{
	uint64_t value = us > 0 ? (uint64_t)us : 0;
	size_t i = 0;
	while (i < b->n && value > b->us[i])
		i++;
	counter_add(&h->counts[i], 1);
	counter_add(&h->sum_us, value);
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;
	for (size_t i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
		n += counter_read(&h->counts[i]);
	return n;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (size_t i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
		counter_add(&to->counts[i], counter_read(&from->counts[i]));
	counter_add(&to->sum_us, counter_read(&from->sum_us));
}
