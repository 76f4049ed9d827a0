/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog's thread.
 *
 * Four times in the limit it looks whether the core's thread has done anything (base/mailbox.h) and
 * whether it took the letter that it was sent, since a core at rest does nothing by itself. What is
 * counted are these looks, not the time between them: while the machine or the process is suspended
 * nobody looks, and nobody is found stuck for it.
 *
 * Other threads that must not be held up say by themselves when they have work and when they rest
 * (beat_watch): one that is at the same work for four looks is told of, too. Nothing ends for it.
 *
 * What is stuck is told of once: what it was doing, what the kernel says of its thread, and, by a
 * signal whose handler runs on that thread, where it stands. A thread that hangs in the kernel runs
 * no handler; then the kernel's word is all there is. */
#include "mistd/watchdog.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"

enum { LOOKS = 4, FRAMES_MAX = 64, LOOK_MIN_MS = 10, TELL_MS = 1000 };

struct watchdog {
	struct mail ping; /* at the core while is_sent */
	_Atomic bool is_sent;
	struct core *core;
	struct beat *beat;
	int64_t limit_ms;
	bool exits;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool is_ending;
};

static int signal_of_watchdog(void)
{
	return SIGRTMIN;
}

static void tell_where(int signal)
{
	static const char head[] = "where it stands:\n";
	void *frames[FRAMES_MAX];
	int before = errno;
	(void)signal;
	if (write(STDERR_FILENO, head, sizeof head - 1) > 0)
		backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
	errno = before;
}

static void pinged(struct mail *mail, void *owner)
{
	struct watchdog *w = container_of(mail, struct watchdog, ping);
	(void)owner;
	atomic_store(&w->is_sent, false);
}

static void read_line(pid_t tid, const char *file, char *ret, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, file);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	if (!f || !fgets(ret, (int)size, f))
		snprintf(ret, size, "?");
	ret[strcspn(ret, "\n")] = '\0';
}

static char state_of(pid_t tid)
{
	char stat[512];
	read_line(tid, "stat", stat, sizeof stat);
	const char *p = strrchr(stat, ')');
	return p && p[1] == ' ' && p[2] ? p[2] : '?';
}

/* True: its stack is on its way. */
static bool tell_of(const struct watchdog *w, struct beat *b, const char *name)
{
	char limit[32], wait[128], call[128];
	const char *doing = atomic_load(&b->doing);
	duration_print(w->limit_ms, limit, sizeof limit);
	read_line(b->tid, "wchan", wait, sizeof wait);
	read_line(b->tid, "syscall", call, sizeof call);
	log_error("the %s stands still for longer than mist.watchdog, %s: it is at %s (thread %d, "
		  "state %c, kernel function %s, system call %s)",
		name, limit, doing ? doing : "nothing", (int)b->tid, state_of(b->tid), wait, call);
	return pthread_kill(b->thread, signal_of_watchdog()) == 0;
}

static void tell(struct watchdog *w)
{
	if (tell_of(w, w->beat, "core") && w->exits) {
		const struct timespec pause = { TELL_MS / 1000, TELL_MS % 1000 * 1000000 };
		nanosleep(&pause, NULL); /* its handler writes */
	}
	if (!w->exits)
		return;
	log_error(
		"mistd ends (mist.watchdog-action): what it accepted is on the disk, and is taken "
		"up by the next one");
	_exit(WATCHDOG_STATUS);
}

static void send_ping(struct watchdog *w)
{
	if (atomic_exchange(&w->is_sent, true))
		return;
	if (mailbox_post_always(core_mailbox(w->core), &w->ping) < 0)
		atomic_store(&w->is_sent, false); /* the core is being closed, and runs */
}

/* False: it is the end. */
static bool wait_for_next(struct watchdog *w)
{
	int64_t step = w->limit_ms / LOOKS,
		at = clock_mono_ms() + (step > LOOK_MIN_MS ? step : LOOK_MIN_MS);
	const struct timespec until = { at / 1000, at % 1000 * 1000000 };
	pthread_mutex_lock(&w->lock);
	int r = 0;
	while (!w->is_ending && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&w->wake, &w->lock, &until);
	bool goes_on = !w->is_ending;
	pthread_mutex_unlock(&w->lock);
	return goes_on;
}

/* A thread that rests has no work. */
static void look(struct beat *b, void *arg)
{
	uint64_t turns = atomic_load(&b->turns);
	bool is_still = turns == b->seen && atomic_load(&b->doing);
	b->seen = turns;
	b->n_still = is_still ? b->n_still + 1 : 0;
	if (b->n_still == LOOKS) {
		beat_set_stuck(b);
		(void)tell_of(arg, b, b->name);
	} else if (!is_still && atomic_exchange(&b->is_stuck, false)) {
		log_warn("the %s turns again", b->name);
	}
}

static void *watch(void *arg)
{
	struct watchdog *w = arg;
	uint64_t seen = atomic_load(&w->beat->turns);
	int n_still = 0;
	send_ping(w);
	while (wait_for_next(w)) {
		uint64_t turns = atomic_load(&w->beat->turns);
		bool is_still = turns == seen && atomic_load(&w->is_sent);
		seen = turns;
		n_still = is_still ? n_still + 1 : 0;
		if (n_still == LOOKS) {
			beat_set_stuck(w->beat);
			tell(w);
		} else if (!is_still && atomic_exchange(&w->beat->is_stuck, false)) {
			log_warn("the core turns again");
		}
		beats_each(look, w);
		send_ping(w);
	}
	return NULL;
}

static int start_thread(struct watchdog *w)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&w->thread, NULL, watch, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int watchdog_start(struct watchdog **ret, struct core *c, int64_t limit_ms, bool exits)
{
	const struct sigaction action = { .sa_handler = tell_where, .sa_flags = SA_RESTART };
	void *frame;
	pthread_condattr_t monotonic;
	*ret = NULL;
	if (limit_ms == DURATION_INF)
		return 0;
	(void)backtrace(&frame, 1); /* loads what it needs, which a handler must not */
	sigaction(signal_of_watchdog(), &action, NULL);
	struct watchdog *w = xcalloc(1, sizeof *w);
	w->core = c;
	w->beat = core_beat(c);
	w->limit_ms = limit_ms;
	w->exits = exits;
	w->ping.deliver = pinged;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	int r = start_thread(w);
	if (r < 0)
		free(w);
	else
		*ret = w;
	return r;
}

void watchdog_stop(struct watchdog *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->is_ending = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
}

void watchdog_free(struct watchdog *w)
{
	if (!w)
		return;
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
