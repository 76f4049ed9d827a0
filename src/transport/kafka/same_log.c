/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a partition's log is the one that was read before.
 *
 * A topic can be deleted and made anew under its name. librdkafka 2.0 does not know topic ids, so
 * it would go on at the offset where it was, behind the first records of the new log, or wait for
 * ever at an offset that the new log has not reached. What tells two logs apart is a record, the
 * anchor, by its offset, timestamp and content. When a partition is assigned, the anchor is the one
 * that is kept with the commit (behind.c), the last that had been compared by then: a gateway may
 * have been killed after it had taken records of the new log, and before it noticed. Every CHECK_MS
 * it is read again, and then the newest that was taken becomes the anchor. The same record means
 * the same log; another one, or an offset below it, means that the log is another, which is then
 * taken from its beginning. So does a log that ends at or before the newest record that was taken,
 * from which nothing would ever come: the library says only that it has come to the end, so the
 * partition's leader is asked, since a replica may be behind for a moment. Its records
 * differ in time or content, so none of them is held for one that had its offset before, and what
 * was taken of it already makes no second job (request.c). The content counts since a producer may
 * give all records the same time, or none; records that are the same in all cannot be told apart. A
 * record that retention or compaction took away proves nothing.
 *
 * A log can also lose its newest records, when a leader dies that had more than its followers. The
 * library, whose place is gone then, begins at the earliest record, as in a log that is another. So
 * it is sent to the anchor first, and where that is found the log is taken from there on: not from
 * its end, as producers may have written behind the cut since; what is left of the records that
 * were taken behind the anchor makes no second job. Where the anchor is among those that were lost,
 * nothing tells the log from another.
 *
 * Reading again needs `auto.offset.reset` to be the earliest, as it is unless the settings say
 * otherwise: with another value an offset that is gone could lead behind what is to be read, so
 * nothing is checked. Consumer's thread. */
#include "transport/kafka/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text/plural.h"

enum { CHECK_MS = 5000, SEEK_MS = 1000, ASK_MS = 3000 };

int64_t same_log_expect(struct partition *p)
{
	p->seen = p->before;
	p->anchor = mark_is_known(&p->verified) ? p->verified : p->before;
	p->is_checked = true;
	p->check_at_ms = clock_mono_ms() + CHECK_MS;
	return p->anchor.offset;
}

/* FNV-1a, each part with its length. It is kept with commits and jobs. */
static uint64_t add_bytes(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *bytes = data;
	const uint64_t prime = 0x100000001b3;
	hash = (hash ^ (data ? len + 1 : 0)) * prime;
	for (size_t i = 0; data && i < len; i++)
		hash = (hash ^ bytes[i]) * prime;
	return hash;
}

uint64_t record_hash(const rd_kafka_message_t *msg)
{
	rd_kafka_headers_t *list = NULL;
	const char *name;
	const void *value;
	size_t len;
	uint64_t hash = add_bytes(0xcbf29ce484222325, msg->key, msg->key_len);
	hash = add_bytes(hash, msg->payload, msg->len);
	if (rd_kafka_message_headers(msg, &list))
		list = NULL;
	for (size_t i = 0; list && !rd_kafka_header_get_all(list, i, &name, &value, &len); i++) {
		hash = add_bytes(hash, name, strlen(name));
		hash = add_bytes(hash, value, len);
	}
	return hash ? hash : 1;
}

struct mark mark_of(const rd_kafka_message_t *msg)
{
	return (struct mark){ msg->offset, rd_kafka_message_timestamp(msg, NULL),
		record_hash(msg) };
}

/* What an earlier version has kept has no hash. */
static bool is_same(const struct mark *a, const struct mark *b)
{
	return a->at_ms == b->at_ms && (!a->hash || !b->hash || a->hash == b->hash);
}

void same_log_seen(struct partition *p, const struct mark *of)
{
	p->seen = *of;
	if (mark_is_known(&p->anchor))
		return;
	p->anchor = p->seen;
	p->check_at_ms = clock_mono_ms() + CHECK_MS;
}

/* It is, beyond doubt: what an earlier version has kept may be the same by its time alone. */
static bool is_anchor(const struct partition *p, const struct mark *of)
{
	return of->offset == p->anchor.offset && p->anchor.hash && is_same(of, &p->anchor);
}

enum log_match same_log_match(struct partition *p, const struct mark *of, int64_t end)
{
	int64_t offset = of->offset;
	if (!mark_is_known(&p->seen))
		return LOG_NEXT;
	if (p->is_checked) {
		if (p->is_doubted)
			return is_anchor(p, of) ? LOG_CUT : LOG_OTHER;
		if (offset < p->anchor.offset) /* the library has begun at the earliest */
			return LOG_OTHER_FROM_HERE;
		if (offset == p->anchor.offset && !is_same(of, &p->anchor))
			return LOG_OTHER;
		if (is_anchor(p, of) && end >= 0 && end <= p->seen.offset)
			return LOG_CUT;
		p->is_checked = false;
		p->anchor = p->seen;
		p->is_repeated = true;
	}
	bool is_repeated = p->is_repeated;
	if (offset >= p->seen.offset)
		p->is_repeated = false;
	if (offset > p->seen.offset)
		return LOG_NEXT;
	if (is_repeated || (offset == p->seen.offset && is_same(of, &p->seen)))
		return LOG_AGAIN;
	if (is_anchor(p, of))
		return LOG_CUT;
	return p->anchor.hash && offset < p->anchor.offset ? LOG_DOUBTED : LOG_OTHER_FROM_HERE;
}

bool partition_seek(struct consumer *c, const struct partition *p, int64_t offset)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, p->topic, p->number)->offset = offset;
	rd_kafka_error_t *error = rd_kafka_seek_partitions(c->rk, list, SEEK_MS);
	bool is_good = !error && !list->elems[0].err;
	rd_kafka_error_destroy(error);
	rd_kafka_topic_partition_list_destroy(list);
	return is_good;
}

void same_log_go_on(struct consumer *c, struct partition *p, int64_t offset)
{
	if (offset < p->seen.offset)
		(void)partition_seek(
			c, p, p->seen.offset + 1); /* else they come again, and are left out */
}

/* All in one call, which waits for the slowest of them: one by one, hundreds of partitions would
 * hold up the consumer. One that took too long may be done all the same; and if it is not, what
 * comes next is behind the anchor, and judged as if it were. */
void same_log_tend(struct consumer *c)
{
	int64_t now = clock_mono_ms();
	rd_kafka_topic_partition_list_t *list = NULL;
	if (c->is_reset_elsewhere || c->is_paused)
		return;
	map_each (n, &c->table.partitions) {
		struct partition *p = container_of(n, struct partition, by_place);
		if (!mark_is_known(&p->anchor) || p->is_paused || p->skip.is_looking ||
			now < p->check_at_ms)
			continue;
		p->check_at_ms = now + CHECK_MS;
		p->is_checked = true;
		list = list ? list : rd_kafka_topic_partition_list_new(8);
		rd_kafka_topic_partition_list_add(list, p->topic, p->number)->offset =
			p->anchor.offset;
	}
	if (!list)
		return;
	rd_kafka_error_destroy(rd_kafka_seek_partitions(c->rk, list, SEEK_MS));
	rd_kafka_topic_partition_list_destroy(list);
}

/* A leader that was just elected does not answer until it has all that was ever read from it. */
static int64_t ask_end(struct consumer *c, const struct partition *p)
{
	int64_t lowest, high;
	return rd_kafka_query_watermark_offsets(c->rk, p->topic, p->number, &lowest, &high, ASK_MS)
		       ? -1
		       : high;
}

int64_t same_log_end(struct consumer *c, const struct partition *p)
{
	int64_t lowest, high;
	if (!p->is_checked || p->is_doubted ||
		rd_kafka_get_watermark_offsets(c->rk, p->topic, p->number, &lowest, &high) ||
		high < 0)
		return -1;
	int64_t asked = high > p->seen.offset ? -1 : ask_end(c, p);
	return asked < 0 ? high : asked;
}

bool same_log_ends(struct consumer *c, struct partition *p, int64_t end)
{
	if (!mark_is_known(&p->seen) || end > p->seen.offset || c->is_reset_elsewhere)
		return false;
	end = ask_end(c, p);
	if (end < 0 || end > p->seen.offset)
		return false; /* at the next check */
	same_log_begin(c, p, false);
	return true;
}

/* What comes if the anchor cannot be sought is judged as if it could. */
struct partition *same_log_doubt(struct consumer *c, struct partition *p)
{
	if (c->is_reset_elsewhere)
		return same_log_begin(c, p, true);
	p->is_checked = p->is_doubted = true;
	(void)partition_seek(c, p, p->anchor.offset);
	return NULL;
}

struct partition *same_log_begin(struct consumer *c, struct partition *p, bool is_from_here)
{
	_cleanup_(freep) char *topic = xstrdup(p->topic);
	int32_t number = p->number;
	log_warn(
		"transport %s: the log of %s/%d is another than the one that was read up to offset "
		"%" PRId64 ": the topic was made anew, or has lost records; it is taken from its "
		"beginning",
		c->kafka->env.name, topic, (int)number, p->seen.offset);
	table_remove(&c->table, p);
	p = consumer_adopt(c, topic, number);
	if (!is_from_here && !partition_seek(c, p, RD_KAFKA_OFFSET_BEGINNING))
		log_error(
			"transport %s: the beginning of %s/%d cannot be sought; its first records "
			"are left out until the gateway starts again",
			c->kafka->env.name, topic, (int)number);
	return p;
}

/* What was taken before the anchor and is not done yet was perhaps refused for now: it is read
 * again, too. Else it is as if all up to the anchor had just been taken: that is committed, so that
 * a gateway that starts next finds the anchor. */
static int64_t begin_behind(
	struct table *t, struct partition *p, const struct mark *anchor, int64_t undone)
{
	if (undone >= 0 && undone <= anchor->offset) {
		lag_read_to(p, undone);
		return undone;
	}
	p->next = anchor->offset + 1;
	p->before = *anchor;
	p->is_news = t->is_news = true;
	same_log_seen(p, anchor);
	return p->next;
}

void same_log_cut(struct consumer *c, struct partition *p, const struct mark *anchor)
{
	_cleanup_(freep) char *topic = xstrdup(p->topic);
	int32_t number = p->number;
	int64_t seen = p->seen.offset, end = ask_end(c, p);
	int64_t undone = list_empty(&p->entries)
				 ? -1
				 : container_of(p->entries.next, struct entry, node)->offset;
	table_remove(&c->table, p);
	p = consumer_adopt(c, topic, number);
	int64_t begin = begin_behind(&c->table, p, anchor, undone);
	_cleanup_(freep) char *lost =
		end >= 0 && end <= seen
			? xasprintf("at least %" PRId64 " record%s, its end is offset %" PRId64
				    " now",
				  seen + 1 - end, plural((uint64_t)(seen + 1 - end)), end)
			: xstrdup("records");
	log_warn("transport %s: the log of topic %s, partition %d was read up to offset %" PRId64
		 " and has lost %s: it is the same up to offset %" PRId64
		 " and is taken from offset %" PRId64
		 " on; what was taken already makes no second job",
		c->kafka->env.name, topic, (int)number, seen, lost, anchor->offset, begin);
	if (begin <= anchor->offset && !partition_seek(c, p, begin))
		log_error("transport %s: offset %" PRId64 " of topic %s, partition %d cannot be "
			  "sought; what is behind it and was not taken is left out until the "
			  "gateway starts again",
			c->kafka->env.name, begin, topic, (int)number);
}
