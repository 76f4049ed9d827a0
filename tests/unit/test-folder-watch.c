/* SPDX-License-Identifier: Apache-2.0 */
/* base/disk/folder_watch.h, over a disk and a clock of the test. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/disk/folder.h"
#include "base/disk/folder_watch.h"

enum { LATE_MS = 10000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static const char *watched = "/data/b";
static int answer;       /* of the disk, for `b` */
static bool is_hanging;  /* in `b` */
static unsigned n_tries; /* of `b` that have begun */
static _Atomic int64_t ahead_ms;

int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000 + ahead_ms;
}

/* Its pauses are short. */
int __real_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	struct timespec soon;
	(void)until;
	clock_gettime(CLOCK_MONOTONIC, &soon);
	soon.tv_nsec += 1000000;
	soon.tv_sec += soon.tv_nsec / 1000000000;
	soon.tv_nsec %= 1000000000;
	return __real_pthread_cond_timedwait(cond, mutex, &soon);
}

int __wrap_folder_try(const char *path);
int __wrap_folder_try(const char *path)
{
	pthread_mutex_lock(&lock);
	if (strcmp(path, watched) != 0) { /* or of an earlier watch, which ends when it may */
		pthread_mutex_unlock(&lock);
		return 0;
	}
	n_tries++;
	pthread_cond_broadcast(&changed);
	while (is_hanging)
		pthread_cond_wait(&changed, &lock);
	int r = answer;
	pthread_mutex_unlock(&lock);
	return r;
}

/* How many tries have begun before. */
static unsigned set_disk(int r, bool hangs)
{
	pthread_mutex_lock(&lock);
	answer = r;
	is_hanging = hangs;
	pthread_cond_broadcast(&changed);
	unsigned n = n_tries;
	pthread_mutex_unlock(&lock);
	return n;
}

static void await_tries(unsigned n)
{
	pthread_mutex_lock(&lock);
	while (n_tries < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* Whatever the disk does meanwhile. */
static void await_check(struct folder_watch *w, const char *sentence)
{
	const struct timespec nap = { 0, 1000000 };
	struct fault f;
	for (;;) {
		f.text[0] = '\0';
		int r = folder_watch_check(w, &f);
		check((r < 0) == (f.text[0] != '\0'));
		if (strcmp(f.text, sentence) == 0)
			return;
		nanosleep(&nap, NULL);
	}
}

static void show(void *arg, const char *name, bool is_writable)
{
	(void)buf_printf(arg, "%s%s", name, is_writable ? "+" : "-");
}

static void check_shown(struct folder_watch *w, const char *expected)
{
	_cleanup_(buf_done) struct buf text;
	buf_init(&text, 100);
	folder_watch_each(w, show, &text);
	check_str(text.data ? text.data : "", expected);
}

TEST(a_folder_is_told_until_it_can_be_written_again)
{
	static const char *const names[] = { "a", "b", "c", NULL };
	struct folder_watch *w;
	set_disk(-ENOSPC, false);
	check_int(folder_watch_start(&w, "/data", names), 0);
	await_check(w, "the folder /data/b cannot be written: No space left on device");
	check_shown(w, "a+b-c+");
	set_disk(-EROFS, false);
	await_check(w, "the folder /data/b cannot be written: Read-only file system");
	set_disk(0, false);
	await_check(w, "");
	check_shown(w, "a+b+c+");
	folder_watch_stop(w);
}

TEST(a_disk_that_does_not_answer_holds_nobody_up_and_is_told)
{
	static const char *const names[] = { "a", "b", NULL };
	struct folder_watch *w;
	pthread_mutex_lock(&lock);
	watched = "/slow/b";
	pthread_mutex_unlock(&lock);
	unsigned n = set_disk(0, true);
	check_int(folder_watch_start(&w, "/slow", names), 0);
	await_tries(n + 1);
	await_check(w, ""); /* not yet */
	ahead_ms = LATE_MS;
	await_check(w, "the folder /slow/b cannot be written: its disk does not answer");
	check_shown(w, "a+b-");
	ahead_ms = 0;
	n = set_disk(0, false);
	await_tries(n + 1); /* that one has ended */
	await_check(w, "");
	n = set_disk(0, true);
	await_tries(n + 1);
	folder_watch_stop(w); /* which does not wait for it */
	set_disk(0, false);
}

TEST(where_nobody_watches_nothing_is_wrong)
{
	struct fault f;
	check_int(folder_watch_check(NULL, &f), 0);
	check_shown(NULL, "");
	folder_watch_stop(NULL);
}

RUN_TESTS(PROVES(a_folder_is_told_until_it_can_be_written_again),
	PROVES(a_disk_that_does_not_answer_holds_nobody_up_and_is_told),
	PROVES(where_nobody_watches_nothing_is_wrong))
