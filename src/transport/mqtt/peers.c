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
 * Under mqtt's lock. */
#include "transport/mqtt/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"

enum { DEPTH_MAX = 4, STATUS_MAX = 4096, NAME_TAIL = 12 };

char *peers_client_id(const char *gateway, const char *transport)
{
	size_t n = strlen(gateway);
	return xasprintf("mist-%s-%s", gateway + (n > NAME_TAIL ? n - NAME_TAIL : 0), transport);
}

char *peers_status(const struct mqtt *m, const char *status)
{
	const struct mqtt_settings *s = &m->settings;
	_cleanup_(json_decrefp) json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "status", status,
		"gateway", m->env.gateway, "transport", m->env.name, "version", MIST_VERSION);
	if (*s->share) {
		json_object_set_new(json, "share", json_string(s->share));
		json_object_set_new(json, "client", json_string(m->client_id));
		json_object_set_new(json, "receivers", json_integer(s->receivers));
	}
	return json_text(json);
}

static struct peer *find(struct mqtt *m, const char *topic)
{
	for (size_t i = 0; i < m->n_peers; i++)
		if (strcmp(m->peers[i].topic, topic) == 0)
			return &m->peers[i];
	return NULL;
}

static void forget(struct mqtt *m, struct peer *p)
{
	free(p->topic);
	free(p->gateway);
	free(p->client);
	*p = m->peers[--m->n_peers];
}

/* Somebody else's words: what is no such object is nobody's. Each gateway speaks of itself only, on
 * the topic of its own name, for which brokers can keep the others from. */
static bool read_status(
	const struct mqtt *m, const char *topic, const MQTTAsync_message *message, struct peer *ret)
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
	if (!m->is_stopping || message->retained ||
		!memmem(message->payload, (size_t)message->payloadlen, offline, strlen(offline)))
		return;
	m->has_own_status = true;
	mqtt_wake(m);
}

void peers_heard(struct mqtt *m, const char *topic, const MQTTAsync_message *message)
{
	struct peer *p = find(m, topic), news = { .topic = NULL };
	bool was_online = p && p->is_online;
	int64_t since_ms = p ? p->away_since_ms : 0;
	int n_taken = p ? p->n_taken : 0;
	if (strcmp(topic, m->gateway_topic) == 0) {
		own_status_received(m, message);
		return;
	}
	bool was_there = p;
	if (p)
		forget(m, p);
	if (m->n_peers == PEERS_MAX || !read_status(m, topic, message, &news))
		return;
	news.topic = xstrdup(topic);
	if (!news.is_online) {
		bool is_known = was_there && !was_online;
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
	m->peers[m->n_peers++] = news;
	mqtt_wake(m);
}

/* Of those that share the requests and are online this is the first. */
static bool is_first(const struct mqtt *m)
{
	for (size_t i = 0; i < m->n_peers; i++)
		if (m->peers[i].is_online && strcmp(m->peers[i].gateway, m->env.gateway) < 0)
			return false;
	return true;
}

bool peers_is_any_online(const struct mqtt *m)
{
	for (size_t i = 0; i < m->n_peers; i++)
		if (m->peers[i].is_online)
			return true;
	return false;
}

static int64_t due_of(const struct mqtt *m, const struct peer *p)
{
	bool is_left = !p->is_online && !p->is_named_otherwise && p->n_taken < p->receivers;
	return is_left && m->settings.take_over_ms != DURATION_INF
		       ? p->away_since_ms + m->settings.take_over_ms
		       : INT64_MAX;
}

int64_t peers_due(const struct mqtt *m)
{
	int64_t due = INT64_MAX;
	for (size_t i = 0; i < m->n_peers && is_first(m); i++) {
		int64_t own = due_of(m, &m->peers[i]);
		due = own < due ? own : due;
	}
	return due;
}

char *peers_next_session(struct mqtt *m)
{
	for (size_t i = 0; i < m->n_peers && is_first(m); i++) {
		struct peer *p = &m->peers[i];
		if (due_of(m, p) > clock_mono_ms())
			continue;
		if (p->n_taken == 0)
			log_warn("transport %s: gateway %s is away for %" PRId64
				 " s; what waits in its sessions is taken over",
				m->env.name, p->gateway,
				(clock_mono_ms() - p->away_since_ms) / 1000);
		return xasprintf("%s-%d", p->client, p->n_taken++);
	}
	return NULL;
}

void peers_begin_anew(struct mqtt *m)
{
	for (size_t i = 0; i < m->n_peers; i++) {
		m->peers[i].away_since_ms = clock_mono_ms();
		m->peers[i].n_taken = 0;
	}
}

void peers_free(struct mqtt *m)
{
	while (m->n_peers)
		forget(m, &m->peers[0]);
}
