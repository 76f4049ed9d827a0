/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of embedded nodes. The key's bytes live in the object that embeds the node and must
 * not change while it is in the table. Hashing is keyed by a random seed: keys come from clients.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct map_node {
	struct map_node *next;
	const void *key;
	size_t len;
	uint64_t hash;
};

struct map {
	struct map_node **slots;
	size_t n_slots, count;
	uint64_t seed;
};

void map_init(struct map *m);
void map_done(struct map *m); /* the nodes are the caller's */
struct map_node *map_find(const struct map *m, const void *key, size_t len);
struct map_node *map_find_str(const struct map *m, const char *key);
void map_add(
	struct map *m, struct map_node *n, const void *key, size_t len); /* key not in it yet */
void map_add_str(struct map *m, struct map_node *n, const char *key);
void map_remove(struct map *m, struct map_node *n);

/* The loop body may remove `it` from the table. */
#define map_each(it, m)                                                                            \
	for (size_t it##_i = 0; it##_i < (m)->n_slots; it##_i++)                                   \
		for (struct map_node *it = (m)->slots[it##_i], *it##_next = it ? it->next : NULL;  \
			it; it = it##_next, it##_next = it ? it->next : NULL)
