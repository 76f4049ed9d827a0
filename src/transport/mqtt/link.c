/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to the broker.
 *
 * The adapter's thread starts each attempt to connect; everything else happens in paho's callbacks,
 * on the threads of this link's copy of the library. A link is up when all its subscriptions are
 * made, which is done on every connect: a broker may have forgotten them. It is paho's business to
 * find out that a connection is dead, and ours to make the next one: paho's own reconnect comes
 * seconds later. A broker that does not know MQTT 5 says so to the first link that asks, and from
 * then on all speak 3.1.1.
 *
 * The end: paho sends the PUBACK of a message when `arrived` returns, in every case. A message that
 * came too late to be taken must stay with the broker, so its callback does not return: link_park
 * keeps the thread, and with it paho's mutex, until the process ends, and the broker sees the
 * connection break. That is safe because the copy of the library is this link's alone and nobody
 * calls into it any more, because a parked thread touches nothing, and because a gateway that stops
 * transports ends soon. For the same reason links are not destroyed, which would wait for paho's
 * threads: after link_close their callbacks do nothing. A call into paho may wait without a limit,
 * for a mutex that a parked thread holds or for the network, so each link is left on a thread of
 * its own (mqtt.c), which stays behind when it does not come back. */
#include "transport/mqtt/private.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/fail_point.h"
#include "base/log.h"
#include "base/utf8.h"

enum {
	PAUSE_MS = 100,
	PAUSE_MAX_MS = 5000,
	REFUSED_PAUSE_MS = 5000,
	CONNECT_S = 10,
	LEAVE_MS = 1000,
	WAIT_MS = 20,
	WAIT_MAX_MS = 1000,
	UNACKED_MAX = 16,
	SOON_MS = 10000,            /* a connection that lasts less is lost soon, */
	TAKEN_PAUSE_MAX_MS = 60000, /* two with one id: one of them should have the upper hand */
	CONTESTED = 3,              /* and after so many in a row another client may have its id */
	INNOCENT_MAX = 30,          /* connections that letters may end, in */
	INNOCENT_MS = 60000,
	BUSY_PAUSE_MAX_MS = 60000,
	/* What brokers answer to a version they do not know, in 3.1.1 and in 5. */
	CODE_OLD_VERSION = 1,
	CODE_VERSION = 0x84,
	CODE_TAKEN_OVER = 0x8e,
	CODE_NO_RETAIN = 0x9a,
	CODE_NO_QOS = 0x9b,
	CODE_NO_SHARE = 0x9e,
	CODE_NO_WILDCARDS = 0xa2,
};

bool link_enter(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	bool is_open = !l->is_closed;
	l->n_inside += is_open;
	pthread_mutex_unlock(&l->lock);
	return is_open;
}

void link_exit(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	if (--l->n_inside == 0)
		pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static _Noreturn void stay(void)
{
	for (;;)
		pause();
}

void link_park(struct link *l)
{
	struct mqtt *m = l->mqtt;
	pthread_mutex_lock(&m->lock);
	l->state = LINK_PARKED;
	mqtt_wake(m);
	pthread_mutex_unlock(&m->lock);
	link_exit(l);
	stay();
}

void link_wait(struct link *l, int64_t *ms)
{
	struct mqtt *m = l->mqtt;
	struct timespec until;
	*ms = *ms == 0 ? WAIT_MS : *ms * 2 < WAIT_MAX_MS ? *ms * 2 : WAIT_MAX_MS;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += *ms % 1000 * 1000000;
	until.tv_sec += *ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&m->lock);
	while (!m->is_stopping)
		if (pthread_cond_timedwait(&m->changed, &m->lock, &until))
			break;
	bool is_stopping = m->is_stopping;
	pthread_mutex_unlock(&m->lock);
	if (is_stopping)
		link_park(l);
}

bool link_fails(const struct link *l)
{
	return l->pause_ms > 4 * PAUSE_MS;
}

/* Holding mqtt's lock. */
static void set_down(struct link *l, int64_t pause_ms, const char *why)
{
	struct mqtt *m = l->mqtt;
	bool was_up = l->was_up;
	l->state = LINK_DOWN;
	l->was_up = false;
	l->retry_at_ms = clock_mono_ms() + pause_ms;
	bool is_news = l->is_brief ? link_fails(l) : was_up;
	if (!m->is_stopping && (is_news || (!l->is_brief && strcmp(l->why, why) != 0)))
		log_warn("transport %s: connection %s: %s", m->env.name, l->id, why);
	sentence_print(l->why, sizeof l->why, "%s", why);
	mqtt_wake(m);
}

static void set_up(struct link *l)
{
	struct mqtt *m = l->mqtt;
	l->state = LINK_UP;
	l->was_up = true;
	l->n_ups++;
	l->has_lost = false;
	l->up_at_ms = l->quiet_since_ms = clock_mono_ms();
	l->pause_ms = PAUSE_MS;
	l->why[0] = '\0';
	if (l == m->links[LINK_SENDER])
		m->is_settled = true;
	if (!l->is_brief)
		log_info("transport %s: connection %s to %s is up, MQTT %s", m->env.name, l->id,
			m->settings.url, mqtt_speaks_5(m) ? "5" : "3.1.1");
	if (l->is_up_now)
		l->is_up_now(m);
	mqtt_wake(m);
}

/* Holding mqtt's lock. How long to wait before the next connection, as the broker's reason asks
 * for. */
static int64_t pause_for(struct link *l, const struct mqtt_reason *r)
{
	if (!r->grows)
		return r->pause_ms;
	l->busy_ms = l->busy_ms ? 2 * l->busy_ms : r->pause_ms;
	l->busy_ms = l->busy_ms < BUSY_PAUSE_MAX_MS ? l->busy_ms : BUSY_PAUSE_MAX_MS;
	return l->busy_ms;
}

/* Paho reports a subscription that the broker refused as a failure. Once more after a while, by
 * another connect: it may be allowed then. */
static void subscription_failed(const struct subscription *s, int code, const MQTTProperties *said)
{
	char why[WHY_MAX], reason[WHY_MAX];
	const MQTTAsync_disconnectOptions plain = MQTTAsync_disconnectOptions_initializer;
	struct link *l = s->link;
	if (!link_enter(l))
		return;
	mqtt_reason_print(reason, sizeof reason, code, said);
	sentence_print(why, sizeof why, "the broker refused a subscription to %.*s: %s",
		utf8_cut(s->filter, 128), s->filter, reason);
	pthread_mutex_lock(&l->mqtt->lock);
	if (l->state == LINK_SUBSCRIBING) {
		int64_t pause_ms = pause_for(l, mqtt_reason(code));
		l->mqtt->counts.errors[mqtt_reason(code)->kind]++;
		set_down(l, pause_ms > REFUSED_PAUSE_MS ? pause_ms : REFUSED_PAUSE_MS, why);
	}
	pthread_mutex_unlock(&l->mqtt->lock);
	l->paho->disconnect(l->handle, &plain);
	link_exit(l);
}

static void subscribe_failed(void *context, MQTTAsync_failureData *data)
{
	subscription_failed(context, data ? data->code : 0, NULL);
}

static void subscribe_failed5(void *context, MQTTAsync_failureData5 *data)
{
	subscription_failed(
		context, data->reasonCode ? (int)data->reasonCode : data->code, &data->properties);
}

/* With QoS 0, which a broker may give where more is asked for, requests would be lost. */
static void subscribed(const struct subscription *s, int qos)
{
	struct link *l = s->link;
	if (qos == 0 || qos == CODE_REFUSED) {
		subscription_failed(s, qos ? qos : CODE_NO_QOS, NULL);
		return;
	}
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&l->mqtt->lock);
	if (l->state == LINK_SUBSCRIBING && ++l->n_subscribed == l->n_filters)
		set_up(l);
	pthread_mutex_unlock(&l->mqtt->lock);
	link_exit(l);
}

static void subscribe_done(void *context, MQTTAsync_successData *data)
{
	subscribed(context, data ? data->alt.qos : 1);
}

static void subscribe_done5(void *context, MQTTAsync_successData5 *data)
{
	subscribed(context, (int)data->reasonCode);
}

static void subscribe_all(struct link *l)
{
	struct mqtt *m = l->mqtt;
	for (size_t i = 0; i < l->n_filters; i++) {
		_cleanup_(freep) char *shared =
			mqtt_speaks_5(m) && m->settings.share[0] && l != m->links[LINK_CONTROL]
				? xasprintf("$share/%s/%s", m->settings.share, l->filters[i])
				: NULL;
		MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
		l->subscriptions[i] = (struct subscription){ l, l->filters[i] };
		options.context = &l->subscriptions[i];
		if (!mqtt_speaks_5(m)) {
			options.onSuccess = subscribe_done;
			options.onFailure = subscribe_failed;
		} else {
			options.onSuccess5 = subscribe_done5;
			options.onFailure5 = subscribe_failed5;
		}
		int r = fail_point(FAIL_MQTT_SUBSCRIBE);
		if (r == 0)
			r = l->paho->subscribe(
				l->handle, shared ? shared : l->filters[i], 1, &options);
		if (r != MQTTASYNC_SUCCESS)
			subscription_failed(&l->subscriptions[i], r, NULL);
	}
}

/* What a receiver of other settings subscribed to, as far as the settings of today tell. */
static void unsubscribe_all(struct link *l)
{
	const struct link *other = l->mqtt->links[LINK_RECEIVER];
	for (size_t i = 0; i < other->n_filters; i++) {
		_cleanup_(freep) char *shared =
			xasprintf("$share/%s/%s", l->mqtt->settings.share, other->filters[i]);
		l->paho->unsubscribe(l->handle, shared, NULL);
		l->paho->unsubscribe(l->handle, other->filters[i], NULL);
	}
}

void link_let_go(struct link *l)
{
	const MQTTAsync_disconnectOptions plain = MQTTAsync_disconnectOptions_initializer;
	l->paho->disconnect(l->handle, &plain);
}

bool link_is_idle(struct link *l, int64_t ms)
{
	pthread_mutex_lock(&l->lock);
	bool is_idle = l->n_inside == 0 && clock_mono_ms() - l->quiet_since_ms >= ms;
	pthread_mutex_unlock(&l->lock);
	return is_idle;
}

static void leave_leftover(struct link *l)
{
	pthread_mutex_lock(&l->mqtt->lock);
	l->state = LINK_NEEDLESS;
	mqtt_wake(l->mqtt);
	pthread_mutex_unlock(&l->mqtt->lock);
	link_let_go(l);
}

static void connected(struct link *l, bool has_session)
{
	if (!link_enter(l))
		return;
	if (l->is_leftover && !has_session) {
		leave_leftover(l);
		link_exit(l);
		return;
	}
	pthread_mutex_lock(&l->mqtt->lock);
	l->n_subscribed = 0;
	l->state = LINK_SUBSCRIBING;
	if (l->n_filters == 0)
		set_up(l);
	pthread_mutex_unlock(&l->mqtt->lock);
	if (l->is_leftover)
		unsubscribe_all(l);
	else
		subscribe_all(l);
	link_exit(l);
}

static void connect_done(void *context, MQTTAsync_successData *data)
{
	connected(context, data && data->alt.connect.sessionPresent);
}

/* Seconds between two tests of a connection: paho misses an answer after more than twice that, and
 * a broker that does not answer is to be missed after one and a half times the setting. */
static int keep_alive_of(const struct mqtt *m)
{
	int64_t wanted = m->settings.keep_alive_ms / 1000;
	if (m->keep_alive_s && m->keep_alive_s < wanted)
		wanted = m->keep_alive_s;
	return wanted > 1 ? (int)((wanted * 5 + 8) / 9) : 1;
}

static void set_forgetful(struct mqtt *m)
{
	if (!m->is_forgetful)
		log_warn(
			"transport %s: the broker keeps no retained messages: whether gateways are "
			"online is told only to those that listen at that moment",
			m->env.name);
	m->is_forgetful = true;
}

static void set_session(struct mqtt *m, unsigned seconds)
{
	if (m->session_s != seconds)
		log_warn("transport %s: the broker keeps sessions for %u s only, less than "
			 "session-expiry: requests that come while no gateway is there longer than "
			 "that are lost",
			m->env.name, seconds);
	m->session_s = seconds;
}

/* What the broker has to say, holding the lock. 0: it is good; else the code of what Mist needs and
 * it does not have, or -1: an id that is not ours. *ret_again: the connection is to be made once
 * more, otherwise. */
static int heed(struct link *l, const MQTTProperties *said, bool *ret_again)
{
	struct mqtt *m = l->mqtt;
	int lacks = 0, used = keep_alive_of(m);
	for (int i = 0; i < said->count; i++) {
		const MQTTProperty *p = &said->array[i];
		switch (p->identifier) {
		case MQTTPROPERTY_CODE_RECEIVE_MAXIMUM:
			l->unacked_max = p->value.integer2;
			break;
		case MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE:
			l->packet_max = p->value.integer4;
			break;
		case MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE:
			m->keep_alive_s = p->value.integer2;
			break;
		case MQTTPROPERTY_CODE_RETAIN_AVAILABLE:
			if (!p->value.byte)
				set_forgetful(m);
			break;
		case MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL:
			if (l->n_filters &&
				p->value.integer4 <
					(unsigned)(m->settings.session_expiry_ms / 1000) &&
				!l->is_leftover)
				set_session(m, p->value.integer4);
			break;
		case MQTTPROPERTY_CODE_MAXIMUM_QOS:
			lacks = p->value.byte ? lacks : CODE_NO_QOS;
			break;
		case MQTTPROPERTY_CODE_SHARED_SUBSCRIPTION_AVAILABLE:
			if (!p->value.byte && m->settings.share[0])
				lacks = CODE_NO_SHARE;
			break;
		case MQTTPROPERTY_CODE_WILDCARD_SUBSCRIPTION_AVAILABLE:
			lacks = p->value.byte ? lacks : CODE_NO_WILDCARDS;
			break;
		case MQTTPROPERTY_CODE_ASSIGNED_CLIENT_IDENTIFER:
			lacks = -1;
			break;
		default: /* nothing to obey: see reason.c */
			break;
		}
	}
	*ret_again = m->keep_alive_s && used > m->keep_alive_s && keep_alive_of(m) < used;
	return lacks;
}

/* What it lacks is needed: the same sentence for all of them. Holding the lock. */
static void set_lacking(struct link *l, int lacks, const MQTTProperties *said)
{
	char reason[WHY_MAX], why[WHY_MAX];
	if (lacks > 0) {
		mqtt_reason_print(reason, sizeof reason, lacks, said);
		sentence_print(
			why, sizeof why, "the broker does not have what Mist needs: %s", reason);
	} else {
		sentence_print(why, sizeof why,
			"the broker gives connections ids of its own, so that it cannot keep "
			"requests for a gateway that is away: it has to leave them theirs");
	}
	l->mqtt->counts.errors[TRANSPORT_ERROR_PROTOCOL]++;
	set_down(l, REFUSED_PAUSE_MS, why);
}

static void connect_done5(void *context, MQTTAsync_successData5 *data)
{
	const MQTTAsync_disconnectOptions plain = MQTTAsync_disconnectOptions_initializer;
	struct link *l = context;
	bool is_again;
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&l->mqtt->lock);
	l->unacked_max = UINT16_MAX;
	l->packet_max = SIZE_MAX;
	int lacks = heed(l, &data->properties, &is_again);
	if (lacks)
		set_lacking(l, lacks, &data->properties);
	else if (is_again)
		set_down(l, 0, "the broker wants a shorter keep-alive");
	pthread_mutex_unlock(&l->mqtt->lock);
	if (lacks || is_again)
		l->paho->disconnect(l->handle, &plain);
	link_exit(l);
	if (!lacks && !is_again)
		connected(l, data->alt.connect.sessionPresent);
}

/* Holding mqtt's lock. A positive code is the broker's. */
static void set_failed(struct link *l, int code, const char *message, const MQTTProperties *said)
{
	struct mqtt *m = l->mqtt;
	char why[WHY_MAX], reason[WHY_MAX];
	int64_t pause_ms = l->pause_ms;
	enum transport_error kind = TRANSPORT_ERROR_CONNECTION;
	l->pause_ms = l->pause_ms * 2 < PAUSE_MAX_MS ? l->pause_ms * 2 : PAUSE_MAX_MS;
	if (code > 0) {
		const struct mqtt_reason *r = mqtt_reason(code);
		mqtt_reason_print(reason, sizeof reason, code, said);
		sentence_print(why, sizeof why, "%.*s refuses the connection: %s",
			utf8_cut(m->settings.url, 128), m->settings.url, reason);
		kind = r->kind;
		if (r->grows || r->pause_ms > REFUSED_PAUSE_MS)
			pause_ms = pause_for(l, r);
	} else {
		sentence_print(why, sizeof why, "%.*s cannot be reached: %s%s%s",
			utf8_cut(m->settings.url, 128), m->settings.url,
			message ? message : "no reason is given", l->tls_error[0] ? ": " : "",
			l->tls_error);
	}
	m->counts.errors[kind]++;
	set_down(l, pause_ms, why);
}

static void connect_failed(
	struct link *l, int code, const char *message, const MQTTProperties *said)
{
	struct mqtt *m = l->mqtt;
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&m->lock);
	if (l->is_taken) {
		l->state = LINK_NEEDLESS;
		mqtt_wake(m);
	} else if (m->settings.version == MQTT_AUTO && !m->is_settled && !m->is_old &&
		   (code == CODE_OLD_VERSION || code == CODE_VERSION)) {
		m->is_old = true;
		set_down(l, 0, "the broker does not know MQTT 5");
	} else if (code == CODE_NO_RETAIN && !m->is_forgetful) {
		set_forgetful(m);
		set_down(l, 0, "the broker keeps no retained messages");
	} else {
		set_failed(l, code, message, said);
	}
	pthread_mutex_unlock(&m->lock);
	link_exit(l);
}

static void connect_refused(void *context, MQTTAsync_failureData *data)
{
	connect_failed(context, data ? data->code : -1, data ? data->message : NULL, NULL);
}

static void connect_refused5(void *context, MQTTAsync_failureData5 *data)
{
	connect_failed(context, data->code ? data->code : (int)data->reasonCode, data->message,
		&data->properties);
}

/* A connection that was made has ended; holding mqtt's lock. Those that end soon after they were
 * made, again and again, are tried at growing pauses. One that ended because of a letter, as
 * brokers end it that do not like what they get, is made again at once, for the others wait for it;
 * but not so often that it could be anything else. `r` is the broker's reason, NULL: it gave none.
 */
static void ended(struct link *l, const struct mqtt_reason *r, const char *why)
{
	struct mqtt *m = l->mqtt;
	int64_t now = clock_mono_ms();
	char text[WHY_MAX];
	if (l->state <= LINK_DOWN)
		return;
	if (l->is_taken) { /* its gateway is back, as a rule */
		l->state = LINK_NEEDLESS;
		mqtt_wake(m);
		return;
	}
	bool is_taken_over = r && r->code == CODE_TAKEN_OVER;
	bool is_asked_to_wait = r && (r->grows || r->pause_ms > PAUSE_MS) &&
				r->kind != TRANSPORT_ERROR_TOPIC &&
				r->kind != TRANSPORT_ERROR_PROTOCOL;
	bool is_innocent = !is_asked_to_wait && l->state == LINK_UP &&
			   (mqtt_outbox_flies(m, l) || l->has_lost);
	m->counts.errors[r ? r->kind : TRANSPORT_ERROR_CONNECTION]++;
	if (now - l->innocent_ms > INNOCENT_MS) {
		l->innocent_ms = now;
		l->n_innocent = 0;
	}
	if (is_innocent && (l->is_brief || l->n_innocent++ < INNOCENT_MAX)) {
		set_down(l, 0, why);
		return;
	}
	l->n_soon = l->was_up && now - l->up_at_ms < SOON_MS ? l->n_soon + 1 : 0;
	l->busy_ms = l->n_soon ? l->busy_ms : 0;
	int64_t pause_ms = is_taken_over ? REFUSED_PAUSE_MS : r ? pause_for(l, r) : PAUSE_MS;
	int64_t max_ms = is_taken_over ? TAKEN_PAUSE_MAX_MS : PAUSE_MAX_MS;
	max_ms = pause_ms > max_ms ? pause_ms : max_ms;
	for (unsigned i = 1; i < l->n_soon && pause_ms < max_ms; i++)
		pause_ms *= 2;
	pause_ms = pause_ms < max_ms ? pause_ms : max_ms;
	bool is_contested = !is_taken_over && l->n_soon >= CONTESTED; /* else it is said */
	if (is_contested)
		sentence_print(text, sizeof text,
			"%.*s; it may be that another client has the same id: each gateway needs "
			"a client-id of its own",
			utf8_cut(why, 256), why);
	set_down(l, pause_ms, is_contested ? text : why);
}

static void lost(void *context, char *cause)
{
	struct link *l = context;
	(void)cause;
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&l->mqtt->lock);
	ended(l, NULL, "the connection to the broker was lost");
	pthread_mutex_unlock(&l->mqtt->lock);
	link_exit(l);
}

/* MQTT 5: the broker says why it ends the connection. Paho tells of it here only. */
static void disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes code)
{
	struct link *l = context;
	char why[WHY_MAX], reason[WHY_MAX];
	if (!link_enter(l))
		return;
	mqtt_reason_print(reason, sizeof reason, (int)code, properties);
	sentence_print(why, sizeof why, "the broker ended the connection: %s", reason);
	pthread_mutex_lock(&l->mqtt->lock);
	ended(l, mqtt_reason((int)code), why);
	pthread_mutex_unlock(&l->mqtt->lock);
	link_exit(l);
}

static int arrived(void *context, char *topic, int topic_len, MQTTAsync_message *message)
{
	struct link *l = context;
	if (!link_enter(l))
		stay();
	/* A topic with a NUL in it is none of ours. */
	(void)fail_point(FAIL_MQTT_ARRIVED);
	if (topic_len == 0 || strlen(topic) == (size_t)topic_len)
		l->arrived(l, topic, message);
	if (l->is_taken) {
		pthread_mutex_lock(&l->lock);
		l->quiet_since_ms = clock_mono_ms();
		pthread_mutex_unlock(&l->lock);
	}
	link_exit(l);
	(void)fail_point(FAIL_MQTT_TAKEN);
	l->paho->free_message(&message);
	l->paho->free(topic);
	return 1;
}

static int tls_error(const char *text, size_t len, void *context)
{
	struct link *l = context;
	size_t n = len;
	while (n && text[n - 1] == '\n')
		n--;
	if (!link_enter(l))
		return 0;
	pthread_mutex_lock(&l->mqtt->lock);
	sentence_print(l->tls_error, sizeof l->tls_error, "%.*s", (int)n, text);
	pthread_mutex_unlock(&l->mqtt->lock);
	link_exit(l);
	return 1;
}

static const char *or_none(const char *text)
{
	return text && *text ? text : NULL;
}

static void connect_with(struct link *l, MQTTAsync_connectOptions *options)
{
	const struct mqtt_settings *s = &l->mqtt->settings;
	MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
	MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
	will.topicName = l->will_topic;
	will.message = l->will_text;
	will.retained = !l->mqtt->is_forgetful;
	will.qos = 1;
	tls.trustStore = or_none(s->tls_ca);
	tls.keyStore = or_none(s->tls_certificate);
	tls.privateKey = or_none(s->tls_key);
	tls.enableServerCertAuth = tls.verify = s->tls_verify;
	tls.ssl_error_cb = tls_error;
	tls.ssl_error_context = l;
	options->will = l->will_topic ? &will : NULL;
	options->ssl = &tls;
	options->context = l;
	options->keepAliveInterval = keep_alive_of(l->mqtt);
	options->connectTimeout = CONNECT_S;
	options->username = or_none(s->user);
	options->password = or_none(l->mqtt->password);
	int r = fail_point(FAIL_MQTT_CONNECT);
	if (r == 0)
		r = l->paho->connect(l->handle, options);
	if (r != MQTTASYNC_SUCCESS)
		connect_failed(l, r, "paho does not try", NULL);
}

static int make_handle(struct link *l, struct fault *f)
{
	const struct mqtt *m = l->mqtt;
	MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
	options.maxBufferedMessages = UINT16_MAX;
	if (m->settings.version == MQTT_311)
		options.MQTTVersion = MQTTVERSION_3_1_1;
	int r = l->paho->create(
		&l->handle, m->settings.url, l->id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
	if (r != MQTTASYNC_SUCCESS)
		return fault_set(f, FAULT_BAD_REQUEST,
			"paho takes neither the url %.*s nor the client-id %.*s (%d)",
			utf8_cut(m->settings.url, 128), m->settings.url, utf8_cut(l->id, 128),
			l->id, r);
	l->paho->set_callbacks(l->handle, l, lost, arrived, NULL);
	l->paho->set_disconnected(l->handle, l, disconnected);
	return 0;
}

/* Of a message whose first write failed, paho 1.3 frees topic and payload, keeps their addresses,
 * and would read them in the next connection, and free them with the handle. So that handle stays
 * as it is. One that is whole goes after the new one is there: with its last handle the library
 * would end. */
static int renew(struct link *l, struct fault *f)
{
	MQTTAsync before = l->handle;
	int r = make_handle(l, f);
	if (r < 0)
		return r;
	pthread_mutex_lock(&l->mqtt->lock);
	bool is_damaged = l->is_damaged;
	l->is_damaged = false;
	pthread_mutex_unlock(&l->mqtt->lock);
	if (!is_damaged)
		l->paho->destroy(&before);
	return 0;
}

void link_connect(struct link *l, bool afresh)
{
	struct mqtt *m = l->mqtt;
	struct fault f;
	int r = afresh ? renew(l, &f) : 0;
	if (r < 0) {
		connect_failed(l, r, f.text, NULL);
		return;
	}
	if (!mqtt_speaks_5(m)) {
		MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
		options.MQTTVersion = MQTTVERSION_3_1_1;
		options.cleansession = l->is_brief;
		options.onSuccess = connect_done;
		options.onFailure = connect_refused;
		connect_with(l, &options);
		return;
	}
	MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
	MQTTProperties properties = MQTTProperties_initializer;
	MQTTProperty expiry = { .identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL };
	MQTTProperty unacked = { .identifier = MQTTPROPERTY_CODE_RECEIVE_MAXIMUM };
	expiry.value.integer4 = (l->is_leftover && !l->is_taken) || l->is_brief
					? 0
					: (unsigned)(m->settings.session_expiry_ms / 1000);
	unacked.value.integer2 = UNACKED_MAX;
	l->paho->properties_add(&properties, &expiry);
	l->paho->properties_add(&properties, &unacked);
	options.cleanstart = l->is_brief;
	options.connectProperties = &properties;
	options.onSuccess5 = connect_done5;
	options.onFailure5 = connect_refused5;
	connect_with(l, &options);
	l->paho->properties_free(&properties);
}

/* The handle of before stays with paho: it is not connected, and nothing comes of it. */
int link_rename(struct link *l, const char *id, struct fault *f)
{
	free(l->id);
	l->id = xstrdup(id);
	return make_handle(l, f);
}

struct link *link_new(struct mqtt *m, const char *id, struct fault *f)
{
	struct link *l = xcalloc(1, sizeof *l);
	pthread_condattr_t monotonic;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	l->mqtt = m;
	l->state = LINK_DOWN;
	l->pause_ms = PAUSE_MS;
	l->unacked_max = UINT16_MAX;
	l->packet_max = SIZE_MAX;
	sentence_print(l->why, sizeof l->why, "not connected yet");
	l->id = xstrdup(id);
	l->paho = paho_load(f);
	if (l->paho && make_handle(l, f) == 0)
		return l;
	link_free(l);
	return NULL;
}

static void left(void *context)
{
	struct link *l = context;
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&l->mqtt->lock);
	l->state = LINK_DOWN;
	mqtt_wake(l->mqtt);
	pthread_mutex_unlock(&l->mqtt->lock);
	link_exit(l);
}

static void leave_done(void *context, MQTTAsync_successData *data)
{
	(void)data;
	left(context);
}

static void leave_done5(void *context, MQTTAsync_successData5 *data)
{
	(void)data;
	left(context);
}

/* A callback that waited for the broker sees that it is over, and parks or returns: paho's mutex is
 * its own until then. False: until that time, and one runs. */
static bool wait_until_empty(struct link *l, int64_t until_ms)
{
	const struct timespec until = { until_ms / 1000, until_ms % 1000 * 1000000 };
	int r = 0;
	pthread_mutex_lock(&l->lock);
	while (l->n_inside && r == 0)
		r = pthread_cond_timedwait(&l->changed, &l->lock, &until);
	bool is_empty = !l->n_inside;
	pthread_mutex_unlock(&l->lock);
	return is_empty;
}

static void say_good_bye(struct link *l, bool unsubscribes)
{
	struct mqtt *m = l->mqtt;
	MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
	struct timespec until;
	options.context = l;
	if (!mqtt_speaks_5(m))
		options.onSuccess = leave_done;
	else
		options.onSuccess5 = leave_done5;
	(void)wait_until_empty(l, clock_mono_ms() + LEAVE_MS);
	pthread_mutex_lock(&m->lock);
	bool is_open = l->state >= LINK_SUBSCRIBING, is_up = l->state == LINK_UP;
	pthread_mutex_unlock(&m->lock);
	if (is_up && unsubscribes) /* the broker has it before the good-bye that follows */
		unsubscribe_all(l);
	if (!is_open || l->paho->disconnect(l->handle, &options) != MQTTASYNC_SUCCESS)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LEAVE_MS / 1000;
	pthread_mutex_lock(&m->lock);
	while (l->state > LINK_DOWN)
		if (pthread_cond_timedwait(&m->changed, &m->lock, &until))
			break;
	pthread_mutex_unlock(&m->lock);
}

void link_leave(struct link *l, bool unsubscribes)
{
	struct mqtt *m = l->mqtt;
	say_good_bye(l, unsubscribes);
	pthread_mutex_lock(&m->lock);
	l->has_left = true;
	mqtt_wake(m);
	pthread_mutex_unlock(&m->lock);
}

bool link_close(struct link *l, int64_t until_ms)
{
	pthread_mutex_lock(&l->lock);
	l->is_closed = true;
	pthread_mutex_unlock(&l->lock);
	return wait_until_empty(l, until_ms);
}

void link_free(struct link *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_filters; i++)
		free(TAKE_PTR(l->filters[i]));
	free(TAKE_PTR(l->id));
	free(TAKE_PTR(l->will_topic));
	free(TAKE_PTR(l->will_text));
	/* Paho has the address. */
	if (!l->handle)
		free(l);
}
