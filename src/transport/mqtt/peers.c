/* SPDX-License-Identifier: Apache-2.0 */
/* Other gateways at the same broker, and what they leave behind.
 *
 * A broker goes on giving a share of the requests to the sessions of a gateway that is away, and
 * keeps them for it until the sessions expire: then they are lost. Each gateway says on a retained
 * topic of its own, PREFIX/status/GATEWAY, whether it is online, by its will when it dies, and what
 * its sessions are called. When one that has the same share stays away for `take-over`, another one
 * takes its place: it connects by the names of its sessions, one after the other, takes what waits
 * there, and ends them. The one that does it is the online gateway whose id is the smallest, since
 * two that connect by one name would end each other's connection. The gateway that was away may
 * come back at any time: the broker gives it its name again, and it makes its sessions anew. Only
 * names that gateways make themselves are used so, for who may publish the status could else have
 * any client's connection ended.
 *
 * A gateway that died together with its broker stays online in what the broker has kept, since its
 * will died too. So each one that has connected asks, by a member of its status, and the others say
 * once more that they are online. One that is known to do so, and does not, is away. What the
 * broker has kept, or queued for us while we were away, tells nothing of now: that begins with our
 * own question, when it comes back to us.
 *
 * Statuses are kept for ever, also of gateways that never come back. One that went while we
 * listened comes before those, and has a place where there are too many.
 *
 * Under mqtt's lock. */
#include "transport/mqtt/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum {
	DEPTH_MAX = 4,
	STATUS_MAX = 4096,
	NAME_TAIL = 12,
	AGAIN_MS = 1000, /* it says so again at most once in so long, whoever asks, */
	SURE_MS = 10000  /* and is waited for at least so long */
};

char *peers_client_id(const char *gateway, const char *transport)
{
	size_t n = strlen(gateway);
	return xasprintf("mist-%s-%s", gateway + (n > NAME_TAIL ? n - NAME_TAIL : 0), transport);
}

static char *status_of(const struct mqtt *m, const char *status, const char *member, json_t *value)
{
	const struct mqtt_settings *s = &m->settings;
	_cleanup_(json_decrefp) json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "status", status,
		"gateway", m->env.gateway, "transport", m->env.name, "version", MIST_VERSION);
	if (*s->share) {
		json_object_set_new(json, "share", json_string(s->share));
		json_object_set_new(json, "client", json_string(m->client_id));
		json_object_set_new(json, "receivers", json_integer(s->receivers));
		json_object_set_new(json, "saysAgain", json_true());
	}
	if (member)
		json_object_set_new(json, member, value);
	return json_text(json);
}

char *peers_status(const struct mqtt *m, const char *status)
{
	return status_of(m, status, NULL, NULL);
}

char *peers_question(struct mqtt *m)
{
	static _Atomic unsigned n; /* of this process, on any thread */
	snprintf(m->questions.own, sizeof m->questions.own, "%" PRIx64 "-%x",
		(uint64_t)clock_wall_ms(), ++n);
	return status_of(m, "online", "asks", json_string(m->questions.own));
}

char *peers_answer(const struct mqtt *m)
{
	return status_of(m, "online", "again", json_true());
}

static bool is_of_now(const struct mqtt *m, const MQTTAsync_message *message)
{
	if (message->retained || !m->questions.has_come_back)
		return false;
	const struct link *control = m->links[LINK_CONTROL];
	return control->state == LINK_UP && m->questions.came_in == control->n_ups;
}

static struct peer *find(struct mqtt *m, const char *topic)
{
	for (size_t i = 0; i < m->n_peers; i++)
		if (strcmp(m->peers[i].topic, topic) == 0)
			return &m->peers[i];
	return NULL;
}

static void peer_free(struct peer *p)
{
	free(p->topic);
	free(p->gateway);
	free(p->client);
}

static void forget(struct mqtt *m, struct peer *p)
{
	peer_free(p);
	*p = m->peers[--m->n_peers];
}

/* Somebody else's words: what is no such object is nobody's. Each gateway speaks of itself only, on
 * the topic of its own name, for which brokers can keep the others from. */
static bool read_status(const struct mqtt *m, const char *topic, const MQTTAsync_message *message,
	struct peer *ret, bool *ret_asks)
{
	struct fault ignored;
	if (message->payloadlen <= 0 || message->payloadlen > STATUS_MAX)
		return false;
	_cleanup_(json_decrefp) json_t *json =
		json_parse(message->payload, (size_t)message->payloadlen, DEPTH_MAX, &ignored);
	const char *status = json_string_of(json, "status"), *share = json_string_of(json, "share"),
		   *gateway = json_string_of(json, "gateway"),
		   *client = json_string_of(json, "client"),
		   *transport = json_string_of(json, "transport");
	json_int_t receivers = json_integer_value(json_object_get(json, "receivers"));
	if (!status || !share || !gateway || !client || !transport || receivers < 1 ||
		receivers > RECEIVERS_MAX || strcmp(share, m->settings.share) != 0 ||
		strcmp(topic + strlen(m->status_topic) + 1, gateway) != 0)
		return false;
	/* Nobody is to have us connect by the name of any other client. */
	_cleanup_(freep) char *usual = peers_client_id(gateway, transport);
	ret->is_named_otherwise = strcmp(client, usual) != 0;
	ret->is_online = strcmp(status, "online") == 0;
	ret->is_unsure = ret->is_online && !is_of_now(m, message) &&
			 json_is_true(json_object_get(json, "saysAgain"));
	*ret_asks = !message->retained && json_object_get(json, "asks");
	ret->gateway = xstrdup(gateway);
	ret->client = xstrdup(client);
	ret->receivers = (int)receivers;
	return true;
}

/* Two gateways may stop at once. Each says that it is offline, and hears itself say so: what the
 * other said before came before that on the same connection. So of the two the one whose word the
 * broker had first leaves its share to the other, which knows that it is the last and leaves
 * nothing. */
static void own_status_received(struct mqtt *m, const MQTTAsync_message *message)
{
	static const char offline[] = "\"offline\"";
	if (!message->retained && *m->questions.own &&
		memmem(message->payload, (size_t)message->payloadlen, m->questions.own,
			strlen(m->questions.own))) {
		m->questions.has_come_back = true;
		m->questions.came_in = m->links[LINK_CONTROL]->n_ups;
	}
	if (!m->is_stopping || message->retained ||
		!memmem(message->payload, (size_t)message->payloadlen, offline, strlen(offline)))
		return;
	m->has_own_status = true;
	mqtt_wake(m);
}

static bool is_finished(const struct peer *p)
{
	return !p->is_online && (p->is_named_otherwise || p->n_taken >= p->receivers);
}

/* Where there are too many: one of which nothing is left, else, for one of now, one of before.
 * NULL: all that are here matter as much. */
static struct peer *least(struct mqtt *m, const struct peer *news)
{
	struct peer *found = NULL;
	for (size_t i = 0; i < m->n_peers; i++) {
		struct peer *p = &m->peers[i];
		if (is_finished(p))
			return p;
		bool gives_way = !p->is_online && !p->is_away_for_us;
		if (gives_way && (news->is_online || news->is_away_for_us))
			found = p;
	}
	return found;
}

static bool make_room(struct mqtt *m, const struct peer *news)
{
	struct peer *p = m->n_peers == PEERS_MAX ? least(m, news) : NULL;
	if (p)
		forget(m, p);
	if (m->n_peers < PEERS_MAX)
		return true;
	if (!m->questions.are_peers_too_many)
		log_warn("transport %s: more than %d gateways have their status at the broker; of "
			 "the others it is not seen when they go",
			m->env.name, PEERS_MAX);
	m->questions.are_peers_too_many = true;
	return false;
}

void peers_heard(struct mqtt *m, const char *topic, const MQTTAsync_message *message)
{
	struct peer *p = find(m, topic), news = { .topic = NULL };
	bool was_online = p && p->is_online, was_away_for_us = p && p->is_away_for_us, asks;
	int64_t since_ms = p ? p->away_since_ms : 0;
	int n_taken = p ? p->n_taken : 0;
	if (strcmp(topic, m->gateway_topic) == 0) {
		own_status_received(m, message);
		return;
	}
	bool was_there = p;
	if (p)
		forget(m, p);
	if (!read_status(m, topic, message, &news, &asks))
		return;
	news.topic = xstrdup(topic);
	news.unsure_since_ms = clock_mono_ms();
	if (asks && !m->questions.answer_at_ms)
		m->questions.answer_at_ms = m->questions.answered_ms + AGAIN_MS;
	if (!news.is_online) {
		bool is_known = was_there && !was_online;
		news.is_away_for_us = is_known ? was_away_for_us : is_of_now(m, message);
		news.away_since_ms = is_known ? since_ms : clock_mono_ms();
		news.n_taken = is_known ? n_taken : 0;
		if (!is_known &&
			(news.is_named_otherwise || m->settings.take_over_ms == DURATION_INF))
			log_warn("transport %s: gateway %s is away; requests may wait in its "
				 "sessions, and are lost when they expire: %s",
				m->env.name, news.gateway,
				news.is_named_otherwise ? "it has a client-id of its own"
							: "take-over is Inf");
	}
	if (make_room(m, &news))
		m->peers[m->n_peers++] = news;
	else
		peer_free(&news);
	mqtt_wake(m);
}

/* From then on one is away of which the broker says only that it was online. */
static int64_t sure_at(const struct mqtt *m, const struct peer *p)
{
	int64_t patience = m->settings.take_over_ms;
	if (patience < SURE_MS || patience == DURATION_INF)
		patience = SURE_MS;
	return p->unsure_since_ms + patience;
}

static bool is_online(const struct mqtt *m, const struct peer *p)
{
	return p->is_online && (!p->is_unsure || clock_mono_ms() < sure_at(m, p));
}

/* Of those that share the requests and are online this is the first. */
static bool is_first(const struct mqtt *m)
{
	for (size_t i = 0; i < m->n_peers; i++)
		if (is_online(m, &m->peers[i]) && strcmp(m->peers[i].gateway, m->env.gateway) < 0)
			return false;
	return true;
}

bool peers_is_any_online(const struct mqtt *m)
{
	for (size_t i = 0; i < m->n_peers; i++)
		if (is_online(m, &m->peers[i]))
			return true;
	return false;
}

static int64_t away_since(const struct peer *p)
{
	return p->is_online ? p->unsure_since_ms : p->away_since_ms;
}

static int64_t due_of(const struct mqtt *m, const struct peer *p)
{
	bool is_left = !is_online(m, p) && !p->is_named_otherwise && p->n_taken < p->receivers;
	return is_left && m->settings.take_over_ms != DURATION_INF
		       ? away_since(p) + m->settings.take_over_ms
		       : INT64_MAX;
}

int64_t peers_due(const struct mqtt *m)
{
	int64_t due = INT64_MAX;
	bool are_ours = is_first(m);
	for (size_t i = 0; i < m->n_peers; i++) {
		const struct peer *p = &m->peers[i];
		int64_t own = are_ours ? due_of(m, p) : INT64_MAX;
		if (p->is_unsure && is_online(m, p))
			own = sure_at(m, p);
		due = own < due ? own : due;
	}
	return due;
}

int64_t peers_answer_due(const struct mqtt *m)
{
	return m->questions.answer_at_ms ? m->questions.answer_at_ms : INT64_MAX;
}

/* Those that have just gone come first. */
static struct peer *next_due(struct mqtt *m)
{
	struct peer *found = NULL;
	for (size_t i = 0; i < m->n_peers; i++) {
		struct peer *p = &m->peers[i];
		if (due_of(m, p) <= clock_mono_ms() && (!found || p->is_away_for_us))
			found = p;
	}
	return found;
}

char *peers_next_session(struct mqtt *m)
{
	struct peer *p = is_first(m) ? next_due(m) : NULL;
	if (!p)
		return NULL;
	if (p->n_taken == 0)
		log_warn("transport %s: gateway %s is away for %" PRId64
			 " s; what waits in its sessions is taken over",
			m->env.name, p->gateway, (clock_mono_ms() - away_since(p)) / 1000);
	return xasprintf("%s-%d", p->client, p->n_taken++);
}

void peers_begin_anew(struct mqtt *m)
{
	for (size_t i = 0; i < m->n_peers; i++) {
		m->peers[i].away_since_ms = m->peers[i].unsure_since_ms = clock_mono_ms();
		m->peers[i].n_taken = 0;
	}
}

void peers_free(struct mqtt *m)
{
	while (m->n_peers)
		forget(m, &m->peers[0]);
}
