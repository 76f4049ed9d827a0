/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign text in our sentences and log lines: which bytes are a character that is safe to show. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the character that s begins with and its code, or 0: not UTF-8, or cut off. */
size_t utf8_decode(const char *s, size_t len, uint32_t *ret_code);

/* The bytes of the character that s begins with (RFC 3629), or 0: not UTF-8, cut off, or a control
 * character (C0, DEL, C1, and the line and paragraph separators). */
size_t utf8_shown(const char *s, size_t len);

/* How many of the len bytes remain when a character cut off at the end is left out. */
size_t utf8_whole(const char *s, size_t len);

/* How many bytes of a text to show when at most `max` are to be shown: it is never cut inside of a
 * character. For "%.*s", where "%.40s" would leave half of one. */
int utf8_cut(const char *text, size_t max);

/* Makes any len bytes UTF-8, in place: each byte that belongs to no character becomes '?', and so
 * does a character that is cut off. Control characters stay. Returns the new length, which is not
 * larger; nothing is written behind it. */
size_t utf8_clean(char *text, size_t len);

/* All of it is UTF-8, control characters included. */
bool utf8_is_valid(const char *s, size_t len);

/* The same, and it holds no NUL: all of it is there for who takes it for a C string. */
bool utf8_is_text(const char *s, size_t len);
