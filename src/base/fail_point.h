/* SPDX-License-Identifier: Apache-2.0 */
/* Fail points: named places that a test can make fail, wait, or end the program, as a disk, a
 * broker or kill -9 would do at the worst moment. A release build has none of it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/fault.h"

enum fail_point {
#define FAIL_POINT(id, name, err, help) FAIL_##id,
#include "base/fail_point_table.h"
#undef FAIL_POINT
	_FAIL_POINT_MAX
};

/* Reads what MIST_FAIL_POINTS says, once, before there are threads:
 *
 *   NAME:ACTION[@N | @N+],…
 *
 * ACTION is an errno's name (EIO), `delay=MILLISECONDS`, `exit` or `kill` (SIGKILL); @N means the
 * N-th passage only, @N+ all from the N-th on; without it, every one. NULL or "" is fine. A
 * negative number: the fault names what cannot be. */
int fail_points_read(const char *text, struct fault *f);

/* One line a point: its name, what it can do, what happens there. False: this build has none. */
bool fail_points_list(FILE *to);

/* 0, or the negative errno with which the step is to fail. A point without a typical errno in the
 * table returns 0 always. Any thread. */
#ifdef MIST_HAS_FAIL_POINTS
int fail_point(enum fail_point p);
#else
static inline int fail_point(enum fail_point p)
{
	(void)p;
	return 0;
}
#endif
