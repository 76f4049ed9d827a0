/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap over pointers to nodes that live in their owners' objects.
 *
 * Used for what has a next one: timers, and jobs by priority and age. A node remembers its place
 * (counted from 1, so that a zeroed node is in no heap), which makes taking one out of the middle
 * cheap: a job that is cancelled, a timer that is disarmed. A node whose order changes is removed
 * and added again. The array grows with the number of nodes and is kept until heap_done; whoever
 * adds bounds the number. One thread. */
#include "base/heap.h"

#include "base/cleanup.h"

enum { FIRST_CAP = 16 };

void heap_init(struct heap *h, heap_less_fn *less)
{
	*h = (struct heap){ .less = less };
}

void heap_done(struct heap *h)
{
	free(h->nodes);
	h->nodes = NULL;
	h->len = h->cap = 0;
}

/* Places are counted from 1: the children of i are 2i and 2i + 1. */
static void put(struct heap *h, size_t at, struct heap_node *n)
{
	h->nodes[at - 1] = n;
	n->at = at;
}

static void sift_up(struct heap *h, size_t at, struct heap_node *n)
{
	while (at > 1 && h->less(n, h->nodes[at / 2 - 1])) {
		put(h, at, h->nodes[at / 2 - 1]);
		at /= 2;
	}
	put(h, at, n);
}

static void sift_down(struct heap *h, size_t at, struct heap_node *n)
{
	for (;;) {
		size_t child = 2 * at;
		if (child > h->len)
			break;
		if (child < h->len && h->less(h->nodes[child], h->nodes[child - 1]))
			child++;
		if (!h->less(h->nodes[child - 1], n))
			break;
		put(h, at, h->nodes[child - 1]);
		at = child;
	}
	put(h, at, n);
}

void heap_add(struct heap *h, struct heap_node *n)
{
	must(n->at == 0);
	if (h->len == h->cap) {
		h->cap = h->cap ? 2 * h->cap : FIRST_CAP;
		h->nodes = xrealloc(h->nodes, h->cap * sizeof *h->nodes);
	}
	h->len++;
	sift_up(h, h->len, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	size_t at = n->at;
	if (at == 0)
		return;
	must(at <= h->len && h->nodes[at - 1] == n);
	n->at = 0;
	struct heap_node *last = h->nodes[--h->len];
	if (last == n)
		return;
	if (at > 1 && h->less(last, h->nodes[at / 2 - 1]))
		sift_up(h, at, last);
	else
		sift_down(h, at, last);
}

struct heap_node *heap_first(const struct heap *h)
{
	return h->len ? h->nodes[0] : NULL;
}
