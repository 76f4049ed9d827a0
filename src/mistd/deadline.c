/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries, brokers, disks and children are asked to end, and each is waited for; one that does
 * not answer must not keep a gateway that was told to stop, since its supervisor, and the next
 * gateway on the data directory, wait for it. So the signals that ask for the end go to a thread
 * that waits for nothing but them and the time: it tells the core, which may be what hangs, and
 * when the time is over it ends the process. That loses nothing: what was accepted is on the disk,
 * as it has to be for kill -9 as well. */
#include "mistd/deadline.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "mist/store.h"

enum { HURRY_MS = 3000, STORE_MS = 2000, STORE_LOOK_MS = 10, PART_MAX = 128 };

static struct {
	pthread_t thread;
	bool is_started;
	sigset_t signals;
	int64_t limit_ms;
	_Atomic bool is_over;
	pthread_mutex_t lock; /* of what follows */
	char part[PART_MAX];
	struct store *store;
	void (*asked)(void *arg, int signal);
	void *arg;
	void (*hung_up)(void *arg);
	void *hang_up_arg;
	bool has_hung_up; /* before there was somebody to tell */
} deadline = { .lock = PTHREAD_MUTEX_INITIALIZER, .part = "the core" };

void deadline_part(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	pthread_mutex_lock(&deadline.lock);
	vsnprintf(deadline.part, sizeof deadline.part, format, args);
	pthread_mutex_unlock(&deadline.lock);
	va_end(args);
}

void deadline_store(struct store *st)
{
	pthread_mutex_lock(&deadline.lock);
	deadline.store = st;
	pthread_mutex_unlock(&deadline.lock);
}

void deadline_serve(void (*asked)(void *arg, int signal), void *arg)
{
	pthread_mutex_lock(&deadline.lock);
	deadline.asked = asked;
	deadline.arg = arg;
	pthread_mutex_unlock(&deadline.lock);
}

/* What was posted is written, if the disk takes it. */
static void wait_for_store(void)
{
	const struct timespec pause = { 0, STORE_LOOK_MS * 1000000 };
	bool is_settled = false;
	for (int waited = 0; !is_settled && waited < STORE_MS; waited += STORE_LOOK_MS) {
		pthread_mutex_lock(&deadline.lock);
		is_settled = !deadline.store || store_is_settled(deadline.store);
		pthread_mutex_unlock(&deadline.lock);
		if (!is_settled)
			nanosleep(&pause, NULL);
	}
}

static _Noreturn void give_up(unsigned n_asked)
{
	char limit[32], part[PART_MAX];
	duration_print(deadline.limit_ms, limit, sizeof limit);
	pthread_mutex_lock(&deadline.lock);
	snprintf(part, sizeof part, "%s", deadline.part);
	pthread_mutex_unlock(&deadline.lock);
	wait_for_store();
	log_error("%s does not end, and is left behind (%s; mist.stop-timeout is %s): what was "
		  "accepted is on the disk",
		part, n_asked > 1 ? "mistd was told to end more than once" : "the time is over",
		limit);
	_exit(DEADLINE_STATUS);
}

/* As if nobody had taken it. */
static void die_of(int signal_number)
{
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, signal_number);
	signal(signal_number, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	(void)raise(signal_number);
}

static void tell(int signal_number)
{
	pthread_mutex_lock(&deadline.lock);
	bool is_served = deadline.asked;
	if (is_served)
		deadline.asked(deadline.arg, signal_number);
	pthread_mutex_unlock(&deadline.lock);
	if (!is_served)
		die_of(signal_number);
}

static void tell_hangup(void)
{
	pthread_mutex_lock(&deadline.lock);
	deadline.has_hung_up = !deadline.hung_up;
	if (deadline.hung_up)
		deadline.hung_up(deadline.hang_up_arg);
	pthread_mutex_unlock(&deadline.lock);
}

void deadline_serve_hangups(void (*hung_up)(void *arg), void *arg)
{
	pthread_mutex_lock(&deadline.lock);
	deadline.hung_up = hung_up;
	deadline.hang_up_arg = arg;
	if (hung_up && deadline.has_hung_up)
		hung_up(arg);
	deadline.has_hung_up = false;
	pthread_mutex_unlock(&deadline.lock);
}

static void *wait_for_signals(void *unused)
{
	unsigned n_asked = 0;
	int64_t at = INT64_MAX;
	(void)unused;
	for (;;) {
		int64_t now = clock_mono_ms(), left = at > now ? at - now : 0;
		const struct timespec wait = { left / 1000, left % 1000 * 1000000 };
		int signal_number = n_asked ? sigtimedwait(&deadline.signals, NULL, &wait)
					    : sigwaitinfo(&deadline.signals, NULL);
		if (deadline.is_over)
			return NULL;
		if (signal_number < 0 && errno == EAGAIN)
			give_up(n_asked);
		if (signal_number == SIGHUP)
			tell_hangup();
		if (signal_number < 0 || signal_number == SIGHUP)
			continue;
		now = clock_mono_ms();
		int64_t limit =
			n_asked++ && HURRY_MS < deadline.limit_ms ? HURRY_MS : deadline.limit_ms;
		if (limit < INT64_MAX - now && now + limit < at)
			at = now + limit;
		tell(signal_number);
	}
}

void deadline_hold_hangups(void)
{
	sigset_t hangup;
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &hangup, NULL);
	signal(SIGHUP, SIG_DFL); /* by nohup it is ignored, and would not wait */
}

int deadline_start(int64_t limit_ms)
{
	deadline.limit_ms = limit_ms;
	sigemptyset(&deadline.signals);
	sigaddset(&deadline.signals, SIGHUP);
	sigaddset(&deadline.signals, SIGTERM);
	sigaddset(&deadline.signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &deadline.signals, NULL);
	int r = pthread_create(&deadline.thread, NULL, wait_for_signals, NULL);
	deadline.is_started = r == 0;
	return -r;
}

void deadline_end(void)
{
	if (!deadline.is_started)
		return;
	deadline.is_over = true;
	pthread_kill(deadline.thread, SIGTERM);
	pthread_join(deadline.thread, NULL);
	deadline.is_started = false;
}
