/* SPDX-License-Identifier: Apache-2.0 */
/* UUID version 7 (RFC 9562): 48 bits of milliseconds, then a counter that keeps ids of one process
 * in the order they were made (method 1 of section 6.2), then random bits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct uuid {
	uint8_t bytes[16];
};

enum { UUID_TEXT = 37 }; /* 36 characters and the NUL */

/* One thread only: each later call gives a greater id, also when the clock goes back. */
void uuid_make(struct uuid *ret, int64_t now_ms);

/* Ids that are made from now on are greater than that one, which an earlier process made. False: it
 * is none of version 7, or of a time so far away that there would be no room for others; nothing
 * has changed then. The thread that makes ids. */
bool uuid_go_on_from(const struct uuid *last);
bool uuid_has_room_after(const struct uuid *u); /* whether it is one of those */
int64_t uuid_ms(const struct uuid *u);          /* the time in it */

/* The smallest id of that millisecond: a bound, not an id. */
void uuid_at(struct uuid *ret, int64_t ms);
void uuid_format(const struct uuid *u, char ret[static UUID_TEXT]);
bool uuid_parse(const char *text, struct uuid *ret); /* the 36-character form, either case */
