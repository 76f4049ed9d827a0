/* SPDX-License-Identifier: Apache-2.0 */
/* The core: one thread, no locks. It owns the jobs that are alive, the lanes they wait in and the
 * picture of the workers. */
#pragma once

#include <uv.h>

#include "core/crew.h"
#include "domain/function.h"
#include "mist/store.h"
#include "mist/transport.h"

/* `mist.log-job-ends`. */
enum job_ends { JOB_ENDS_OFF, JOB_ENDS_DEBUG, JOB_ENDS_INFO };
extern const char *const job_ends_names[]; /* NULL-ended */

/* Limits and graces: the section `limits` and `workers` of the configuration. */
struct core_limits {
	int64_t queue_max;       /* jobs waiting in one context */
	int64_t queue_bytes_max; /* arguments in memory, of jobs and requests; each of both */
	int64_t jobs_max;        /* jobs alive altogether */
	int64_t workers_max;     /* worker processes over all contexts, without describers */
	int64_t worker_turn_ms;  /* a context without a process waits so long for another's */
	int64_t contexts_max; /* contexts with something to do, counting those made by a request's
				 name only */
	int64_t backlog_max;  /* operations waiting for the disk, */
	int64_t backlog_bytes_max;  /* and what they hold in memory */
	int64_t cancel_grace_ms;    /* from `cancel` to the end of the process */
	int64_t neighbour_grace_ms; /* how long that end waits for other jobs of the process */
	int64_t describe_timeout_ms;
	int64_t log_max;     /* bytes of one job's log */
	int job_ends;        /* enum job_ends: which line there is for each job's end */
	int64_t progress_ms; /* between two events `progress` of one job, at least */
	int64_t keys_max;    /* idempotency keys remembered */
	int64_t key_ms;      /* for how long */
	int64_t history_ms;  /* ended jobs older than this go, and their logs; DURATION_INF: none */
	int64_t job_series_max; /* sets of labels on metrics of jobs */
	bool ignores_unknown;   /* arguments that a function does not have; else they are refused */
	int64_t broken_retry_ms; /* first pause before a broken context is tried again; doubles to
				    30 times it */
};

struct core_parts {
	uv_loop_t *loop;
	struct store *store;
	const struct crew_ops *crew;
	void *crew_room;
	struct folder_watch *folders; /* without which it is not ready; NULL: none */
	size_t mailbox_max;
};

/* Names are borrowed from the catalog. */
struct catalog;

struct core *core_new(const struct core_parts *parts);
void core_free(struct core *c); /* the loop has run out; NULL is fine */

/* The configuration, at start and at each reload; takes the catalog. Contexts that changed get new
 * workers, old ones finish what they run. */
void core_configure(struct core *c, struct catalog *catalog, const struct core_limits *limits);

/* Functions and contexts that the API made, from the store. Once, after the first core_configure.
 */
int core_load(struct core *c);

/* Takes up the jobs that the store holds open. After core_configure and crew_expect, before any
 * transport starts and before anything is posted to the store. */
int core_recover(struct core *c);

/* The instances by whose names jobs of before find their doors; lives as long as the core. Before
 * core_recover. */
void core_set_doors(struct core *c, struct transport *const *doors, size_t n);

/* HOST:PORT, as workers are shown to be told it. Before core_recover; copied. */
void core_set_address(struct core *c, const char *address);

/* Tells the outcomes that are owed. Once, when the transports have started. */
int core_tell_owed(struct core *c);

/* Starts precreated workers; jobs may run from here on. */
void core_start(struct core *c);

/* No new jobs; jobs on workers stay there, idle workers are drained; with `and_workers` every
 * worker is ended. `stopped` is called when no idle worker is left or grace_ms are over. */
void core_stop(struct core *c, bool and_workers, int64_t grace_ms, void (*stopped)(void *owner),
	void *owner);

/* Nobody is left waiting: callers of synchronous jobs and askers are told that the gateway stops.
 * The jobs stay as they are. */
void core_let_go(struct core *c);

/* Delivers the last letters and releases the loop's handles. The loop must run out after it. */
void core_close(struct core *c);

/* What the transport of that name submits and asks by; lives as long as the core. Loop's thread. */
struct intake *core_intake(struct core *c, const char *door);
struct mailbox *core_mailbox(struct core *c);
struct timers *core_timers(struct core *c);

/* What its thread does, for a watchdog. Begins with core_new's thread. */
struct beat;
struct beat *core_beat(struct core *c);
