/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out.
 *
 * Any thread adds letters; the adapter's thread gives them to paho, a window of them at a time,
 * because paho looks through all that is under way for each one more, and waits for seconds when it
 * has more than the broker takes at once. Waking the thread costs more than a letter, so news wait
 * until half of the window is free; answers do not wait.
 *
 * A letter flies until the broker acknowledged it. Outcomes that are owed are then reported to the
 * core, those of REPORT_MS together. When the connection breaks, all that flies is recalled and
 * sent again in the next one, in the order made. What is not owed gives way when the broker is
 * slow: it is dropped, and counted.
 *
 * A letter that is larger than the broker takes goes as a short one that says so. Not every broker
 * tells what it takes: some just end the connection, for the size, or for a text that they do not
 * like. So what flew when a connection ended is suspected, and flies alone from then on, until it
 * has arrived. One that has ended several connections alone is made shorter if it is large, and
 * else put off, for longer each time: the others go on, and nothing that is owed is lost.
 *
 * A letter that the broker refuses for what it is (its topic, a right that we lack) would be
 * refused again: it is given up, in the log and in the count. */
#include "transport/mqtt/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/fail_point.h"
#include "base/log.h"

enum { WINDOW = 128, LETTER_MAX = 1 << 28, HOLD_MS = 1000, REPORT_MS = 20 };
/* No broker is known that takes less; how often a letter may end a connection before it is put off,
 * and for how long. */
enum { SHORT_MAX = 16 << 10, SUSPECT_TRIES = 4, PUT_OFF_MS = 2000, PUT_OFF_MAX_MS = 600000 };
/* What of a packet is none of the letter's texts, and none of a property's. */
enum { PACKET_OVERHEAD = 32, PROPERTY_OVERHEAD = 5 };

/* What brokers answer, in MQTT 5. */
enum {
	CODE_REFUSED = 0x80, /* and all that are larger */
	CODE_UNSPECIFIED = 0x80,
	CODE_SPECIFIC = 0x83,
	CODE_TOO_LARGE = 0x95,
	CODE_QUOTA = 0x97,
};

struct letter *mqtt_letter_new(const char *topic)
{
	struct letter *l = xcalloc(1, sizeof *l);
	list_init(&l->node);
	l->topic = xstrdup(topic);
	buf_init(&l->payload, LETTER_MAX);
	buf_init(&l->correlation, UINT16_MAX);
	buf_init(&l->pairs, LETTER_MAX);
	return l;
}

void mqtt_letter_pair(struct letter *l, const char *name, const char *value)
{
	buf_add(&l->pairs, name, strlen(name) + 1);
	buf_add(&l->pairs, value, strlen(value) + 1);
}

void mqtt_letter_free(struct letter *l)
{
	if (!l)
		return;
	buf_done(&l->payload);
	buf_done(&l->correlation);
	buf_done(&l->pairs);
	free(l->topic);
	free(l);
}

static struct list *queue_of(struct mqtt *m, const struct letter *l)
{
	return l->is_news ? &m->news : &m->replies;
}

/* It was taken out to be sent, and comes back to where it was. */
static void put_back(struct mqtt *m, struct letter *l)
{
	struct list *queue = queue_of(m, l), *at = queue->next;
	while (at != queue && container_of(at, struct letter, node)->number < l->number)
		at = at->next;
	list_append(at, &l->node);
	m->n_waiting++;
	m->n_droppable += !l->is_kept;
}

void mqtt_outbox_add_locked(struct mqtt *m, struct letter *l)
{
	if (!l->is_kept && m->n_droppable >= m->buffer) {
		m->counts.dropped++;
		mqtt_letter_free(l);
		return;
	}
	l->number = ++m->last_number;
	list_append(queue_of(m, l), &l->node);
	m->n_droppable += !l->is_kept;
	m->n_waiting++;
	if (!l->is_news || m->n_flying == 0)
		mqtt_wake(m);
}

void mqtt_outbox_add(struct mqtt *m, struct letter *l)
{
	pthread_mutex_lock(&m->lock);
	mqtt_outbox_add_locked(m, l);
	pthread_mutex_unlock(&m->lock);
}

static size_t window_of(const struct mqtt *m)
{
	size_t unacked_max = m->n_suspects ? 1 : m->links[LINK_SENDER]->unacked_max;
	return unacked_max < WINDOW ? unacked_max : WINDOW;
}

static size_t news_window_of(const struct mqtt *m)
{
	return (window_of(m) + 1) / 2;
}

/* Enough of it to wake somebody. */
static bool has_room(const struct mqtt *m)
{
	return !list_empty(&m->replies) || m->n_flying_news <= news_window_of(m) / 2;
}

/* The letter's way has ended; it has been taken out of its list. */
static void finish(struct mqtt *m, struct letter *l)
{
	if (l->is_owed) {
		if (m->n_delivered == m->delivered_cap) {
			m->delivered_cap = m->delivered_cap ? 2 * m->delivered_cap : WINDOW;
			m->delivered =
				xrealloc(m->delivered, m->delivered_cap * sizeof *m->delivered);
		}
		m->delivered[m->n_delivered++] = l->job;
		if (m->n_delivered == 1) {
			m->report_at_ms = clock_mono_ms() + REPORT_MS;
			mqtt_wake(m);
		}
	}
	m->n_suspects -= l->is_suspect;
	if (l->has_arrived)
		*l->has_arrived = true;
	if (l->has_arrived || m->is_stopping || (m->n_waiting && has_room(m)))
		mqtt_wake(m);
	mqtt_letter_free(l);
}

static void give_up(struct mqtt *m, struct letter *l, int code, const char *why)
{
	log_warn("transport %s: an event for the topic %s is given up: %s (%d)", m->env.name,
		l->topic, why ? why : "the broker refuses it", code);
	m->counts.dropped++;
	finish(m, l);
}

static void land(struct mqtt *m, struct letter *l)
{
	list_remove(&l->node);
	l->flight = NULL;
	m->n_flying--;
	m->n_flying_news -= l->is_news;
}

/* NULL: it was recalled. */
static struct letter *flight_ended(struct mqtt *m, struct flight *f)
{
	struct letter *l = f->letter;
	free(f);
	if (l)
		land(m, l);
	return l;
}

static void sent(struct flight *f)
{
	struct link *link = f->link;
	if (!link_enter(link))
		return;
	(void)fail_point(FAIL_MQTT_PUBLISHED);
	struct mqtt *m = link->mqtt;
	pthread_mutex_lock(&m->lock);
	struct letter *l = flight_ended(m, f);
	m->counts.told += l != NULL;
	if (l)
		finish(m, l);
	pthread_mutex_unlock(&m->lock);
	link_exit(link);
}

static void sent_4(void *context, MQTTAsync_successData *data)
{
	(void)data;
	sent(context);
}

static void sent_5(void *context, MQTTAsync_successData5 *data)
{
	(void)data;
	sent(context);
}

/* It has landed, and goes once more. */
static void send_again(struct mqtt *m, struct letter *l)
{
	if (!l->is_kept) {
		m->counts.dropped++;
		finish(m, l);
		return;
	}
	put_back(m, l);
	mqtt_wake(m);
}

/* It has landed. The broker does not take as much as it is. */
static void shorten(struct mqtt *m, struct letter *l)
{
	if (l->is_short) {
		give_up(m, l, CODE_TOO_LARGE, "it is larger than the broker takes");
		return;
	}
	log_warn("transport %s: an event for the topic %s has %zu bytes, more than the broker "
		 "takes; that is told instead",
		m->env.name, l->topic, l->payload.len);
	_cleanup_(freep) char *text =
		message_too_large(l->is_owed ? &l->job : NULL, l->payload.len);
	buf_drop(&l->payload, l->payload.len);
	buf_puts(&l->payload, text);
	l->is_short = true;
	l->n_alone = 0;
	put_back(m, l);
	mqtt_wake(m);
}

/* A negative code is paho's: the connection broke, or its session is gone. */
static void failed(struct flight *f, int code, const char *why)
{
	enum { SOCKET_ERROR = -1 };
	struct link *link = f->link;
	if (!link_enter(link))
		return;
	struct mqtt *m = link->mqtt;
	bool is_for_later = code == CODE_UNSPECIFIED || code == CODE_SPECIFIC || code == CODE_QUOTA;
	pthread_mutex_lock(&m->lock);
	link->is_damaged |= code == SOCKET_ERROR;
	struct letter *l = flight_ended(m, f);
	if (is_for_later)
		m->hold_until_ms = clock_mono_ms() + HOLD_MS;
	if (l && code == CODE_TOO_LARGE)
		shorten(m, l);
	else if (l && code >= CODE_REFUSED && !is_for_later)
		give_up(m, l, code, why);
	else if (l)
		send_again(m, l);
	pthread_mutex_unlock(&m->lock);
	link_exit(link);
}

static void failed_4(void *context, MQTTAsync_failureData *data)
{
	failed(context, data ? data->code : -1, NULL);
}

static void failed_5(void *context, MQTTAsync_failureData5 *data)
{
	failed(context, data->reasonCode ? (int)data->reasonCode : data->code, data->message);
}

static MQTTLenString text_of(const char *text, size_t len)
{
	return (MQTTLenString){ (int)len, (char *)text };
}

static void add_property(MQTTProperties *to, MQTTProperty property)
{
	to->array[to->count++] = property;
}

/* Paho copies them when the letter is sent. They point into the letter; only the array is ours. */
static void add_properties(const struct letter *l, MQTTProperties *to)
{
	const char *text = l->pairs.data, *end = text + l->pairs.len;
	size_t n = 2;
	for (const char *p = text; p && p < end; p++)
		n += !*p; /* twice as many as there are pairs */
	to->array = xcalloc(n, sizeof *to->array);
	if (l->content_type)
		add_property(to,
			(MQTTProperty){ .identifier = MQTTPROPERTY_CODE_CONTENT_TYPE,
				.value.data = text_of(l->content_type, strlen(l->content_type)) });
	if (l->has_correlation)
		add_property(to,
			(MQTTProperty){ .identifier = MQTTPROPERTY_CODE_CORRELATION_DATA,
				.value.data = text_of(l->correlation.data, l->correlation.len) });
	while (text && text < end) {
		const char *value = text + strlen(text) + 1;
		add_property(to, (MQTTProperty){ .identifier = MQTTPROPERTY_CODE_USER_PROPERTY,
					 .value.data = text_of(text, strlen(text)),
					 .value.value = text_of(value, strlen(value)) });
		text = value + strlen(value) + 1;
	}
}

/* Without the lock: a callback may have freed the letter when this returns 0. */
static int send_letter(const struct link *link, struct letter *l, bool is_5)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	options.context = l->flight;
	if (is_5) {
		options.onSuccess5 = sent_5;
		options.onFailure5 = failed_5;
		add_properties(l, &options.properties);
	} else {
		options.onSuccess = sent_4;
		options.onFailure = failed_4;
	}
	int r = fail_point(FAIL_MQTT_PUBLISH);
	if (r == 0)
		r = link->paho->send(link->handle, l->topic, (int)l->payload.len,
			l->payload.len ? l->payload.data : "", 1, l->is_retained, &options);
	free(options.properties.array);
	return r;
}

/* At most. */
static size_t packet_of(const struct letter *l)
{
	size_t n = PACKET_OVERHEAD + strlen(l->topic) + l->payload.len;
	n += 2 * PROPERTY_OVERHEAD + l->correlation.len;
	if (l->content_type)
		n += strlen(l->content_type);
	for (size_t i = 0; i < l->pairs.len; i++)
		n += l->pairs.data[i] ? 1 : PROPERTY_OVERHEAD;
	return n;
}

static bool is_suspect(const struct list *queue)
{
	return !list_empty(queue) && container_of(queue->next, struct letter, node)->is_suspect;
}

/* Replies go first, and news never fill the window. */
static struct letter *next_letter(struct mqtt *m)
{
	struct link *link = m->links[LINK_SENDER];
	size_t window = window_of(m);
	struct list *n = NULL;
	if (link->state != LINK_UP || m->n_flying >= window || clock_mono_ms() < m->hold_until_ms)
		return NULL;
	if (!is_suspect(&m->news) || is_suspect(&m->replies))
		n = list_pop(&m->replies);
	if (!n && m->n_flying_news < news_window_of(m))
		n = list_pop(&m->news);
	if (!n)
		return NULL;
	struct letter *l = container_of(n, struct letter, node);
	l->flight = xcalloc(1, sizeof *l->flight);
	*l->flight = (struct flight){ link, l };
	m->n_waiting--;
	m->n_droppable -= !l->is_kept;
	m->n_flying++;
	m->n_flying_news += l->is_news;
	list_append(&m->flying, &l->node);
	return l;
}

static void put_off(struct mqtt *m, struct letter *l)
{
	unsigned n = l->n_alone - SUSPECT_TRIES;
	int64_t pause_ms = n < 10 ? (int64_t)PUT_OFF_MS << n : PUT_OFF_MAX_MS;
	if (pause_ms > PUT_OFF_MAX_MS)
		pause_ms = PUT_OFF_MAX_MS;
	log_warn("transport %s: the broker ends the connection when it gets an event for the topic "
		 "%s, %u times by now; it is tried again in %" PRId64 " s",
		m->env.name, l->topic, l->n_alone, pause_ms / 1000);
	l->is_suspect = false;
	m->n_suspects--;
	m->n_waiting++;
	l->retry_at_ms = clock_mono_ms() + pause_ms;
	struct list *at = m->later.next;
	while (at != &m->later &&
		container_of(at, struct letter, node)->retry_at_ms <= l->retry_at_ms)
		at = at->next;
	list_append(at, &l->node);
}

/* Those whose time has come are suspects again. */
static void take_up(struct mqtt *m)
{
	int64_t now = clock_mono_ms();
	while (!list_empty(&m->later)) {
		struct letter *l = container_of(m->later.next, struct letter, node);
		if (l->retry_at_ms > now)
			return;
		list_remove(&l->node);
		m->n_waiting--;
		l->is_suspect = true;
		m->n_suspects++;
		put_back(m, l);
	}
}

void mqtt_outbox_send(struct mqtt *m)
{
	struct letter *l;
	take_up(m);
	while ((l = next_letter(m))) {
		const struct link *link = m->links[LINK_SENDER];
		bool is_5 = mqtt_speaks_5(m);
		if (packet_of(l) > link->packet_max) {
			free(l->flight);
			land(m, l);
			shorten(m, l);
			continue;
		}
		struct flight *flight = l->flight;
		pthread_mutex_unlock(&m->lock);
		int r = send_letter(link, l, is_5);
		pthread_mutex_lock(&m->lock);
		if (r == MQTTASYNC_SUCCESS)
			continue;
		free(flight);
		land(m, l);
		if (r == MQTTASYNC_BAD_UTF8_STRING) {
			give_up(m, l, r, "the topic is not UTF-8");
			continue;
		}
		put_back(m, l);
		m->hold_until_ms = clock_mono_ms() + HOLD_MS / 10;
	}
}

/* Whether the connection broke because of it. */
static void suspect(struct mqtt *m, struct letter *l, bool was_alone)
{
	l->n_alone += was_alone;
	m->n_suspects += !l->is_suspect;
	l->is_suspect = true;
}

int64_t mqtt_outbox_due(const struct mqtt *m)
{
	int64_t due = INT64_MAX;
	if (!list_empty(&m->later))
		due = container_of(m->later.next, struct letter, node)->retry_at_ms;
	if (m->n_waiting && m->hold_until_ms > clock_mono_ms() && m->hold_until_ms < due)
		due = m->hold_until_ms;
	return due;
}

bool mqtt_outbox_recall(struct mqtt *m)
{
	const bool was_alone = m->n_flying == 1;
	struct list recalled, *n;
	list_init(&recalled);
	while (!list_empty(&m->flying)) {
		struct letter *l = container_of(m->flying.next, struct letter, node);
		l->flight->letter = NULL;
		land(m, l);
		list_append(&recalled, &l->node);
	}
	bool is_any = !list_empty(&recalled);
	while ((n = list_pop(&recalled))) {
		struct letter *l = container_of(n, struct letter, node);
		suspect(m, l, was_alone);
		if (l->is_kept && l->n_alone >= SUSPECT_TRIES && l->payload.len <= SHORT_MAX)
			put_off(m, l);
		else if (l->n_alone >= SUSPECT_TRIES && l->payload.len > SHORT_MAX)
			shorten(m, l);
		else
			send_again(m, l);
	}
	return is_any;
}

void mqtt_outbox_report(struct mqtt *m)
{
	if (!m->n_delivered)
		return;
	_cleanup_(freep) struct uuid *ids = TAKE_PTR(m->delivered);
	size_t n = m->n_delivered;
	m->n_delivered = m->delivered_cap = 0;
	pthread_mutex_unlock(&m->lock);
	intake_delivered(m->env.in, ids, n);
	pthread_mutex_lock(&m->lock);
}

static void free_all(struct list *letters)
{
	struct list *n;
	while ((n = list_pop(letters)))
		mqtt_letter_free(container_of(n, struct letter, node));
}

/* Those that fly are paho's: it has their addresses. */
void mqtt_outbox_free(struct mqtt *m)
{
	struct list *n;
	free_all(&m->replies);
	free_all(&m->news);
	free_all(&m->later);
	while ((n = list_pop(&m->flying)))
		;
	free(TAKE_PTR(m->delivered));
}
