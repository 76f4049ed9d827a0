/* SPDX-License-Identifier: Apache-2.0 */
/* base/heap.h: the first is the least, whatever was added and removed before. */
#include "unit.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/heap.h"

enum { N = 500 };

struct item {
	struct heap_node node;
	int rank;
};

static bool item_less(const struct heap_node *a, const struct heap_node *b)
{
	return container_of(a, const struct item, node)->rank <
	       container_of(b, const struct item, node)->rank;
}

/* Numbers that look mixed and are the same in every run. */
static int mixed(int i)
{
	return i * 7919 % 1009;
}

static int first_rank(const struct heap *h)
{
	return container_of(heap_first(h), struct item, node)->rank;
}

TEST(an_empty_heap_has_no_first)
{
	struct heap h;
	heap_init(&h, item_less);
	check(heap_first(&h) == NULL);
	heap_done(&h);
	heap_done(&h);
}

TEST(items_come_out_in_order)
{
	_cleanup_(heap_done) struct heap h;
	struct item items[N] = { 0 };
	heap_init(&h, item_less);
	for (int i = 0; i < N; i++) {
		items[i].rank = mixed(i);
		heap_add(&h, &items[i].node);
	}
	int last = -1;
	for (int i = 0; i < N; i++) {
		struct heap_node *first = heap_first(&h);
		check(first_rank(&h) >= last);
		last = first_rank(&h);
		heap_remove(&h, first);
		check_int(first->at, 0);
	}
	check(heap_first(&h) == NULL);
}

TEST(removal_from_the_middle_keeps_the_order)
{
	_cleanup_(heap_done) struct heap h;
	struct item items[N] = { 0 };
	heap_init(&h, item_less);
	for (int i = 0; i < N; i++) {
		items[i].rank = mixed(i);
		heap_add(&h, &items[i].node);
	}
	for (int i = 0; i < N; i += 2)
		heap_remove(&h, &items[i].node);
	for (size_t at = 2; at <= h.len; at++)
		check(!item_less(h.nodes[at - 1], h.nodes[at / 2 - 1]));
	check_int(h.len, N / 2);
	for (int i = 0; i < N; i++)
		check_int(items[i].node.at != 0, i % 2);
}

TEST(removing_what_is_in_no_heap_does_nothing)
{
	_cleanup_(heap_done) struct heap h;
	struct item in = { .rank = 1 }, out = { .rank = 2 };
	heap_init(&h, item_less);
	heap_add(&h, &in.node);
	heap_remove(&h, &out.node);
	check_int(h.len, 1);
	heap_remove(&h, &in.node);
	heap_remove(&h, &in.node);
	check_int(h.len, 0);
}

TEST(a_removed_item_may_be_added_with_another_rank)
{
	_cleanup_(heap_done) struct heap h;
	struct item a = { .rank = 1 }, b = { .rank = 2 };
	heap_init(&h, item_less);
	heap_add(&h, &a.node);
	heap_add(&h, &b.node);
	heap_remove(&h, &a.node);
	a.rank = 3;
	heap_add(&h, &a.node);
	check_int(first_rank(&h), 2);
}

RUN_TESTS(PROVES(an_empty_heap_has_no_first), PROVES(items_come_out_in_order),
	PROVES(removal_from_the_middle_keeps_the_order),
	PROVES(removing_what_is_in_no_heap_does_nothing),
	PROVES(a_removed_item_may_be_added_with_another_rank))
