/* SPDX-License-Identifier: Apache-2.0 */
/* What is for every gateway, not for one of those that share: cancels, and whether anybody is
 * online.
 *
 * PREFIX/status is one topic for all gateways. Each has its will on it, so one that dies says
 * "offline" there; the others hear that and say that they are online. */
#include "transport/mqtt/private.h"

#include <errno.h>
#include <string.h>

struct cancel {
	struct ask ask;
	struct mqtt *mqtt;
	char *reply;
};

static void cancel_free(struct cancel *c)
{
	ask_done(&c->ask);
	free(c->reply);
	free(c);
}

/* Core's thread. */
static void answered(struct ask *a)
{
	struct cancel *c = container_of(a, struct cancel, ask);
	const struct job_event ev = {
		.kind = EVENT_REFUSED, .fault = &a->fault, .at_ms = clock_wall_ms()
	};
	struct letter *l = a->fault.code && c->reply ? reply_letter(c->mqtt, c->reply, &ev) : NULL;
	if (l) {
		char id[UUID_TEXT];
		uuid_format(&a->job, id);
		mqtt_letter_pair(l, "job-id", id);
		mqtt_outbox_add(c->mqtt, l);
	}
	cancel_free(c);
}

int control_cancel(struct mqtt *m, const struct uuid *job, const char *reply)
{
	struct cancel *c = xcalloc(1, sizeof *c);
	c->ask.kind = ASK_CANCEL;
	c->ask.job = *job;
	c->ask.answered = answered;
	c->mqtt = m;
	c->reply = reply ? xstrdup(reply) : NULL;
	int r = intake_ask(m->env.in, &c->ask);
	if (r < 0)
		cancel_free(c);
	return r;
}

/* PREFIX/jobs/ID/cancel */
static bool read_topic(const char *prefix, const char *topic, struct uuid *ret)
{
	static const char before[] = "/jobs/", after[] = "/cancel";
	size_t n = strlen(prefix), id = UUID_TEXT - 1;
	char text[UUID_TEXT] = "";
	if (strncmp(topic, prefix, n) != 0 || strncmp(topic + n, before, strlen(before)) != 0)
		return false;
	topic += n + strlen(before);
	if (strlen(topic) != id + strlen(after) || strcmp(topic + id, after) != 0)
		return false;
	memcpy(text, topic, id);
	return uuid_parse(text, ret);
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
	struct uuid job;
	if (strcmp(topic, m->status_topic) == 0) {
		status_arrived(m, message);
		return;
	}
	if (message->retained)
		return;
	mqtt_request_init(&r, m, message);
	mqtt_request_read_reply(&r);
	int result = 0;
	if (read_topic(m->settings.prefix, topic, &job))
		result = control_cancel(m, &job, r.reply);
	mqtt_request_done(&r);
	if (result == -ESHUTDOWN)
		link_park(l);
}
