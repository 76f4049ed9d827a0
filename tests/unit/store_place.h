/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the store share: a store in a folder of its own, jobs, and waiting for it. */
#pragma once

#include "unit.h"

#include <semaphore.h>
#include <time.h>

#include "base/clock.h"
#include "mist/store.h"

enum { DEADLINE_MS = 60000 };

struct place {
	char dir[64];
	const struct store_ops *ops;
	struct store *st;
	int64_t hang_ms, keep_logs_ms; /* of the next place_open */
};

int place_setup(void **state); /* the state is the backend before, and a place after */
int place_teardown(void **state);
int place_open(struct place *p, struct fault *f);
void place_reopen(struct place *p); /* and starts it */

/* Counts the answers to what was posted with it. */
struct waiter {
	sem_t called;
	int posted, done;
	int status; /* of the last */
	bool is_in_order;
};

void waiter_init(struct waiter *w);
void post_waited(struct store *st, struct store_op *op, struct waiter *w);
void await(struct waiter *w);

/* The status with which everything posted so far is settled. */
int settle(struct store *st);

#define await_that(cond)                                                                           \
	do {                                                                                       \
		const struct timespec _moment = { .tv_nsec = 2000000 };                            \
		int64_t _until = clock_mono_ms() + DEADLINE_MS;                                    \
		bool _is_so;                                                                       \
		while (!(_is_so = (cond)) && clock_mono_ms() < _until)                             \
			nanosleep(&_moment, NULL);                                                 \
		check(_is_so);                                                                     \
	} while (0)

struct job *job_make(const char *function, int number);
struct store_op *op_make(enum store_op_kind kind, struct job *j, enum job_state state);

/* Posts an insert that nobody waits for, and returns the id. */
struct uuid add(struct place *p, const char *function, enum job_state state, const char *worker);
enum job_state state_of(struct place *p, const struct uuid *id); /* _JOB_STATE_INVALID: no row */
int64_t count_all(struct place *p);

void log_text(struct place *p, const struct uuid *id, const char *text);
char *log_read(struct place *p, const struct uuid *id); /* the caller's; NULL: there is none */
