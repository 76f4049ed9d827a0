/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the core's own objects. Nobody else includes it. */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/map.h"
#include "base/timers.h"
#include "core/catalog.h"
#include "core/core.h"
#include "core/describe.h"
#include "core/lane.h"
#include "core/metrics/metrics.h"

/* One for each door. */
struct intake {
	struct core *core;
	char *door;
	struct list node;
};

/* A job that has not ended. */
struct live_job {
	struct job *job;
	struct core *core;
	struct map_node by_id;
	struct heap_node queued; /* in its lane's queue */
	struct timer timer; /* start timeout, perform timeout or the grace of a cancel: whichever is
			       next */
	struct lane *lane;
	struct worker *worker; /* once assigned */
	struct list on_worker;
	struct list unrecorded; /* in core->unrecorded until the store has heard of it, in
				   core->moved while it has not heard of its last move */
	struct list cancels;    /* asks that wait for its end */
	struct transport *door;
	struct reply_to to;
	struct audience *others; /* who asked for this job, too; outbox.c. Mostly NULL */
	char *cancel_reason;     /* once cancelling */
	char *worker_id;         /* the last worker it was given to */
	struct mail durable;     /* comes when its row is */
	int durable_status;
	int64_t log_bytes; /* of its log, 0 while it has none */
	bool is_log_begun; /* somebody reads it: it has all lines, from the first on */
	bool is_overdue;   /* it did not end within the grace of its cancel: its worker has to */
	bool is_resumed;   /* its worker, back again, still holds it */
	bool is_stopped_unasked; /* its worker says so, and is perhaps about to end */
	bool is_timed_out;       /* what it is cancelled for is its performTimeout */
	bool is_wait_counted;    /* metrics/job_series.c: it has been started before */
	int64_t born_ms;         /* monotonic */
	/* parameters.c: of job->parameters, which are NULL while only the store has them */
	size_t parameter_bytes, parameters_len;
	struct job_progress *progress; /* joblog.c; NULL: it has said nothing */
	struct fetch *fetch;           /* they are being read: its worker has not got it yet */
};

struct core {
	uv_loop_t *loop;
	struct beat beat;
	struct mailbox mailbox;
	struct timers timers;
	struct list intakes;
	struct store *store;
	const struct crew_ops *crew;
	void *room;
	struct folder_watch *folders; /* NULL: none */
	struct catalog *catalog;
	struct core_limits limits;
	struct map lanes, jobs, workers, signatures;
	struct list old_lanes; /* of deleted contexts */
	struct map keys;       /* idempotency keys, */
	struct list keys_aged; /* the oldest first */
	struct list places_aged;
	size_t n_places;      /* of keys */
	struct map audiences; /* jobs that were asked for more than once, outbox.c */
	struct transport *const *doors;
	size_t n_doors;
	struct backlog *backlogs; /* one for each of them, outbox/backlog.c, */
	struct map handed;        /* and the outcomes that they have */
	bool are_backlogs_over;   /* the gateway ends */
	struct list unrecorded, moved, dirty;
	size_t parameter_bytes, fetched_bytes; /* parameters.c; the first with long reply-tos */
	struct list fetches;
	struct list reads; /* core.c: those of job_read() that are not begun */
	unsigned n_reading;
	struct looker *looker;
	_Atomic int64_t request_bytes,
		request_bytes_max; /* in the mailbox, or waiting for a signature */
	struct list edits;         /* of functions and contexts, under way */
	struct list deletions;     /* of artifacts, under way */
	uv_prepare_t before_sleep;
	struct timer record_tick, ack_tick, prune_tick;
	struct list acks, acks_settling; /* of struct pending_ack */
	bool is_started, is_stopping, is_pruning;
	bool is_let_go; /* nobody may be left waiting from here on */
	void (*stopped)(void *owner);
	void *stopped_owner;
	struct timer stop_timer;
	int64_t started_ms;
	char *address;               /* HOST:PORT of its HTTP; NULL: not known */
	uint64_t counts[_EVENT_MAX]; /* of events, for the metrics */
	uint64_t workers_lost, workers_started, worker_start_failures;
	struct map job_series;       /* metrics/job_series.c */
	unsigned n_processes;        /* workers, without describers */
	struct list process_waiters; /* lanes, in the order in which they get a process */
	struct timer process_tick;
	struct list watches;       /* of all jobs */
	struct map watched;        /* job → watches of it */
	struct list watches_dirty; /* to be flushed before the loop sleeps */
	unsigned n_watches;        /* altogether: without any, events cost nothing */
	uint64_t events_dropped;
};

/* life.c: the moves of one job */
struct live_job *life_begin(struct core *c, struct job *j, struct lane *lane);
void life_accept(
	struct live_job *l); /* makes it durable where that is promised first, then queues it */
void life_queue(struct live_job *l);
void life_assign(struct live_job *l, struct worker *w);
void life_resume(struct live_job *l, struct worker *w); /* it is on that worker already */
void life_downloading(struct live_job *l);
void life_started(struct live_job *l, int64_t at_ms);
/* `by`: who asked for it, for the log; NULL: a time limit did. */
void life_cancel(struct live_job *l, const char *reason, const char *by);
void life_requeue(struct live_job *l, const char *why);
/* Ends it: takes result and error. Frees l. */
void life_end(struct live_job *l, enum job_state how, char *result, char *error);
/* Its worker is gone, or came back without it: it is retried or fails. */
void life_lost_worker(struct live_job *l, const char *why);
/* The same, and it was nothing that the job did: it is run again, and has lost no attempt. */
void life_spared(struct live_job *l, const char *why);
/* Its worker says that it stopped it, and nobody asked for that: either it is ending itself, and
 * why is known soon, or it has no reason. */
void life_stopped_unasked(struct live_job *l);
void life_record(struct live_job *l);
void life_record_all(struct core *c);
void life_record_moved(struct core *c);
void life_record_tick(struct timers *t, struct timer *timer);
struct live_job *life_find(struct core *c, const struct uuid *id);

/* workers.c */
struct worker *worker_new(
	struct core *c, struct lane *lane, const char *id, enum worker_state state);
void worker_free(struct core *c, struct worker *w);
void worker_room_changed(struct worker *w); /* keeps it in or out of its lane's free ones */
/* It gets no more jobs, and ends when it has none. `why` is for the log: "context x was deleted".
 */
void worker_retire(struct core *c, struct worker *w, const char *why);
/* Ends its process, now. `why` as in crew_ending. */
void worker_end(struct core *c, struct worker *w, const char *why);
/* A job of it became overdue, or left it while one was. */
void worker_check_overdue(struct core *c, struct worker *w);
void worker_launch(struct core *c, struct lane *lane);

/* parameters.c: the arguments of jobs, in memory or in the store only */
size_t reply_bytes(const char *text); /* what a reply-to counts: it is long, or it is not counted */
void parameters_count(struct live_job *l); /* job->parameters has just been set */
void parameters_uncount(struct live_job *l);
void parameters_are_durable(struct live_job *l);
void parameters_start(struct live_job *l); /* gives it to its worker, now or when they are read */
void parameters_leave(struct live_job *l); /* it is on its worker no more */

/* acks.c: workers are told that outcomes are durable */
void acks_add(struct core *c, struct worker *w, const struct uuid *job);
void acks_tick(struct timers *t, struct timer *timer);
void acks_forget(struct core *c, const struct worker *w); /* NULL: all */

/* core.c: calls `settled` on the core's thread when all that was posted so far is durable (0) or
 * was refused */
void settle(struct core *c, void (*settled)(void *owner, int status), void *owner);

/* core.c: why a write failed, in words; and as a fault: "`refusal`: …" or, when that may still
 * become untrue, that `doubt` is not known. */
const char *write_error(int status);
void fault_of_write(struct fault *f, int status, const char *refusal, const char *doubt);

/* core.c: reads the job's row from the store on another thread, a few at a time, then calls `done`
 * on the core's, also at the end. 0, or as store_job_get; the row is borrowed, NULL without one. */
typedef void job_read_fn(void *owner, int status, const struct job_row *row);
void job_read(struct core *c, const struct uuid *id, job_read_fn *done, void *owner);

/* watch.c: subscribers. Callers look at core->n_watches first. */
struct buf;
void watch_tell(struct core *c, const struct job_event *ev);
/* The text is what its log has grown by, whole entries; log_bytes counts it already. */
void watch_tell_logs(const struct live_job *l, const struct buf *text);
void watch_flush(struct core *c);
void watch_end_all(struct core *c);

/* keys.c: idempotency keys. A key belongs to the job it came with first. */
struct idempotency;
/* The job that the request's key belongs to already: then the request has been answered, or will
 * be. False: it is new, or has no key. */
bool keys_answer(struct core *c, struct job_request *rq);
void keys_add(struct core *c, const struct job *j);
void keys_drop(struct core *c, const struct job *j); /* the job was not accepted after all */
int keys_load(struct core *c);
void keys_free(struct core *c);
void intake_refuse(struct core *c, struct job_request *rq, const struct fault *f); /* takes rq */

/* outbox.c: whom a job's end is told to */
struct job *outbox_job(struct core *c, const struct job_row *r); /* as it was; a new reference */
/* Those whom jobs of before are owed to beside the first. Before any job is taken up. */
int outbox_load(struct core *c);
void outbox_recover(struct live_job *l); /* finds whom that job of before is told to */
/* The request is one for that job, which there was; it is answered, now or later. Takes rq. */
void outbox_again(struct core *c, struct job_request *rq, const struct uuid *job);
void outbox_tell(struct live_job *l, const struct job_event *ev);
/* By the job's row, which says that it has ended and whoever asked first is owed the outcome: that
 * one is told, if it was not yet. */
void outbox_tell_first(struct core *c, const struct job_row *r);
bool outbox_wants(const struct live_job *l, enum event_kind kind);
void outbox_free(struct core *c);

/* ask.c */
void ask_answer(struct ask *a);
void ask_answer_missing(struct ask *a, const char *what);
json_t *function_described_json(const struct function *f, const struct signature *s);

/* deployment/artifact.c */
void ask_artifact_delete(struct core *c, struct ask *a);
/* Whether a function may be made of it. */
int artifact_check_stays(const struct core *c, const char *path, struct fault *f);

/* joblog.c, status.c */
json_t *status_json(struct core *c);
struct transport_state door_state(const struct core *c, const struct transport *door);
char *status_transports(const struct core *c); /* JSON */
void joblog_add(struct live_job *l, const char *level, int64_t at_ms, const char *message);
void joblog_event(struct live_job *l, const char *line); /* only if it has a log already */
void joblog_begin(struct live_job *l);                   /* from here on it has one */
/* How far it says that it is; told at once, or with others that come within the limit's time. */
void progress_say(struct live_job *l, const struct progress *p);
void progress_tell(struct live_job *l); /* what waits to be told; before its end */
void progress_forget(struct live_job *l);
const struct progress *progress_now(const struct live_job *l); /* the newest; NULL: none */
char *progress_of(const struct live_job *l);                   /* progress_text of it, or NULL */
void cancel_answer_all(struct live_job *l);
void publish(struct live_job *l, enum event_kind kind, const char *result, size_t result_len,
	const char *error);
void core_check_stopped(struct core *c);
