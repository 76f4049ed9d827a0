/* SPDX-License-Identifier: Apache-2.0 */
/* How far the gateway is behind: of each partition that it has, the messages that are no jobs yet.
 *
 * The end of a partition comes with each fetch, so the library knows it and nobody is asked for it.
 * A partition that is paused is not fetched, and that is when the lag is of interest: then the
 * brokers are asked for the ends, of all such partitions at once, for LAG_WAIT_MS at most. Offsets
 * that hold no message, such as the marks of transactions, are not waited for: when the library has
 * read to the end of a partition it says where that is (take_error). An end before what had been
 * taken when it was learned is that of another log (same_log.c), of which all is to be taken. What
 * was taken since says nothing: between two questions a partition may have gone on for a while.
 *
 * A partition that has messages, and of which for `stalled-after` none becomes a job, is stalled,
 * whatever the reason. Consumer's thread, but for lag_state and lag_put. */
#include "transport/kafka/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics/exposition.h"
#include "base/text/plural.h"

enum {
	LAG_MS = 1000,        /* between two looks */
	ASK_MS = 2000,        /* between two questions to the brokers, */
	ASK_LATER_MS = 10000, /* and after one that was not answered */
	LAG_WAIT_MS = 500,
};

static const struct metric families[] = {
	{ METRIC_GAUGE, "mist_transport_lag_messages",
		"Messages of a partition that were not taken as jobs yet." },
};

void lag_read_to(struct partition *p, int64_t offset)
{
	if (offset > p->read_to)
		p->read_to = offset;
}

/* The first offset that is not seen to; -1: it is not known. */
static int64_t position(const struct partition *p)
{
	if (!list_empty(&p->entries))
		return container_of(p->entries.next, struct entry, node)->offset;
	return p->next > p->read_to ? p->next : p->read_to;
}

void lag_ends_at(struct partition *p, int64_t end)
{
	p->end = end;
	p->end_seen_from = position(p);
}

/* Ends of partitions that are not fetched; they are left as they were when nobody answers. */
static void ask_ends(struct consumer *c, int64_t now)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	map_each (n, &c->table.partitions) {
		const struct partition *p = container_of(n, struct partition, by_place);
		if (p->is_paused)
			rd_kafka_topic_partition_list_add(list, p->topic, p->number)->offset =
				RD_KAFKA_OFFSET_END;
	}
	if (!list->cnt || rd_kafka_offsets_for_times(c->rk, list, LAG_WAIT_MS)) {
		c->ask_ends_ms = now + (list->cnt ? ASK_LATER_MS : 0);
		rd_kafka_topic_partition_list_destroy(list);
		return;
	}
	c->ask_ends_ms = now + ASK_MS;
	for (int i = 0; i < list->cnt; i++) {
		const rd_kafka_topic_partition_t *it = &list->elems[i];
		struct partition *p = table_find(&c->table, it->topic, it->partition);
		if (p && !it->err && it->offset >= 0)
			lag_ends_at(p, it->offset);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

static void measure(struct consumer *c, struct partition *p)
{
	int64_t low = 0, high, at = position(p);
	if (!p->is_paused &&
		!rd_kafka_get_watermark_offsets(c->rk, p->topic, p->number, &low, &high)) {
		if (high >= 0)
			lag_ends_at(p, high);
		if (at < 0 && !c->is_reset_elsewhere && low >= 0)
			at = low; /* nothing of it was ever committed */
	}
	if (p->end >= 0 && p->end < p->end_seen_from && !c->is_reset_elsewhere)
		at = low > 0 && low < p->end ? low : 0;
	p->lag = p->end < 0 || at < 0 ? -1 : p->end > at ? p->end - at : 0;
}

/* Whether it is stalled now, and says so when that begins and ends. What is held, or cannot be
 * read, is in the log already. */
static bool look_if_stalled(struct consumer *c, struct partition *p, int64_t now)
{
	int64_t mark = p->next + (int64_t)p->n_behind; /* another one, whatever is done */
	bool was_stalled = p->is_stalled;
	if (p->lag <= 0 || mark != p->progress || !p->progress_ms) {
		p->progress = mark;
		p->progress_ms = now;
	}
	p->is_stalled = now - p->progress_ms >= c->kafka->settings.stalled_after_ms;
	bool is_told = !list_empty(&p->held) || p->unreadable;
	if (p->is_stalled && !was_stalled && !is_told)
		log_warn("transport %s: nothing is taken of topic %s, partition %d for %" PRId64
			 " s, though %" PRId64 " message%s",
			c->kafka->env.name, p->topic, (int)p->number, (now - p->progress_ms) / 1000,
			p->lag, by_count((uint64_t)p->lag, " waits", "s wait"));
	else if (was_stalled && !p->is_stalled)
		log_info("transport %s: messages of topic %s, partition %d are taken again",
			c->kafka->env.name, p->topic, (int)p->number);
	return p->is_stalled;
}

/* For others to see. */
static void tell(struct consumer *c, const struct lags *now)
{
	pthread_mutex_lock(&c->lock);
	c->lags = *now;
	pthread_mutex_unlock(&c->lock);
}

static void explain(const struct partition *p, int64_t now, char *ret, size_t size)
{
	const char *why = p->unreadable ? p->unreadable : !list_empty(&p->held) ? p->why : NULL;
	sentence_print(ret, size,
		"no message of topic %s, partition %d was taken for %" PRId64 " s, though %" PRId64
		" %s there%s%s",
		p->topic, (int)p->number, (now - p->progress_ms) / 1000, p->lag,
		by_count((uint64_t)p->lag, "waits", "wait"), why ? ": " : "", why ? why : "");
}

void lag_tend(struct consumer *c)
{
	int64_t now = clock_mono_ms();
	struct lags *lags = &c->new_lags;
	if (now < c->lag_at_ms)
		return;
	c->lag_at_ms = now + LAG_MS;
	if (now >= c->ask_ends_ms && health_is_connected(&c->kafka->health, CLIENT_CONSUMER))
		ask_ends(c, now);
	lags->n = lags->n_stalled = 0;
	lags->others = -1;
	lags->why[0] = '\0';
	map_each (n, &c->table.partitions) {
		struct partition *p = container_of(n, struct partition, by_place);
		measure(c, p);
		if (look_if_stalled(c, p, now) && lags->n_stalled++ == 0)
			explain(p, now, lags->why, sizeof lags->why);
		if (p->lag >= 0 && lags->n < LAGS_MAX) {
			struct lag *to = &lags->of[lags->n++];
			sentence_print(to->topic, sizeof to->topic, "%s", p->topic);
			to->partition = p->number;
			to->messages = p->lag;
		} else if (p->lag >= 0) {
			lags->others = (lags->others < 0 ? 0 : lags->others) + p->lag;
		}
	}
	tell(c, lags);
}

void lag_state(struct consumer *c, struct transport_state *ret)
{
	pthread_mutex_lock(&c->lock);
	ret->n_stalled = c->lags.n_stalled;
	if (!ret->why[0])
		sentence_print(ret->why, sizeof ret->why, "%s", c->lags.why);
	pthread_mutex_unlock(&c->lock);
}

void lag_put(struct consumer *c, struct exposition *e)
{
	const char *name = c->kafka->env.name;
	exposition_declare(e, families, ARRAY_SIZE(families));
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->lags.n; i++) {
		const struct lag *of = &c->lags.of[i];
		char partition[16];
		snprintf(partition, sizeof partition, "%d", of->partition);
		exposition_put(e, families,
			LABELS("transport", name, "topic", of->topic, "partition", partition),
			of->messages);
	}
	if (c->lags.others >= 0)
		exposition_put(e, families,
			LABELS("transport", name, "topic", "other", "partition", "other"),
			c->lags.others);
	pthread_mutex_unlock(&c->lock);
}
