/* SPDX-License-Identifier: Apache-2.0 */
/* What jansson leaves to its callers: limits, and words for what was found. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/fault.h"

/* A local that owns one is `_cleanup_(json_decrefp) json_t *`: jansson brings that function itself.
 */

/* Parses one JSON text (RFC 8259) from foreign bytes. The fault says what is wrong and where: not
 * JSON, not UTF-8, nested deeper than max_depth, a name twice in one object, bytes after the end.
 * Returns NULL then. Any thread. */
json_t *json_parse(const char *text, size_t len, unsigned max_depth, struct fault *f);

/* What kept JSON may be nested: wider than any limit of requests, results and messages, since what
 * is kept wraps what came. */
enum { JSON_KEPT_DEPTH = 1024 };

/* Whether the bytes are one JSON text (RFC 8259) in UTF-8, nested at most so deep. Builds nothing,
 * so it is for large texts that are only passed on; a name twice in one object, numbers out of
 * range and escapes that stand for no character are not noticed: else what it takes json_scan
 * takes, too, of which it is a part. Any thread. */
bool json_is_text(const char *text, size_t len, unsigned max_depth);

/* The same for a text that this program wrote and has kept: under a limit of its own, which is
 * wider than any that requests, results and messages have, since what is kept wraps what came. NULL
 * where it is not what was written, which its caller must expect: a disk may return anything. */
json_t *json_parse_kept(const char *text, struct fault *f);

/* About so many bytes of memory are in use for it: many times its text, where that is of small
 * values. It may not be nested deeper than json_parse() lets it. */
size_t json_memory(const json_t *value);

/* "an object", "a string", "nothing" for NULL: for sentences. */
const char *json_kind(const json_t *value);

/* The value as compact text, NUL-terminated; the caller frees it. */
char *json_text(const json_t *value);

/* The same for people, with the fewer digits of real numbers that read back as the same: 0.2, where
 * json_text has 0.20000000000000001. */
char *json_text_short(const json_t *value);

/* A text of outside as a JSON string, never NULL: what is not UTF-8 in it becomes '?'. For
 * json_pack with "o", where "s" would make the whole value NULL. */
json_t *json_string_lossy(const char *text);

/* The same in quotes, of bytes of any length. The caller frees it. */
char *json_quote(const char *text, size_t len);

/* Member `name` as text, or NULL if it is not there or no string. Borrowed. */
const char *json_string_of(const json_t *object, const char *name);

/* The text of a member's value as it stands in `text`, which is one valid JSON object: what was
 * parsed need not be written again, and numbers stay as they were written. Borrowed from text, not
 * NUL-terminated. NULL: there is no such member, or its name is written with escapes. */
const char *json_member_text(const char *text, size_t len, const char *name, size_t *ret_len);
