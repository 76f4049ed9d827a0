/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a message that was taken: it is asked of the core as a job or a cancel, and the
 * answer decides.
 *
 * Answers come on other threads, into a list, and are seen to on the consumer's own between polls.
 * An accepted request is done. One refused for now (a queue is full, the disk does not keep up) is
 * held, its partition pauses, and it is asked again, in order, a little later; the log names a
 * partition of which nothing is taken for a time. One refused for good is answered and put in the
 * dead-letter topic, and is done when the broker has both. */
#include "transport/kafka/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "mist/store.h"

enum {
	RETRY_MS = 20, /* pause before held messages are asked again; doubles up to */
	RETRY_MAX_MS = 500,
	RETRY_BATCH_MAX = 256,
	STUCK_MS = 5000, /* a partition of which nothing is taken is named in the log after this, */
	SAY_MS = 60000,  /* and then so often */
};

static void push(struct consumer *c, struct entry *e, bool is_urgent)
{
	pthread_mutex_lock(&c->lock);
	e->answer = NULL;
	*c->last_answer = e;
	c->last_answer = &e->answer;
	pthread_cond_signal(&c->filled);
	if (is_urgent && c->queue)
		rd_kafka_queue_yield(c->queue);
	pthread_mutex_unlock(&c->lock);
}

void consumer_answered(struct entry *e, const struct fault *f)
{
	struct consumer *c = e->consumer;
	if (f) {
		e->fault = xcalloc(1, sizeof *f);
		*e->fault = *f;
	}
	push(c, e, f);
}

void consumer_letter_taken(struct entry *e)
{
	if (--e->n_letters == 0)
		push(e->consumer, e, false);
}

static void pause_partition(struct consumer *c, struct partition *p, bool is_paused)
{
	if (p->is_paused == is_paused)
		return;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, p->topic, p->number);
	if (is_paused)
		rd_kafka_pause_partitions(c->rk, list);
	else
		rd_kafka_resume_partitions(c->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	p->is_paused = is_paused;
}

void asking_pause(struct consumer *c, bool is_paused)
{
	map_each (n, &c->table.partitions) {
		struct partition *p = container_of(n, struct partition, by_place);
		pause_partition(c, p, is_paused || !list_empty(&p->held));
	}
	c->is_paused = is_paused;
}

/* Something of it was taken, or waits from now on. */
static void moves(struct partition *p)
{
	p->stuck_since_ms = clock_mono_ms();
	p->say_at_ms = p->stuck_since_ms + STUCK_MS;
}

void asking_hold(struct consumer *c, struct entry *e, const char *why)
{
	struct partition *p = e->partition;
	if (list_empty(&p->held) && !p->n_retrying && !p->was_refused) {
		p->retry_pause_ms = RETRY_MS;
		p->retry_at_ms = clock_mono_ms() + RETRY_MS;
		moves(p);
	}
	if (why) {
		free(p->why);
		p->why = xstrdup(why);
	}
	table_hold(e);
	pause_partition(c, p, true);
}

/* Topic, partition and offset; the topic is cut where it is very long. */
static char *name_of(const struct entry *e)
{
	char where[64];
	int len =
		snprintf(where, sizeof where, "/%d/%" PRId64, (int)e->partition->number, e->offset);
	return xasprintf("%.*s%s", utf8_cut(e->partition->topic, REQUEST_NAME_MAX - (size_t)len),
		e->partition->topic, where);
}

/* Sends what a refused message has coming; it is done when the broker has it. */
static void refuse(struct consumer *c, struct entry *e, const json_t *reply, const struct fault *f)
{
	static _Thread_local struct log_limit refusals; /* of the consumer's thread */
	struct kafka *k = c->kafka;
	struct letter *letters[] = { reply ? events_refusal(reply, f) : NULL,
		request_dead_letter(k, e->msg, f) };
	k->n_refused++;
	e->state = ENTRY_TOLD;
	e->n_letters = 1; /* ours, until all are sent */
	for (size_t i = 0; i < ARRAY_SIZE(letters); i++) {
		if (!letters[i])
			continue;
		if (!letters[i]->key && e->msg->key) {
			letters[i]->key = xcalloc(1, e->msg->key_len + 1);
			letters[i]->key_len = e->msg->key_len;
			memcpy(letters[i]->key, e->msg->key, e->msg->key_len);
		}
		e->n_letters++;
		letters[i]->entry = e;
		outbox_send(k->outbox, letters[i]);
	}
	_cleanup_(freep) char *name = name_of(e);
	log_limited(&refusals, LOG_LEVEL_INFO, "transport %s: request %s is refused: %s",
		k->env.name, name, f->text);
	if (--e->n_letters == 0)
		table_finish(&c->table, e);
}

/* The core refused it for good. */
static void refuse_again_read(struct consumer *c, struct entry *e, const struct fault *f)
{
	struct request rq;
	struct fault ignored;
	(void)request_read(c->kafka, e->msg, e->partition->function, &rq, &ignored);
	refuse(c, e, rq.has_reply ? rq.read.reply : NULL, f);
	request_done(&rq);
}

/* Core's thread. */
static void cancel_answered(struct ask *a)
{
	struct entry *e = a->owner;
	consumer_answered(e, a->fault.code ? &a->fault : NULL);
}

static int ask_cancel(struct consumer *c, struct entry *e, const struct uuid *job)
{
	if (!e->ask)
		e->ask = xcalloc(1, sizeof *e->ask);
	ask_done(e->ask);
	*e->ask = (struct ask){
		.kind = ASK_CANCEL, .job = *job, .answered = cancel_answered, .owner = e
	};
	return intake_ask(c->kafka->env.in, e->ask);
}

static int ask_job(struct consumer *c, struct entry *e, struct request *rq)
{
	struct kafka *k = c->kafka;
	struct job_request *job = rq->read.job;
	job->door = k->env.self;
	job->source = "Async Kafka";
	job->name = name_of(e);
	job->to.live = e;
	job->to.wants = wants_of(k, rq->has_reply ? rq->read.reply : NULL);
	job->to.wants |= EVENT_BIT(EVENT_REFUSED) | EVENT_BIT(EVENT_ACCEPTED);
	if (rq->has_reply) {
		job->to.text = json_text(rq->read.reply);
		job->to.is_owed = true;
	}
	return intake_submit(k->env.in, &rq->read.job);
}

/* 1: the core has it, 0: it is seen to, negative: it is held. */
int asking_ask(struct consumer *c, struct entry *e)
{
	struct request rq;
	struct fault f;
	int r = request_read(c->kafka, e->msg, e->partition->function, &rq, &f);
	e->state = ENTRY_ASKED;
	if (r < 0) {
		refuse(c, e, rq.has_reply ? rq.read.reply : NULL, &f);
		r = 0;
	} else if (rq.read.kind == MESSAGE_NOISE) {
		table_finish(&c->table, e);
	} else {
		r = rq.read.kind == MESSAGE_CANCEL ? ask_cancel(c, e, &rq.read.cancel)
						   : ask_job(c, e, &rq);
		if (r < 0)
			asking_hold(c, e, "too many requests wait (mist.mailbox)");
		else
			r = 1;
	}
	request_done(&rq);
	return r;
}

static bool is_for_now(const struct fault *f)
{
	return f->code == FAULT_TOO_MANY || f->code == FAULT_UNAVAILABLE;
}

/* A cancel of a job that has ended is a cancel of nothing; of one that never was, a mistake. */
static bool is_of_ended_job(struct consumer *c, const struct entry *e)
{
	struct job_row *found = NULL;
	if (!e->ask || e->fault->code != FAULT_NOT_FOUND)
		return false;
	(void)store_job_get(c->kafka->env.store, &e->ask->job, &found);
	_cleanup_(job_row_freep) struct job_row *row = found;
	if (!row) {
		char id[UUID_TEXT];
		uuid_format(&e->ask->job, id);
		fault_set(e->fault, FAULT_NOT_FOUND, "there is no job %s", id);
	}
	return row;
}

static void take_answer(struct consumer *c, struct entry *e)
{
	_cleanup_(freep) struct fault *f = e->fault;
	struct partition *p = e->partition;
	bool is_refused = f && !is_of_ended_job(c, e);
	e->fault = NULL;
	c->kafka->n_accepted += !f && !e->ask && e->state == ENTRY_ASKED;
	if (e->is_retry && p) {
		p->n_retrying--;
		if (f && is_for_now(f)) {
			p->was_refused = true;
		} else { /* there was room */
			p->retry_pause_ms = RETRY_MS;
			moves(p);
		}
	}
	e->is_retry = false;
	if (!is_refused || !p)
		table_finish(&c->table, e);
	else if (is_for_now(f))
		asking_hold(c, e, f->text);
	else
		refuse_again_read(c, e, f);
}

void asking_take_answers(struct consumer *c)
{
	pthread_mutex_lock(&c->lock);
	struct entry *e = c->answers;
	c->answers = NULL;
	c->last_answer = &c->answers;
	pthread_mutex_unlock(&c->lock);
	while (e) {
		struct entry *next = e->answer;
		take_answer(c, e);
		e = next;
	}
}

static void ask_again(struct consumer *c, struct partition *p, int64_t now)
{
	if (p->was_refused) {
		p->was_refused = false;
		p->retry_batch = p->retry_batch > 1 ? p->retry_batch / 2 : 1;
		p->retry_at_ms = now + p->retry_pause_ms;
		if ((p->retry_pause_ms *= 2) > RETRY_MAX_MS)
			p->retry_pause_ms = RETRY_MAX_MS;
	}
	if (now < p->retry_at_ms)
		return;
	for (size_t i = 0; i < p->retry_batch && !list_empty(&p->held); i++) {
		struct entry *e = container_of(list_pop(&p->held), struct entry, held);
		p->was_refused = true; /* if it is held again */
		int r = asking_ask(c, e);
		if (r < 0)
			return;
		p->was_refused = false;
		if (r > 0) {
			e->is_retry = true;
			p->n_retrying++;
		}
	}
	if (p->retry_batch < RETRY_BATCH_MAX)
		p->retry_batch *= 2;
}

static void say_if_stuck(struct consumer *c, struct partition *p, int64_t now)
{
	if (now < p->say_at_ms)
		return;
	p->say_at_ms = now + SAY_MS;
	log_warn("transport %s: nothing is taken of %s/%d for %" PRId64 " s: %s",
		c->kafka->env.name, p->topic, (int)p->number, (now - p->stuck_since_ms) / 1000,
		p->why);
}

/* What was held is asked again, and partitions without such go on. */
void asking_tend(struct consumer *c)
{
	int64_t now = clock_mono_ms();
	map_each (n, &c->table.partitions) {
		struct partition *p = container_of(n, struct partition, by_place);
		if (!list_empty(&p->held))
			say_if_stuck(c, p, now);
		if (!list_empty(&p->held) && !p->n_retrying)
			ask_again(c, p, now);
		if (p->is_paused && !c->is_paused && list_empty(&p->held) && !p->n_retrying)
			pause_partition(c, p, false);
	}
}
