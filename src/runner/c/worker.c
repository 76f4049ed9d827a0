/* SPDX-License-Identifier: Apache-2.0 */
/* libmist: a worker's life and its two threads.
 *
 * The main thread is the one that called mist_worker_run(). It takes jobs one after the other from
 * the queue and calls their functions; when the queue is empty it sleeps on the socket. `started`
 * is put into the output before a function is called and leaves together with the outcome: one
 * send() for the jobs of one read(), or for BATCH of them, or sooner when jobs take their time.
 *
 * The pulse thread beats every PULSE_MS. It does nothing as long as functions return quickly; when
 * one has kept the main thread for CALL_MS it does the main thread's part for the connection: what
 * is waiting is flushed, pings are answered, cancellations marked, acks taken, a lost gateway
 * looked for. It is also the one that ends a program whose function does not return though there is
 * no gateway any more, so that no orphan stays behind.
 *
 * Who may do what when: session.h and session.c. */
#include "mist/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "runner/c/functions.h"
#include "runner/c/session.h"

enum {
	PULSE_MS = 50,
	CALL_MS = 20,
	BATCH = 32,
	BATCH_BYTES = 64 * 1024,
	BATCH_MS = 2,
};

struct mist_worker {
	struct functions functions;
	struct session session;
	pthread_t pulse;
	pthread_cond_t wake; /* of the pulse, before its time */
	bool stopping;
};

struct mist_worker *mist_worker_new(void)
{
	struct mist_worker *w = xcalloc(1, sizeof *w);
	functions_init(&w->functions);
	return w;
}

void mist_worker_free(struct mist_worker *w)
{
	if (!w)
		return;
	functions_done(&w->functions);
	free(w);
}

int mist_worker_add(struct mist_worker *w, const char *name, const char *execute,
	mist_function_fn *fn, void *arg)
{
	return functions_add(&w->functions, name, execute, fn, arg);
}

static void call(struct mist_worker *w, struct mist_job *job)
{
	struct session *s = &w->session;
	const char *name = json_string_value(json_object_get(job->start, "className"));
	const struct function *f = functions_find(&w->functions, name);
	session_begin(s, job);
	printed_begin(&s->printed);
	session_unlock(s);
	if (f) {
		f->fn(job, f->arg);
	} else {
		enum { SENTENCE_MAX = 16 * 1024 };
		_cleanup_(buf_done) struct buf miss;
		buf_init(&miss, SENTENCE_MAX);
		functions_miss(&w->functions, name, &miss);
		mist_job_fail(job, miss.data);
	}
	(void)fflush(stdout);
	session_lock(s);
	printed_take(&s->printed, job, true);
	session_end_job(s, job);
}

static bool is_time_to_flush(const struct session *s)
{
	return s->n_unflushed >= BATCH || s->unflushed_bytes >= BATCH_BYTES ||
	       clock_mono_ms() - s->flushed_ms >= BATCH_MS;
}

/* Nothing waits to be run: the end of a drain, or sleep. */
static void rest(struct session *s)
{
	if (!s->draining || s->n_active) {
		session_wait(s);
		return;
	}
	int64_t now = clock_mono_ms();
	if (!s->drained_ms)
		s->drained_ms = now;
	if (s->held.count && now - s->drained_ms >= SESSION_ACK_MS) {
		log_warn("%zu outcome%s not acknowledged", s->held.count,
			by_count(s->held.count, " was", "s were"));
		session_end(s, SESSION_DRAINED);
	} else if (s->held.count) {
		session_wait(s);
	} else {
		session_bye(s);
	}
}

static void turn(struct mist_worker *w)
{
	struct session *s = &w->session;
	struct mist_job *job = session_next(s);
	if (!job) {
		session_flush(s);
		if (s->status < 0 && list_empty(&s->queue))
			rest(s);
		return;
	}
	call(w, job);
	if (!list_empty(&s->queue) && is_time_to_flush(s))
		session_serve(s);
}

static void *pulse(void *arg)
{
	struct mist_worker *w = arg;
	struct session *s = &w->session;
	session_lock(s);
	while (!w->stopping) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += PULSE_MS * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		(void)pthread_cond_timedwait(&w->wake, &s->lock, &until);
		int64_t now = clock_mono_ms();
		if (!s->running || now - s->call_began_ms < CALL_MS)
			continue;
		if (s->status >= 0 && now >= s->end_by_ms) {
			log_error("the function of job %s does not return: ending without it",
				s->running->id);
			_exit(s->status);
		}
		printed_take(&s->printed, s->running, false);
		session_serve(s);
	}
	session_unlock(s);
	return NULL;
}

/* Signals are the program's, and its handlers expect the thread they know. */
static int start_pulse(struct mist_worker *w)
{
	sigset_t all, before;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	w->stopping = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&w->pulse, NULL, pulse, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void stop_pulse(struct mist_worker *w)
{
	session_lock(&w->session);
	w->stopping = true;
	pthread_cond_signal(&w->wake);
	session_unlock(&w->session);
	pthread_join(w->pulse, NULL);
}

int mist_worker_run(struct mist_worker *w)
{
	struct session *s = &w->session;
	struct fault f = { 0 };
	session_init(s, &w->functions);
	int status = SESSION_NO_FILE;
	if (session_open(s, &f) < 0) {
		log_error("%s", f.text);
	} else {
		int r = start_pulse(w);
		if (r == 0) {
			session_lock(s);
			while (s->status < 0)
				turn(w);
			status = s->status;
			session_unlock(s);
			stop_pulse(w);
		} else {
			log_error("no thread for the pulse: %s", strerror(-r));
			status = SESSION_LOST;
		}
		pthread_cond_destroy(&w->wake);
	}
	session_done(s);
	return status;
}
