/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that is gone, has another owner or lies on a disk that broke is found out when something
 * is to be written in it: by the job that fails. So it is tried beforehand, again and again, by a
 * thread that nobody waits for, since a disk that does not answer keeps it for ever; then that is
 * what is told. The lock is never held over a look at a disk. */
#include "base/disk/folder_watch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/disk/folder.h"
#include "base/log.h"
#include "base/thread/detach.h"

enum { PAUSE_MS = 2000, LATE_MS = 10000 };

struct watched {
	const char *name;
	char *path;
	int error; /* of the last try that ended; 0: none, or it was not tried */
};

struct folder_watch {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned n_refs; /* the owner's, and the thread's */
	bool is_over;
	size_t n;
	struct watched folders[FOLDERS_WATCHED_MAX];
	const struct watched *tried; /* NULL: none is being tried */
	int64_t since_ms;            /* that, monotonic */
};

static void unref(struct folder_watch *w)
{
	pthread_mutex_lock(&w->lock);
	bool is_last = --w->n_refs == 0;
	pthread_mutex_unlock(&w->lock);
	if (!is_last)
		return;
	for (size_t i = 0; i < w->n; i++)
		free(w->folders[i].path);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* On the thread that alone changes it. */
static void log_change(const struct watched *folder, int error)
{
	if (error == folder->error)
		return;
	if (error)
		log_error("the folder %s cannot be written: %s", folder->path, strerror(-error));
	else
		log_info("the folder %s can be written again", folder->path);
}

/* False: it is over. */
static bool try_one(struct folder_watch *w, struct watched *folder)
{
	pthread_mutex_lock(&w->lock);
	bool is_over = w->is_over;
	w->tried = folder;
	w->since_ms = clock_mono_ms();
	pthread_mutex_unlock(&w->lock);
	if (is_over)
		return false;
	int error = folder_try(folder->path);
	log_change(folder, error);
	pthread_mutex_lock(&w->lock);
	is_over = w->is_over;
	folder->error = error;
	w->tried = NULL;
	pthread_mutex_unlock(&w->lock);
	return !is_over;
}

static bool rest(struct folder_watch *w)
{
	int64_t at = clock_mono_ms() + PAUSE_MS;
	const struct timespec until = { at / 1000, at % 1000 * 1000000 };
	pthread_mutex_lock(&w->lock);
	int r = 0;
	while (!w->is_over && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&w->wake, &w->lock, &until);
	bool goes_on = !w->is_over;
	pthread_mutex_unlock(&w->lock);
	return goes_on;
}

static void *watch(void *arg)
{
	struct folder_watch *w = arg;
	bool goes_on = true;
	while (goes_on) {
		for (size_t i = 0; goes_on && i < w->n; i++)
			goes_on = try_one(w, &w->folders[i]);
		goes_on = goes_on && rest(w);
	}
	unref(w);
	return NULL;
}

int folder_watch_start(struct folder_watch **ret, const char *directory, const char *const *names)
{
	struct folder_watch *w = xcalloc(1, sizeof *w);
	pthread_condattr_t monotonic;
	*ret = NULL;
	must(pthread_mutex_init(&w->lock, NULL) == 0);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	must(pthread_cond_init(&w->wake, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	for (; names[w->n]; w->n++) {
		must(w->n < FOLDERS_WATCHED_MAX);
		w->folders[w->n] = (struct watched){ .name = names[w->n],
			.path = xasprintf("%s/%s", directory, names[w->n]) };
	}
	w->n_refs = 2;
	int r = thread_detach(watch, w);
	if (r < 0) {
		w->n_refs = 1;
		unref(w);
		return r;
	}
	*ret = w;
	return 0;
}

void folder_watch_stop(struct folder_watch *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->is_over = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	unref(w);
}

static bool is_late(const struct folder_watch *w, const struct watched *folder)
{
	return w->tried == folder && clock_mono_ms() - w->since_ms >= LATE_MS;
}

int folder_watch_check(struct folder_watch *w, struct fault *f)
{
	int r = 0;
	if (!w)
		return 0;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; r == 0 && i < w->n; i++) {
		const struct watched *folder = &w->folders[i];
		if (is_late(w, folder))
			r = fault_set(f, FAULT_UNAVAILABLE,
				"the folder %s cannot be written: its disk does not answer",
				folder->path);
		else if (folder->error)
			r = fault_set(f, FAULT_UNAVAILABLE, "the folder %s cannot be written: %s",
				folder->path, strerror(-folder->error));
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

void folder_watch_each(struct folder_watch *w,
	void (*each)(void *arg, const char *name, bool is_writable), void *arg)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < w->n; i++) {
		const struct watched *folder = &w->folders[i];
		each(arg, folder->name, !folder->error && !is_late(w, folder));
	}
	pthread_mutex_unlock(&w->lock);
}
