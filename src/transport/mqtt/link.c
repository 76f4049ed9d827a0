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
 * threads: after link_close their callbacks do nothing. */
#include "transport/mqtt/private.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/fail_point.h"
#include "base/log.h"

enum {
	PAUSE_MS = 100,
	PAUSE_MAX_MS = 5000,
	REFUSED_PAUSE_MS = 5000,
	CONNECT_S = 10,
	LEAVE_MS = 1000,
	WAIT_MS = 20,
	WAIT_MAX_MS = 1000,
	UNACKED_MAX = 16,
	SOON_MS = 10000, /* a connection that lasts less is lost soon, */
	SOON_PAUSE_MAX_MS = 30000,
	CONTESTED = 3,     /* and after so many in a row another client may have its id */
	INNOCENT_MAX = 30, /* connections that letters may end, in */
	INNOCENT_MS = 60000,
	/* What brokers answer to a version they do not know, in 3.1.1 and in 5. */
	CODE_OLD_VERSION = 1,
	CODE_VERSION = 0x84,
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
	snprintf(l->why, sizeof l->why, "%s", why);
	mqtt_wake(m);
}

static void set_up(struct link *l)
{
	struct mqtt *m = l->mqtt;
	l->state = LINK_UP;
	l->was_up = true;
	l->n_ups++;
	l->has_lost = false;
	l->up_at_ms = clock_mono_ms();
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

/* Paho reports a subscription that the broker refused as a failure. Once more after a while, by
 * another connect: it may be allowed then. */
static void subscription_failed(struct link *l, int code)
{
	char why[WHY_MAX];
	const MQTTAsync_disconnectOptions plain = MQTTAsync_disconnectOptions_initializer;
	if (!link_enter(l))
		return;
	snprintf(why, sizeof why, "the broker refused a subscription (%d)", code);
	pthread_mutex_lock(&l->mqtt->lock);
	if (l->state == LINK_SUBSCRIBING)
		set_down(l, REFUSED_PAUSE_MS, why);
	pthread_mutex_unlock(&l->mqtt->lock);
	l->paho->disconnect(l->handle, &plain);
	link_exit(l);
}

static void subscribe_failed(void *context, MQTTAsync_failureData *data)
{
	subscription_failed(context, data ? data->code : 0);
}

static void subscribe_failed5(void *context, MQTTAsync_failureData5 *data)
{
	subscription_failed(context, data->reasonCode ? (int)data->reasonCode : data->code);
}

static void subscribed(struct link *l)
{
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
	enum { REFUSED = 0x80 };
	if (data && data->alt.qos == REFUSED)
		subscription_failed(context, REFUSED);
	else
		subscribed(context);
}

static void subscribe_done5(void *context, MQTTAsync_successData5 *data)
{
	(void)data;
	subscribed(context);
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
		options.context = l;
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
			subscription_failed(l, r);
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

static void leave_leftover(struct link *l)
{
	const MQTTAsync_disconnectOptions plain = MQTTAsync_disconnectOptions_initializer;
	pthread_mutex_lock(&l->mqtt->lock);
	l->state = LINK_NEEDLESS;
	mqtt_wake(l->mqtt);
	pthread_mutex_unlock(&l->mqtt->lock);
	l->paho->disconnect(l->handle, &plain);
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

static void connect_done5(void *context, MQTTAsync_successData5 *data)
{
	struct link *l = context;
	size_t unacked_max = UINT16_MAX, packet_max = SIZE_MAX;
	for (int i = 0; i < data->properties.count; i++) {
		const MQTTProperty *p = &data->properties.array[i];
		if (p->identifier == MQTTPROPERTY_CODE_RECEIVE_MAXIMUM)
			unacked_max = p->value.integer2;
		else if (p->identifier == MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE)
			packet_max = p->value.integer4;
	}
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&l->mqtt->lock);
	l->unacked_max = unacked_max;
	l->packet_max = packet_max;
	pthread_mutex_unlock(&l->mqtt->lock);
	link_exit(l);
	connected(l, data->alt.connect.sessionPresent);
}

static void connect_failed(struct link *l, int code, const char *message)
{
	struct mqtt *m = l->mqtt;
	char why[WHY_MAX];
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&m->lock);
	if (m->settings.version == MQTT_AUTO && !m->is_settled && !m->is_old &&
		(code == CODE_OLD_VERSION || code == CODE_VERSION)) {
		m->is_old = true;
		set_down(l, 0, "the broker does not know MQTT 5");
	} else {
		if (code > 0)
			snprintf(why, sizeof why, "%s refuses the connection: %s (%d)",
				m->settings.url, message ? message : "no reason is given", code);
		else
			snprintf(why, sizeof why, "%s cannot be reached: %s%s%s", m->settings.url,
				message ? message : "no reason is given",
				l->tls_error[0] ? ": " : "", l->tls_error);
		set_down(l, l->pause_ms, why);
		l->pause_ms = l->pause_ms * 2 < PAUSE_MAX_MS ? l->pause_ms * 2 : PAUSE_MAX_MS;
	}
	pthread_mutex_unlock(&m->lock);
	link_exit(l);
}

static void connect_refused(void *context, MQTTAsync_failureData *data)
{
	connect_failed(context, data ? data->code : -1, data ? data->message : NULL);
}

static void connect_refused5(void *context, MQTTAsync_failureData5 *data)
{
	connect_failed(context, data->code ? data->code : (int)data->reasonCode, data->message);
}

/* A connection that was made has ended; holding mqtt's lock. Those that end soon after they were
 * made, again and again, are tried at growing pauses. One that ended because of a letter, as
 * brokers end it that do not like what they get, is made again at once, for the others wait for it;
 * but not so often that it could be anything else. */
static void ended(struct link *l, bool is_taken_over, const char *why)
{
	struct mqtt *m = l->mqtt;
	int64_t now = clock_mono_ms();
	char text[WHY_MAX];
	if (l->state <= LINK_DOWN)
		return;
	bool is_innocent =
		!is_taken_over && l->state == LINK_UP && (mqtt_outbox_flies(m, l) || l->has_lost);
	if (now - l->innocent_ms > INNOCENT_MS) {
		l->innocent_ms = now;
		l->n_innocent = 0;
	}
	if (is_innocent && (l->is_brief || l->n_innocent++ < INNOCENT_MAX)) {
		set_down(l, 0, why);
		return;
	}
	l->n_soon = l->was_up && now - l->up_at_ms < SOON_MS ? l->n_soon + 1 : 0;
	int64_t pause_ms = is_taken_over ? REFUSED_PAUSE_MS : PAUSE_MS;
	for (unsigned i = 1; i < l->n_soon && pause_ms < SOON_PAUSE_MAX_MS; i++)
		pause_ms *= 2;
	if (pause_ms > SOON_PAUSE_MAX_MS)
		pause_ms = SOON_PAUSE_MAX_MS;
	bool is_contested = is_taken_over || l->n_soon >= CONTESTED;
	if (is_contested)
		snprintf(text, sizeof text,
			"%.128s; it may be that another client has the same id: each gateway needs "
			"a client-id of its own",
			why);
	set_down(l, pause_ms, is_contested ? text : why);
}

static void lost(void *context, char *cause)
{
	struct link *l = context;
	(void)cause;
	if (!link_enter(l))
		return;
	pthread_mutex_lock(&l->mqtt->lock);
	ended(l, false, "the connection to the broker was lost");
	pthread_mutex_unlock(&l->mqtt->lock);
	link_exit(l);
}

/* MQTT 5: the broker says why it ends the connection. Paho tells of it here only. */
static void disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes code)
{
	struct link *l = context;
	char why[WHY_MAX];
	(void)properties;
	if (!link_enter(l))
		return;
	const char *name = l->paho->reason_name(code);
	snprintf(why, sizeof why, "the broker ended the connection: %s (%d)",
		name ? name : "no reason is known", (int)code);
	pthread_mutex_lock(&l->mqtt->lock);
	ended(l, code == MQTTREASONCODE_SESSION_TAKEN_OVER, why);
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
	link_exit(l);
	(void)fail_point(FAIL_MQTT_TAKEN);
	l->paho->free_message(&message);
	l->paho->free(topic);
	return 1;
}

static int tls_error(const char *text, size_t len, void *context)
{
	struct link *l = context;
	size_t n = len < sizeof l->tls_error - 1 ? len : sizeof l->tls_error - 1;
	while (n && text[n - 1] == '\n')
		n--;
	if (!link_enter(l))
		return 0;
	pthread_mutex_lock(&l->mqtt->lock);
	memcpy(l->tls_error, text, n);
	l->tls_error[n] = '\0';
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
	will.retained = 1;
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
	options->keepAliveInterval = (int)(s->keep_alive_ms / 1000);
	options->connectTimeout = CONNECT_S;
	options->username = or_none(s->user);
	options->password = or_none(l->mqtt->password);
	int r = fail_point(FAIL_MQTT_CONNECT);
	if (r == 0)
		r = l->paho->connect(l->handle, options);
	if (r != MQTTASYNC_SUCCESS)
		connect_failed(l, r, "paho does not try");
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
			"paho takes neither the url %.128s nor the client-id %.128s (%d)",
			m->settings.url, l->id, r);
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
		connect_failed(l, r, f.text);
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
	expiry.value.integer4 = l->is_leftover || l->is_brief
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

static void set_id(struct link *l, const char *suffix)
{
	free(l->id);
	l->id = xasprintf("%s%s", l->mqtt->client_id, suffix);
}

/* The handle of before stays with paho: it is not connected, and nothing comes of it. */
int link_rename(struct link *l, const char *suffix, struct fault *f)
{
	set_id(l, suffix);
	return make_handle(l, f);
}

struct link *link_new(struct mqtt *m, const char *suffix, struct fault *f)
{
	struct link *l = xcalloc(1, sizeof *l);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	l->mqtt = m;
	l->state = LINK_DOWN;
	l->pause_ms = PAUSE_MS;
	l->unacked_max = UINT16_MAX;
	l->packet_max = SIZE_MAX;
	snprintf(l->why, sizeof l->why, "not connected yet");
	set_id(l, suffix);
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

void link_leave(struct link *l)
{
	struct mqtt *m = l->mqtt;
	MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
	struct timespec until;
	options.context = l;
	if (!mqtt_speaks_5(m))
		options.onSuccess = leave_done;
	else
		options.onSuccess5 = leave_done5;
	pthread_mutex_lock(&m->lock);
	bool is_up = l->state >= LINK_SUBSCRIBING;
	pthread_mutex_unlock(&m->lock);
	if (!is_up || l->paho->disconnect(l->handle, &options) != MQTTASYNC_SUCCESS)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LEAVE_MS / 1000;
	pthread_mutex_lock(&m->lock);
	while (l->state > LINK_DOWN)
		if (pthread_cond_timedwait(&m->changed, &m->lock, &until))
			break;
	pthread_mutex_unlock(&m->lock);
}

void link_close(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	l->is_closed = true;
	while (l->n_inside)
		pthread_cond_wait(&l->changed, &l->lock);
	pthread_mutex_unlock(&l->lock);
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
