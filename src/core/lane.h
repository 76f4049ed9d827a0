/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of one context, its workers, and whether the context works. The core's files only. */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timers.h"
#include "core/core.h"

struct job_series;
struct live_job;
struct transport;

struct lane {
	struct core *core;
	char *name;
	const struct context *context;
	struct map_node by_name;
	struct heap queue;
	struct list workers, free_workers;
	unsigned n_jobs;     /* live jobs of it: also those whose row is being written */
	unsigned n_running;  /* jobs on workers of it */
	unsigned n_starting; /* slots of workers that are starting */
	unsigned n_expected; /* workers of an earlier gateway that may come back */
	unsigned failures;   /* in a row */
	bool is_broken, is_describer;
	/* Its context was deleted: it is in core->old_lanes, where no request finds it, until what
	 * was accepted for it has run. */
	bool is_deleted;
	struct list old; /* in core->old_lanes */
	char *last_failure;
	char *hindrance;     /* why the gateway's own machine lets no worker start; NULL: it does */
	unsigned n_hindered; /* tries in a row that it did not let */
	int64_t not_before_ms; /* monotonic: no new worker until then */
	int64_t broken_pause_ms;
	unsigned n_tries_unasked; /* while it is broken: since somebody last wanted it */
	struct timer retry;       /* not_before is over */
	struct timer downtime;    /* nothing to do for the context's downtime */
	uint64_t worker_count;
	struct list
		dirty; /* in core->dirty: the scheduler has to look at it before the loop sleeps */
	struct list process_wait; /* in core->process_waiters: it may not start a worker that it
				     wants */
	int64_t process_since_ms; /* monotonic: since when it waits there */
	unsigned n_retired_for;   /* how many busy workers were retired for it since then */
	struct list describes;    /* signatures that its workers owe */
	/* metrics/job_series.c: where jobs of that function and transport are counted; NULL: not
	 * known yet. The function is a reference. */
	struct job_series *series;
	const struct function *series_function;
	const struct transport *series_transport;
};

/* lane.c */
struct lane *lane_find(struct core *c, const char *name);
struct lane *lane_get(
	struct core *c, const char *name, bool is_describer); /* NULL: over the limit */
/* For what was accepted before: a limit does not take that back. */
struct lane *lane_get_always(struct core *c, const char *name);
void lane_push(struct lane *lane, struct live_job *l);
void lane_remove(struct lane *lane, struct live_job *l);
void lane_update(struct core *c, struct lane *lane, const struct catalog *old);
/* Its context is there no more. A later one of that name gets a lane, and workers, of its own. */
void lane_delete(struct core *c, struct lane *lane);
void lane_retire_workers(struct lane *lane, const char *why);
void lane_break(struct core *c, struct lane *lane, const char *why);
void lane_hinder(struct lane *lane, const char *why); /* not the context's fault: it waits */
void lane_unhinder(struct lane *lane);                /* if it was; the machine works again */
void lane_ask_broken(struct lane *lane);              /* somebody wants it, although it is broken */
void lane_heal(struct core *c, struct lane *lane);
void lane_start_precreated(void *core, const struct context *context);
void lane_free(struct core *c, struct lane *lane);
size_t lane_length(const struct lane *lane);
char *lane_broken_text(const struct lane *lane);
char *lane_hindered_text(const struct lane *lane); /* only of one that is */
void lane_touch(struct lane *lane); /* the scheduler looks at it before the loop sleeps */

/* scheduler.c: gives waiting jobs to workers and asks for more workers */
void scheduler_run(struct lane *lane);
/* `{"reason","detail"}`: why the job has no worker; NULL: it has one, or does not wait. */
json_t *scheduler_waiting_json(const struct live_job *l);

void scheduler_wait_no_more(struct lane *lane); /* it waits for no worker process (any more) */
/* Starts the workers that may be started meanwhile. When the scheduler has looked at what changed.
 */
void scheduler_grant(struct core *c);
void scheduler_tick(struct timers *t, struct timer *timer); /* core->process_tick */
