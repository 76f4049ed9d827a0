/* SPDX-License-Identifier: Apache-2.0 */
/* The typed arguments of a function: Mist's type tree, as `described` carries it and the API shows
 * it, and the check of a request against it before a job exists. */
#pragma once

#include "base/fault.h"
#include "base/json.h"

/* True if `execute` is an object whose values are type trees: {"type": "MInt"}, {"type": "MList",
 * "args": [T]}, … The fault says which argument is not. */
int params_check_types(const json_t *execute, struct fault *f);

/* What becomes of arguments that the function does not have. */
enum unknown_arguments {
	UNKNOWN_REFUSE,
	UNKNOWN_IGNORE, /* their names are told to the caller */
	UNKNOWN_TAKE,   /* the function gets them */
};

/* Checks the arguments (an object) against `execute`. An absent argument and null are the same;
 * nothing is coerced from strings; a number without a fractional part is an integer. The fault
 * names every wrong field: "Invalid field top: Invalid type: expected Int, got \"ten\"". With
 * UNKNOWN_IGNORE the names of the others are added to `ignored` (base/ignored.h), which may be NULL
 * only without it. `errors`, a list or NULL, gets each wrong field by itself: {"kind": "argument",
 * "name": "top", "error": "Invalid type: expected Int, got \"ten\""}. */
int params_check(const json_t *execute, const json_t *arguments, enum unknown_arguments unknown,
	char **ignored, json_t *errors, struct fault *f);
