/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is produced: outcomes, events, answers to refusals, dead letters.
 *
 * A letter is given to the client library at once, on whatever thread sends it. When the library's
 * queue is full it waits in `overflow`, and then all later ones wait behind it, so that letters
 * leave in the order they were sent; with the idempotent producer and one key for a job, what
 * happens to a job arrives in order. The library borrows a letter's bytes until its delivery
 * report, which comes on the outbox's own thread: there owed outcomes are reported to the core,
 * many at once, refusals to the consumer, and letters that were not taken are sent again.
 *
 * Brokers that are away, or slow, are owed more and more outcomes. Of those for which
 * `outbox-bytes` leaves no room the payload is not kept: it is read from the store again when the
 * letter's turn comes. When letters as such are too many, or too large, no more outcomes are taken:
 * they stay with the core, in the store. Refusals and dead letters belong to messages that are not
 * committed, of which no more are taken than in-flight and in-flight-bytes allow.
 *
 * Owed letters are never given up for want of a broker; events are dropped and counted when more
 * than `buffer` of them wait. What a broker will never take: an outcome that is too large goes as a
 * remark that says so, and without a key or headers that are too large; one whose topic cannot be
 * written becomes a dead letter, once; and a dead letter is tried again until somebody makes its
 * topic. Each of these is done to a letter at most once, and what is refused even then is given up.
 * A producer that the library has declared unusable is replaced by a new one. */
#include "transport/kafka/private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"

enum {
	POLL_MS = 1000,
	PROBE_MS = 300,   /* between two attempts to find out whether a broker is back, */
	ANSWER_MS = 1000, /* and how long its answer may take */
	STOP_MS = 5000,
	PURGE_MS = 2000,
	END_MS = STOP_MS + PURGE_MS + 10000, /* of the thread, with a call under way */
	LATER_MS = 5000,                     /* until a dead letter is tried again, */
	READ_MS = 1000,                      /* or the store */
	SAY_MS = 60000,
	DELIVERED_MAX = 4096,
	/* What a letter keeps that is too large for its key and headers: a key and headers of at
	 * most so many bytes each, and so many in all. */
	PART_MAX = 1024,
	HEADERS_MAX = 8192,
};

struct outbox {
	struct kafka *kafka;
	rd_kafka_t *rk;            /* replaced under the lock, as is */
	rd_kafka_queue_t *reports; /* its own queue */
	pthread_t thread;
	bool is_started;
	atomic_bool is_stopping;
	pthread_mutex_t lock;
	struct list overflow, later; /* in the order of their numbers; under the lock */
	uint64_t n_sent;
	atomic_size_t n_waiting, n_events;    /* letters, and those of them that are events, */
	atomic_size_t event_bytes;            /* with what these hold in memory */
	atomic_size_t n_outcomes, kept_bytes; /* the same of outcomes */
	struct said stored;                   /* the core's thread, as is */
	bool is_full;                         /* it takes no more outcomes */
	_Atomic uint64_t n_told, n_dropped;
	struct histogram deliveries; /* of outcomes; written by the thread */
	/* The thread's own. */
	struct uuid *delivered;
	size_t n_delivered;
	int64_t probe_at_ms;
	struct again again; /* clients, */
	bool is_troubled;   /* the last ones did not last */
};

struct letter *letter_new(enum letter_kind kind, const char *topic)
{
	struct letter *l = xcalloc(1, sizeof *l);
	l->kind = kind;
	l->topic = xstrdup(topic);
	l->headers = rd_kafka_headers_new(8);
	list_init(&l->node);
	return l;
}

void letter_free(struct letter *l)
{
	if (!l)
		return;
	if (l->headers)
		rd_kafka_headers_destroy(l->headers);
	free(l->topic);
	free(l->key);
	free(l->payload);
	free(l->reply);
	free(l);
}

void letter_add_header(struct letter *l, const char *name, const char *value)
{
	if (value)
		rd_kafka_header_add(l->headers, name, -1, value, (ssize_t)strlen(value));
}

/* Frees it: the broker has it, or nobody ever will. */
static void letter_ends(struct outbox *o, struct letter *l)
{
	o->n_waiting--;
	o->n_events -= l->kind == LETTER_EVENT;
	o->event_bytes -= l->counted;
	o->n_outcomes -= l->kept > 0;
	o->kept_bytes -= l->kept;
	if (l->kind == LETTER_OWED)
		o->delivered[o->n_delivered++] = l->job;
	if (l->entry)
		consumer_letter_taken(l->entry);
	letter_free(l);
}

static void report_delivered(struct outbox *o)
{
	if (o->n_delivered)
		intake_delivered(o->kafka->env.in, o->delivered, o->n_delivered);
	o->n_delivered = 0;
}

static void insert(struct list *list, struct letter *l)
{
	struct list *after = list->prev;
	while (after != list && container_of(after, struct letter, node)->number > l->number)
		after = after->prev;
	list_append(after->next, &l->node);
}

static size_t envelope_size(const struct letter *l);

/* After each change of what it holds. */
static void count_kept(struct outbox *o, struct letter *l)
{
	size_t n = sizeof *l + envelope_size(l) + (l->is_stored ? 0 : l->payload_len);
	if (l->kind != LETTER_OWED)
		return;
	n += l->reply ? strlen(l->reply) : 0;
	o->n_outcomes += l->kept == 0;
	o->kept_bytes += n - l->kept;
	l->kept = n;
}

/* In place of a payload that is too large. */
static void shorten(struct letter *l)
{
	char *payload = NULL;
	l->is_shortened = true;
	if (l->kind != LETTER_DEAD)
		payload =
			message_too_large(l->kind == LETTER_OWED ? &l->job : NULL, l->payload_len);
	free(l->payload);
	l->payload = payload;
	l->payload_len = payload ? strlen(payload) : 0;
}

/* Bytes of a header of this number; 0: there is none. */
static size_t header_size(const struct letter *l, size_t i)
{
	const char *name;
	const void *value;
	size_t len;
	if (rd_kafka_header_get_all(l->headers, i, &name, &value, &len))
		return 0;
	return strlen(name) + len;
}

static size_t envelope_size(const struct letter *l)
{
	size_t sum = l->key_len;
	for (size_t i = 0; i < rd_kafka_header_cnt(l->headers); i++)
		sum += header_size(l, i);
	return sum;
}

/* Of headers that are too large in all, the last are kept: ours come after a request's. */
static rd_kafka_headers_t *small_headers(const struct letter *l)
{
	size_t n = rd_kafka_header_cnt(l->headers), sum = 0, first = n;
	rd_kafka_headers_t *kept = rd_kafka_headers_new(8);
	while (first > 0) {
		size_t size = header_size(l, first - 1);
		sum += size <= PART_MAX ? size : 0;
		if (sum > HEADERS_MAX)
			break;
		first--;
	}
	for (size_t i = first; i < n; i++) {
		const char *name;
		const void *value;
		size_t len;
		if (header_size(l, i) <= PART_MAX &&
			!rd_kafka_header_get_all(l->headers, i, &name, &value, &len))
			rd_kafka_header_add(kept, name, -1, value, value ? (ssize_t)len : 0);
	}
	return kept;
}

/* A key or headers that are too large are left out; what is told of a job has its id for a key. */
static void strip(struct letter *l)
{
	static const struct uuid none;
	rd_kafka_headers_t *kept = small_headers(l);
	l->is_stripped = true;
	rd_kafka_headers_destroy(l->headers);
	l->headers = kept;
	if (l->key_len <= PART_MAX)
		return;
	free(l->key);
	l->key = NULL;
	l->key_len = 0;
	if (memcmp(&l->job, &none, sizeof none) != 0) {
		l->key = xcalloc(1, UUID_TEXT);
		uuid_format(&l->job, l->key);
		l->key_len = strlen(l->key);
	}
}

/* The larger part first. False: there is no more to be left out. */
static bool shrink(struct outbox *o, struct letter *l)
{
	bool is_payload = l->payload_len > envelope_size(l);
	if (l->is_shortened && l->is_stripped)
		return false;
	if (is_payload ? !l->is_shortened : l->is_stripped) {
		shorten(l);
		count_kept(o, l);
		return true;
	}
	log_warn("transport %s: a record to %s is too large, and goes without a key or headers of "
		 "more than %d bytes",
		o->kafka->env.name, l->topic, PART_MAX);
	strip(l);
	return true;
}

/* Its topic cannot be written. True: it is another letter now, which happens to it once. */
static bool readdress(struct outbox *o, struct letter *l, const char *why)
{
	const char *dead = o->kafka->settings.dead_letter_topic;
	if (!*dead || strcmp(l->topic, dead) == 0 ||
		(l->kind != LETTER_OWED && l->kind != LETTER_ANSWER))
		return false;
	letter_add_header(l, "reason", why);
	free(l->topic);
	l->topic = xstrdup(dead);
	return true;
}

/* Nobody will ever have it. */
static void give_up(struct outbox *o, struct letter *l)
{
	o->n_dropped++;
	letter_ends(o, l);
}

static bool is_for_good(rd_kafka_resp_err_t err)
{
	return kafka_error(err)->is & ERROR_IS_FOR_GOOD;
}

static bool is_too_large(rd_kafka_resp_err_t err)
{
	return kafka_error(err)->is & ERROR_IS_TOO_LARGE;
}

/* The lock is held. It will never be taken as it is. */
static void refused_for_good(struct outbox *o, struct letter *l, rd_kafka_resp_err_t err)
{
	bool is_dead = strcmp(l->topic, o->kafka->settings.dead_letter_topic) == 0;
	_cleanup_(freep) char *remedy = kafka_error_remedy(err);
	_cleanup_(freep) char *why = xasprintf("the %s %s cannot be written: %s%s",
		is_dead ? "dead-letter topic" : "topic", l->topic, rd_kafka_err2str(err), remedy);
	if (is_dead && !is_too_large(err)) {
		health_set_trouble(&o->kafka->health, TROUBLE_DEAD_LETTER, why);
		l->not_before_ms = clock_mono_ms() + LATER_MS;
		insert(&o->later, l);
		return;
	}
	bool is_kept = readdress(o, l, why);
	log_warn("transport %s: %s%s", o->kafka->env.name, why,
		is_kept ? "" : "; a record is given up");
	if (is_kept)
		insert(&o->overflow, l);
	else
		give_up(o, l);
}

/* The lock is held. The letter was refused: it stays, or ends. */
static void refused(struct outbox *o, struct letter *l, rd_kafka_resp_err_t err)
{
	if (err != RD_KAFKA_RESP_ERR__PURGE_QUEUE && err != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
		count_error(o->kafka, TRANSPORT_ERROR_DELIVERY);
	if (is_too_large(err) && shrink(o, l)) {
		insert(&o->overflow, l);
	} else if (is_too_large(err) || is_for_good(err)) {
		refused_for_good(o, l, err);
	} else {
		log_debug("transport %s: a record to %s is sent again: %s", o->kafka->env.name,
			l->topic, rd_kafka_err2str(err));
		insert(&o->overflow, l);
	}
}

/* The lock is held. 0: the client has it; else it is still ours. */
static rd_kafka_resp_err_t produce(struct outbox *o, struct letter *l)
{
	rd_kafka_vu_t parts[] = {
		{ .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = l->topic },
		{ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { l->payload, l->payload_len } },
		{ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { l->key, l->key_len } },
		{ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = l },
		{ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = l->headers },
	};
	if (fail_point(FAIL_KAFKA_PRODUCE) < 0)
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	rd_kafka_headers_t *headers = TAKE_PTR(l->headers);
	rd_kafka_error_t *error = rd_kafka_produceva(o->rk, parts, ARRAY_SIZE(parts));
	if (!error)
		return RD_KAFKA_RESP_ERR_NO_ERROR; /* its report may have ended it */
	l->headers = headers;
	rd_kafka_resp_err_t err = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	return err;
}

/* The client has no room, or is about to be replaced: nothing is wrong with the letter. */
static bool must_wait(rd_kafka_resp_err_t err)
{
	return err && !is_too_large(err) && !is_for_good(err);
}

/* Of the first that waits, which stays where it is. 0, or as stored_outcome_read; -ESTALE: where it
 * goes is known after a restart only. */
static int read_stored(struct outbox *o, const struct letter *l, struct message_out *ret)
{
	struct stored_outcome of;
	struct fault f;
	int r = stored_outcome_read(o->kafka->env.store, &l->job, &of);
	if (r < 0)
		return r;
	const char *text = l->reply ? l->reply : of.row->reply_to;
	bool is_known = text && text_hash(text) == l->reply_hash;
	_cleanup_(json_decrefp) json_t *reply = is_known ? json_parse_kept(text, &f) : NULL;
	if (reply)
		message_print(reply, &of.ev, ret);
	stored_outcome_done(&of);
	return reply ? 0 : -ESTALE;
}

static void give_up_stored(struct outbox *o, struct letter *l, int r)
{
	char id[UUID_TEXT];
	uuid_format(&l->job, id);
	log_warn("transport %s: the outcome of job %s is given up: %s", o->kafka->env.name, id,
		r == -ESTALE ? "where it goes cannot be read; it is told after the next start"
			     : "it is not in the store any more");
	list_remove(&l->node);
	if (r == -ESTALE) /* it is owed still */
		l->kind = LETTER_DEAD;
	give_up(o, l);
}

/* The lock is held, and let go while the disk is waited for. True: it is there, or has ended and is
 * not the first any more. */
static bool fetch(struct outbox *o, struct letter *l, bool *ret_has_ended)
{
	struct message_out out;
	bool has_room = o->kept_bytes + l->payload_len <= (size_t)o->kafka->settings.outbox_bytes;
	*ret_has_ended = false;
	if (o->kafka->is_left || clock_mono_ms() < l->not_before_ms ||
		(!has_room && rd_kafka_outq_len(o->rk) > 0))
		return false;
	pthread_mutex_unlock(&o->lock);
	int r = read_stored(o, l, &out);
	pthread_mutex_lock(&o->lock);
	if (r == -EAGAIN) {
		l->not_before_ms = clock_mono_ms() + READ_MS;
		return false;
	}
	if (r < 0) {
		give_up_stored(o, l, r);
		*ret_has_ended = true;
		return true;
	}
	l->payload_len = out.payload.len;
	l->payload = buf_take(&out.payload);
	l->is_stored = false;
	message_out_done(&out);
	count_kept(o, l);
	return true;
}

static void drain(struct outbox *o)
{
	int64_t now = clock_mono_ms();
	pthread_mutex_lock(&o->lock);
	list_each (n, &o->later) {
		struct letter *l = container_of(n, struct letter, node);
		if (l->not_before_ms <= now) {
			list_remove(n);
			insert(&o->overflow, l);
		}
	}
	while (!list_empty(&o->overflow) && o->n_delivered < DELIVERED_MAX) {
		struct letter *l = container_of(o->overflow.next, struct letter, node);
		bool has_ended = false;
		if (l->is_stored && !fetch(o, l, &has_ended))
			break;
		if (has_ended)
			continue;
		rd_kafka_resp_err_t err = produce(o, l);
		if (must_wait(err))
			break;
		list_remove(&l->node);
		if (err)
			refused(o, l, err);
	}
	pthread_mutex_unlock(&o->lock);
}

void outbox_send(struct outbox *o, struct letter *l)
{
	o->n_waiting++;
	o->n_events += l->kind == LETTER_EVENT;
	l->counted = l->kind == LETTER_EVENT ? sizeof *l + l->payload_len + envelope_size(l) : 0;
	o->event_bytes += l->counted;
	pthread_mutex_lock(&o->lock);
	count_kept(o, l);
	l->number = ++o->n_sent;
	bool is_first = list_empty(&o->overflow) && !l->is_stored;
	rd_kafka_resp_err_t err = is_first ? produce(o, l) : RD_KAFKA_RESP_ERR_NO_ERROR;
	if (!is_first || err)
		list_append(&o->overflow, &l->node);
	if (err && err != RD_KAFKA_RESP_ERR__QUEUE_FULL) /* the thread's to see to, now */
		rd_kafka_queue_yield(o->reports);
	pthread_mutex_unlock(&o->lock);
}

void outbox_send_owed(struct outbox *o, struct letter *l, const char *reply)
{
	size_t size = sizeof *l + l->payload_len + envelope_size(l);
	uint64_t n;
	if (o->kept_bytes + size > (size_t)o->kafka->settings.outbox_bytes) {
		if (said_is_due(&o->stored, SAY_MS, clock_mono_ms(), &n))
			log_info("transport %s: outcomes that wait for the brokers hold more than "
				 "outbox-bytes; further ones wait in the store",
				o->kafka->env.name);
		free(TAKE_PTR(l->payload));
		l->is_stored = true;
		l->reply_hash = text_hash(reply);
		l->reply = strlen(reply) <= STORED_REPLY_MAX ? xstrdup(reply) : NULL;
	}
	outbox_send(o, l);
}

bool outbox_takes_outcomes(struct outbox *o)
{
	size_t n = o->n_outcomes, bytes = o->kept_bytes,
	       max = (size_t)o->kafka->settings.outbox_bytes;
	if (outcomes_have_room(&o->is_full, false, n, bytes, max))
		return true;
	/* Those that wait in `later` hold up nobody. */
	pthread_mutex_lock(&o->lock);
	bool is_idle = list_empty(&o->overflow) && rd_kafka_outq_len(o->rk) == 0;
	pthread_mutex_unlock(&o->lock);
	return is_idle && outcomes_have_room(&o->is_full, true, n, bytes, max);
}

void outbox_give_up(struct outbox *o)
{
	o->n_dropped++;
}

bool outbox_has_room(struct outbox *o)
{
	const struct kafka_settings *s = &o->kafka->settings;
	if (o->n_events < (size_t)s->buffer && o->event_bytes < (size_t)s->buffer_bytes)
		return true;
	o->n_dropped++;
	return false;
}

void outbox_state(struct outbox *o, struct transport_state *ret)
{
	ret->told = o->n_told;
	ret->waiting = o->n_waiting;
	ret->dropped += o->n_dropped;
	histogram_merge(&ret->deliveries, &o->deliveries);
	ret->outbox_bytes = o->kept_bytes;
	pthread_mutex_lock(&o->lock);
	ret->sent = (uint64_t)rd_kafka_outq_len(o->rk);
	pthread_mutex_unlock(&o->lock);
}

/* Delivery reports; the outbox's thread. */
static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *arg)
{
	struct kafka *k = arg;
	struct outbox *o = k->outbox;
	struct letter *l = msg->_private;
	(void)rk;
	if (!msg->err) {
		(void)fail_point(FAIL_KAFKA_PRODUCED);
		if (l->kind == LETTER_DEAD)
			health_set_trouble(&k->health, TROUBLE_DEAD_LETTER, NULL);
		o->n_told += l->kind != LETTER_DEAD;
		if (l->kind == LETTER_OWED)
			histogram_observe(&o->deliveries, &histogram_job_bounds,
				(clock_wall_ms() - l->at_ms) * 1000);
		if (o->is_troubled)
			health_set_trouble(&k->health, TROUBLE_PRODUCER, NULL);
		o->is_troubled = false;
		letter_ends(o, l);
	} else {
		if (rd_kafka_message_detach_headers((rd_kafka_message_t *)msg, &l->headers))
			l->headers = rd_kafka_headers_new(1);
		pthread_mutex_lock(&o->lock);
		refused(o, l, msg->err);
		pthread_mutex_unlock(&o->lock);
	}
	if (o->n_delivered >= DELIVERED_MAX)
		report_delivered(o);
}

static void on_error(rd_kafka_t *rk, int err, const char *text, void *arg)
{
	struct kafka *k = arg;
	(void)rk;
	count_error(k, kafka_error(err)->kind);
	health_error(&k->health, CLIENT_PRODUCER, err, text);
}

static int new_client(struct kafka *k, rd_kafka_t **ret, struct fault *f)
{
	rd_kafka_conf_t *conf;
	char text[32];
	size_t size = sizeof text;
	int r = client_conf(k, CLIENT_PRODUCER, &conf, f);
	if (r < 0)
		return r;
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	rd_kafka_conf_set_error_cb(conf, on_error);
	if (rd_kafka_conf_get(conf, "message.max.bytes", text, &size) == RD_KAFKA_CONF_OK)
		k->message_max = strtoull(text, NULL, 10);
	return client_new(CLIENT_PRODUCER, conf, ret, f);
}

/* All that the client has comes back as reports. */
static void purge(struct outbox *o)
{
	int64_t until = clock_mono_ms() + PURGE_MS;
	rd_kafka_purge(o->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	while (rd_kafka_outq_len(o->rk) > 0 && clock_mono_ms() < until)
		rd_kafka_poll(o->rk, 100);
}

/* Later, when the one before did not last. True: now. */
static bool is_time_to_replace(struct outbox *o)
{
	char why[300] = "", text[600];
	int64_t pause_ms;
	bool is_due = again_is_due(&o->again, clock_mono_ms(), &pause_ms);
	if (pause_ms >= 0) {
		rd_kafka_resp_err_t err = rd_kafka_fatal_error(o->rk, why, sizeof why);
		_cleanup_(freep) char *remedy = kafka_error_remedy(err);
		snprintf(text, sizeof text, "no answers can be given: %s%s", why, remedy);
		count_error(o->kafka, TRANSPORT_ERROR_FATAL);
		o->is_troubled |= pause_ms > 0;
		if (pause_ms)
			health_set_trouble(&o->kafka->health, TROUBLE_PRODUCER, text);
		log_info("transport %s: a new producer is made in %" PRId64 " s: %s",
			o->kafka->env.name, pause_ms / 1000, why);
	}
	return is_due;
}

static void replace_client(struct outbox *o)
{
	struct fault f;
	rd_kafka_t *fresh, *old = o->rk;
	if (!is_time_to_replace(o))
		return;
	purge(o);
	if (fail_point(FAIL_KAFKA_PRODUCER_RENEW) < 0)
		return;
	if (new_client(o->kafka, &fresh, &f) < 0) {
		log_error("transport %s: %s", o->kafka->env.name, f.text);
		return;
	}
	pthread_mutex_lock(&o->lock);
	rd_kafka_queue_destroy(o->reports);
	o->rk = fresh;
	o->reports = rd_kafka_queue_get_main(fresh);
	pthread_mutex_unlock(&o->lock);
	client_end(o->kafka, CLIENT_PRODUCER, old);
}

static void probe(struct outbox *o)
{
	struct health *h = &o->kafka->health;
	if (health_is_connected(h, CLIENT_PRODUCER) || clock_mono_ms() < o->probe_at_ms)
		return;
	if (health_probe(h, CLIENT_PRODUCER, o->rk, ANSWER_MS)) {
		rd_kafka_poll(o->rk, 0);
		health_answered(h, CLIENT_PRODUCER);
	}
	o->probe_at_ms = clock_mono_ms() + PROBE_MS;
}

static int wait_ms(struct outbox *o)
{
	pthread_mutex_lock(&o->lock);
	bool is_busy = !list_empty(&o->overflow) || !list_empty(&o->later);
	pthread_mutex_unlock(&o->lock);
	if (!health_is_connected(&o->kafka->health, CLIENT_PRODUCER))
		return PROBE_MS;
	return is_busy || o->is_stopping ? 20 : POLL_MS;
}

static void *outbox_main(void *arg)
{
	struct outbox *o = arg;
	int64_t until = 0;
	for (;;) {
		rd_kafka_poll(o->rk, wait_ms(o));
		drain(o);
		report_delivered(o);
		if (rd_kafka_fatal_error(o->rk, NULL, 0) || fail_point(FAIL_KAFKA_PRODUCER) < 0)
			replace_client(o);
		if (!o->is_stopping) {
			probe(o);
			continue;
		}
		int64_t now = clock_mono_ms();
		until = until ? until : now + STOP_MS;
		bool is_hopeless = !health_is_connected(&o->kafka->health, CLIENT_PRODUCER);
		if (!o->n_waiting || now >= until || is_hopeless)
			return NULL;
	}
}

int outbox_open(struct outbox **ret, struct kafka *k, struct fault *f)
{
	rd_kafka_t *rk;
	int r = new_client(k, &rk, f);
	if (r < 0)
		return r;
	struct outbox *o = xcalloc(1, sizeof *o);
	o->kafka = k;
	health_expects(&k->health, CLIENT_PRODUCER);
	o->rk = rk;
	o->reports = rd_kafka_queue_get_main(rk);
	pthread_mutex_init(&o->lock, NULL);
	list_init(&o->overflow);
	list_init(&o->later);
	o->delivered = xcalloc(2 * DELIVERED_MAX, sizeof *o->delivered);
	*ret = o;
	return 0;
}

int outbox_start(struct outbox *o)
{
	int r = -pthread_create(&o->thread, NULL, outbox_main, o);
	o->is_started = r == 0;
	return r;
}

bool outbox_stop(struct outbox *o)
{
	if (!o->is_started)
		return true;
	o->is_stopping = true;
	pthread_mutex_lock(&o->lock);
	rd_kafka_queue_yield(o->reports);
	pthread_mutex_unlock(&o->lock);
	if (!thread_ends(o->thread, END_MS))
		return false;
	o->is_started = false;
	return true;
}

static void free_letters(struct list *letters)
{
	struct list *n;
	while ((n = list_pop(letters)))
		letter_free(container_of(n, struct letter, node));
}

void outbox_close(struct outbox *o)
{
	if (!o)
		return;
	purge(o);
	rd_kafka_queue_destroy(o->reports);
	client_end(o->kafka, CLIENT_PRODUCER, o->rk);
	free_letters(&o->overflow);
	free_letters(&o->later);
	pthread_mutex_destroy(&o->lock);
	free(o->delivered);
	free(o);
}
