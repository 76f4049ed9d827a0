/* SPDX-License-Identifier: Apache-2.0 */
/* base/mailbox.h: every letter that was taken is delivered, in order, on the loop's thread. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/mailbox.h"

enum { POSTERS = 4, LETTERS = 5000 };

struct owner {
	uv_loop_t loop;
	struct mailbox box;
	int next[POSTERS]; /* the number each poster's next letter must have */
	int delivered, batches, until;
	pthread_t thread;
	bool closes_at_first;
};

struct letter {
	struct mail mail;
	int poster, number;
};

static struct letter *letter_new(int poster, int number)
{
	struct letter *l = xcalloc(1, sizeof *l);
	l->poster = poster;
	l->number = number;
	return l;
}

static void deliver(struct mail *mail, void *arg)
{
	struct owner *o = arg;
	struct letter *l = container_of(mail, struct letter, mail);
	must(pthread_equal(o->thread, pthread_self()));
	must(o->next[l->poster] == l->number);
	o->next[l->poster]++;
	o->delivered++;
	free(l);
	if (o->closes_at_first && o->delivered == 1)
		mailbox_close(&o->box);
}

static void after_batch(void *arg)
{
	struct owner *o = arg;
	o->batches++;
	if (o->delivered == o->until)
		mailbox_close(&o->box);
}

static void owner_init(struct owner *o, size_t max)
{
	*o = (struct owner){ .thread = pthread_self() };
	must(uv_loop_init(&o->loop) == 0);
	must(mailbox_init(&o->box, &o->loop, max, o, after_batch) == 0);
}

static void owner_done(struct owner *o)
{
	mailbox_close(&o->box);
	uv_run(&o->loop, UV_RUN_DEFAULT);
	mailbox_done(&o->box);
	check_int(uv_loop_close(&o->loop), 0);
}

static int post(struct owner *o, int number)
{
	struct letter *l = letter_new(0, number);
	l->mail.deliver = deliver;
	int r = mailbox_post(&o->box, &l->mail);
	if (r < 0)
		free(l);
	return r;
}

struct poster {
	struct owner *owner;
	int index;
};

static void *poster_main(void *arg)
{
	struct poster *p = arg;
	for (int i = 0; i < LETTERS; i++) {
		struct letter *l = letter_new(p->index, i);
		l->mail.deliver = deliver;
		must(mailbox_post_always(&p->owner->box, &l->mail) == 0);
	}
	return NULL;
}

TEST(letters_of_many_threads_all_arrive_in_their_order)
{
	struct owner o;
	struct poster posters[POSTERS];
	pthread_t threads[POSTERS];
	owner_init(&o, 1);
	o.until = POSTERS * LETTERS;
	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){ &o, i };
		must(pthread_create(&threads[i], NULL, poster_main, &posters[i]) == 0);
	}
	uv_run(&o.loop, UV_RUN_DEFAULT); /* ends when the box is closed, so when all have come */
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	check_int(o.delivered, POSTERS * LETTERS);
	owner_done(&o);
}

TEST(a_burst_is_one_batch)
{
	struct owner o;
	owner_init(&o, 100);
	for (int i = 0; i < 10; i++)
		check_int(post(&o, i), 0);
	uv_run(&o.loop, UV_RUN_ONCE);
	check_int(o.delivered, 10);
	check_int(o.batches, 1);
	owner_done(&o);
}

TEST(a_full_box_says_so_but_takes_answers)
{
	struct owner o;
	owner_init(&o, 2);
	check_int(post(&o, 0), 0);
	check_int(post(&o, 1), 0);
	check_int(post(&o, 2), -EAGAIN);
	struct letter *answer = letter_new(0, 2);
	answer->mail.deliver = deliver;
	check_int(mailbox_post_always(&o.box, &answer->mail), 0);
	uv_run(&o.loop, UV_RUN_ONCE);
	check_int(o.delivered, 3);
	check_int(post(&o, 3), 0);
	owner_done(&o);
	check_int(o.delivered, 4);
}

TEST(closing_delivers_what_is_in_it_and_refuses_the_rest)
{
	struct owner o;
	owner_init(&o, 100);
	for (int i = 0; i < 5; i++)
		check_int(post(&o, i), 0);
	mailbox_close(&o.box);
	check_int(o.delivered, 5);
	check_int(o.batches, 1);
	check_int(post(&o, 5), -ESHUTDOWN);
	owner_done(&o);
	check_int(o.delivered, 5);
}

TEST(a_letter_may_close_the_box)
{
	struct owner o;
	owner_init(&o, 100);
	o.closes_at_first = true;
	for (int i = 0; i < 5; i++)
		check_int(post(&o, i), 0);
	uv_run(&o.loop, UV_RUN_DEFAULT);
	check_int(o.delivered, 5);
	owner_done(&o);
}

static void find_beat(struct beat *b, void *arg)
{
	struct beat **wanted = arg;
	if (*wanted == b)
		*wanted = NULL;
}

static bool is_watched(struct beat *b)
{
	beats_each(find_beat, &b);
	return !b;
}

TEST(a_thread_is_watched_while_it_says_so)
{
	struct beat beats[2] = { 0 };
	beat_watch(&beats[0], "first");
	beat_watch(&beats[1], "second");
	check(is_watched(&beats[0]) && is_watched(&beats[1]));
	beat_doing("work");
	check_int(beats[1].turns, 1);
	check_str(beats[1].doing, "work");
	beat_rest();
	check(!beats[1].doing && beats[0].turns == 0);
	beat_unwatch(&beats[0]);
	check(!is_watched(&beats[0]) && is_watched(&beats[1]));
	beat_unwatch(&beats[1]);
	check(!is_watched(&beats[1]));
	beat_doing("nobody's");
	check(!beats[1].doing);
}

RUN_TESTS(PROVES(letters_of_many_threads_all_arrive_in_their_order), PROVES(a_burst_is_one_batch),
	PROVES(a_full_box_says_so_but_takes_answers),
	PROVES(closing_delivers_what_is_in_it_and_refuses_the_rest),
	PROVES(a_letter_may_close_the_box), PROVES(a_thread_is_watched_while_it_says_so))
