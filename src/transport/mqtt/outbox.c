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
 * tells what it takes: some just end the connection, for the size, for the topic, or for a text
 * that they do not like. So what flew when the connection ended is quarantined, but for small
 * letters with topics that the broker has taken before, and so are letters with a topic that
 * brokers are known to dislike; and for a time all that go to a topic which the broker has not
 * taken yet. They go over a connection of their own, one at a time, and nobody else waits for them.
 * If that connection ends too, while the others stay, the letter is guilty: it is made shorter if
 * it is large, and else given up, in the log and in the count; the outcome of its job is in the
 * history. Its topic is distrusted for a time: what goes there next is quarantined before it does
 * harm. If the others end as well it is the broker, and nobody's fault.
 *
 * A broker that is away, or slow, is owed more and more outcomes, which are not dropped. Of those
 * for which `outbox-bytes` leaves no room only the head stays in memory: the payload is read from
 * the store again when the letter is sent. When letters as such are too many, or too large, no more
 * outcomes are taken: they stay with the core, in the store. Refusals cannot be too many: a
 * receiver takes no other request until the broker has its refusal; one of a cancel is dropped when
 * there is no room.
 *
 * A letter that the broker refuses for what it is (its topic, a right that we lack) would be
 * refused again: it is given up, in the log and in the count. One that it refuses for now (a quota)
 * goes to the quarantine, where it is sent again after growing pauses, and nobody else waits: the
 * reason may be its topic all the same. An outcome that is owed goes again until it is taken,
 * however long that is; another letter is given up after REFUSALS_MAX, some twenty minutes. */
#include "transport/mqtt/private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fail_point.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "base/utf8.h"

enum {
	WINDOW = 128,
	LETTER_MAX = 1 << 28,
	HOLD_MS = 1000,
	REPORT_MS = 20,
	SAY_MS = 1000,
	SAY_STORED_MS = 60000,
	SAY_LATE_MS = 60000
};
/* No broker is known that takes less than SHORT_MAX. Topics of more levels or bytes than these are
 * quarantined at once. */
enum { SHORT_MAX = 16 << 10, LEVELS_MAX = 64, TOPIC_MAX = 1024, DISTRUST_MS = 600000 };
/* How long only topics that are known to be taken go with the others, after a connection broke. */
enum { CAREFUL_MS = 10000 };
/* What of a packet is none of the letter's texts, and none of a property's. */
enum { PACKET_OVERHEAD = 32, PROPERTY_OVERHEAD = 5 };

/* What brokers answer, in MQTT 5. */
enum {
	CODE_TOO_LARGE = 0x95,
};
/* One that is refused for now goes again after LATER_MS, twice as long each time. */
enum { LATER_MS = 1000, LATER_MAX_MS = 60000, REFUSALS_MAX = 24 };

struct letter *mqtt_letter_new(const char *topic)
{
	struct letter *l = xcalloc(1, sizeof *l);
	list_init(&l->node);
	l->topic = xstrdup(topic);
	l->topic_hash = text_hash(topic);
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
	free(l->reply);
	free(l->topic);
	free(l);
}

/* Of one that is not quarantined. */
static struct list *queue_of(struct mqtt *m, const struct letter *l)
{
	return l->is_news ? &m->news : &m->replies;
}

/* What it holds in memory. While it waits it does not change. */
static size_t size_of(const struct letter *l)
{
	return sizeof *l + strlen(l->topic) + (l->reply ? strlen(l->reply) : 0) + l->payload.len +
	       l->correlation.len + l->pairs.len;
}

/* Of one that is kept, until it ends, after each change of what it holds. */
static void count_kept(struct mqtt *m, struct letter *l)
{
	size_t n = l->is_kept ? size_of(l) : 0;
	m->n_kept += (n > 0) - (size_t)(l->counted > 0);
	m->kept_bytes += n - l->counted;
	l->counted = n;
}

static void count_droppable(struct mqtt *m, const struct letter *l, int sign)
{
	if (l->is_kept)
		return;
	m->n_droppable += (size_t)sign;
	m->droppable_bytes += (size_t)sign * size_of(l);
}

/* It comes to where its number says, which mostly is the end. */
static void put_back(struct mqtt *m, struct letter *l)
{
	struct list *queue = queue_of(m, l), *after = queue->prev;
	if (l->is_quarantined) {
		quarantine_put(&m->quarantine, l);
	} else {
		while (after != queue &&
			container_of(after, struct letter, node)->number > l->number)
			after = after->prev;
		list_append(after->next, &l->node);
	}
	m->n_waiting++;
	count_droppable(m, l, 1);
	m->n_quarantined += l->is_quarantined;
}

/* It was in its queue. */
static void take_out(struct mqtt *m, struct letter *l)
{
	if (l->is_quarantined)
		quarantine_take(&m->quarantine, l);
	else
		list_remove(&l->node);
	m->n_waiting--;
	count_droppable(m, l, -1);
	m->n_quarantined -= l->is_quarantined;
}

void mqtt_outbox_add_locked(struct mqtt *m, struct letter *l)
{
	if (!l->is_kept && (m->n_droppable >= m->buffer ||
				   m->droppable_bytes + size_of(l) > m->buffer_bytes)) {
		m->counts.dropped++;
		mqtt_letter_free(l);
		return;
	}
	l->number = ++m->last_number;
	list_append(queue_of(m, l), &l->node);
	count_kept(m, l);
	count_droppable(m, l, 1);
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

static void leave_in_store(struct letter *l, const char *reply)
{
	l->is_stored = true;
	l->payload_len = l->payload.len;
	buf_done(&l->payload);
	buf_init(&l->payload, LETTER_MAX);
	l->reply_hash = text_hash(reply);
	l->reply = strlen(reply) <= STORED_REPLY_MAX ? xstrdup(reply) : NULL;
}

void mqtt_outbox_add_owed(struct mqtt *m, struct letter *l, const char *reply)
{
	uint64_t n;
	pthread_mutex_lock(&m->lock);
	if (m->kept_bytes + size_of(l) > m->outbox_bytes) {
		if (said_is_due(&m->stored, SAY_STORED_MS, clock_mono_ms(), &n))
			log_info("transport %s: outcomes that wait for the broker hold more than "
				 "outbox-bytes; further ones wait in the store",
				m->env.name);
		leave_in_store(l, reply);
	}
	mqtt_outbox_add_locked(m, l);
	pthread_mutex_unlock(&m->lock);
}

/* Those that are quarantined hold up nobody. */
bool mqtt_outbox_takes_outcomes(struct mqtt *m)
{
	pthread_mutex_lock(&m->lock);
	bool is_idle = m->n_waiting == m->n_quarantined && m->n_flying == 0;
	bool has_room =
		outcomes_have_room(&m->is_full, is_idle, m->n_kept, m->kept_bytes, m->outbox_bytes);
	pthread_mutex_unlock(&m->lock);
	return has_room;
}

static size_t window_of(const struct mqtt *m)
{
	size_t unacked_max = m->links[LINK_SENDER]->unacked_max;
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
	m->n_kept -= l->counted > 0;
	m->kept_bytes -= l->counted;
	if (l->has_arrived)
		*l->has_arrived = true;
	if (l->has_arrived || m->is_stopping || m->n_quarantined || (m->n_waiting && has_room(m)))
		mqtt_wake(m);
	mqtt_letter_free(l);
}

static void give_up(struct mqtt *m, struct letter *l, const char *why)
{
	char id[UUID_TEXT], left_out[64] = "";
	uint64_t n;
	if (said_is_due(&m->given_up, SAY_MS, clock_mono_ms(), &n)) {
		uuid_format(&l->job, id);
		if (n)
			snprintf(left_out, sizeof left_out, "; so %s %" PRIu64 " more",
				by_count(n, "was", "were"), n);
		log_warn("transport %s: %s%s for the topic %.*s%s is given up: %s%s", m->env.name,
			l->is_owed ? "the outcome of job " : "an event", l->is_owed ? id : "",
			utf8_cut(l->topic, 256), l->topic, strlen(l->topic) > 256 ? "…" : "", why,
			left_out);
	}
	m->counts.dropped++;
	finish(m, l);
}

static void land(struct mqtt *m, struct letter *l)
{
	list_remove(&l->node);
	l->flight = NULL;
	if (l == m->alone) {
		m->alone = NULL;
		return;
	}
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

/* Topics of our own making (those of news) are many, and need no proof. */
static bool is_proven(const struct mqtt *m, const struct letter *l)
{
	size_t n = m->n_proven < PROVEN_MAX ? m->n_proven : PROVEN_MAX;
	if (l->is_news || l->is_retained)
		return true;
	for (size_t i = 0; i < n; i++)
		if (m->proven[i] == l->topic_hash)
			return true;
	return false;
}

static void prove(struct mqtt *m, const struct letter *l)
{
	if (!is_proven(m, l))
		m->proven[m->n_proven++ % PROVEN_MAX] = l->topic_hash;
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
	if (l && l->is_owed)
		histogram_observe(
			&m->deliveries, &histogram_job_bounds, (clock_wall_ms() - l->at_ms) * 1000);
	if (l && !l->is_news)
		prove(m, l);
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
		give_up(m, l, "it is larger than the broker takes");
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
	count_kept(m, l);
	put_back(m, l);
	mqtt_wake(m);
}

/* It has landed, from a connection that broke. Alone it waits for its judgement. */
static void quarantine(struct mqtt *m, struct letter *l)
{
	if (!l->is_kept && !l->is_quarantined) {
		m->counts.dropped++;
		finish(m, l);
		return;
	}
	bool is_spared = !l->is_quarantined && !l->was_spared && l->payload.len <= SHORT_MAX &&
			 is_proven(m, l);
	m->careful_until_ms = clock_mono_ms() + CAREFUL_MS;
	l->was_spared |= is_spared;
	l->is_accused = l->is_quarantined;
	l->is_quarantined = !is_spared;
	put_back(m, l);
	mqtt_wake(m);
}

/* It has landed, and was refused by itself. */
static void refused(struct mqtt *m, struct letter *l, int code, const MQTTProperties *said)
{
	char reason[WHY_MAX], why[WHY_MAX];
	const struct mqtt_reason *r = mqtt_reason(code);
	m->counts.errors[r->kind == TRANSPORT_ERROR_AUTHORIZATION ? r->kind
								  : TRANSPORT_ERROR_DELIVERY]++;
	if (code == CODE_TOO_LARGE) {
		shorten(m, l);
		return;
	}
	mqtt_reason_print(reason, sizeof reason, code, said);
	sentence_print(why, sizeof why, "the broker refuses it: %s", reason);
	if (!r->is_again || (!l->is_owed && l->n_refused == REFUSALS_MAX)) {
		give_up(m, l, why);
		return;
	}
	uint64_t n;
	if (!l->n_refused)
		log_debug("transport %s: an event for the topic %.*s goes again later: %s",
			m->env.name, utf8_cut(l->topic, 256), l->topic, why);
	else if (l->n_refused == REFUSALS_MAX &&
		 said_is_due(&m->late, SAY_LATE_MS, clock_mono_ms(), &n))
		log_warn("transport %s: outcomes for the topic %.*s wait until the broker takes "
			 "them; it does not for a long time: %s",
			m->env.name, utf8_cut(l->topic, 256), l->topic, why);
	l->n_refused++;
	l->later_ms = l->later_ms ? 2 * l->later_ms : LATER_MS;
	l->later_ms = l->later_ms < LATER_MAX_MS ? l->later_ms : LATER_MAX_MS;
	l->not_before_ms = clock_mono_ms() + l->later_ms;
	l->is_quarantined |= l->is_kept;
	send_again(m, l);
}

/* A negative code is paho's: the connection broke, or its session is gone. */
static void failed(struct flight *f, int code, const MQTTProperties *said)
{
	enum { SOCKET_ERROR = -1 };
	struct link *link = f->link;
	if (!link_enter(link))
		return;
	struct mqtt *m = link->mqtt;
	pthread_mutex_lock(&m->lock);
	link->is_damaged |= code == SOCKET_ERROR;
	struct letter *l = flight_ended(m, f);
	if (l && code >= CODE_REFUSED) {
		refused(m, l, code, said);
	} else if (l && code < 0) {
		link->has_lost = true;
		quarantine(m, l);
	} else if (l) {
		send_again(m, l);
	}
	pthread_mutex_unlock(&m->lock);
	link_exit(link);
}

static void failed_4(void *context, MQTTAsync_failureData *data)
{
	failed(context, data ? data->code : -1, NULL);
}

static void failed_5(void *context, MQTTAsync_failureData5 *data)
{
	failed(context, data->reasonCode ? (int)data->reasonCode : data->code, &data->properties);
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
			l->payload.len ? l->payload.data : "", 1,
			l->is_retained && !link->mqtt->is_forgetful, &options);
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

static bool is_odd(const char *topic)
{
	size_t n = 1;
	for (const char *p = topic; *p; p++)
		n += *p == '/';
	return n > LEVELS_MAX || strlen(topic) > TOPIC_MAX || !mqtt_text_is_clean(topic);
}

static bool is_distrusted(const struct mqtt *m, const struct letter *l)
{
	if (clock_mono_ms() < m->careful_until_ms && !is_proven(m, l))
		return true;
	size_t n = m->n_distrusted < DISTRUSTED_MAX ? m->n_distrusted : DISTRUSTED_MAX;
	for (size_t i = 0; i < n; i++)
		if (m->distrusted[i].topic_hash == l->topic_hash &&
			m->distrusted[i].until_ms > clock_mono_ms())
			return true;
	return false;
}

static bool goes_where_one_is_quarantined(const struct mqtt *m, const struct letter *l)
{
	return (m->alone && m->alone->topic_hash == l->topic_hash) ||
	       quarantine_first_of(&m->quarantine, l->topic_hash);
}

static void distrust(struct mqtt *m, const struct letter *l)
{
	size_t at = m->n_distrusted++ % DISTRUSTED_MAX;
	m->distrusted[at].topic_hash = l->topic_hash;
	m->distrusted[at].until_ms = clock_mono_ms() + DISTRUST_MS;
}

static void take_off(struct mqtt *m, struct link *link, struct letter *l)
{
	l->flight = xcalloc(1, sizeof *l->flight);
	*l->flight = (struct flight){ link, l };
	list_append(&m->flying, &l->node);
}

/* The one that flies alone next, when its time comes. NULL: there is none, or none can fly. */
static struct letter *first_alone(const struct mqtt *m)
{
	return m->links[LINK_ALONE]->state != LINK_UP || m->alone
		       ? NULL
		       : quarantine_first(&m->quarantine);
}

static struct letter *next_alone(struct mqtt *m)
{
	struct link *link = m->links[LINK_ALONE], *sender = m->links[LINK_SENDER];
	struct letter *l = first_alone(m);
	int64_t now = clock_mono_ms();
	if (!l || now < m->hold_until_ms || now < l->not_before_ms)
		return NULL;
	take_out(m, l);
	l->sender_up = sender->state == LINK_UP ? sender->n_ups : 0;
	m->alone = l;
	take_off(m, link, l);
	return l;
}

/* Replies go first, and news never fill the window. */
static struct letter *next_free(struct mqtt *m)
{
	struct link *link = m->links[LINK_SENDER];
	while (link->state == LINK_UP && m->n_flying < window_of(m) &&
		clock_mono_ms() >= m->hold_until_ms) {
		struct list *queue = !list_empty(&m->replies)               ? &m->replies
				     : m->n_flying_news < news_window_of(m) ? &m->news
									    : NULL;
		if (!queue || list_empty(queue))
			return NULL;
		struct letter *l = container_of(queue->next, struct letter, node);
		if (l->is_stored && m->n_flying && m->kept_bytes + l->payload_len > m->outbox_bytes)
			return NULL; /* until something has arrived */
		take_out(m, l);
		if (is_odd(l->topic) || is_distrusted(m, l) ||
			goes_where_one_is_quarantined(m, l)) {
			l->is_quarantined = true;
			put_back(m, l);
			mqtt_wake(m); /* its connection may have to be made */
			continue;
		}
		m->n_flying++;
		m->n_flying_news += l->is_news;
		take_off(m, link, l);
		return l;
	}
	return NULL;
}

static struct letter *next_letter(struct mqtt *m)
{
	struct letter *l = next_alone(m);
	return l ? l : next_free(m);
}

/* Without the lock, of a letter that is under way and not with paho yet. 0, or as
 * stored_outcome_read; -ESTALE: where it goes is known after a restart only. */
static int read_stored(struct mqtt *m, struct letter *l)
{
	struct stored_outcome o;
	int r = stored_outcome_read(m->env.store, &l->job, &o);
	if (r < 0)
		return r;
	const char *reply = l->reply ? l->reply : o.row->reply_to;
	bool is_known = reply && text_hash(reply) == l->reply_hash;
	struct letter *fresh = is_known ? reply_letter(m, reply, &o.ev) : NULL;
	if (fresh) {
		l->payload = fresh->payload;
		fresh->payload = (struct buf){ 0 };
		l->is_stored = false;
	}
	mqtt_letter_free(fresh);
	stored_outcome_done(&o);
	return l->is_stored ? -ESTALE : 0;
}

/* The letter is under way. False: it is not any more. */
static bool fetch(struct mqtt *m, struct letter *l)
{
	if (!l->is_stored)
		return true;
	pthread_mutex_unlock(&m->lock);
	int r = read_stored(m, l);
	pthread_mutex_lock(&m->lock);
	count_kept(m, l);
	if (r == 0)
		return true;
	free(l->flight);
	land(m, l);
	if (r == -EAGAIN) {
		put_back(m, l);
		m->hold_until_ms = clock_mono_ms() + HOLD_MS;
		return false;
	}
	l->is_owed = r != -ESTALE;
	give_up(m, l,
		r == -ESTALE ? "where it goes cannot be read; it is told after the next start"
			     : "it is not in the store any more");
	return false;
}

void mqtt_outbox_send(struct mqtt *m)
{
	struct letter *l;
	while (!m->is_left && (l = next_letter(m))) {
		if (!fetch(m, l))
			continue;
		const struct link *link = l->flight->link;
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
			give_up(m, l, "the topic is not UTF-8");
			continue;
		}
		put_back(m, l);
		m->hold_until_ms = clock_mono_ms() + HOLD_MS / 10;
	}
}

int64_t mqtt_outbox_due(const struct mqtt *m)
{
	const struct letter *l = first_alone(m);
	if (m->n_waiting && m->hold_until_ms > clock_mono_ms())
		return m->hold_until_ms;
	return l ? l->not_before_ms : INT64_MAX;
}

bool mqtt_outbox_flies(const struct mqtt *m, const struct link *link)
{
	list_each (n, &m->flying)
		if (container_of(n, struct letter, node)->flight->link == link)
			return true;
	return false;
}

bool mqtt_outbox_recall(struct mqtt *m, struct link *link)
{
	bool is_any = false;
	list_each (n, &m->flying) {
		struct letter *l = container_of(n, struct letter, node);
		if (l->flight->link != link)
			continue;
		is_any = link->has_lost = true;
		l->flight->letter = NULL;
		land(m, l);
		quarantine(m, l);
	}
	return is_any;
}

/* Those that wait for the same topic would fare no better. */
static void give_up_topic(struct mqtt *m, uint64_t topic_hash)
{
	struct letter *l;
	while ((l = quarantine_first_of(&m->quarantine, topic_hash))) {
		take_out(m, l);
		give_up(m, l, "the broker ends the connection when it gets one for this topic");
	}
}

void mqtt_outbox_judge(struct mqtt *m)
{
	const struct link *sender = m->links[LINK_SENDER];
	struct letter *l = quarantine_accused(&m->quarantine);
	if (!l)
		return;
	l->is_accused = false;
	if (!l->sender_up || sender->state != LINK_UP || sender->n_ups != l->sender_up)
		return; /* the broker was gone */
	if (l->payload.len > SHORT_MAX && !l->is_short) {
		take_out(m, l);
		shorten(m, l);
		return;
	}
	distrust(m, l);
	give_up_topic(m, l->topic_hash);
}

void mqtt_outbox_report(struct mqtt *m)
{
	if (!m->n_delivered || m->is_left)
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
	quarantine_done(&m->quarantine);
	while ((n = list_pop(&m->flying)))
		;
	free(TAKE_PTR(m->delivered));
}
