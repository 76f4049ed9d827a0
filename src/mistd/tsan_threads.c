/* SPDX-License-Identifier: Apache-2.0 */
/* C11's threads by way of POSIX threads, for builds with ThreadSanitizer. It knows only the latter:
 * a thread that a library makes with thrd_create would end the process at its first step, and what
 * its mutexes order would look like races. Linked into mistd, these stand before the C library's.
 * In glibc the objects of both are the same.
 *
 * The library of Kafka, whose threads are made so, counts references with atomics that
 * ThreadSanitizer does not see: the end of a buffer on one of its threads would look like a race
 * with all that read it on ours. So what a library's threads read and write is left out, not what
 * they lock; what we do with a message on threads of our own is still looked at. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

/* Of the run-time library of ThreadSanitizer, which has no header for them. */
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a mutex is a mutex");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a condition is a condition");

struct start {
	thrd_start_t run;
	void *arg;
	bool is_library;
};

static int result(int error)
{
	switch (error) {
	case 0:
		return thrd_success;
	case ENOMEM:
		return thrd_nomem;
	case ETIMEDOUT:
		return thrd_timedout;
	case EBUSY:
		return thrd_busy;
	default:
		return thrd_error;
	}
}

static void *started(void *arg)
{
	struct start start = *(struct start *)arg;
	free(arg);
	if (!start.is_library)
		return (void *)(intptr_t)start.run(start.arg);
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
	void *ret = (void *)(intptr_t)start.run(start.arg);
	AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
	return ret;
}

/* Whether this code is not our program's. */
static bool is_library(const void *code)
{
	Dl_info its, ours;
	return dladdr(code, &its) && dladdr((const void *)(uintptr_t)started, &ours) &&
	       its.dli_fbase != ours.dli_fbase;
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
	struct start *start = malloc(sizeof *start);
	if (!start)
		return thrd_nomem;
	*start = (struct start){ run, arg, is_library((const void *)(uintptr_t)run) };
	int error = pthread_create(thread, NULL, started, start);
	if (error)
		free(start);
	return result(error);
}

int thrd_join(thrd_t thread, int *ret)
{
	void *value;
	int error = pthread_join(thread, &value);
	if (!error && ret)
		*ret = (int)(intptr_t)value;
	return result(error);
}

int mtx_init(mtx_t *mutex, int type)
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	if (type & mtx_recursive)
		pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	int error = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return result(error);
}

int mtx_lock(mtx_t *mutex)
{
	return result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
	return result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex)
{
	pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_init(cnd_t *condition)
{
	return result(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
	return result(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(
	cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until)
{
	return result(pthread_cond_timedwait(
		(pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}

int cnd_signal(cnd_t *condition)
{
	return result(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
	return result(pthread_cond_broadcast((pthread_cond_t *)condition));
}

void cnd_destroy(cnd_t *condition)
{
	pthread_cond_destroy((pthread_cond_t *)condition);
}
