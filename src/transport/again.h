/* SPDX-License-Identifier: Apache-2.0 */
/* What is made anew again and again pauses in between, longer each time; and a line that would be
 * logged again and again says how many were left out. One thread, or under its owner's lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: it was never made. */
struct again {
	int64_t made_at_ms, pause_ms;
	bool is_waiting; /* again_is_due: since a look before */
};

/* It has to be made anew now. The milliseconds to wait before that: 0 if it has lasted for
 * AGAIN_CALM_MS, else from AGAIN_MIN_MS on, twice as many each time, up to AGAIN_MAX_MS. */
enum { AGAIN_MIN_MS = 1000, AGAIN_MAX_MS = 60000, AGAIN_CALM_MS = 60000 };
int64_t again_pause(struct again *a, int64_t now_ms);

/* The same for who must not wait, but looks again and again until it is true: then it is made, and
 * a next look is about the next time. *ret_pause_ms: the pause, of the look that begins it; else
 * -1. */
bool again_is_due(struct again *a, int64_t now_ms, int64_t *ret_pause_ms);

/* Zeroed: nothing was said. */
struct said {
	int64_t next_ms;
	uint64_t n_left_out;
};

/* True: the line is to be logged, and *ret_left_out were not since the last one. At most one in
 * every_ms. */
bool said_is_due(struct said *s, int64_t every_ms, int64_t now_ms, uint64_t *ret_left_out);
