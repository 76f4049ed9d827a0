/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the arguments of functions. The core's files only; the loop's thread. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/timers.h"
#include "core/artifact/look.h"
#include "core/core.h"

struct lane;

/* What is known of the arguments of one definition of a function. */
struct signature {
	struct map_node by_key;
	char *key, *name;
	const struct function *function; /* the one that was described */
	const struct context *context;   /* it is described for this one; NULL: the catalog's */
	json_t *described;               /* NULL until it is */
	char *error;                     /* why it could not be */
	char *logged;                    /* the error that the log has; NULL: none */
	enum fault_code fault;           /* of the error */
	struct artifact_mark mark;
	int64_t checked_ms, failed_ms; /* failed: a worker said so; 0: none did */
	struct look *look;             /* at the artifact, under way; NULL: none is */
	bool is_look_late;
	struct list waiting; /* of struct described_wait */
	char id[UUID_TEXT];  /* of the describe under way; "" none */
	struct timer timeout;
	struct core *core;
	struct lane *lane;    /* whose worker describes it, while a describe is under way */
	struct worker *asked; /* NULL: that is not ready yet */
	struct list in_lane;  /* in the describes of that lane */
};

struct described_wait {
	struct list node;
	bool takes_any_context; /* the function's context need not exist: it has the defaults then
				 */
	/* The function's context, which the catalog has not, or has otherwise; NULL: it is there.
	 * Not with a path that only Hadoop's client reads. Borrowed until `ready`. */
	const struct context *context;
	void (*ready)(struct described_wait *wait, struct core *c,
		const struct signature *s); /* s->described or s->error */
};
/* Calls `ready` now or later, once. */
void describe(struct core *c, const struct function *f, struct described_wait *wait);
/* What is known of definitions that are not in the catalog goes. Not from within `ready`. */
void describe_forget_old(struct core *c);
/* Of one; also from there. `context` as in the wait. */
void describe_forget_later(struct core *c, const struct function *f, const struct context *context);
/* Another file is at that place now; what is found out from here on is of that. */
void describe_look_again(struct core *c, const char *location);
void describe_worker_ready(struct core *c, struct worker *w);
/* No worker of it can be started: all that the lane owes. */
void describe_failed(struct lane *lane, const char *why);
void describe_lost(struct worker *w, const char *why); /* what it was asked */
void describe_fail_all(struct core *c, const char *why);
void describe_free_all(struct core *c);
