/* SPDX-License-Identifier: Apache-2.0 */
/* The store's thread: the only one that writes.
 *
 * Operations are posted from any thread and written in that order. Making one durable costs a sync
 * of the disk, so what was posted while the last sync ran shares the next one. When nobody waits
 * for any of it, the thread gathers a few milliseconds longer: jobs whose caller is on the line are
 * recorded thousands at a time.
 *
 * A batch is committed as a whole or not at all. When the disk refuses, those who wait are told so,
 * all of them, and their operations are forgotten; the others are kept in order at the front and
 * tried again until the disk takes them. Meanwhile store_health says why, and since then nobody may
 * post anything, the thread tries by itself, with an operation that writes and changes nothing.
 * An operation that the backend refuses for what it holds is not the disk's fault: what was posted
 * before it is committed, it alone is given up, and the rest goes on.
 *
 * The lock covers the queue of posted operations and the thread's sleep. The batch belongs to the
 * thread. Texts for the logs of jobs go to their files in the same order, before the transaction,
 * and only once; what the disk refuses of them is kept within a limit and tried again
 * (unwritten.c).
 *
 * A disk may also not answer at all: then the thread hangs in a call of the system, and nobody can
 * wait for it. A second thread, the guard, notices that a call lasts too long and tells those whose
 * operations were not begun; what is begun has an outcome that nobody knows, so its owners wait. At
 * the end the thread is left where it hangs: `phase` says whose the batch is, and a thread that
 * comes back to find itself abandoned touches nothing any more.
 *
 * The files of a deployment get their names inside of its transaction (files.c), of which there is
 * one at a time: what is half done when the process ends is finished or undone by the next
 * store_open.
 *
 * Every second, and before each batch, the thread looks whether the files are still the ones it
 * opened: what goes into a database that was moved away is lost to whoever starts next. */
#include "mist/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "store/figures.h"
#include "store/files.h"
#include "store/logs.h"
#include "store/unwritten.h"

enum {
	BATCH_MAX = 2000,
	GATHER_MAX = 512, /* enough: gathering more gains nothing */
	GATHER_MS = 5,
	RETRY_MS = 200,     /* while the disk refuses */
	RETRY_SOON_MS = 50, /* the same, when somebody waits for the answer */
	CLOSE_MS = 2000,    /* how long store_close believes in a disk that refuses */
	CHECK_MS = 1000,
	HANG_MS = 10000,
	TELL_MS = 60 * 1000, /* how often it is told that logs cannot be written, or are lost */
	KEEP_LOGS_MS = 5 * 60 * 1000,
};

/* What the thread is about, when it may be left. */
enum phase {
	PHASE_OURS,      /* it works on the batch */
	PHASE_CALLING,   /* it is inside of a call that may never return */
	PHASE_ABANDONED, /* the batch was taken from it meanwhile */
};

struct op_queue {
	struct store_op *first, **last;
	size_t count;
	size_t n_waited; /* how many of them have a `done` */
	size_t bytes;
};

struct store {
	const struct store_ops *ops;
	void *self;
	struct store_settings settings;
	char *directory;
	struct logs logs;
	pthread_t thread, guard;
	bool is_started, is_guarded;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct op_queue posted;
	int64_t posted_since_ms; /* when the queue was last empty */
	bool is_asleep, is_closing, has_ended;
	pthread_cond_t ended; /* the thread has, or the guard is to */
	size_t wake_at; /* the thread sleeps until so many are posted, or one that is waited for */

	struct op_queue batch; /* the thread's; between batches only what is kept */
	int64_t tried_ms, give_up_at_ms, checked_ms; /* the thread's */
	struct uuid deployed;                        /* the thread's: the last one with files */
	bool has_deployed;
	struct unwritten unwritten; /* the thread's: texts for logs */
	int64_t unwritten_tried_ms, unwritten_told_ms, lost_told_ms;

	atomic_int phase;
	_Atomic int64_t calling_since_ms;
	bool is_abandoned; /* the closing thread's */

	atomic_int health;
	atomic_bool is_damaged, is_aside_failing;
	atomic_size_t backlog, backlog_bytes;
	_Atomic int64_t n_unreadable;
	struct store_figures figures;
};

static void queue_init(struct op_queue *q)
{
	*q = (struct op_queue){ .last = &q->first };
}

static void queue_push(struct op_queue *q, struct store_op *op)
{
	op->next = NULL;
	*q->last = op;
	q->last = &op->next;
	q->count++;
	q->n_waited += op->done != NULL;
	q->bytes += op->bytes;
}

static struct store_op *queue_pop(struct op_queue *q)
{
	struct store_op *op = q->first;
	q->first = op->next;
	if (!q->first)
		q->last = &q->first;
	q->count--;
	q->n_waited -= op->done != NULL;
	q->bytes -= op->bytes;
	return op;
}

struct store_op *store_op_new(enum store_op_kind kind, struct job *job)
{
	struct store_op *op = xcalloc(1, sizeof *op);
	op->kind = kind;
	if (job) {
		op->job = job_ref(job);
		op->job_id = job->id;
	}
	return op;
}

void store_op_free(struct store_op *op)
{
	if (!op)
		return;
	job_unref(op->job);
	free(op->change.worker);
	free(op->change.result);
	free(op->change.error);
	free(op->change.progress);
	free(op->name);
	free(op->text);
	free(op->ids);
	store_row_free(op->row);
	files_free(op);
	while (op->parts) {
		struct store_op *part = op->parts;
		op->parts = part->next;
		store_op_free(part);
	}
	free(op);
}

static size_t len_of(const char *text)
{
	return text ? strlen(text) : 0;
}

/* What it holds. The job's own texts are counted with its insertion only: later they are the
 * core's. */
static size_t bytes_of(const struct store_op *op)
{
	size_t n = sizeof *op + op->n_ids * sizeof *op->ids + len_of(op->name);
	n += op->text_len ? op->text_len : len_of(op->text);
	n += len_of(op->change.result) + len_of(op->change.error) + len_of(op->change.progress);
	if (op->kind == STORE_JOB_INSERT)
		n += len_of(op->job->parameters) + len_of(op->job->reply_to) +
		     len_of(op->job->ignored);
	for (const struct store_op *part = op->parts; part; part = part->next)
		n += bytes_of(part);
	return n;
}

/* Around every call of the system that may hang. */
static void enter(struct store *st)
{
	int ours = PHASE_OURS;
	atomic_store(&st->calling_since_ms, clock_mono_ms());
	if (!atomic_compare_exchange_strong(&st->phase, &ours, PHASE_CALLING))
		must(!"a thread that is alone");
}

static void leave(struct store *st)
{
	int calling = PHASE_CALLING;
	if (!atomic_compare_exchange_strong(&st->phase, &calling, PHASE_OURS))
		for (;;) /* until the process ends: nothing here is ours any more */
			pause();
	atomic_store(&st->calling_since_ms, 0);
}

static bool is_hanging(struct store *st)
{
	int64_t since = atomic_load(&st->calling_since_ms);
	return since && clock_mono_ms() - since > st->settings.hang_ms;
}

static bool is_for_backend(const struct store_op *op)
{
	return op->kind != STORE_LOG && op->kind != STORE_SETTLE;
}

/* What may pass, and is no property of the operation that met it. */
static bool is_weather(int r)
{
	return r == -ENOSPC || r == -EROFS || r == -EIO || r == -EBUSY || r == -ENOMEM ||
	       r == -EUCLEAN;
}

/* A file of its own could not get its name: that says nothing of the database. */
static bool has_refused_file(const struct store_op *op)
{
	bool is_refused = false;
	for (size_t i = 0; i < op->n_files; i++)
		is_refused |= op->files[i].status < 0;
	return is_refused;
}

static bool is_gone(void *owner, const struct uuid *id)
{
	struct store *st = owner;
	struct job_row *row;
	int r = st->ops->job_get(st->self, id, &row);
	if (r == 0)
		job_row_freep(&row);
	return r == -ENOENT;
}

static void prune_logs(struct store *st, const struct uuid *last)
{
	enter(st);
	logs_prune(&st->logs, last, is_gone, st);
	leave(st);
}

/* Of one that was begun; who is told that it is done may look. */
static void finish_files(struct store *st, struct store_op *op, int status)
{
	/* How one that was abandoned ends nobody knows, but the next process. */
	if (!op->journal || atomic_load(&st->phase) == PHASE_ABANDONED)
		return;
	if (status == 0) {
		st->deployed = op->journal->id;
		st->has_deployed = true;
	}
	enter(st);
	if (status == 0)
		files_keep(op);
	else
		files_put_back(op);
	leave(st);
}

/* Gives up what was taken out of the queues: tells who waits. Files are removed after that, since
 * they may be many, and on a disk that hangs. */
static void finish(struct store *st, struct op_queue *done, int status)
{
	struct op_queue pruned;
	queue_init(&pruned);
	atomic_fetch_sub(&st->backlog, done->count); /* first: who is told may look */
	atomic_fetch_sub(&st->backlog_bytes, done->bytes);
	while (done->count) {
		struct store_op *op = queue_pop(done);
		finish_files(st, op, status);
		if (op->done)
			op->done(op->owner, op, status);
		if (op->kind == STORE_JOBS_PRUNE && status == 0)
			queue_push(&pruned, op);
		else
			store_op_free(op);
	}
	while (pruned.count) {
		struct store_op *op = queue_pop(&pruned);
		prune_logs(st, &op->job_id);
		store_op_free(op);
	}
}

/* Why nothing can be written, as one sentence. */
static void explain(const struct store *st, int r, struct fault *f)
{
	const char *directory = st->logs.folder; /* …/logs */
	int len = (int)(strlen(directory) - strlen("/logs"));
	if (r == -ENOENT)
		fault_set(f, FAULT_UNAVAILABLE,
			"the store cannot write: its database was removed or moved away from "
			"%.*s; it goes on when the same files are back",
			len, directory);
	else if (r == -ESTALE)
		fault_set(f, FAULT_UNAVAILABLE,
			"the store cannot write: its database in %.*s was replaced by other "
			"files; restart the gateway to use those",
			len, directory);
	else if (r == -ETIMEDOUT)
		fault_set(f, FAULT_UNAVAILABLE,
			"the store cannot write: the disk of %.*s does not answer", len, directory);
	else if (r == -EUCLEAN)
		fault_set(f, FAULT_UNAVAILABLE,
			"the store cannot write: its database in %.*s is damaged; stop the "
			"gateway and run mistd --check-data",
			len, directory);
	else
		fault_set(f, FAULT_UNAVAILABLE, "the store cannot write: %s", strerror(-r));
}

static void set_health(struct store *st, int r)
{
	int before = atomic_exchange(&st->health, r);
	struct fault f;
	if (r < 0 && before != r) {
		explain(st, r, &f);
		log_error("%s", f.text);
	}
	if (r == 0 && before < 0)
		log_info("the store can write again");
}

/* A job may have moved several times since the last transaction; its last change says it all. */
static void find_newest(struct store *st, const struct store_op *until)
{
	for (struct store_op *op = st->batch.first; op != until; op = op->next)
		if (op->kind == STORE_JOB_UPDATE)
			op->job->newest_change = op;
}

static bool is_outdated(const struct store_op *op)
{
	return op->kind == STORE_JOB_UPDATE && op->job->newest_change != op;
}

static int begin(struct store *st)
{
	enter(st);
	int r = fail_point(FAIL_STORE_BEGIN);
	if (r == 0)
		r = st->ops->begin(st->self);
	leave(st);
	return r;
}

static enum fail_point point_of(enum store_op_kind kind)
{
	switch (kind) {
	case STORE_NOUN_PUT:
	case STORE_NOUN_DROP:
	case STORE_DEPLOY:
		return FAIL_STORE_DEFINITION;
	case STORE_LISTENER_PUT:
		return FAIL_STORE_OUTBOX_ADD;
	case STORE_JOBS_DELIVERED:
	case STORE_LISTENERS_DROP:
		return FAIL_STORE_OUTBOX_DELIVERED;
	case STORE_JOBS_PRUNE:
		return FAIL_STORE_PRUNE;
	case STORE_SET_ASIDE:
	case STORE_UNREADABLE_DROP:
		return FAIL_STORE_UNREADABLE;
	default:
		return FAIL_STORE_JOB;
	}
}

static int apply_parts(struct store *st, struct store_op *op)
{
	int r = files_replace(op, st->has_deployed ? &st->deployed : NULL);
	for (const struct store_op *part = op->parts; r == 0 && part; part = part->next)
		r = st->ops->apply(st->self, part);
	return r < 0 ? r : st->ops->apply(st->self, op);
}

static int apply(struct store *st, struct store_op *op)
{
	enter(st);
	int r = fail_point(point_of(op->kind));
	if (r == 0)
		r = op->kind == STORE_DEPLOY ? apply_parts(st, op) : st->ops->apply(st->self, op);
	leave(st);
	return r;
}

static int commit(struct store *st)
{
	int64_t began_us = clock_mono_us();
	enter(st);
	int r = fail_point(FAIL_STORE_COMMIT);
	if (r == 0)
		r = st->ops->commit(st->self);
	if (r == 0)
		(void)fail_point(FAIL_STORE_COMMITTED);
	leave(st);
	if (r == 0)
		histogram_observe(
			&st->figures.commits, &histogram_call_bounds, clock_mono_us() - began_us);
	return r;
}

static void rollback(struct store *st)
{
	enter(st);
	st->ops->rollback(st->self);
	leave(st);
}

static int check(struct store *st)
{
	enter(st);
	int r = st->ops->check ? st->ops->check(st->self) : 0;
	figures_measure(&st->figures, st->directory,
		r == 0 && st->ops->bytes ? st->ops->bytes(st->self) : -1);
	leave(st);
	logs_tick(&st->logs);
	st->checked_ms = clock_mono_ms();
	return r;
}

static int append(struct store *st, const struct store_op *op)
{
	enter(st);
	int r = logs_append(&st->logs, &op->job_id, op->text, op->text_len);
	leave(st);
	return r;
}

/* One transaction of the batch's operations before `until` (NULL: all). *ret_bad is the operation
 * that failed, if it was one. */
static int transact(struct store *st, const struct store_op *until, struct store_op **ret_bad)
{
	struct store_op probe = { .kind = STORE_SETTLE };
	bool is_probe = atomic_load(&st->health) < 0;
	bool is_needed = is_probe;
	for (struct store_op *op = st->batch.first; op != until; op = op->next)
		is_needed |= is_for_backend(op);
	if (!is_needed)
		return 0;

	find_newest(st, until);
	int r = begin(st);
	for (struct store_op *op = st->batch.first; r == 0 && op != until; op = op->next) {
		if (!is_for_backend(op) || is_outdated(op))
			continue;
		r = apply(st, op);
		if (r < 0)
			*ret_bad = op;
	}
	if (r == 0 && is_probe)
		r = apply(st, &probe);
	if (r == 0)
		r = commit(st);
	if (r < 0)
		rollback(st);
	return r;
}

/* Rows were set aside, or forgotten: how many are there now? */
static void count_unreadable(struct store *st)
{
	int64_t n;
	enter(st);
	int r = st->ops->unreadable_each(st->self, 0, 0, 0, NULL, NULL, &n);
	leave(st);
	if (r == 0)
		atomic_store(&st->n_unreadable, n);
}

static void batch_succeed(struct store *st, const struct store_op *until)
{
	struct op_queue done;
	bool is_recounted = false;
	queue_init(&done);
	while (st->batch.first != until) {
		enum store_op_kind kind = st->batch.first->kind;
		is_recounted |= kind == STORE_SET_ASIDE || kind == STORE_UNREADABLE_DROP;
		queue_push(&done, queue_pop(&st->batch));
	}
	counter_add(&st->figures.operations, done.count);
	set_health(st, 0);
	if (is_recounted)
		count_unreadable(st);
	finish(st, &done, 0);
}

/* Moves what is not kept while the disk refuses from `q` to `given_up`. */
static void give_up_waited(struct op_queue *q, struct op_queue *given_up)
{
	for (size_t n = q->count; n > 0; n--) {
		struct store_op *op = queue_pop(q);
		bool is_written = !is_for_backend(op) && !op->text;
		queue_push(op->done || is_written ? given_up : q, op);
	}
}

static void batch_fail(struct store *st, int r)
{
	struct op_queue given_up;
	queue_init(&given_up);
	give_up_waited(&st->batch, &given_up);
	pthread_mutex_lock(&st->lock);
	give_up_waited(&st->posted, &given_up);
	pthread_mutex_unlock(&st->lock);
	counter_add(&st->figures.failures, 1);
	set_health(st, r);
	finish(st, &given_up, r);
}

static void log_refusal(const struct store_op *op, int r)
{
	const char *what = "a change of job";
	char id[UUID_TEXT] = "";
	switch (op->kind) {
	case STORE_SET_ASIDE: /* which tells by itself */
		return;
	case STORE_SETTLE:
	case STORE_JOBS_DELIVERED:
		what = "that outcomes were delivered";
		break;
	case STORE_DEPLOY:
		what = "a deployment";
		break;
	case STORE_NOUN_PUT:
	case STORE_NOUN_DROP:
		what = op->noun == STORE_CONTEXT ? "a change of context" : "a change of function";
		break;
	case STORE_JOBS_PRUNE:
		what = "that old jobs go";
		break;
	case STORE_UNREADABLE_DROP:
		what = "that unreadable jobs go";
		break;
	case STORE_JOB_INSERT:
	case STORE_JOB_UPDATE:
	case STORE_LOG:
	case STORE_LISTENER_PUT:
	case STORE_LISTENERS_DROP:
		uuid_format(&op->job_id, id);
		break;
	}
	const char *which =
		op->kind == STORE_NOUN_PUT || op->kind == STORE_NOUN_DROP ? op->name : id;
	log_error(
		"the store does not take %s%s%s: %s", what, *which ? " " : "", which, strerror(-r));
}

static void refuse_first(struct store *st, int r)
{
	struct op_queue refused;
	queue_init(&refused);
	queue_push(&refused, queue_pop(&st->batch));
	log_refusal(refused.first, r);
	finish(st, &refused, r);
}

/* The disk may take them later: they are kept, within a limit of their own, and written in order.
 * They are no part of the backlog: nobody has to wait for them. */
static void log_later(struct store *st, struct store_op *from)
{
	struct store_op *op = store_op_new(STORE_LOG, NULL);
	op->job_id = from->job_id;
	op->text = TAKE_PTR(from->text);
	op->text_len = from->text_len;
	(void)unwritten_add(&st->unwritten, op);
}

static int log_again(void *owner, const struct store_op *op)
{
	return append(owner, op);
}

static void tell_lost_logs(struct store *st)
{
	if (!st->unwritten.dropped_bytes)
		return;
	size_t n = st->unwritten.dropped_bytes;
	log_warn("%zu byte%s of job logs %s not be written", n, plural(n),
		by_count(n, "was lost while it could", "were lost while they could"));
	st->unwritten.dropped_bytes = 0;
	st->lost_told_ms = clock_mono_ms();
}

static void log_unwritten(struct store *st)
{
	int64_t now = clock_mono_ms();
	st->unwritten_tried_ms = now;
	unwritten_try(&st->unwritten, log_again, st);
	if (atomic_load(&st->health) == 0) /* else it is the disk, which may have room again */
		unwritten_give_up(&st->unwritten, now - st->settings.keep_logs_ms);
	if (!st->unwritten.count || now - st->lost_told_ms >= TELL_MS)
		tell_lost_logs(st);
	figures_set_refused_logs(&st->figures, st->unwritten.bytes);
}

static void tell_unwritten(struct store *st, const struct store_op *op, int r)
{
	char path[4096];
	int64_t now = clock_mono_ms();
	if (st->unwritten_told_ms && now - st->unwritten_told_ms < TELL_MS)
		return;
	st->unwritten_told_ms = now;
	logs_path(&st->logs, &op->job_id, path, sizeof path);
	log_warn("the log %s cannot be written: %s; what it would get is kept for a while, as are "
		 "others that are refused",
		path, strerror(-r));
}

static void write_logs(struct store *st)
{
	if (st->unwritten.count)
		log_unwritten(st);
	for (struct store_op *op = st->batch.first; op; op = op->next) {
		if (op->kind != STORE_LOG || !op->text)
			continue;
		bool has_to_wait = unwritten_has(&st->unwritten, &op->job_id);
		int r = has_to_wait ? 0 : append(st, op);
		if (r < 0)
			tell_unwritten(st, op, r);
		if (has_to_wait || r < 0)
			log_later(st, op);
		else
			free(TAKE_PTR(op->text));
	}
	figures_set_refused_logs(&st->figures, st->unwritten.bytes);
}

/* A journal is of one deployment, so a transaction is, too. */
static struct store_op *end_of_transaction(struct store *st, struct store_op *until)
{
	bool has_deployment = false;
	for (struct store_op *op = st->batch.first; op != until; op = op->next) {
		if (op->kind != STORE_DEPLOY)
			continue;
		if (has_deployment)
			return op;
		has_deployment = true;
	}
	return until;
}

static void batch_write(struct store *st)
{
	struct store_op *until = NULL;
	st->tried_ms = clock_mono_ms();
	int moved = check(st);
	if (moved < 0) {
		batch_fail(st, moved);
		return;
	}
	write_logs(st);
	do {
		struct store_op *bad = NULL, *end = end_of_transaction(st, until);
		int r = transact(st, end, &bad);
		if (r < 0 && (!bad || (is_weather(r) && !has_refused_file(bad)))) {
			batch_fail(st, r);
			return;
		}
		if (r == 0) {
			batch_succeed(st, end);
			until = end == until ? NULL : until;
		} else if (bad == st->batch.first) {
			refuse_first(st, r);
		} else {
			until = bad;
		}
	} while (st->batch.first);
}

/* When the next batch is to be written: a time that may have passed, or INT64_MAX. */
static int64_t due_ms(const struct store *st)
{
	size_t count = st->batch.count + st->posted.count;
	bool is_urgent = st->posted.n_waited || st->is_closing;
	if (atomic_load(&st->health) < 0)
		return st->tried_ms + (is_urgent ? RETRY_SOON_MS : RETRY_MS);
	if (is_urgent || count >= GATHER_MAX)
		return 0;
	int64_t due = count ? st->posted_since_ms + GATHER_MS : st->checked_ms + CHECK_MS;
	int64_t logs = st->unwritten.count ? st->unwritten_tried_ms + RETRY_MS : INT64_MAX;
	return logs < due ? logs : due;
}

static void wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t at_ms)
{
	const struct timespec at = { at_ms / 1000, at_ms % 1000 * 1000000 };
	pthread_cond_timedwait(condition, lock, &at);
}

static void sleep_until(struct store *st, int64_t at_ms)
{
	bool is_healthy = atomic_load(&st->health) == 0;
	st->wake_at = !is_healthy ? SIZE_MAX : st->posted.count ? GATHER_MAX : 1;
	st->is_asleep = true;
	wait_until(&st->wake, &st->lock, at_ms);
	st->is_asleep = false;
}

/* Waits until there is something to write and takes it. False: it is the end. */
static bool batch_take(struct store *st)
{
	bool is_taken = false;
	pthread_mutex_lock(&st->lock);
	for (;;) {
		int64_t now = clock_mono_ms(), due = due_ms(st);
		if (st->is_closing && (!st->batch.count && !st->posted.count))
			break;
		if (st->is_closing && now >= st->give_up_at_ms && atomic_load(&st->health) < 0)
			break;
		if (now >= due) {
			while (st->posted.count && st->batch.count < BATCH_MAX)
				queue_push(&st->batch, queue_pop(&st->posted));
			is_taken = true;
			break;
		}
		sleep_until(st, due);
	}
	pthread_mutex_unlock(&st->lock);
	return is_taken;
}

static void *writer(void *arg)
{
	struct store *st = arg;
	while (batch_take(st))
		batch_write(st);
	if (st->unwritten.count)
		log_unwritten(st);
	pthread_mutex_lock(&st->lock);
	st->has_ended = true;
	pthread_cond_broadcast(&st->ended);
	pthread_mutex_unlock(&st->lock);
	return NULL;
}

/* Nobody waits for an operation that the thread has not taken while it hangs. */
static void give_up_posted(struct store *st)
{
	struct op_queue given_up;
	queue_init(&given_up);
	pthread_mutex_lock(&st->lock);
	give_up_waited(&st->posted, &given_up);
	pthread_mutex_unlock(&st->lock);
	finish(st, &given_up, -ETIMEDOUT);
}

static void *guard(void *arg)
{
	struct store *st = arg;
	bool was_hanging = false;
	pthread_mutex_lock(&st->lock);
	while (!st->has_ended && !st->is_closing) {
		wait_until(&st->ended, &st->lock, clock_mono_ms() + st->settings.hang_ms / 10 + 1);
		pthread_mutex_unlock(&st->lock);
		bool is_now = is_hanging(st);
		if (is_now && !was_hanging)
			log_error("the store cannot write: the disk does not answer");
		else if (was_hanging && !is_now)
			log_info("the disk answers the store again");
		was_hanging = is_now;
		if (is_now)
			give_up_posted(st);
		pthread_mutex_lock(&st->lock);
	}
	pthread_mutex_unlock(&st->lock);
	return NULL;
}

void store_post(struct store *st, struct store_op *op)
{
	bool wakes = false;
	op->bytes = bytes_of(op);
	op->is_whole = op->job && op->job->parameters;
	atomic_fetch_add(&st->backlog, 1);
	atomic_fetch_add(&st->backlog_bytes, op->bytes);
	pthread_mutex_lock(&st->lock);
	if (!st->posted.count)
		st->posted_since_ms = clock_mono_ms();
	queue_push(&st->posted, op);
	if (st->is_asleep && (op->done || st->posted.count >= st->wake_at)) {
		st->is_asleep = false;
		wakes = true;
	}
	pthread_mutex_unlock(&st->lock);
	if (wakes)
		pthread_cond_signal(&st->wake);
}

/* On the store's thread. */
static void was_set_aside(void *owner, struct store_op *op, int status)
{
	struct store *st = owner;
	_cleanup_(freep) char *subject = store_row_subject(op->row);
	if (status == 0)
		log_warn(
			"%s in the store cannot be read, and was set aside: %s", subject, op->text);
	else if (!atomic_load(&st->is_aside_failing))
		log_error("%s in the store cannot be read, and stays where it is: %s (%s)", subject,
			op->text, strerror(-status));
	atomic_store(&st->is_aside_failing, status < 0);
}

/* When the disk refuses, it is given up: whoever reads the row again tries again. */
static void set_aside(void *owner, struct store_row *row, const char *reason)
{
	struct store_op *op = store_op_new(STORE_SET_ASIDE, NULL);
	op->row = row;
	op->text = xstrdup(reason);
	op->done = was_set_aside;
	op->owner = owner;
	store_post(owner, op);
}

void store_set_aside(struct store *st, struct store_row *row, const char *reason)
{
	set_aside(st, row, reason);
}

void store_set_aside_definition(
	struct store *st, enum store_noun noun, const char *name, const char *reason)
{
	struct store_row *row = store_row_new(STORE_PART_DEFINITION, name, strlen(name));
	row->noun = noun;
	set_aside(st, row, reason);
}

void store_set_aside_reply_target(struct store *st, const struct uuid *job, const char *transport,
	const char *text, const char *reason)
{
	struct store_row *row = store_row_new(STORE_PART_REPLY_TARGET, job, sizeof *job);
	store_row_set_key(row, 1, transport, strlen(transport));
	store_row_set_key(row, 2, text, strlen(text));
	set_aside(st, row, reason);
}

static void store_init(struct store *st, const struct store_ops *ops)
{
	pthread_condattr_t monotonic;
	st->ops = ops;
	queue_init(&st->posted);
	queue_init(&st->batch);
	unwritten_init(&st->unwritten);
	figures_init(&st->figures);
	pthread_mutex_init(&st->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&st->wake, &monotonic);
	pthread_cond_init(&st->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

/* Whatever is wrong with the files, the gateway starts; not with a database that cannot say what is
 * to become of them. */
static int recover_deployment(struct store *st, const char *artifacts, struct fault *f)
{
	int r = st->ops->deployed ? st->ops->deployed(st->self, &st->deployed) : -ENOENT;
	if (r < 0 && r != -ENOENT && artifacts && journal_is_there(artifacts))
		return fault_set(f, FAULT_UNAVAILABLE,
			"a deployment is not finished, and whether it took effect cannot be read "
			"from the database in %s: %s",
			st->directory,
			r == -EUCLEAN ? "it is damaged, and mistd --check-data tells more"
				      : strerror(-r));
	st->has_deployed = r == 0;
	if (!artifacts)
		return 0;
	r = files_recover(artifacts, st->has_deployed ? &st->deployed : NULL);
	if (r < 0)
		log_error("what a deployment left in %s cannot be put in order: %s", artifacts,
			strerror(-r));
	return 0;
}

int store_open(struct store **ret, const struct store_ops *ops, const struct store_settings *s,
	struct fault *f)
{
	_cleanup_(store_closep) struct store *st = xcalloc(1, sizeof *st);
	store_init(st, ops);
	st->directory = xstrdup(s->directory);
	st->settings = *s;
	st->settings.directory = st->directory; /* the caller's texts need not live on */
	st->settings.artifacts = NULL;
	st->settings.hang_ms = s->hang_ms ? s->hang_ms : HANG_MS;
	st->settings.keep_logs_ms = s->keep_logs_ms ? s->keep_logs_ms : KEEP_LOGS_MS;
	st->settings.set_aside = set_aside;
	st->settings.owner = st;
	int r = logs_open(&st->logs, s->directory, f);
	if (r < 0)
		return r;
	st->self = xcalloc(1, ops->size);
	r = ops->open(st->self, &st->settings, f);
	if (r < 0)
		return r;
	r = recover_deployment(st, s->artifacts, f);
	if (r < 0)
		return r;
	count_unreadable(st);
	*ret = TAKE_PTR(st);
	return 0;
}

int store_start(struct store *st)
{
	/* Signals are for the main thread, but a fault in this one is this one's. */
	sigset_t all, before;
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&st->thread, NULL, writer, st);
	st->is_started = r == 0;
	if (r == 0)
		r = pthread_create(&st->guard, NULL, guard, st);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	st->is_guarded = r == 0;
	return -r;
}

bool store_is_settled(struct store *st)
{
	return atomic_load(&st->backlog) == 0;
}

int store_health(struct store *st)
{
	int r = atomic_load(&st->health);
	return r == 0 && is_hanging(st) ? -ETIMEDOUT : r;
}

int store_check_writable(struct store *st, struct fault *f)
{
	int r = store_health(st);
	if (r < 0)
		explain(st, r, f);
	return r;
}

int store_check_whole(struct store *st, struct fault *f)
{
	int r = store_check_writable(st, f);
	if (r < 0 || !atomic_load(&st->is_damaged))
		return r;
	fault_set(f, FAULT_UNAVAILABLE,
		"the database is damaged, and not all of the history can be read; stop the gateway "
		"and run mistd --check-data");
	return -EUCLEAN;
}

size_t store_backlog(struct store *st)
{
	return atomic_load(&st->backlog);
}

size_t store_backlog_bytes(struct store *st)
{
	return atomic_load(&st->backlog_bytes);
}

void store_metrics_put(struct store *st, struct exposition *e)
{
	figures_put(&st->figures, e);
}

int64_t store_unreadable_count(struct store *st)
{
	return atomic_load(&st->n_unreadable);
}

/* What a read came to; who reads on finds out that the database is damaged. */
static int have_read(struct store *st, int r)
{
	if (r == -EUCLEAN && !atomic_exchange(&st->is_damaged, true))
		log_error("the database is damaged: not all of it can be read; stop the gateway "
			  "and run mistd --check-data");
	return r;
}

/* The same of one that does not tell how many rows it left out. */
static int have_read_all(struct store *st, int r)
{
	return have_read(st, r < 0 ? r : 0);
}

int store_job_get(struct store *st, const struct uuid *id, struct job_row **ret)
{
	return have_read(st, st->ops->job_get(st->self, id, ret));
}

int store_job_list(struct store *st, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total)
{
	return have_read(st, st->ops->job_list(st->self, q, each, arg, ret_total));
}

int store_job_open_each(
	struct store *st, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return have_read_all(st, st->ops->job_open_each(st->self, each, arg));
}

int store_job_newest(struct store *st, struct uuid *ret)
{
	return have_read(st, st->ops->job_newest(st->self, ret));
}

int store_job_old(struct store *st, int64_t before_ms, int64_t now_ms, struct uuid *ret)
{
	return have_read(st, st->ops->job_old(st->self, before_ms, now_ms, ret));
}

int store_job_owed_each(
	struct store *st, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return have_read_all(st, st->ops->job_owed_each(st->self, each, arg));
}

int store_undelivered_list(struct store *st, const char *transport,
	const struct store_undelivered *after, struct store_undelivered *ret, size_t max)
{
	return have_read(st, st->ops->undelivered_list(st->self, transport, after, ret, max));
}

int store_key_each(struct store *st, int64_t since_ms, int64_t now_ms, int64_t places_max,
	store_key_fn *each, void *arg)
{
	return have_read_all(
		st, st->ops->key_each(st->self, since_ms, now_ms, places_max, each, arg));
}

int store_listener_each(struct store *st, store_listener_fn *each, void *arg)
{
	return have_read_all(st, st->ops->listener_each(st->self, each, arg));
}

int store_noun_each(struct store *st, enum store_noun noun,
	void (*each)(void *arg, const char *name, const char *text), void *arg)
{
	return have_read_all(st, st->ops->noun_each(st->self, noun, each, arg));
}

void store_log_path(struct store *st, const struct uuid *id, char *ret, size_t size)
{
	logs_path(&st->logs, id, ret, size);
}

int store_log_open(struct store *st, const struct uuid *id)
{
	return logs_read(&st->logs, id);
}

int store_unreadable_each(struct store *st, int64_t number, int64_t limit, int64_t offset,
	store_unreadable_fn *each, void *arg, int64_t *ret_total)
{
	return have_read(st,
		st->ops->unreadable_each(st->self, number, limit, offset, each, arg, ret_total));
}

/* Waits for the thread's end, or takes the batch from it. */
static void end_thread(struct store *st)
{
	int64_t until = clock_mono_ms() + CLOSE_MS + st->settings.hang_ms;
	pthread_mutex_lock(&st->lock);
	pthread_cond_broadcast(&st->ended);
	while (!st->has_ended && !st->is_abandoned) {
		int calling = PHASE_CALLING;
		int64_t now = clock_mono_ms();
		wait_until(&st->ended, &st->lock, now < until ? until : now + 10);
		if (!st->has_ended && clock_mono_ms() >= until)
			st->is_abandoned = atomic_compare_exchange_strong(
				&st->phase, &calling, PHASE_ABANDONED);
	}
	pthread_mutex_unlock(&st->lock);
	if (st->is_abandoned)
		pthread_detach(st->thread);
	else
		pthread_join(st->thread, NULL);
	if (st->is_guarded)
		pthread_join(st->guard, NULL);
}

/* Tells those whose operations are in the hands of a thread that was left: what it borrows of them
 * stays where it is. */
static void abandon_batch(struct store *st)
{
	for (struct store_op *op = st->batch.first; op; op = op->next)
		if (op->done)
			op->done(op->owner, op, -EINPROGRESS);
	finish(st, &st->posted, -ETIMEDOUT);
}

/* Writes what is posted, by the thread or, when it was never started, here. */
static void drain(struct store *st)
{
	pthread_mutex_lock(&st->lock);
	st->is_closing = true;
	st->give_up_at_ms = clock_mono_ms() + CLOSE_MS;
	pthread_cond_signal(&st->wake);
	pthread_mutex_unlock(&st->lock);
	if (st->is_started)
		end_thread(st);
	else if (!st->is_abandoned)
		writer(st);
	st->is_started = false; /* what is posted from now on is written by store_close */

	if (!st->is_abandoned) {
		unwritten_give_up(&st->unwritten, INT64_MAX);
		tell_lost_logs(st);
	}
	size_t lost = st->batch.count + st->posted.count;
	if (!lost)
		return;
	int why = st->is_abandoned ? -ETIMEDOUT : store_health(st);
	struct fault f;
	explain(st, why, &f);
	log_error("%zu change%s of jobs %s not written before the end: %s", lost, plural(lost),
		by_count(lost, "was", "were"), f.text);
	if (st->is_abandoned) {
		abandon_batch(st);
		queue_init(&st->batch); /* told, and left */
		return;
	}
	finish(st, &st->batch, why);
	finish(st, &st->posted, why);
}

void store_stop(struct store *st)
{
	if (st)
		drain(st);
}

void store_close(struct store *st)
{
	if (!st)
		return;
	drain(st);
	if (st->is_abandoned)
		return; /* the thread that was left may come back to it */
	if (st->self)
		st->ops->close(st->self);
	free(st->self);
	free(st->directory);
	logs_close(&st->logs);
	unwritten_done(&st->unwritten);
	pthread_cond_destroy(&st->wake);
	pthread_cond_destroy(&st->ended);
	pthread_mutex_destroy(&st->lock);
	free(st);
}
