/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at artifacts: the core's files only; the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct core;
struct look;
struct looker;

/* By which an artifact's content is known again. */
struct artifact_mark {
	uint64_t device, inode;
	int64_t size, changed_ns, modified_ns;
};

/* What a look has found; borrowed. */
struct looked {
	const struct look *look;
	const char *key, *path;
	struct artifact_mark mark;
	const char *why; /* it cannot be used; NULL: it can */
};

struct looker *looker_new(struct core *c);
/* What is under way ends by itself, and finds nobody. */
void looker_free(struct looker *l);

/* Later describe_looked() is called, and before it perhaps describe_look_late(), each once, with
 * the key, but nothing once the core has let go. */
struct look *look_begin(struct core *c, const char *key, const char *path);
bool look_is_begun(const struct look *look); /* what it sees may be what was there before */
/* Nobody wants it any more. One that is begun goes on all the same. */
void look_forget(struct look *look);

/* describe.c */
void describe_looked(struct core *c, const struct looked *looked);
/* It takes longer than anybody should wait. */
void describe_look_late(struct core *c, const struct look *look, const char *key);
