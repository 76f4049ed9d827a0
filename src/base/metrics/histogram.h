/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and histograms that one thread writes and any thread reads, without a lock: a reader may
 * see one that is a moment old, never a torn one. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The one thread that writes it only. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, before + n, memory_order_relaxed);
}

static inline uint64_t counter_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

enum { HISTOGRAM_BOUNDS_MAX = 16 };

/* The upper bounds of the buckets, in microseconds and ascending; what is more than the last one is
 * counted in one bucket more, which has no bound. */
struct histogram_bounds {
	size_t n;
	uint64_t us[HISTOGRAM_BOUNDS_MAX];
};

/* From a millisecond to some hours: waiting and running of jobs. */
extern const struct histogram_bounds histogram_job_bounds;
/* From a fraction of a millisecond to half a minute: requests and commits. */
extern const struct histogram_bounds histogram_call_bounds;

/* Of durations. All zeroes to begin with, and always used with the same bounds. */
struct histogram {
	_Atomic uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1]; /* of each bucket alone */
	_Atomic uint64_t sum_us;
};

/* The one thread that writes it only. A duration below zero counts as zero: clocks are set. */
void histogram_observe(struct histogram *h, const struct histogram_bounds *b, int64_t us);

/* How many were observed. Any thread. */
uint64_t histogram_count(const struct histogram *h);

/* Adds all that `from` has to `to`, which no other thread uses. Any thread. */
void histogram_merge(struct histogram *to, const struct histogram *from);
