/* SPDX-License-Identifier: Apache-2.0 */
/* Requests come in.
 *
 * Paho calls receiver_arrived on the link's own thread and acknowledges the message when it
 * returns. So it returns when the job's row is on the disk, or when the broker has the refusal. It
 * waits as long as the gateway itself cannot take requests: full mailbox, no disk. While it waits,
 * nothing else arrives on this link; the broker keeps what comes, and other links take theirs. A
 * gateway that stops leaves the message with the broker (link_park).
 *
 * Nor does paho send pings while it waits, so a broker may end the connection; then the message and
 * those behind it come again, marked as duplicates, though this process has done some of them. The
 * link knows them by packet id and content, and acknowledges them without a second attempt. A
 * duplicate that it does not know is new to this process, and taken. */
#include "transport/mqtt/private.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"

enum { QUIET_MS = 60000 };

/* On the stack of the thread that waits for the core. */
struct waiting {
	struct link *link;
	bool is_answered;
	struct fault fault; /* FAULT_NONE: it is on the disk */
};

void receiver_answer(struct waiting *w, const struct fault *f)
{
	struct link *l = w->link;
	pthread_mutex_lock(&l->lock);
	w->is_answered = true;
	w->fault = f ? *f : (struct fault){ .code = FAULT_NONE };
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

/* The gateway answers every request that it took before it ends, so this does, too. */
static void wait_for_answer(struct waiting *w)
{
	pthread_mutex_lock(&w->link->lock);
	while (!w->is_answered)
		pthread_cond_wait(&w->link->changed, &w->link->lock);
	pthread_mutex_unlock(&w->link->lock);
}

/* Under a lock of its own: a log may wait, and the core waits for mqtt's. */
static void log_refusal(
	struct mqtt *m, const struct request *r, const char *topic, const struct fault *f)
{
	pthread_mutex_lock(&m->refusals_lock);
	if (r->name)
		log_limited(&m->refusals, LOG_LEVEL_INFO,
			"transport %s: request %s of topic %.*s is refused: %s", m->env.name,
			r->name, utf8_cut(topic, 256), topic, f->text);
	else
		log_limited(&m->refusals, LOG_LEVEL_INFO,
			"transport %s: a request of topic %.*s is refused: %s", m->env.name,
			utf8_cut(topic, 256), topic, f->text);
	pthread_mutex_unlock(&m->refusals_lock);
}

/* Until the broker has it: the request is acknowledged after its answer. */
static void refuse(
	struct link *l, const struct request *r, const char *topic, const struct fault *f)
{
	struct mqtt *m = l->mqtt;
	const char *reply = r->reply;
	const struct job_event ev = { .kind = EVENT_REFUSED, .fault = f, .at_ms = clock_wall_ms() };
	bool has_arrived = false;
	struct letter *letter = reply_letter(m, reply, &ev);
	log_refusal(m, r, topic, f);
	pthread_mutex_lock(&m->lock);
	m->counts.refused++;
	if (!letter) {
		pthread_mutex_unlock(&m->lock);
		return;
	}
	letter->has_arrived = &has_arrived;
	mqtt_outbox_add_locked(m, letter);
	while (!has_arrived && !m->is_silent)
		pthread_cond_wait(&m->changed, &m->lock);
	if (!has_arrived)
		letter->has_arrived = NULL;
	pthread_mutex_unlock(&m->lock);
	if (!has_arrived)
		link_park(l);
}

/* 0: the job is there. -EAGAIN: once more, later. -ESHUTDOWN: never. -EINVAL: refused. */
static int submit(struct link *l, struct request *r, struct fault *f)
{
	struct mqtt *m = l->mqtt;
	struct waiting w = { .link = l };
	struct job_request *rq = r->body.job;
	rq->door = m->env.self;
	rq->source = "Async Mqtt";
	rq->name = r->name ? xstrdup(r->name) : NULL;
	rq->to = (struct reply_to){ .live = &w,
		.text = xstrdup(r->reply),
		.wants = reply_wants(m, r->reply),
		.is_owed = true };
	int result = intake_submit(m->env.in, &r->body.job);
	if (result < 0)
		return result;
	wait_for_answer(&w);
	*f = w.fault;
	switch (f->code) {
	case FAULT_NONE:
		pthread_mutex_lock(&m->lock);
		m->counts.accepted++;
		pthread_mutex_unlock(&m->lock);
		return 0;
	case FAULT_UNAVAILABLE:
		return -EAGAIN;
	default:
		return -EINVAL;
	}
}

static int attempt(
	struct link *l, const char *topic, const MQTTAsync_message *message, struct fault *f)
{
	struct request r;
	mqtt_request_init(&r, l->mqtt, message);
	int result = mqtt_request_read(&r, topic, f);
	if (result < 0)
		result = -EINVAL;
	else if (r.body.kind == MESSAGE_JOB)
		result = submit(l, &r, f);
	else if (r.body.kind == MESSAGE_CANCEL)
		result = control_cancel(l, &r.body.cancel, r.reply);
	if (result == -EINVAL)
		refuse(l, &r, topic, f);
	mqtt_request_done(&r);
	return result;
}

static void add(gnutls_hash_hd_t hash, const void *data, size_t len)
{
	gnutls_hash(hash, &len, sizeof len);
	if (len)
		gnutls_hash(hash, data, len);
}

/* Not the expiry, of which the broker takes what has passed, and not what it adds for this
 * subscription. With the name of the session, whose packet ids they are: a link may change it. */
static struct done done_of(const struct link *l, const char *topic, const MQTTAsync_message *m)
{
	struct done d = { .id = m->msgid };
	gnutls_hash_hd_t hash;
	must(gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) == 0);
	add(hash, l->id, strlen(l->id));
	add(hash, topic, strlen(topic));
	add(hash, m->payload, (size_t)m->payloadlen);
	for (int i = 0; i < m->properties.count; i++) {
		const MQTTProperty *p = &m->properties.array[i];
		bool is_pair = p->identifier == MQTTPROPERTY_CODE_USER_PROPERTY;
		if (!is_pair && p->identifier != MQTTPROPERTY_CODE_RESPONSE_TOPIC &&
			p->identifier != MQTTPROPERTY_CODE_CORRELATION_DATA &&
			p->identifier != MQTTPROPERTY_CODE_CONTENT_TYPE)
			continue;
		gnutls_hash(hash, &p->identifier, sizeof p->identifier);
		add(hash, p->value.data.data, (size_t)p->value.data.len);
		if (is_pair)
			add(hash, p->value.value.data, (size_t)p->value.value.len);
	}
	gnutls_hash_deinit(hash, d.digest);
	return d;
}

/* Brokers use an id again once it is acknowledged, and an equal message may be the next to have it.
 * Mostly it comes without the mark at first. One that was lost on its way, so that its first sight
 * is a duplicate, must not be taken for that of before: so nothing is known after a quiet time. */
static bool was_done(struct link *l, const struct done *d, bool is_again)
{
	if (clock_mono_ms() - l->done_ms > QUIET_MS)
		memset(l->done, 0, sizeof l->done);
	for (size_t i = 0; i < DONE_MAX; i++) {
		if (l->done[i].id != d->id)
			continue;
		if (is_again && memcmp(l->done[i].digest, d->digest, DONE_DIGEST) == 0)
			return true;
		l->done[i].id = 0;
	}
	return false;
}

static void remember(struct link *l, const struct done *d)
{
	l->done[l->n_done++ % DONE_MAX] = *d;
	l->done_ms = clock_mono_ms();
}

void receiver_arrived(struct link *l, const char *topic, const MQTTAsync_message *m)
{
	struct fault f;
	int64_t pause_ms = 0;
	int r;
	/* What was kept for new subscribers is of long ago, and comes at every connect. */
	if (m->retained)
		return;
	const struct done d = done_of(l, topic, m);
	if (was_done(l, &d, m->dup)) {
		log_info("transport %s: a message that was done comes again, and is acknowledged",
			l->mqtt->env.name);
		return;
	}
	atomic_fetch_add(&l->mqtt->n_arrived, 1);
	while ((r = attempt(l, topic, m, &f)) == -EAGAIN)
		link_wait(l, &pause_ms);
	if (r == -ESHUTDOWN)
		link_park(l);
	atomic_fetch_sub(&l->mqtt->n_arrived, 1);
	if (m->qos)
		remember(l, &d);
}
