/* SPDX-License-Identifier: Apache-2.0 */
/* core/artifact/look.h, over threads, mounts and a clock of the test: a look ends when the test has
 * it answered, and all is on one thread. The file system of "/bad/1" is "/b", and so on. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/thread/detach.h"
#include "base/timers.h"
#include "core/artifact/look.h"
#include "core/artifact/mounts.h"
#include "core/private.h"

enum { LOOK_MS = 2000, LOOKS_MAX = 2, MANY = 200 };

struct begun {
	void *(*run)(void *);
	void *look;
};

static struct core core;
static struct begun begun[4 * MANY]; /* those whose threads the test has not let run, */
static size_t n_begun;               /* in the order in which they were begun */
static struct timer *timers[4 * MANY];
static size_t n_timers;
static unsigned n_sets; /* of timers */
static int64_t now_ms;
static struct buf told; /* "late KEY;", "seen KEY;" */
static unsigned n_tables;

int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_ms(void)
{
	return now_ms;
}

void __wrap_timer_clear(struct timers *t, struct timer *timer);
void __wrap_timer_clear(struct timers *t, struct timer *timer)
{
	(void)t;
	for (size_t i = 0; i < n_timers; i++)
		if (timers[i] == timer) {
			memmove(timers + i, timers + i + 1, (--n_timers - i) * sizeof *timers);
			break;
		}
	timer->node.at = 0;
}

void __wrap_timer_set(struct timers *t, struct timer *timer, int64_t in_ms);
void __wrap_timer_set(struct timers *t, struct timer *timer, int64_t in_ms)
{
	__wrap_timer_clear(t, timer);
	check(n_timers < ARRAY_SIZE(timers));
	timers[n_timers++] = timer;
	n_sets++;
	timer->node.at = 1;
	timer->due_ms = now_ms + in_ms;
}

int __wrap_thread_detach(void *(*run)(void *), void *arg);
int __wrap_thread_detach(void *(*run)(void *), void *arg)
{
	check(n_begun < ARRAY_SIZE(begun));
	begun[n_begun++] = (struct begun){ run, arg };
	return 0;
}

static struct mail *posted;

int __wrap_mailbox_post_always(struct mailbox *m, struct mail *mail);
int __wrap_mailbox_post_always(struct mailbox *m, struct mail *mail)
{
	check(m == &core.mailbox);
	posted = mail;
	return 0;
}

struct mounts {
	char points[128][3];
};

struct mounts *mounts_read(void)
{
	struct mounts *m = xcalloc(1, sizeof *m);
	n_tables++;
	for (int i = 'a'; i <= 'z'; i++)
		snprintf(m->points[i], sizeof m->points[i], "/%c", i);
	return m;
}

void mounts_free(struct mounts *m)
{
	n_tables -= m != NULL;
	free(m);
}

const char *mounts_of(const struct mounts *m, const char *path)
{
	return m ? m->points[(unsigned char)path[1]] : NULL;
}

void describe_looked(struct core *c, const struct looked *looked)
{
	check(c == &core);
	check_str(looked->key, looked->path);
	(void)buf_printf(&told, "seen %s;", looked->key);
}

void describe_look_late(struct core *c, const struct look *look, const char *key)
{
	check(c == &core);
	check(look);
	(void)buf_printf(&told, "late %s;", key);
}

/* What was told since the last call. */
static const char *take_told(void)
{
	static char text[64 * 1024];
	snprintf(text, sizeof text, "%s", told.data ? told.data : "");
	told.len = 0;
	if (told.data)
		told.data[0] = '\0';
	return text;
}

/* All timers that are due by then, in their order. */
static void pass(int64_t ms)
{
	int64_t end = now_ms + ms;
	for (;;) {
		struct timer *next = NULL;
		for (size_t i = 0; i < n_timers; i++)
			if (timers[i]->due_ms <= end && (!next || timers[i]->due_ms < next->due_ms))
				next = timers[i];
		if (!next)
			break;
		now_ms = next->due_ms > now_ms ? next->due_ms : now_ms;
		__wrap_timer_clear(&core.timers, next);
		next->fire(&core.timers, next);
	}
	now_ms = end;
}

/* The n-th of those whose threads have not ended does so. */
static void answer(size_t n)
{
	check(n < n_begun);
	struct begun b = begun[n];
	memmove(begun + n, begun + n + 1, (--n_begun - n) * sizeof *begun);
	b.run(b.look);
	struct mail *mail = TAKE_PTR(posted); /* NULL: there is no core any more */
	if (mail)
		mail->deliver(mail, &core);
}

static struct look *begin(const char *path)
{
	return look_begin(&core, path, path);
}

static void begin_many(const char *file_system, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		char path[32];
		snprintf(path, sizeof path, "%s/%u", file_system, i);
		begin(path);
	}
}

static int setup(void **state)
{
	(void)state;
	now_ms = 1000000;
	core = (struct core){ .limits.describe_timeout_ms = 60000 };
	buf_init(&told, 1 << 20);
	core.looker = looker_new(&core);
	return 0;
}

/* Nothing is left of anything, also of what is still under way. */
static int teardown(void **state)
{
	(void)state;
	looker_free(TAKE_PTR(core.looker));
	check_int(n_timers, 0);
	check_int(n_tables, 0);
	while (n_begun)
		answer(0);
	check(!posted);
	buf_done(&told);
	return 0;
}

TEST(those_who_wait_come_to_their_turn_in_order)
{
	begin_many("/good", 1, 4);
	check_int(n_begun, LOOKS_MAX);
	answer(1);
	answer(0);
	check_int(n_begun, LOOKS_MAX);
	answer(0);
	answer(0);
	check_str(take_told(), "seen /good/2;seen /good/1;seen /good/3;seen /good/4;");
	check_int(n_timers, 0);
}

/* Its first three are late: the third was begun when only one was. */
static void begin_late(const char *file_system)
{
	begin_many(file_system, 1, 3);
	pass(2 * LOOK_MS);
	char want[64];
	snprintf(want, sizeof want, "late %s/1;late %s/2;late %s/3;", file_system, file_system,
		file_system);
	check_str(take_told(), want);
}

TEST(the_held_let_others_pass)
{
	begin_late("/bad");
	begin_many("/bad", 4, 2);
	begin_many("/good", 1, 3);
	pass(0);
	check_str(take_told(), "late /bad/4;late /bad/5;");
	for (int i = 0; i < 3; i++)
		answer(3);
	check_str(take_told(), "seen /good/1;seen /good/2;seen /good/3;");
	check_int(n_begun, 3);
}

/* Each of them is decided on once, however many others come and end meanwhile. */
TEST(the_held_cost_those_behind_them_nothing)
{
	begin_late("/bad");
	n_sets = 0;
	begin_many("/bad", 4, MANY);
	check_int(n_sets, 2 * MANY); /* when each would be late, and that it is */
	begin_many("/good", 1, MANY);
	while (n_begun > 3)
		answer(3);
	check_int(n_sets, 4 * MANY);
}

/* Where only one is late any more what was held is begun, the oldest first, before what came later.
 */
TEST(the_held_are_begun_in_their_order)
{
	begin_late("/bad");
	begin_many("/bad", 4, 3);
	begin_many("/good", 1, 4); /* two are begun */
	pass(0);
	take_told();
	while (n_begun)
		answer(0);
	check_str(take_told(), "seen /bad/1;seen /bad/2;seen /bad/3;seen /good/1;seen /good/2;"
			       "seen /bad/4;seen /bad/5;seen /bad/6;seen /good/3;seen /good/4;");
	check_int(n_timers, 0);
	check_int(n_tables, 0);
}

/* A look at another file system that ends changes nothing for them. */
TEST(the_held_of_one_file_system_wait_for_that_one)
{
	begin_late("/bad");
	begin_late("/worse");
	begin("/bad/4");
	begin("/worse/4");
	begin("/good/1");
	pass(0);
	take_told();
	check_int(n_begun, 7);
	answer(6);
	answer(3);
	check_int(n_begun, 5);
	answer(3); /* the second of the worse: its fourth is begun */
	check_int(n_begun, 5);
	answer(4);
	check_str(take_told(), "seen /good/1;seen /worse/1;seen /worse/2;seen /worse/4;");
	answer(0);
	answer(0);
	answer(2);
	check_str(take_told(), "seen /bad/1;seen /bad/2;seen /bad/4;");
}

/* They are released, become late, and are held again: each is told once, and each ends. */
TEST(many_are_held_again)
{
	char want[32];
	begin_late("/bad");
	begin_many("/bad", 4, MANY);
	pass(0);
	for (unsigned i = 4; i < 4 + MANY; i++) {
		snprintf(want, sizeof want, "late /bad/%u;", i);
		check(strstr(told.data, want));
	}
	take_told();
	for (unsigned i = 1; i < 4 + MANY; i++) {
		answer(0);
		pass(2 * LOOK_MS);
		snprintf(want, sizeof want, "seen /bad/%u;", i);
		check_str(take_told(), want);
	}
	check_int(n_begun, 0);
	check_int(n_timers, 0);
	check_int(n_tables, 0);
}

/* Who is not wanted any more is gone, queued or held, and one that is begun ends. */
TEST(one_that_is_held_can_be_forgotten)
{
	begin_late("/bad");
	struct look *late = begin("/bad/4"), *held = begin("/bad/5");
	begin_many("/good", 1, LOOKS_MAX);
	struct look *queued = begin("/good/9");
	check(!look_is_begun(held) && !look_is_begun(queued));
	look_forget(held);
	look_forget(queued);
	answer(0);
	answer(0);
	answer(1);
	check(look_is_begun(late));
	look_forget(late);
	pass(0);
	while (n_begun)
		answer(0);
	check_str(take_told(),
		"seen /bad/1;seen /bad/2;seen /good/1;seen /bad/3;seen /good/2;seen /bad/4;");
	check_int(n_timers, 0);
}

/* When it ends there are some of each kind: the end of the test looks what is left. */
TEST(nothing_is_left_over)
{
	begin_late("/bad");
	begin_late("/worse");
	begin_many("/bad", 4, MANY);
	begin_many("/worse", 4, MANY);
	begin_many("/good", 1, MANY);
	answer(0);
	answer(0); /* those of the bad are queued again */
	check_int(n_begun, 4 + LOOKS_MAX);
}

#define LEAVES_NOTHING(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

RUN_TESTS(LEAVES_NOTHING(those_who_wait_come_to_their_turn_in_order),
	LEAVES_NOTHING(the_held_let_others_pass),
	LEAVES_NOTHING(the_held_cost_those_behind_them_nothing),
	LEAVES_NOTHING(the_held_are_begun_in_their_order),
	LEAVES_NOTHING(the_held_of_one_file_system_wait_for_that_one),
	LEAVES_NOTHING(many_are_held_again), LEAVES_NOTHING(one_that_is_held_can_be_forgotten),
	LEAVES_NOTHING(nothing_is_left_over))
