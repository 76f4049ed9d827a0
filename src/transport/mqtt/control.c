/* SPDX-License-Identifier: Apache-2.0 */
/* What is for every gateway, not for one of those that share: cancels, and whether anybody is
 * online.
 *
 * PREFIX/status is one topic for all gateways. Each has its will on it, so one that dies says
 * "offline" there; the others hear that and say that they are online. */
#include "transport/mqtt/private.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "mist/store.h"

/* On the stack of the thread that waits for the core. */
struct cancel {
	struct ask ask;
	struct link *link;
	bool is_answered;
};

/* Core's thread. */
static void answered(struct ask *a)
{
	struct cancel *c = container_of(a, struct cancel, ask);
	struct link *l = c->link;
	pthread_mutex_lock(&l->lock);
	c->is_answered = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static void refuse(struct mqtt *m, const char *reply, const char *job, const struct fault *f)
{
	const struct job_event ev = { .kind = EVENT_REFUSED, .fault = f, .at_ms = clock_wall_ms() };
	struct letter *l = reply ? reply_letter(m, reply, &ev) : NULL;
	if (!l)
		return;
	if (job)
		mqtt_letter_pair(l, "job-id", job);
	pthread_mutex_lock(&m->lock);
	l->is_kept = m->kept_bytes < m->outbox_bytes; /* nobody waits for it */
	mqtt_outbox_add_locked(m, l);
	pthread_mutex_unlock(&m->lock);
}

static bool has_ended(const struct mqtt *m, const struct uuid *job)
{
	struct job_row *found = NULL;
	(void)store_job_get(m->env.store, job, &found);
	_cleanup_(job_row_freep) struct job_row *row = found;
	return row && job_state_is_final(row->state);
}

/* The job's end is told as that of any other; only that there is no such job is said here. */
static int judge(struct mqtt *m, const struct ask *a, const char *reply)
{
	struct fault f;
	char id[UUID_TEXT];
	if (a->fault.code == FAULT_UNAVAILABLE)
		return -EAGAIN;
	if (a->fault.code != FAULT_NOT_FOUND || has_ended(m, &a->job))
		return 0;
	uuid_format(&a->job, id);
	fault_set(&f, FAULT_NOT_FOUND, "there is no job %s", id);
	refuse(m, reply, id, &f);
	return 0;
}

int control_cancel(struct link *l, const struct uuid *job, const char *reply)
{
	struct cancel c = { .link = l };
	c.ask.kind = ASK_CANCEL;
	c.ask.job = *job;
	c.ask.answered = answered;
	int r = intake_ask(l->mqtt->env.in, &c.ask);
	if (r == 0) {
		pthread_mutex_lock(&l->lock);
		while (!c.is_answered)
			pthread_cond_wait(&l->changed, &l->lock);
		pthread_mutex_unlock(&l->lock);
		r = judge(l->mqtt, &c.ask, reply);
	}
	ask_done(&c.ask);
	return r;
}

char *control_job_of(const char *prefix, const char *topic)
{
	static const char before[] = "/jobs/", after[] = "/cancel";
	size_t n = strlen(prefix), n_id, start = n + strlen(before), len = strlen(topic);
	if (strncmp(topic, prefix, n) != 0 || strncmp(topic + n, before, strlen(before)) != 0 ||
		len < start + strlen(after))
		return NULL;
	n_id = len - start - strlen(after);
	return strcmp(topic + start + n_id, after) == 0
		       ? xasprintf("%.*s", (int)n_id, topic + start)
		       : NULL;
}

static int cancel_named(struct link *l, const char *name, const char *reply)
{
	struct uuid job;
	struct fault f;
	if (uuid_parse(name, &job))
		return control_cancel(l, &job, reply);
	fault_set(&f, FAULT_NOT_FOUND, "there is no job %.*s", utf8_cut(name, 128), name);
	refuse(l->mqtt, reply, NULL, &f);
	return 0;
}

static void status_arrived(struct mqtt *m, const MQTTAsync_message *message)
{
	static const char online[] = "online";
	size_t len = (size_t)message->payloadlen;
	if (len == strlen(online) && memcmp(message->payload, online, len) == 0)
		return;
	pthread_mutex_lock(&m->lock);
	if (!m->is_stopping)
		control_say(m, true);
	pthread_mutex_unlock(&m->lock);
}

void control_say(struct mqtt *m, bool is_online)
{
	struct letter *l = mqtt_letter_new(m->status_topic);
	buf_puts(&l->payload, is_online ? "online" : "offline");
	l->is_kept = l->is_retained = true;
	mqtt_outbox_add_locked(m, l);
}

void control_arrived(struct link *l, const char *topic, const MQTTAsync_message *message)
{
	struct mqtt *m = l->mqtt;
	struct request r;
	int64_t pause_ms = 0;
	int result;
	size_t n = strlen(m->status_topic);
	if (strcmp(topic, m->status_topic) == 0) {
		status_arrived(m, message);
		return;
	}
	if (strncmp(topic, m->status_topic, n) == 0 && topic[n] == '/') {
		pthread_mutex_lock(&m->lock);
		peers_heard(m, topic, message);
		pthread_mutex_unlock(&m->lock);
		return;
	}
	_cleanup_(freep) char *name = control_job_of(m->settings.prefix, topic);
	if (!name)
		log_debug("%s: a message to the topic %.*s was not asked for, and is dropped",
			m->env.name, utf8_cut(topic, 128), topic);
	if (!name || message->retained)
		return;
	mqtt_request_init(&r, m, message);
	mqtt_request_read_reply(&r);
	while ((result = cancel_named(l, name, r.reply)) == -EAGAIN)
		link_wait(l, &pause_ms);
	mqtt_request_done(&r);
	if (result == -ESHUTDOWN)
		link_park(l);
}
