/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the core share: the core between its twins, which are two doors of the loopback
 * transport, the store in memory, and a crew of workers that are played here. */
#pragma once

#include "unit.h"

#include "base/clock.h"
#include "base/metrics/exposition.h"
#include "core/catalog.h"
#include "core/core.h"
#include "domain/job.h"
#include "mist/store.h"
#include "transport/loopback/loopback.h"

enum { WORKERS_MAX = 16, DEADLINE_MS = 30000 };

/* A crew whose workers get ready on the next turn of the loop and do with jobs what the test says.
 */
struct crew {
	struct core *core;
	struct worker *starting[WORKERS_MAX], *ready[WORKERS_MAX];
	int n_starting, n_ready, n_launched, n_drained, n_killed;
	const char *start_failure; /* workers do not start, and this is why */
	bool is_hindered;          /* and it is the machine's fault */
	unsigned n_hindered;
	bool holds_jobs; /* jobs stay where they are */
	bool is_deaf;    /* jobs do not reach them */
	bool is_slow;    /* those that start do not get ready */
	char last_job[UUID_TEXT], cancelled_job[UUID_TEXT];
	struct worker *last_worker, *last_killed; /* of last_job; borrowed */
	int acked, n_started, n_cancelled;
	struct timer turn;
};

struct house {
	uv_loop_t loop;
	struct store_ops disk;
	struct store *store;
	struct core *core;
	struct crew crew;
	struct transport *doors[2];
	struct transport *door; /* the first of them */
	size_t outcomes_max[2]; /* that the doors take, when they are opened (again); 0: any number
				 */
	char directory[32];
	int64_t retries;      /* of f, when the core is opened (again) */
	bool is_exclusive;    /* so is the context default then */
	const char *expected; /* a worker of the context default that was there before the start */
	const char *expected_settings; /* as its record has them */
};

extern const struct core_limits limits;

/* What the disk answers when a listener is to be written: 0, or a negative errno. */
extern _Atomic int house_disk;

/* What the disk answers to every commit: 0, a negative errno, or nothing while it is HOUSE_HOLDS.
 */
enum { HOUSE_HOLDS = 1 };
extern _Atomic int house_commit, house_commits_tried;
/* While it is set no job is read from the store; so many are being read. */
extern _Atomic bool house_reading_hangs;
extern _Atomic int house_reading;

/* The context default of the tests: shared, and no worker of it ends for want of work. Its
 * spark_conf is a reference. */
struct context_settings house_context(void);

/* A function f in the context default, which is the one given (taken), and beside it, under the
 * name, another context of the same settings; NULL: there is none. */
struct catalog *catalog_with(struct context_settings context, int64_t retries, const char *name);
struct catalog *catalog_of(int max_jobs, int64_t retries);

int house_up(void **state);
int house_down(void **state);

/* As a gateway that is killed and started again: only the store stays, with what is durable once
 * all that was posted is. */
void house_restart(struct house *h);

void submit(struct house *h, const char *arguments); /* to f, by the first door */

/* Runs the loop until the next event of that kind comes out of the first door; others are dropped.
 */
json_t *await(struct house *h, const char *kind);
void await_and_drop(struct house *h, const char *kind);
void await_true(struct house *h, bool (*probe)(struct house *h));

/* Runs the loop for so long at least: once for each millisecond, so that a test that is held up in
 * one of them has the others left. */
void turn_for(struct house *h, int64_t ms);
