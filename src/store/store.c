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
 * and only once. */
#include "mist/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "store/logs.h"

enum {
	BATCH_MAX = 2000,
	GATHER_MAX = 512, /* enough: gathering more gains nothing */
	GATHER_MS = 5,
	RETRY_MS = 200,     /* while the disk refuses */
	RETRY_SOON_MS = 50, /* the same, when somebody waits for the answer */
	CLOSE_MS = 2000,    /* how long store_close believes in a disk that refuses */
};

struct op_queue {
	struct store_op *first, **last;
	size_t count;
	size_t n_waited; /* how many of them have a `done` */
};

struct store {
	const struct store_ops *ops;
	void *self;
	struct logs logs;
	pthread_t thread;
	bool is_started;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct op_queue posted;
	int64_t posted_since_ms; /* when the queue was last empty */
	bool is_asleep, is_closing;
	size_t wake_at; /* the thread sleeps until so many are posted, or one that is waited for */

	struct op_queue batch;           /* the thread's; between batches only what is kept */
	int64_t tried_ms, give_up_at_ms; /* the thread's */

	atomic_int health;
	atomic_size_t backlog;
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
}

static struct store_op *queue_pop(struct op_queue *q)
{
	struct store_op *op = q->first;
	q->first = op->next;
	if (!q->first)
		q->last = &q->first;
	q->count--;
	q->n_waited -= op->done != NULL;
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
	free(op->name);
	free(op->text);
	free(op->ids);
	free(op);
}

static bool is_for_backend(const struct store_op *op)
{
	return op->kind != STORE_LOG && op->kind != STORE_SETTLE;
}

/* What may pass, and is no property of the operation that met it. */
static bool is_weather(int r)
{
	return r == -ENOSPC || r == -EROFS || r == -EIO || r == -EBUSY || r == -ENOMEM;
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

/* Gives up what was taken out of the queues: tells who waits. */
static void finish(struct store *st, struct op_queue *done, int status)
{
	atomic_fetch_sub(&st->backlog, done->count); /* first: who is told may look */
	while (done->count) {
		struct store_op *op = queue_pop(done);
		if (op->kind == STORE_JOBS_PRUNE && status == 0)
			logs_prune(&st->logs, &op->job_id, is_gone, st);
		if (op->done)
			op->done(op->owner, op, status);
		store_op_free(op);
	}
}

static void set_health(struct store *st, int r)
{
	int before = atomic_exchange(&st->health, r);
	if (r < 0 && before != r)
		log_error("the store cannot write: %s", strerror(-r));
	else if (r == 0 && before < 0)
		log_info("the store can write again");
}

/* A job may have moved several times since the last batch; its last change says it all. */
static void find_newest(struct store *st)
{
	for (struct store_op *op = st->batch.first; op; op = op->next)
		if (op->kind == STORE_JOB_UPDATE)
			op->job->newest_change = op;
}

static bool is_outdated(const struct store_op *op)
{
	return op->kind == STORE_JOB_UPDATE && op->job->newest_change != op;
}

static int begin(struct store *st)
{
	int r = fail_point(FAIL_STORE_BEGIN);
	return r < 0 ? r : st->ops->begin(st->self);
}

static enum fail_point point_of(enum store_op_kind kind)
{
	switch (kind) {
	case STORE_NOUN_PUT:
	case STORE_NOUN_DROP:
		return FAIL_STORE_DEFINITION;
	case STORE_LISTENER_PUT:
		return FAIL_STORE_OUTBOX_ADD;
	case STORE_JOBS_DELIVERED:
	case STORE_LISTENERS_DROP:
		return FAIL_STORE_OUTBOX_DELIVERED;
	case STORE_JOBS_PRUNE:
		return FAIL_STORE_PRUNE;
	default:
		return FAIL_STORE_JOB;
	}
}

static int apply(struct store *st, const struct store_op *op)
{
	int r = fail_point(point_of(op->kind));
	return r < 0 ? r : st->ops->apply(st->self, op);
}

static int commit(struct store *st)
{
	int r = fail_point(FAIL_STORE_COMMIT);
	if (r == 0)
		r = st->ops->commit(st->self);
	if (r == 0)
		(void)fail_point(FAIL_STORE_COMMITTED);
	return r;
}

/* One transaction of the batch's operations before `until` (NULL: all). *ret_bad is the operation
 * that failed, if it was one. */
static int transact(struct store *st, const struct store_op *until, struct store_op **ret_bad)
{
	static const struct store_op probe = { .kind = STORE_SETTLE };
	bool is_probe = atomic_load(&st->health) < 0;
	bool is_needed = is_probe;
	for (struct store_op *op = st->batch.first; op != until; op = op->next)
		is_needed |= is_for_backend(op);
	if (!is_needed)
		return 0;

	find_newest(st);
	int r = begin(st);
	for (struct store_op *op = st->batch.first; r == 0 && op != until; op = op->next) {
		if (!is_for_backend(op) || is_outdated(op))
			continue;
		r = apply(st, op);
		if (r < 0)
			*ret_bad = op;
	}
	if (r == 0 && is_probe)
		r = st->ops->apply(st->self, &probe);
	if (r == 0)
		r = commit(st);
	if (r < 0)
		st->ops->rollback(st->self);
	return r;
}

static void batch_succeed(struct store *st, const struct store_op *until)
{
	struct op_queue done;
	queue_init(&done);
	while (st->batch.first != until)
		queue_push(&done, queue_pop(&st->batch));
	set_health(st, 0);
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
	set_health(st, r);
	finish(st, &given_up, r);
}

static void refuse_first(struct store *st, int r)
{
	struct op_queue refused;
	char id[UUID_TEXT];
	queue_init(&refused);
	queue_push(&refused, queue_pop(&st->batch));
	uuid_format(&refused.first->job_id, id);
	log_error("the store does not take a change of job %s: %s", id, strerror(-r));
	finish(st, &refused, r);
}

static void batch_write(struct store *st)
{
	struct store_op *until = NULL;
	st->tried_ms = clock_mono_ms();
	for (struct store_op *op = st->batch.first; op; op = op->next) {
		if (op->kind != STORE_LOG || !op->text)
			continue;
		logs_append(&st->logs, &op->job_id, op->text, op->text_len);
		free(TAKE_PTR(op->text));
	}
	do {
		struct store_op *bad = NULL;
		int r = transact(st, until, &bad);
		if (r < 0 && (!bad || is_weather(r))) {
			batch_fail(st, r);
			return;
		}
		if (r == 0) {
			batch_succeed(st, until);
			until = NULL;
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
	if (!count)
		return INT64_MAX;
	if (is_urgent || count >= GATHER_MAX)
		return 0;
	return st->posted_since_ms + GATHER_MS;
}

static void sleep_until(struct store *st, int64_t at_ms)
{
	bool is_healthy = atomic_load(&st->health) == 0;
	st->wake_at = !is_healthy ? SIZE_MAX : st->posted.count ? GATHER_MAX : 1;
	st->is_asleep = true;
	if (at_ms == INT64_MAX) {
		pthread_cond_wait(&st->wake, &st->lock);
	} else {
		const struct timespec at = { at_ms / 1000, at_ms % 1000 * 1000000 };
		pthread_cond_timedwait(&st->wake, &st->lock, &at);
	}
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
	return NULL;
}

void store_post(struct store *st, struct store_op *op)
{
	bool wakes = false;
	atomic_fetch_add(&st->backlog, 1);
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

static void store_init(struct store *st, const struct store_ops *ops)
{
	pthread_condattr_t monotonic;
	st->ops = ops;
	queue_init(&st->posted);
	queue_init(&st->batch);
	pthread_mutex_init(&st->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&st->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

int store_open(struct store **ret, const struct store_ops *ops, const struct store_settings *s,
	struct fault *f)
{
	_cleanup_(store_closep) struct store *st = xcalloc(1, sizeof *st);
	store_init(st, ops);
	int r = logs_open(&st->logs, s->directory, f);
	if (r < 0)
		return r;
	st->self = xcalloc(1, ops->size);
	r = ops->open(st->self, s, f);
	if (r < 0)
		return r;
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
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	st->is_started = r == 0;
	return -r;
}

bool store_is_settled(struct store *st)
{
	return atomic_load(&st->backlog) == 0;
}

int store_health(struct store *st)
{
	return atomic_load(&st->health);
}

size_t store_backlog(struct store *st)
{
	return atomic_load(&st->backlog);
}

int store_job_get(struct store *st, const struct uuid *id, struct job_row **ret)
{
	return st->ops->job_get(st->self, id, ret);
}

int store_job_list(struct store *st, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total)
{
	return st->ops->job_list(st->self, q, each, arg, ret_total);
}

int store_job_open_each(
	struct store *st, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return st->ops->job_open_each(st->self, each, arg);
}

int store_job_owed_each(
	struct store *st, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	return st->ops->job_owed_each(st->self, each, arg);
}

int store_key_each(
	struct store *st, int64_t since_ms, int64_t places_max, store_key_fn *each, void *arg)
{
	return st->ops->key_each(st->self, since_ms, places_max, each, arg);
}

int store_listener_each(struct store *st, store_listener_fn *each, void *arg)
{
	return st->ops->listener_each(st->self, each, arg);
}

int store_noun_each(struct store *st, enum store_noun noun,
	void (*each)(void *arg, const char *name, const char *text), void *arg)
{
	return st->ops->noun_each(st->self, noun, each, arg);
}

void store_log_path(struct store *st, const struct uuid *id, char *ret, size_t size)
{
	logs_path(&st->logs, id, ret, size);
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
		pthread_join(st->thread, NULL);
	else
		writer(st);
	st->is_started = false; /* what is posted from now on is written by store_close */

	size_t lost = st->batch.count + st->posted.count;
	if (!lost)
		return;
	int why = store_health(st);
	log_error("%zu changes of jobs could not be written before the end: %s", lost,
		strerror(-why));
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
	if (st->self)
		st->ops->close(st->self);
	free(st->self);
	logs_close(&st->logs);
	pthread_cond_destroy(&st->wake);
	pthread_mutex_destroy(&st->lock);
	free(st);
}
