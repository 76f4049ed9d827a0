/* SPDX-License-Identifier: Apache-2.0 */
/* "did you mean …?": of the names there are, the one that somebody who wrote an unknown name was
 * nearest to. */
#pragma once

#include <stddef.h>

/* A search: near_init(&n, "max-job"), near_try for each name there is, then near_hint. The names
 * are borrowed and must stay until the hint is made. */
struct near {
	const char *written;
	const char *found; /* NULL: none is near enough */
	size_t distance;   /* of `found`; before: one more than is near enough */
};

void near_init(struct near *n, const char *written);
void near_try(struct near *n, const char *name);

/* "; did you mean max-jobs?", for the end of a sentence that named what was written, or "". Names
 * over NEAR_NAME_MAX bytes are neither looked for nor found. */
enum { NEAR_NAME_MAX = 128, NEAR_HINT = NEAR_NAME_MAX + 24 };
const char *near_hint(const struct near *n, char ret[static NEAR_HINT]);

/* All of it, for names in an array that NULL ends. */
const char *near_hint_of(const char *written, const char *const *names, char ret[static NEAR_HINT]);
