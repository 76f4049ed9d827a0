/* SPDX-License-Identifier: Apache-2.0 */
/* The seam between the core, which decides what workers there should be and what they run, and the
 * room of workers, which starts processes and talks to them. All on the core's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timers.h"
#include "base/uuid.h"
#include "domain/context.h"
#include "domain/runtime.h"

struct core;
struct job;
struct lane;

enum worker_state {
	WORKER_EXPECTED, /* a gateway before us started it; it should come back */
	WORKER_STARTING,
	WORKER_READY,
	WORKER_AWAY, /* it was ready, its connection broke, its process may live */
};

struct worker {
	char *id;
	const struct context *context; /* as it was when the worker was started */
	char *settings; /* a digest of that context and its runtime; NULL: not known, or there is no
			   such runtime */
	struct lane *lane;
	enum worker_state state;
	bool is_draining; /* takes no more jobs and ends when it has none */
	bool is_drain_sent;
	bool has_left; /* it said bye: it ends, and what it was given meanwhile it does not take */
	bool is_entered; /* it was welcomed on this connection: frames may be sent */
	bool is_behind;  /* it does not take what it is sent: it gets no more jobs meanwhile */
	bool is_killed;  /* ended by us: no failure of its context */
	/* One of its jobs did not end when it was cancelled, so the process has to: it takes no
	 * more jobs, and those beside that one have until `neighbour_timer` to end. */
	bool is_closed;
	bool is_ended_for_a_job; /* and now it was ended: the others did nothing wrong */
	char *end_reason; /* why the gateway ends its process, one sentence; NULL: it does not */
	struct timer neighbour_timer;
	unsigned capacity, n_jobs;
	bool has_mixed; /* what it printed during the time of its jobs may be another's, too */
	int64_t idle_since_ms; /* monotonic; of one that is ready and has no jobs */
	struct list jobs;      /* live jobs given to it */
	struct list in_lane;   /* its lane's workers */
	struct list in_free;   /* its lane's ready workers with room, else by itself */
	struct map_node by_id;
	char *spark_ui, *address, *lang, *spark_version; /* may be NULL */
	int64_t started_ms;                              /* wall */
	void *process;                                   /* the room of workers' own */
};

/* What the room of workers does for the core. */
struct crew_ops {
	/* Starts a process for the worker (its process member is this call's to fill). Failure
	 * comes back through crew_start_failed, never from within this call. */
	void (*launch)(void *room, struct worker *w, const struct runtime_settings *runtime,
		bool is_describer);
	void (*start)(void *room, struct worker *w, const struct job *j);
	void (*cancel)(void *room, struct worker *w, const struct uuid *job, const char *reason);
	void (*describe)(void *room, struct worker *w, const char *id, const char *path,
		const char *class_name);
	void (*ack)(void *room, struct worker *w, json_t *job_ids); /* borrowed array of strings */
	void (*drain)(void *room, struct worker *w);
	/* Ends the process now. crew_lost comes back later, never from within this call. */
	void (*kill)(void *room, struct worker *w);
	/* The worker is about to be freed: forget it. */
	void (*forget)(void *room, struct worker *w);
	/* After each batch of work: write out what the sockets take. */
	void (*flush)(void *room);
};

/* A worker of an earlier gateway process, found by its record. Before recovery. `settings` is
 * worker.settings as that gateway had it; NULL: the record does not say. If it is another now, or
 * there is no such context any more, the worker may finish what it holds and ends then. NULL: no
 * such context can be had. */
struct worker *crew_expect(
	struct core *c, const char *id, const char *context, const char *settings);
struct worker *crew_find(struct core *c, const char *id);

/* `hello` came. `resumes` are the jobs it still holds; *ret_forget becomes a new array with those
 * it must forget. Call crew_settled after the welcome was sent: it gives the worker jobs. */
void crew_hello(struct core *c, struct worker *w, const json_t *hello, json_t **ret_forget);
void crew_settled(struct core *c, struct worker *w);

/* The connection broke and the process may come back. */
void crew_away(struct core *c, struct worker *w);
/* It does not keep up with what it is sent, or does again. */
void crew_behind(struct core *c, struct worker *w, bool is_behind);
/* More waits to be written by the store than should: what workers say can wait, too. */
bool crew_is_congested(struct core *c);
/* It says that it ends, and holds nothing. */
void crew_left(struct core *c, struct worker *w);
/* The room of workers is about to end its process. `why`, one sentence that begins with "the
 * worker", is what its jobs and the log say when it is gone; the first one told counts. Copied. */
void crew_ending(struct core *c, struct worker *w, const char *why);
/* It is about to be lost, and these are the last lines that it printed: they are put into the logs
 * of the jobs that it holds. */
void crew_output_tail(struct core *c, struct worker *w, const char *lines);
/* It is gone for good: its jobs fail or are retried, and it is freed. `why` is one sentence for
 * them, if the gateway itself had no reason to end it. */
void crew_lost(struct core *c, struct worker *w, const char *why);
/* It never became ready. Frees it. `why` may have several lines. */
void crew_start_failed(struct core *c, struct worker *w, const char *why);
/* The same where the gateway's own machine is at fault (a full disk, no descriptor or process
 * left): its context is not, so what waits goes on waiting, and the start is tried again. */
void crew_start_hindered(struct core *c, struct worker *w, const char *why);
/* Its process runs: the machine hinders the start no more. What follows is up to the worker. */
void crew_launched(struct core *c, struct worker *w);

/* The frame was not its turn, or a member has a value it can't have: a protocol error. Frames about
 * jobs that the worker does not (or no longer) hold are no error: they may have crossed with the
 * end of the job. */
enum { CREW_E_ORDER = 1, CREW_E_VALUE };

int crew_downloading(struct core *c, struct worker *w, const char *job);
int crew_started(struct core *c, struct worker *w, const char *job, int64_t at_ms);
int crew_log(struct core *c, struct worker *w, const char *job, const json_t *entries);
/* `value` NULL: it has none; `note` likewise. */
int crew_progress(
	struct core *c, struct worker *w, const char *job, const double *value, const char *note);
/* Exactly one of result (JSON text without blanks between its tokens, taken) and error (text,
 * borrowed); both NULL: cancelled. */
int crew_ended(struct core *c, struct worker *w, const char *job, char *result, const char *error);
int crew_described(
	struct core *c, struct worker *w, const char *id, json_t *signature, const char *error);
