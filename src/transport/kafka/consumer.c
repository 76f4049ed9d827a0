/* SPDX-License-Identifier: Apache-2.0 */
/* Taking messages: one thread for an instance.
 *
 * The thread polls the client library for messages and hands each to asking.c; nothing in it waits
 * for one message's fate. table.c says which offsets may be committed. They are committed every
 * COMMIT_MS, and before a partition is given away.
 *
 * At most `in-flight` messages are taken and not committed. That bounds what comes again after a
 * crash to less than the places that the core remembers, so nothing runs twice. */
#include "transport/kafka/private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "base/text/plural.h"

enum {
	IDLE_MS = 1000,
	BUSY_MS = 20,
	COMMIT_MS = 100,
	BATCH = 256,         /* messages between two looks at the answers */
	FULL_MS = 300,       /* the window is full: partitions pause after this time */
	GIVE_AWAY_MS = 3000, /* for what is under way when a partition is taken away */
	READ_MS = 3000,      /* for what was committed, when a partition is given to us */
	LOOK_MS = 500,       /* between two looks for a topic that is not there */
	CLOSE_MS = 5000,
	SAY_MS = 60000, /* a partition that cannot be read is named in the log so often */
	STOP_MS = 2 * GIVE_AWAY_MS + CLOSE_MS + 10000, /* with a call of the library under way */
};

/* It is made again, whatever the reason. Not told while the group is joined anew. */
static void commit_failed(
	struct consumer *c, rd_kafka_resp_err_t err, const rd_kafka_topic_partition_list_t *list)
{
	const rd_kafka_topic_partition_t *it = list && list->cnt ? &list->elems[0] : NULL;
	uint64_t n;
	for (int i = 0; list && i < list->cnt; i++)
		if (list->elems[i].err) {
			it = &list->elems[i];
			err = it->err;
		}
	if (!err || err == RD_KAFKA_RESP_ERR__NO_OFFSET)
		return;
	count_error(c->kafka, TRANSPORT_ERROR_COMMIT);
	if (kafka_error(err)->is & ERROR_IS_USUAL ||
		!said_is_due(&c->said, SAY_MS, clock_mono_ms(), &n)) {
		log_debug("transport %s: a commit failed: %s", c->kafka->env.name,
			rd_kafka_err2str(err));
		return;
	}
	_cleanup_(freep) char *remedy = kafka_error_remedy(err);
	log_warn("transport %s: what is done of topic %s, partition %d, before offset %" PRId64
		 " cannot be committed, and would come again: %s%s",
		c->kafka->env.name, it ? it->topic : "?", it ? (int)it->partition : -1,
		it ? it->offset : -1, rd_kafka_err2str(err), remedy);
}

/* Waits for the result of a commit under way, at most so long. */
static void serve_commits(struct consumer *c, int wait_ms)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(c->commits, wait_ms);
	if (!event)
		return;
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
	if (list)
		table_committed(&c->table, list, !err);
	commit_failed(c, err, list);
	rd_kafka_event_destroy(event);
	c->is_committing = false;
}

static void commit(struct consumer *c)
{
	rd_kafka_topic_partition_list_t *list = table_commit_list(&c->table);
	if (!list)
		return;
	c->is_committing = fail_point(FAIL_KAFKA_COMMIT) == 0 &&
			   !rd_kafka_commit_queue(c->rk, list, c->commits, NULL, NULL);
	if (!c->is_committing)
		table_committed(&c->table, list, false);
	c->commit_at_ms = clock_mono_ms() + COMMIT_MS;
	rd_kafka_topic_partition_list_destroy(list);
}

static void commit_if_due(struct consumer *c)
{
	size_t many = (size_t)c->kafka->settings.in_flight / 4;
	if (!c->is_committing && (c->table.n_done || c->table.is_news) &&
		(c->table.n_done > many || clock_mono_ms() >= c->commit_at_ms))
		commit(c);
}

/* Waits for answers. */
static void wait_ms(struct consumer *c, int ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&c->lock);
	if (!c->answers)
		pthread_cond_clockwait(&c->filled, &c->lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&c->lock);
}

/* Whether something is with the core or a broker. */
static bool is_under_way(struct consumer *c)
{
	map_each (n, &c->table.partitions) {
		struct partition *p = container_of(n, struct partition, by_place);
		list_each (m, &p->entries) {
			const struct entry *e = container_of(m, struct entry, node);
			if (e->state == ENTRY_ASKED || e->state == ENTRY_TOLD)
				return true;
		}
	}
	return false;
}

/* Lets what is under way come to its end and commits it. */
static void settle(struct consumer *c)
{
	int64_t until = clock_mono_ms() + GIVE_AWAY_MS;
	asking_take_answers(c);
	while (is_under_way(c) && clock_mono_ms() < until) {
		wait_ms(c, BUSY_MS);
		asking_take_answers(c);
	}
	until = clock_mono_ms() + GIVE_AWAY_MS;
	while (c->is_committing && clock_mono_ms() < until)
		serve_commits(c, BUSY_MS);
	if (!c->is_committing)
		commit(c);
	while (c->is_committing && clock_mono_ms() < until)
		serve_commits(c, BUSY_MS);
}

struct partition *consumer_adopt(struct consumer *c, const char *topic, int32_t number)
{
	const struct kafka_settings *s = &c->kafka->settings;
	size_t prefix = strlen(s->functions_prefix);
	struct partition *p = table_find(&c->table, topic, number);
	if (p)
		return p;
	p = table_add(&c->table, topic, number);
	if (prefix && strcmp(topic, s->subscribe_topic) != 0)
		p->function = p->topic + prefix;
	return p;
}

/* What whoever had them before has taken behind the offset where we begin. We begin with the record
 * before that, to know the log by it. */
static void read_behind(struct consumer *c, rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
	rd_kafka_resp_err_t err = rd_kafka_committed(c->rk, asked, READ_MS);
	if (err) {
		_cleanup_(freep) char *remedy = kafka_error_remedy(err);
		count_error(c->kafka, kafka_error(err)->kind);
		log_warn("transport %s: what was committed cannot be read, messages may be taken "
			 "twice: %s%s",
			c->kafka->env.name, rd_kafka_err2str(err), remedy);
	}
	for (int i = 0; !err && i < asked->cnt; i++) {
		const rd_kafka_topic_partition_t *it = &asked->elems[i];
		struct partition *p = table_find(&c->table, it->topic, it->partition);
		if (p && !it->err && it->offset >= 0)
			lag_read_to(p, it->offset);
		if (p && !it->err && it->offset >= 0 && it->metadata_size)
			behind_read(p, it->offset, it->metadata, it->metadata_size);
		if (!p || it->err || c->is_reset_elsewhere || !mark_is_known(&p->before))
			continue;
		rd_kafka_topic_partition_t *begin =
			rd_kafka_topic_partition_list_find(list, it->topic, it->partition);
		if (begin) {
			begin->offset = same_log_expect(p);
		}
	}
	rd_kafka_topic_partition_list_destroy(asked);
}

static void assign(struct consumer *c, rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++)
		consumer_adopt(c, list->elems[i].topic, list->elems[i].partition);
	if (list->cnt)
		read_behind(c, list);
	rd_kafka_assign(c->rk, list);
	rd_kafka_resume_partitions(c->rk, list);
	health_works(&c->kafka->health, CLIENT_CONSUMER);
	if (list->cnt && !c->is_topic_missing)
		health_set_trouble(&c->kafka->health, TROUBLE_CONSUMER, NULL);
}

static void unassign(struct consumer *c)
{
	if (!rd_kafka_assignment_lost(c->rk))
		settle(c);
	map_each (n, &c->table.partitions)
		table_remove(&c->table, container_of(n, struct partition, by_place));
	rd_kafka_assign(c->rk, NULL);
}

/* In a poll. All partitions are given away before the group is joined anew. */
static void on_rebalance(
	rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *arg)
{
	struct kafka *k = arg;
	(void)rk;
	log_debug("transport %s: %s: %d partition%s", k->env.name, rd_kafka_err2name(err),
		list->cnt, plural((uint64_t)list->cnt));
	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		assign(k->consumer, list);
	else
		unassign(k->consumer);
}

static void on_error(rd_kafka_t *rk, int err, const char *text, void *arg)
{
	struct kafka *k = arg;
	(void)rk;
	count_error(k, kafka_error(err)->kind);
	if (err == RD_KAFKA_RESP_ERR__FATAL)
		health_set_trouble(&k->health, TROUBLE_CONSUMER, text);
	else
		health_error(&k->health, CLIENT_CONSUMER, err, text);
}

/* The library goes on trying at that offset, and says so each time; other partitions go on. */
static void partition_failed(struct consumer *c, struct partition *p, const rd_kafka_message_t *msg)
{
	int64_t now = clock_mono_ms();
	_cleanup_(freep) char *remedy = kafka_error_remedy(msg->err);
	bool is_news = !p->unreadable || p->unreadable_at != msg->offset;
	if (!is_news && now < p->unreadable_say_ms)
		return;
	free(p->unreadable);
	p->unreadable = xstrdup(rd_kafka_message_errstr(msg));
	p->unreadable_at = msg->offset;
	p->unreadable_say_ms = now + SAY_MS;
	c->table.is_stuck_news = true;
	log_error(
		"transport %s: nothing can be taken of topic %s, partition %d, from offset %" PRId64
		" on: %s%s",
		c->kafka->env.name, p->topic, (int)p->number, msg->offset, p->unreadable, remedy);
}

static void partition_works(struct consumer *c, struct partition *p)
{
	if (!p->unreadable)
		return;
	log_info("transport %s: topic %s, partition %d can be read again", c->kafka->env.name,
		p->topic, (int)p->number);
	free(TAKE_PTR(p->unreadable));
	c->table.is_stuck_news = true;
}

/* For others to see. */
static void tell_stuck(struct consumer *c)
{
	if (!c->table.is_stuck_news)
		return;
	c->table.is_stuck_news = false;
	pthread_mutex_lock(&c->lock);
	c->n_stuck = 0;
	map_each (n, &c->table.partitions) {
		const struct partition *p = container_of(n, struct partition, by_place);
		if (!p->unreadable)
			continue;
		if (c->n_stuck < STUCK_MAX) {
			struct stuck_place *to = &c->stuck[c->n_stuck];
			sentence_print(to->topic, sizeof to->topic, "%s", p->topic);
			to->partition = p->number;
			to->offset = p->unreadable_at;
			if (c->n_stuck == 0)
				sentence_print(
					c->stuck_why, sizeof c->stuck_why, "%s", p->unreadable);
		}
		c->n_stuck++;
	}
	pthread_mutex_unlock(&c->lock);
}

void consumer_state(struct consumer *c, struct transport_state *ret)
{
	pthread_mutex_lock(&c->lock);
	ret->n_stuck = c->n_stuck;
	memcpy(ret->stuck, c->stuck, sizeof ret->stuck);
	if (c->n_stuck && !ret->is_down)
		sentence_print(ret->why, sizeof ret->why,
			"nothing can be taken of %zu partition%s, the first is topic %s, partition "
			"%d, from offset %" PRId64 " on: %s",
			c->n_stuck, plural(c->n_stuck), c->stuck[0].topic, c->stuck[0].partition,
			c->stuck[0].offset, c->stuck_why);
	pthread_mutex_unlock(&c->lock);
	ret->in_flight = c->n_taken;
	lag_state(c, ret);
}

/* Behind a damaged batch the library may take anything for the beginning of another, and complain
 * of an offset that is not in the log. */
static bool is_in_log(struct consumer *c, const struct partition *p, int64_t offset)
{
	int64_t lowest, end;
	return rd_kafka_get_watermark_offsets(c->rk, p->topic, p->number, &lowest, &end) ||
	       end < 0 || offset < end;
}

static void take_error(struct consumer *c, const rd_kafka_message_t *msg)
{
	const char *topic = msg->rkt ? rd_kafka_topic_name(msg->rkt) : "";
	struct partition *p = msg->rkt ? table_find(&c->table, topic, msg->partition) : NULL;
	if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		if (p && !skip_takes(c, p) && !same_log_ends(c, p, msg->offset))
			lag_read_to(p, msg->offset);
		return;
	}
	const struct kafka_error *error = kafka_error(msg->err);
	count_error(c->kafka, error->kind);
	if (error->is & ERROR_IS_USUAL) {
		log_debug("transport %s: %s: %s", c->kafka->env.name, topic,
			rd_kafka_message_errstr(msg));
		return;
	}
	if (p && error->is & ERROR_IS_UNREADABLE && !is_in_log(c, p, msg->offset))
		return;
	if (p && !(error->is & ERROR_IS_OF_TOPIC)) {
		partition_failed(c, p, msg);
		if (error->is & ERROR_IS_UNREADABLE &&
			c->kafka->settings.unreadable == UNREADABLE_IS_SKIPPED)
			skip_complained(c, p, msg->offset);
		return;
	}
	if (msg->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
		if (*topic == '^') /* no function has a topic yet */
			return;
		c->is_topic_missing = true;
	}
	_cleanup_(freep) char *remedy = kafka_error_remedy(msg->err);
	_cleanup_(freep) char *why = xasprintf("messages cannot be taken%s%s: %s%s",
		*topic ? " of topic " : "", topic, rd_kafka_message_errstr(msg), remedy);
	health_set_trouble(&c->kafka->health, TROUBLE_CONSUMER, why);
}

/* The library looks for topics now and then; somebody may be waiting for this one. */
static void look_for_topic(struct consumer *c)
{
	const struct rd_kafka_metadata *metadata;
	if (!c->is_topic_missing || clock_mono_ms() < c->look_at_ms ||
		!health_is_connected(&c->kafka->health, CLIENT_CONSUMER))
		return;
	c->look_at_ms = clock_mono_ms() + LOOK_MS;
	if (rd_kafka_metadata(c->rk, 1, NULL, &metadata, LOOK_MS))
		return;
	for (int i = 0; i < metadata->topic_cnt; i++)
		if (strcmp(metadata->topics[i].topic, c->kafka->settings.subscribe_topic) == 0)
			c->is_topic_missing = metadata->topics[i].partition_cnt == 0;
	rd_kafka_metadata_destroy(metadata);
	if (!c->is_topic_missing)
		health_set_trouble(&c->kafka->health, TROUBLE_CONSUMER, NULL);
}

/* Where the message is to be taken; NULL: it is not. */
static struct partition *partition_of(
	struct consumer *c, struct partition *p, const struct mark *of)
{
	switch (same_log_match(p, of, same_log_end(c, p))) {
	case LOG_AGAIN:
		same_log_go_on(c, p, of->offset);
		return NULL;
	case LOG_DOUBTED:
		return same_log_doubt(c, p);
	case LOG_CUT:
		same_log_cut(c, p, of);
		return NULL;
	case LOG_OTHER:
		same_log_begin(c, p, false);
		return NULL;
	case LOG_OTHER_FROM_HERE:
		return same_log_begin(c, p, true);
	case LOG_NEXT:
		break;
	}
	return p;
}

static void take_message(struct consumer *c, rd_kafka_message_t *msg)
{
	struct partition *p = NULL;
	struct mark mark = NO_MARK;
	(void)fail_point(FAIL_KAFKA_TAKE);
	if (msg->err) {
		take_error(c, msg);
	} else {
		p = table_find(&c->table, rd_kafka_topic_name(msg->rkt), msg->partition);
	}
	p = p && !skip_takes(c, p) ? p : NULL;
	if (p) {
		mark = mark_of(msg);
		p = partition_of(c, p, &mark);
	}
	if (p)
		partition_works(c, p);
	if (!p) {
		rd_kafka_message_destroy(msg);
		return;
	}
	struct entry *e = table_take(&c->table, p, msg);
	e->consumer = c;
	e->mark = mark;
	same_log_seen(p, &mark);
	if (behind_has(p, e->offset))
		table_finish(&c->table, e);
	else if (list_empty(&p->held) && !p->n_retrying)
		(void)asking_ask(c, e);
	else
		asking_hold(c, e, NULL);
}

/* Nothing can be taken or committed while it waits for the answer. */
static void look_for_brokers(struct consumer *c)
{
	struct health *h = &c->kafka->health;
	if (health_is_connected(h, CLIENT_CONSUMER) || clock_mono_ms() < c->probe_at_ms)
		return;
	if (health_probe(h, CLIENT_CONSUMER, c->rk, LOOK_MS)) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(c->rk, 0);
		if (msg)
			take_message(c, msg);
		health_answered(h, CLIENT_CONSUMER);
	}
	c->probe_at_ms = clock_mono_ms() + LOOK_MS;
}

static bool is_full(const struct consumer *c)
{
	const struct kafka_settings *s = &c->kafka->settings;
	return c->table.n_taken >= (size_t)s->in_flight ||
	       c->table.n_bytes >= (size_t)s->in_flight_bytes;
}

/* One message too many does no harm, a group that nobody polls does. */
static void wait_for_room(struct consumer *c)
{
	int64_t now = clock_mono_ms();
	c->full_since_ms = c->full_since_ms ? c->full_since_ms : now;
	if (now - c->full_since_ms > FULL_MS) {
		if (!c->is_paused)
			asking_pause(c, true);
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(c->rk, 0);
		if (msg)
			take_message(c, msg);
	}
	if (c->is_committing)
		serve_commits(c, BUSY_MS);
	else
		wait_ms(c, BUSY_MS);
}

static void poll_messages(struct consumer *c)
{
	bool is_looking =
		c->is_topic_missing || !health_is_connected(&c->kafka->health, CLIENT_CONSUMER);
	int timeout = c->table.n_taken ? BUSY_MS : is_looking ? LOOK_MS : IDLE_MS;
	if (c->is_paused && c->table.n_taken <= (size_t)c->kafka->settings.in_flight / 2)
		asking_pause(c, false);
	for (int i = 0; i < BATCH && !is_full(c); i++) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(c->rk, i ? 0 : timeout);
		if (!msg)
			return;
		take_message(c, msg);
	}
}

static void leave(struct consumer *c)
{
	int64_t until = clock_mono_ms() + CLOSE_MS;
	settle(c);
	rd_kafka_queue_t *rest = rd_kafka_queue_new(c->rk);
	rd_kafka_error_t *error = rd_kafka_consumer_close_queue(c->rk, rest);
	while (!error && !rd_kafka_consumer_closed(c->rk) && clock_mono_ms() < until) {
		/* Beside callbacks come messages that were fetched before. */
		rd_kafka_message_t *msg = rd_kafka_consume_queue(rest, BUSY_MS);
		if (msg)
			rd_kafka_message_destroy(msg);
	}
	rd_kafka_error_destroy(error);
	rd_kafka_queue_destroy(rest);
}

static bool is_reset_to_earliest(const rd_kafka_conf_t *conf)
{
	char value[32];
	size_t size = sizeof value;
	return rd_kafka_conf_get(conf, "auto.offset.reset", value, &size) == RD_KAFKA_CONF_OK &&
	       (strcmp(value, "smallest") == 0 || strcmp(value, "earliest") == 0 ||
		       strcmp(value, "beginning") == 0);
}

static int connect_client(struct consumer *c, struct fault *f)
{
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;
	int r = client_conf(c->kafka, CLIENT_CONSUMER, &conf, f);
	if (r < 0)
		return r;
	c->is_reset_elsewhere = !is_reset_to_earliest(conf);
	rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
	rd_kafka_conf_set_error_cb(conf, on_error);
	r = client_new(CLIENT_CONSUMER, conf, &rk, f);
	if (r < 0)
		return r;
	rd_kafka_poll_set_consumer(rk);
	pthread_mutex_lock(&c->lock);
	c->rk = rk;
	c->queue = rd_kafka_queue_get_consumer(rk);
	c->commits = rd_kafka_queue_new(rk);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static void disconnect_client(struct consumer *c)
{
	pthread_mutex_lock(&c->lock);
	rd_kafka_queue_destroy(c->commits);
	rd_kafka_queue_destroy(TAKE_PTR(c->queue));
	pthread_mutex_unlock(&c->lock);
	client_end(c->kafka, CLIENT_CONSUMER, TAKE_PTR(c->rk));
}

/* A regular expression: the prefix, and something behind it. */
static char *topics_of(const char *prefix)
{
	struct buf out;
	buf_init(&out, 1024);
	buf_puts(&out, "^");
	for (const char *p = prefix; *p; p++)
		buf_printf(&out, *p == '.' ? "\\%c" : "%c", *p);
	buf_puts(&out, ".+");
	return buf_take(&out);
}

static int subscribe(struct consumer *c, struct fault *f)
{
	const struct kafka_settings *s = &c->kafka->settings;
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(2);
	_cleanup_(freep) char *pattern = topics_of(s->functions_prefix);
	if (*s->subscribe_topic)
		rd_kafka_topic_partition_list_add(topics, s->subscribe_topic, -1);
	if (*s->functions_prefix)
		rd_kafka_topic_partition_list_add(topics, pattern, -1);
	rd_kafka_resp_err_t err = rd_kafka_subscribe(c->rk, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	return err ? fault_set(f, FAULT_BAD_REQUEST, "subscribe-topic: %s", rd_kafka_err2str(err))
		   : 0;
}

/* Without a client; answers come all the same. False: the gateway stops. */
static bool wait_to_connect(struct consumer *c, int64_t pause_ms)
{
	int64_t until = clock_mono_ms() + pause_ms;
	for (int64_t left; !c->is_stopping && (left = until - clock_mono_ms()) > 0;) {
		wait_ms(c, left < IDLE_MS ? (int)left : IDLE_MS - 1);
		asking_take_answers(c);
	}
	return !c->is_stopping;
}

/* The library has given up for good, as it does when a broker took our place in the group for
 * somebody else's while it went down. What was not committed comes again and makes no second job.
 */
static void replace_client(struct consumer *c)
{
	struct fault f;
	char why[300] = "";
	(void)fail_point(FAIL_KAFKA_CONSUMER_RENEW);
	rd_kafka_resp_err_t err = rd_kafka_fatal_error(c->rk, why, sizeof why);
	_cleanup_(freep) char *remedy = kafka_error_remedy(err);
	int64_t pause_ms = again_pause(&c->again, clock_mono_ms());
	count_error(c->kafka, TRANSPORT_ERROR_FATAL);
	log_warn("transport %s: a new consumer is made in %" PRId64 " s: %s%s", c->kafka->env.name,
		pause_ms / 1000, why, remedy);
	map_each (n, &c->table.partitions)
		table_remove(&c->table, container_of(n, struct partition, by_place));
	c->is_committing = c->is_paused = false;
	disconnect_client(c);
	if (!wait_to_connect(c, pause_ms))
		return;
	while (connect_client(c, &f) < 0) {
		health_set_trouble(&c->kafka->health, TROUBLE_CONSUMER, f.text);
		if (!wait_to_connect(c, again_pause(&c->again, clock_mono_ms())))
			return;
	}
	if (subscribe(c, &f) < 0)
		health_set_trouble(&c->kafka->health, TROUBLE_CONSUMER, f.text);
}

static void *consumer_main(void *arg)
{
	struct consumer *c = arg;
	while (!c->is_stopping) {
		serve_commits(c, 0);
		asking_take_answers(c);
		asking_tend(c);
		same_log_tend(c);
		skip_tend(c);
		tell_stuck(c);
		lag_tend(c);
		c->n_taken = c->table.n_taken;
		commit_if_due(c);
		look_for_brokers(c);
		look_for_topic(c);
		if (is_full(c)) {
			wait_for_room(c);
		} else {
			c->full_since_ms = 0;
			poll_messages(c);
		}
		if (rd_kafka_fatal_error(c->rk, NULL, 0) || fail_point(FAIL_KAFKA_CONSUMER) < 0)
			replace_client(c);
	} /* and if it stops meanwhile there is no client */
	if (c->rk)
		leave(c);
	return NULL;
}

int consumer_open(struct consumer **ret, struct kafka *k, struct fault *f)
{
	struct consumer *c = xcalloc(1, sizeof *c);
	c->kafka = k;
	c->last_answer = &c->answers;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->filled, NULL);
	table_init(&c->table);
	health_expects(&k->health, CLIENT_CONSUMER);
	*ret = c;
	return connect_client(c, f);
}

int consumer_start(struct consumer *c, struct fault *f)
{
	int r = subscribe(c, f);
	if (r < 0)
		return r;
	r = -pthread_create(&c->thread, NULL, consumer_main, c);
	c->is_started = r == 0;
	return r < 0 ? fault_set(f, FAULT_INTERNAL, "a thread cannot be made: %s", strerror(-r))
		     : 0;
}

bool consumer_stop(struct consumer *c)
{
	if (!c->is_started)
		return true;
	c->is_stopping = true;
	pthread_mutex_lock(&c->lock);
	if (c->queue)
		rd_kafka_queue_yield(c->queue);
	pthread_cond_signal(&c->filled);
	pthread_mutex_unlock(&c->lock);
	if (!thread_ends(c->thread, STOP_MS))
		return false;
	c->is_started = false;
	return true;
}

void consumer_close(struct consumer *c)
{
	if (!c)
		return;
	table_done(&c->table);
	if (c->rk)
		disconnect_client(c);
	pthread_cond_destroy(&c->filled);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
