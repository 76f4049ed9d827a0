/* SPDX-License-Identifier: Apache-2.0 */
/* The messages that were taken and whose offsets are not committed yet, by partition.
 *
 * An entry is made when a message is taken, and stands in its partition in the order they came.
 * Entries are done in any order; the offset to commit is the one after the longest run of done
 * entries from the first on, and those of the run are freed. So a message is committed only when it
 * and all before it are durable jobs, or were refused and answered; those that are done behind one
 * that is not are told with the commit (behind.c).
 *
 * When a partition is taken away, entries that are still with the core, or whose letters are under
 * way, are kept as orphans until they come back. Everything here belongs to the consumer's
 * thread. */
#include "transport/kafka/private.h"

#include <string.h>

enum { RETRY_BATCH = 16 };

void table_init(struct table *t)
{
	map_init(&t->partitions);
	list_init(&t->orphans);
	list_init(&t->spare);
}

/* The topic, a NUL and the number. */
static char *place_of(const char *topic, int32_t number, size_t *ret_len)
{
	size_t n = strlen(topic) + 1;
	char *place = xcalloc(1, n + sizeof number);
	memcpy(place, topic, n);
	memcpy(place + n, &number, sizeof number);
	*ret_len = n + sizeof number;
	return place;
}

struct partition *table_find(struct table *t, const char *topic, int32_t number)
{
	char place[300];
	size_t n = strlen(topic) + 1;
	if (n + sizeof number > sizeof place)
		return NULL;
	memcpy(place, topic, n);
	memcpy(place + n, &number, sizeof number);
	struct map_node *found = map_find(&t->partitions, place, n + sizeof number);
	return found ? container_of(found, struct partition, by_place) : NULL;
}

struct partition *table_add(struct table *t, const char *topic, int32_t number)
{
	struct partition *p = xcalloc(1, sizeof *p);
	size_t len;
	p->place = place_of(topic, number, &len);
	p->topic = xstrdup(topic);
	p->number = number;
	p->next = p->end = p->end_seen_from = p->read_to = p->lag = -1;
	p->before = p->verified = p->seen = p->anchor = NO_MARK;
	p->skip.last = -1;
	p->retry_batch = RETRY_BATCH;
	list_init(&p->entries);
	list_init(&p->held);
	map_add(&t->partitions, &p->by_place, p->place, len);
	return p;
}

static void drop_message(struct table *t, struct entry *e)
{
	if (e->msg) {
		rd_kafka_message_destroy(e->msg);
		t->n_bytes -= e->bytes;
	}
	e->msg = NULL;
}

static void entry_free(struct table *t, struct entry *e)
{
	drop_message(t, e);
	list_remove(&e->node);
	list_remove(&e->held);
	if (e->ask)
		ask_done(e->ask);
	free(e->ask);
	free(e->fault);
	list_append(&t->spare, &e->node);
}

static struct entry *entry_new(struct table *t)
{
	struct list *spare = list_pop(&t->spare);
	struct entry *e = spare ? container_of(spare, struct entry, node) : xcalloc(1, sizeof *e);
	*e = (struct entry){ 0 };
	list_init(&e->held);
	return e;
}

struct entry *table_take(struct table *t, struct partition *p, rd_kafka_message_t *msg)
{
	struct entry *e = entry_new(t);
	e->partition = p;
	e->msg = msg;
	e->offset = msg->offset;
	e->bytes = msg->len + msg->key_len;
	list_append(&p->entries, &e->node);
	e->number = ++t->count;
	t->n_taken++;
	t->n_bytes += e->bytes;
	return e;
}

struct entry *table_take_gap(struct table *t, struct partition *p, int64_t last)
{
	struct entry *e = entry_new(t);
	e->partition = p;
	e->offset = last;
	e->mark = NO_MARK;
	e->state = ENTRY_TOLD;
	list_append(&p->entries, &e->node);
	e->number = ++t->count;
	t->n_taken++;
	return e;
}

void table_hold(struct entry *e)
{
	struct list *after = e->partition->held.prev;
	while (after != &e->partition->held &&
		container_of(after, struct entry, held)->number > e->number)
		after = after->prev;
	e->state = ENTRY_HELD;
	list_append(after->next, &e->held);
}

static void advance(struct table *t, struct partition *p)
{
	list_each (n, &p->entries) {
		struct entry *e = container_of(n, struct entry, node);
		if (e->state != ENTRY_DONE)
			return;
		p->next = e->offset + 1;
		p->before = e->mark;
		p->n_done++;
		p->n_behind--;
		t->n_done++;
		entry_free(t, e);
	}
}

void table_finish(struct table *t, struct entry *e)
{
	if (!e->partition) {
		entry_free(t, e);
		return;
	}
	drop_message(t, e);
	e->state = ENTRY_DONE;
	e->partition->n_behind++;
	if (e->partition->entries.next == &e->node)
		advance(t, e->partition);
	else
		e->partition->is_news = t->is_news = true;
}

void table_remove(struct table *t, struct partition *p)
{
	t->n_taken -= p->n_done;
	t->n_done -= p->n_done;
	list_each (n, &p->entries) {
		struct entry *e = container_of(n, struct entry, node);
		t->n_taken--;
		e->partition = NULL;
		if (e->state == ENTRY_ASKED || e->state == ENTRY_TOLD) {
			drop_message(t, e);
			list_remove(n);
			list_append(&t->orphans, n);
			continue;
		}
		entry_free(t, e);
	}
	map_remove(&t->partitions, &p->by_place);
	free(p->place);
	free(p->topic);
	t->is_stuck_news |= p->unreadable != NULL;
	free(p->unreadable);
	free(p->why);
	behind_forget(p);
	free(p);
}

/* Of a partition with nothing new in front it is the same offset, with more behind it. */
static void add_commit(
	const struct table *t, struct partition *p, rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_topic_partition_t *it =
		rd_kafka_topic_partition_list_add(list, p->topic, p->number);
	it->offset =
		p->next >= 0 ? p->next : container_of(p->entries.next, struct entry, node)->offset;
	char *text = t->is_plain ? NULL : behind_text(p, it->offset);
	it->metadata = text; /* the list's */
	it->metadata_size = text ? strlen(text) : 0;
	p->committing = it->offset;
	p->n_committing = p->n_done;
	p->is_news = false;
}

rd_kafka_topic_partition_list_t *table_commit_list(struct table *t)
{
	rd_kafka_topic_partition_list_t *list = NULL;
	map_each (n, &t->partitions) {
		struct partition *p = container_of(n, struct partition, by_place);
		if (!p->n_done && !p->is_news)
			continue;
		if (!list)
			list = rd_kafka_topic_partition_list_new(8);
		add_commit(t, p, list);
	}
	t->is_news = false;
	return list;
}

void table_committed(struct table *t, const rd_kafka_topic_partition_list_t *list, bool is_good)
{
	for (int i = 0; i < list->cnt; i++) {
		const rd_kafka_topic_partition_t *it = &list->elems[i];
		struct partition *p = table_find(t, it->topic, it->partition);
		if (!p || p->committing != it->offset)
			continue;
		if (is_good && !it->err) {
			p->n_done -= p->n_committing;
			t->n_done -= p->n_committing;
			t->n_taken -= p->n_committing;
		} else {
			p->is_news = p->n_behind;
			t->is_news |= p->is_news;
			t->is_plain |= it->err == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
		}
		p->n_committing = 0;
	}
}

void table_done(struct table *t)
{
	map_each (n, &t->partitions)
		table_remove(t, container_of(n, struct partition, by_place));
	list_each (n, &t->orphans)
		entry_free(t, container_of(n, struct entry, node));
	list_each (n, &t->spare)
		free(container_of(n, struct entry, node));
	map_done(&t->partitions);
}
