/* SPDX-License-Identifier: Apache-2.0 */
/* JSON texts that are checked and cut up as text: no value is built, so a large one costs its bytes
 * and no more. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/fault.h"

/* A part of a text, not NUL-terminated; borrowed from it. */
struct json_span {
	const char *text;
	size_t len;
};

/* A member of the outermost object: its name as it stands between the quotes, its value, and of how
 * many values that one consists, itself included. A negative return, with the fault set, ends the
 * scan. */
typedef int json_member_fn(
	void *arg, struct json_span name, struct json_span value, size_t n_values, struct fault *f);

/* Checks one JSON text (RFC 8259) as json_parse does, with the same limits: UTF-8, no U+0000, no
 * name twice in one object, nothing behind the end, nested at most max_depth deep, integers of 64
 * bits, no number that is infinite as a double. If the text is an object, `each` (may be NULL) is
 * called for its members, in order, before the rest of the text was seen. 0 or negative. Any
 * thread; takes time in proportion to len. */
int json_scan(const char *text, size_t len, unsigned max_depth, json_member_fn *each, void *arg,
	struct fault *f);

/* Leaves out what is blank between the tokens of a valid text, in place. Returns the new length. */
size_t json_compact(char *text, size_t len);
