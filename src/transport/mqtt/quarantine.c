/* SPDX-License-Identifier: Apache-2.0 */
/* A topic is here as long as letters wait for it, and its place in the heap is that of its first
 * letter: whoever changes which one that is takes the topic out of the heap before. */
#include "transport/mqtt/quarantine.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "transport/mqtt/outbox.h"

struct topic {
	struct map_node by_hash;
	struct heap_node by_time;
	uint64_t hash;
	struct list letters; /* in order of their numbers; never empty while it is in the heap */
};

static struct letter *first_letter(const struct topic *t)
{
	return container_of(t->letters.next, struct letter, node);
}

static bool is_sooner(const struct heap_node *a, const struct heap_node *b)
{
	const struct letter *x = first_letter(container_of(a, struct topic, by_time));
	const struct letter *y = first_letter(container_of(b, struct topic, by_time));
	return x->not_before_ms < y->not_before_ms ||
	       (x->not_before_ms == y->not_before_ms && x->number < y->number);
}

void quarantine_init(struct quarantine *q)
{
	map_init(&q->topics);
	heap_init(&q->firsts, is_sooner);
}

void quarantine_done(struct quarantine *q)
{
	map_each (n, &q->topics) {
		struct topic *t = container_of(n, struct topic, by_hash);
		struct list *l;
		while ((l = list_pop(&t->letters)))
			mqtt_letter_free(container_of(l, struct letter, node));
		map_remove(&q->topics, &t->by_hash);
		free(t);
	}
	map_done(&q->topics);
	heap_done(&q->firsts);
}

static struct topic *find(const struct quarantine *q, uint64_t hash)
{
	struct map_node *n = map_find(&q->topics, &hash, sizeof hash);
	return n ? container_of(n, struct topic, by_hash) : NULL;
}

static struct topic *find_or_make(struct quarantine *q, uint64_t hash)
{
	struct topic *t = find(q, hash);
	if (t)
		return t;
	t = xcalloc(1, sizeof *t);
	t->hash = hash;
	list_init(&t->letters);
	map_add(&q->topics, &t->by_hash, &t->hash, sizeof t->hash);
	return t;
}

/* Mostly it is the newest, or the oldest, which comes back. */
static void insert(struct list *letters, struct letter *l)
{
	struct list *after = letters->prev;
	if (!list_empty(letters) &&
		container_of(letters->next, struct letter, node)->number > l->number)
		after = letters;
	while (after != letters && container_of(after, struct letter, node)->number > l->number)
		after = after->prev;
	list_append(after->next, &l->node);
}

void quarantine_put(struct quarantine *q, struct letter *l)
{
	struct topic *t = find_or_make(q, l->topic_hash);
	if (!l->not_before_ms)
		l->not_before_ms = clock_mono_ms();
	heap_remove(&q->firsts, &t->by_time);
	insert(&t->letters, l);
	heap_add(&q->firsts, &t->by_time);
}

void quarantine_take(struct quarantine *q, struct letter *l)
{
	struct topic *t = find(q, l->topic_hash);
	must(t);
	heap_remove(&q->firsts, &t->by_time);
	list_remove(&l->node);
	if (!list_empty(&t->letters)) {
		heap_add(&q->firsts, &t->by_time);
		return;
	}
	map_remove(&q->topics, &t->by_hash);
	free(t);
}

struct letter *quarantine_first(const struct quarantine *q)
{
	struct heap_node *n = heap_first(&q->firsts);
	return n ? first_letter(container_of(n, struct topic, by_time)) : NULL;
}

struct letter *quarantine_first_of(const struct quarantine *q, uint64_t topic_hash)
{
	const struct topic *t = find(q, topic_hash);
	return t ? first_letter(t) : NULL;
}

struct letter *quarantine_accused(const struct quarantine *q)
{
	struct letter *found = NULL;
	map_each (n, &q->topics) {
		list_each (m, &container_of(n, struct topic, by_hash)->letters) {
			struct letter *l = container_of(m, struct letter, node);
			if (l->is_accused && (!found || l->number > found->number))
				found = l;
		}
	}
	return found;
}
