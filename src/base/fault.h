/* SPDX-License-Identifier: Apache-2.0 */
/* A refusal: what kind it is, and one sentence for the person who caused it. */
#pragma once

#include <stddef.h>

enum fault_code {
	FAULT_NONE,
	FAULT_BAD_REQUEST, /* malformed, or not what the function takes */
	FAULT_UNAUTHORIZED,
	FAULT_FORBIDDEN,
	FAULT_NOT_FOUND,
	FAULT_MISDIRECTED,   /* meant for somebody else */
	FAULT_METHOD,        /* the thing exists, the verb does not */
	FAULT_CONFLICT,      /* too late, or already there */
	FAULT_PRECONDITION,  /* it is not what the caller said it is */
	FAULT_UNPROCESSABLE, /* understood, and against what was said before */
	FAULT_TOO_LARGE,     /* over a named limit */
	FAULT_TOO_MANY,      /* try again later: a queue or a rate is at its limit */
	FAULT_AT_LIMIT,      /* the same of a limit that may stay reached */
	FAULT_UNAVAILABLE,   /* not now: starting, stopping, no disk */
	FAULT_NO_WORKER,     /* not now: no worker can say what the function takes */
	FAULT_INTERNAL,
	_FAULT_MAX
};

struct fault {
	enum fault_code code;
	char text[600];
};

/* Writes the sentence and returns a negative number, so that a refusal is one line:
 * `return fault_set(f, FAULT_BAD_REQUEST, "parameters must be an object");`
 * The text is cut at the size of the field, at a character's border; control characters become
 * spaces, and what is not UTF-8 becomes '?'. Any thread. */
int fault_set(struct fault *f, enum fault_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Writes a sentence to a field of `size` bytes, at least 1, cut and cleaned as fault_set does it,
 * and returns its length. No argument lies in the field. Any thread. */
size_t sentence_print(char *ret, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Of a step of the disk that failed with that errno: UNAVAILABLE if it may work later by itself,
 * else CONFLICT, since what is there is in its way. Any thread. */
enum fault_code fault_of_errno(int error);

/* Puts "prefix: " before the sentence and returns the same negative number as fault_set. */
int fault_prefix(struct fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
