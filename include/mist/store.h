/* SPDX-License-Identifier: Apache-2.0 */
/* The seam of the store: the durable truth about jobs.
 *
 * All writing is done by one thread (src/store/store.c): it takes whatever operations were posted
 * while the last commit ran, applies them through the ops table in one transaction, commits, and
 * tells who waited. Reading happens on the caller's thread. A backend fills `struct store_ops`;
 * `store_mem` is the smallest one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "domain/job.h"
#include "mist/store_file.h"
#include "mist/store_query.h"
#include "mist/store_undelivered.h"
#include "mist/store_unreadable.h"

enum store_op_kind {
	STORE_JOB_INSERT, /* the fixed half of `job` and the change */
	STORE_JOB_UPDATE, /* the change */
	STORE_LOG,        /* `text` (text_len bytes) is appended to the job's log file */
	STORE_SETTLE,    /* writes nothing: its `done` tells that all posted before it is durable */
	STORE_NOUN_PUT,  /* `name` of kind `noun` is `text`, JSON of its settings; new or over the
			    old one */
	STORE_NOUN_DROP, /* it is gone */
	STORE_DEPLOY, /* `files` get their names and the STORE_NOUN_PUTs of `parts` are written, all
			 of it or nothing: what a process that is killed in between leaves, the
			 next store_open finishes or undoes */
	STORE_JOBS_DELIVERED, /* the jobs `ids` are owed no more */
	STORE_JOBS_PRUNE,   /* rows of ended jobs with an id up to `job_id` that are owed to nobody
			       go, and their logs */
	STORE_LISTENER_PUT, /* the outcome of job `job_id`, if there is one, is owed to the reply-to
			       `text` of door `name`, too; once, however often it is put */
	STORE_LISTENERS_DROP, /* those of job `job_id` at door `name` have it */
	STORE_SET_ASIDE, /* `row` goes to the unreadable ones, if it is still there and still is
			    one; `text` says why */
	STORE_UNREADABLE_DROP, /* the unreadable row of that `number` goes; 0: all */
};

/* The half of a job that moves. */
struct job_change {
	enum job_state state;
	unsigned attempt;
	int64_t started_ms, ended_ms; /* 0: not yet */
	char *worker;                 /* owned; NULL: none */
	char *result;                 /* owned JSON text; NULL: none */
	char *error;                  /* owned text; NULL: none */
	char *progress;               /* owned JSON text; NULL: none */
	bool is_owed; /* it has ended and its outcome is to be delivered, or was not yet */
};

struct store_op {
	struct store_op *next;
	enum store_op_kind kind;
	struct job *job; /* a reference; the store reads its fixed half only. Of INSERT and UPDATE;
			    else NULL */
	struct uuid job_id;
	struct job_change change;
	enum store_noun noun;
	char *name; /* owned */
	char *text; /* owned */
	size_t text_len;
	struct uuid *ids; /* owned */
	size_t n_ids;
	struct store_row *row;    /* owned */
	struct store_op *parts;   /* owned; linked by `next` */
	struct store_file *files; /* owned */
	size_t n_files;
	struct journal *journal; /* the store's: how the files are put back. NULL: they need not */
	int64_t number;
	size_t bytes;  /* the store's: what it holds in memory */
	bool is_whole; /* the store's: the job's arguments were in memory when it was posted, and
			  stay there as long as it needs them */
	/* Called once: 0 = durable, else a negative errno and the operation is forgotten.
	 * -EINPROGRESS: the disk does not answer, so it may become durable yet. On the store's
	 * thread and in the order posted, but while the disk does not answer those that
	 * were not begun are given up on another thread. An operation with `done` is one that
	 * somebody waits for: it is committed at once, and when the disk refuses it is given up.
	 * One without is kept and tried again until it is durable. May be NULL. */
	void (*done)(void *owner, struct store_op *op, int status);
	void *owner;
};

struct store_op *store_op_new(
	enum store_op_kind kind, struct job *job); /* takes a reference to the job, if any */
void store_op_free(struct store_op *op);

struct store_settings {        /* the texts are borrowed until store_open returns */
	const char *directory; /* exists; the backend keeps its files in it, job logs are in its
				  folder `logs` */
	const char *artifacts; /* where the files of deployments get their names; NULL: there are
				  none, or nobody looks for those of an earlier process */
	int64_t hang_ms;       /* a write takes longer: the disk does not answer; 0: 10 s */
	int64_t keep_logs_ms;  /* what it refuses of a log is dropped after that; 0: 5 minutes */
	/* The store's: what a backend calls that meets a row it cannot read. Any thread. Takes row.
	 */
	void (*set_aside)(void *owner, struct store_row *row, const char *reason);
	void *owner;
};

/* The strings are borrowed; digest NULL: the key is a place in a log. */
typedef void store_key_fn(
	void *arg, const char *key, const char *digest, const struct uuid *job, int64_t created_ms);

/* The strings are borrowed. */
typedef void store_listener_fn(
	void *arg, const struct uuid *job, const char *door, const char *reply_to);

/* Bytes: what is longer should not be in memory without need. */
enum { PARAMETERS_LONG = 64 * 1024 };

struct store_ops {
	const char *name;
	size_t size; /* of the instance; allocated and zeroed by store_open */

	/* Opens, creates or migrates. The fault is one sentence for whoever starts the gateway.
	 * s->directory is valid until `close`; s->artifacts is NULL, for they are the store's. */
	int (*open)(void *self, const struct store_settings *s, struct fault *f);

	/* Store's thread only: one transaction at a time. A failure of `apply` or `commit` is a
	 * negative errno (-ENOSPC, -EROFS, -EIO); `rollback` then undoes the whole transaction.
	 * `commit` returns when it is durable. An operation lives until then, so `apply` may keep a
	 * pointer to it. `apply` of a STORE_SETTLE comes while the store is unhealthy and idle: it
	 * writes something that changes nothing, to find out whether the disk takes it again. */
	int (*begin)(void *self);
	int (*apply)(void *self, const struct store_op *op);
	int (*commit)(void *self);
	void (*rollback)(void *self);

	/* Store's thread. 0: what it writes to is where it was. -ENOENT: it was moved away.
	 * -ESTALE: something else is in its place. May be NULL. */
	int (*check)(void *self);
	/* Store's thread, after check: what its files take on the disk. May be NULL. */
	int64_t (*bytes)(void *self);

	/* Any thread, several at once. They see what was committed before the call. What they hand
	 * out has passed job_row_check; a row that does not is given to settings' set_aside and
	 * left out. -EUCLEAN: the database is damaged. */
	int (*job_get)(void *self, const struct uuid *id,
		struct job_row **ret); /* -ENOENT: there is none. -EBADMSG: it is unreadable */
	/* Newest first; `each` gets rows it may not keep. ret_total may be NULL: counting costs.
	 * *ret_total is the number that match without limit and offset. A positive return is how
	 * many rows of the page were left out. */
	int (*job_list)(void *self, const struct job_query *q,
		void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total);
	/* Jobs that are not in a final state, oldest first: once, at start. Parameters longer than
	 * PARAMETERS_LONG are left out. */
	int (*job_open_each)(
		void *self, void (*each)(void *arg, const struct job_row *r), void *arg);

	/* The greatest id of a job, of those that ids can go on from; once, at start. -ENOENT:
	 * there is none. */
	int (*job_newest)(void *self, struct uuid *ret);
	store_old_fn *job_old;

	/* Ended jobs that are owed to whoever asked first, by when they ended: once, at start. */
	int (*job_owed_each)(
		void *self, void (*each)(void *arg, const struct job_row *r), void *arg);
	store_undelivered_fn *undelivered_list; /* a few of those, in the same order */

	/* The idempotency keys of jobs made since that time, and the newest places. `now_ms`: what
	 * has a later time was made while the clock was ahead, and is told first, for what has an
	 * earlier one was mostly made after it; so much of it, and of the rest. Once, at start. */
	int (*key_each)(void *self, int64_t since_ms, int64_t now_ms, int64_t places_max,
		store_key_fn *each, void *arg);

	/* Those who asked for a job after the first, by job; once, at start. */
	int (*listener_each)(void *self, store_listener_fn *each, void *arg);

	/* Everything of that kind, by name; once, at start. */
	int (*noun_each)(void *self, enum store_noun noun,
		void (*each)(void *arg, const char *name, const char *text), void *arg);

	/* The last deployment with files that was committed; -ENOENT: there is none. Once, at
	 * start. NULL: it does not outlive a process. */
	int (*deployed)(void *self, struct uuid *ret);

	/* Rows that were set aside, the newest first, without their content; or with a `number`
	 * that one with it, and -ENOENT if there is none. As job_list. */
	int (*unreadable_each)(void *self, int64_t number, int64_t limit, int64_t offset,
		store_unreadable_fn *each, void *arg, int64_t *ret_total);

	void (*close)(void *self); /* accepts an instance whose open() failed half-way */
};

extern const struct store_ops store_sqlite, store_mem;

struct store;

/* Also finishes or undoes a deployment that an earlier process did not end. */
int store_open(struct store **ret, const struct store_ops *ops, const struct store_settings *s,
	struct fault *f);
int store_start(struct store *st); /* from here on posted operations are written */

/* Any thread. Consumes op. Operations are applied in the order posted. */
void store_post(struct store *st, struct store_op *op);

/* True when everything posted so far is durable (or failed): a reader need not wait. Any thread. */
bool store_is_settled(struct store *st);

/* 0, or a negative errno, when the store is not able to write at the moment: of the last commit;
 * -ENOENT, -ESTALE: its files were moved or replaced; -ETIMEDOUT: the disk does not answer. Any
 * thread. */
int store_health(struct store *st);
/* The same with a sentence, FAULT_UNAVAILABLE. */
int store_check_writable(struct store *st, struct fault *f);
/* The same, and when what can be read is not all there was, since the database is damaged. */
int store_check_whole(struct store *st, struct fault *f);

/* How many operations wait to be durable, and what they hold in memory. Any thread. */
size_t store_backlog(struct store *st);
size_t store_backlog_bytes(struct store *st);

/* Declares and puts the metrics of what the store's thread has measured. Any thread. */
struct exposition;
void store_metrics_put(struct store *st, struct exposition *e);

int store_job_get(struct store *st, const struct uuid *id, struct job_row **ret);
int store_job_list(struct store *st, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total);
int store_job_open_each(
	struct store *st, void (*each)(void *arg, const struct job_row *r), void *arg);

int store_job_newest(struct store *st, struct uuid *ret);

int store_key_each(struct store *st, int64_t since_ms, int64_t now_ms, int64_t places_max,
	store_key_fn *each, void *arg);
int store_listener_each(struct store *st, store_listener_fn *each, void *arg);
int store_noun_each(struct store *st, enum store_noun noun,
	void (*each)(void *arg, const char *name, const char *text), void *arg);

/* The path of a job's log file, whether or not it exists. */
void store_log_path(struct store *st, const struct uuid *id, char *ret, size_t size);
/* The same, opened for reading: a descriptor, or a negative errno; -ENOENT: there is none, -EINVAL:
 * something that is no file is in its place. Never waits for another process. */
int store_log_open(struct store *st, const struct uuid *id);

/* Writes all that was posted (giving up after some seconds if the disk refuses or does not answer)
 * and ends the thread, or leaves it where a disk holds it: every `done` was called when it returns.
 * Reading goes on. NULL is fine, twice too. */
void store_stop(struct store *st);

/* Stops, closes the backend, frees. NULL is fine. */
void store_close(struct store *st);
DEFINE_CLEANUP(struct store *, store_close)
