/* SPDX-License-Identifier: Apache-2.0 */
/* A number and what it counts, in a sentence:
 *
 *     "%zu job%s %s there", n, plural(n), by_count(n, "waits", "wait") */
#pragma once

#include <stdint.h>

/* The word for one, or the word for none and for several. */
static inline const char *by_count(uint64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

/* What a noun ends in. */
static inline const char *plural(uint64_t n)
{
	return by_count(n, "", "s");
}
