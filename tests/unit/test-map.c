/* SPDX-License-Identifier: Apache-2.0 */
/* base/map.h: every key that was added is found, no other is. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"

enum { N = 5000 };

struct item {
	struct map_node node;
	char key[24];
};

static struct item *items_new(struct map *m)
{
	struct item *items = xcalloc(N, sizeof *items);
	map_init(m);
	for (int i = 0; i < N; i++) {
		snprintf(items[i].key, sizeof items[i].key, "key-%d", i);
		map_add_str(m, &items[i].node, items[i].key);
	}
	return items;
}

TEST(an_empty_map_finds_nothing_and_costs_nothing)
{
	struct map m;
	map_init(&m);
	check(map_find_str(&m, "x") == NULL);
	check(m.slots == NULL);
	map_each (n, &m)
		fail_msg("%p in an empty map", (void *)n);
	map_done(&m);
	map_done(&m);
}

TEST(what_was_added_is_found)
{
	_cleanup_(map_done) struct map m;
	_cleanup_(freep) struct item *items = items_new(&m);
	for (int i = 0; i < N; i++)
		check(map_find_str(&m, items[i].key) == &items[i].node);
	check(map_find_str(&m, "key-") == NULL);
	check(map_find_str(&m, "key-5000") == NULL);
	check_int(m.count, N);
	check(m.n_slots >= N);
}

TEST(what_was_removed_is_not_found)
{
	_cleanup_(map_done) struct map m;
	_cleanup_(freep) struct item *items = items_new(&m);
	for (int i = 0; i < N; i += 3)
		map_remove(&m, &items[i].node);
	for (int i = 0; i < N; i++)
		check((map_find_str(&m, items[i].key) != NULL) == (i % 3 != 0));
}

TEST(a_loop_sees_each_once_and_may_remove_it)
{
	_cleanup_(map_done) struct map m;
	_cleanup_(freep) struct item *items = items_new(&m);
	size_t seen = 0;
	map_each (n, &m) {
		struct item *item = container_of(n, struct item, node);
		check(item->key[0] == 'k');
		item->key[0] = 'K';
		map_remove(&m, n);
		seen++;
	}
	check_int(seen, N);
	check_int(m.count, 0);
	map_each (n, &m)
		fail_msg("%p left behind", (void *)n);
}

TEST(keys_are_bytes_of_any_length)
{
	_cleanup_(map_done) struct map m;
	char bytes[64];
	struct map_node nodes[sizeof bytes + 1];
	memset(bytes, 0, sizeof bytes);
	map_init(&m);
	for (size_t len = 0; len <= sizeof bytes; len++)
		map_add(&m, &nodes[len], bytes, len);
	for (size_t len = 0; len <= sizeof bytes; len++)
		check(map_find(&m, bytes, len) == &nodes[len]);
}

TEST(two_maps_hash_differently)
{
	_cleanup_(map_done) struct map a, b;
	struct map_node in_a, in_b;
	map_init(&a);
	map_init(&b);
	map_add_str(&a, &in_a, "same");
	map_add_str(&b, &in_b, "same");
	check(in_a.hash != in_b.hash);
}

RUN_TESTS(PROVES(an_empty_map_finds_nothing_and_costs_nothing), PROVES(what_was_added_is_found),
	PROVES(what_was_removed_is_not_found), PROVES(a_loop_sees_each_once_and_may_remove_it),
	PROVES(keys_are_bytes_of_any_length), PROVES(two_maps_hash_differently))
