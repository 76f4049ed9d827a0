/* SPDX-License-Identifier: Apache-2.0 */
/* Time: milliseconds since 1970 UTC for what people see, monotonic milliseconds for what we wait
 * for. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DURATION_INF INT64_MAX

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void); /* to measure what is shorter */

/* "10s", "10 ms", "10 minutes", "1h", "2 days", "Inf"; a bare number counts seconds. 0, or -EINVAL.
 */
int duration_parse(const char *text, int64_t *ret_ms);

/* Mist's form: "3600s" or "Inf"; a part of a second is rounded up. */
void duration_format(int64_t ms, char *ret, size_t size);
/* The same, but what is no whole number of seconds is told in milliseconds: "1500ms". */
void duration_print(int64_t ms, char *ret, size_t size);

/* "2019-10-07T12:48:23.123", UTC. */
enum { CLOCK_TEXT = 24 };
void clock_format(int64_t wall_ms, char ret[static CLOCK_TEXT]);
