/* SPDX-License-Identifier: Apache-2.0 */
/* A chained hash table over nodes that live in their owners' objects.
 *
 * The table owns its slots only. It has none until the first addition, so an empty map costs
 * nothing, and it doubles when there are as many nodes as slots; it never shrinks, and removal
 * moves nothing, which is what lets a loop remove the node it stands on. Keys come from clients
 * (job ids, names), so the hash is SipHash-1-3 keyed by a random seed of each table: nobody outside
 * can choose names that fall into one slot. One thread. */
#include "base/map.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"

enum { FIRST_SLOTS = 16 };

static inline uint64_t rotate(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

static inline void sip_round(uint64_t v[static 4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* Aumasson and Bernstein's SipHash with one round a word and three at the end. A table's seed is 64
 * bits, so the second half of the key is derived from it: still nothing a client can know. */
static uint64_t map_hash(const struct map *m, const void *key, size_t len)
{
	uint64_t k0 = m->seed, k1 = (m->seed ^ m->seed >> 29) * 0x9e3779b97f4a7c15u;
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
		k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u };
	const unsigned char *at = key;
	size_t left = len;
	for (uint64_t word; left >= sizeof word; at += sizeof word, left -= sizeof word) {
		memcpy(&word, at, sizeof word);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	uint64_t tail = (uint64_t)len << 56;
	for (size_t i = 0; i < left; i++)
		tail |= (uint64_t)at[i] << 8 * i;
	v[3] ^= tail;
	sip_round(v);
	v[0] ^= tail;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m)
{
	*m = (struct map){ 0 };
	ssize_t n;
	do
		n = getrandom(&m->seed, sizeof m->seed, 0);
	while (n < 0 && errno == EINTR);
	must(n == sizeof m->seed);
}

void map_done(struct map *m)
{
	free(m->slots);
	m->slots = NULL;
	m->n_slots = m->count = 0;
}

static struct map_node **slot_of(const struct map *m, uint64_t hash)
{
	return &m->slots[hash & (m->n_slots - 1)];
}

static struct map_node *find_hashed(const struct map *m, uint64_t hash, const void *key, size_t len)
{
	for (struct map_node *n = *slot_of(m, hash); n; n = n->next)
		if (n->hash == hash && n->len == len && (len == 0 || memcmp(n->key, key, len) == 0))
			return n;
	return NULL;
}

struct map_node *map_find(const struct map *m, const void *key, size_t len)
{
	return m->count ? find_hashed(m, map_hash(m, key, len), key, len) : NULL;
}

struct map_node *map_find_str(const struct map *m, const char *key)
{
	return map_find(m, key, strlen(key));
}

static void map_grow(struct map *m)
{
	struct map grown = *m;
	grown.n_slots = m->n_slots ? 2 * m->n_slots : FIRST_SLOTS;
	grown.slots = xcalloc(grown.n_slots, sizeof *grown.slots);
	map_each (n, m) {
		struct map_node **slot = slot_of(&grown, n->hash);
		n->next = *slot;
		*slot = n;
	}
	free(m->slots);
	*m = grown;
}

void map_add(struct map *m, struct map_node *n, const void *key, size_t len)
{
	if (m->count == m->n_slots)
		map_grow(m);
	*n = (struct map_node){ .key = key, .len = len, .hash = map_hash(m, key, len) };
	must(!find_hashed(m, n->hash, key, len));
	struct map_node **slot = slot_of(m, n->hash);
	n->next = *slot;
	*slot = n;
	m->count++;
}

void map_add_str(struct map *m, struct map_node *n, const char *key)
{
	map_add(m, n, key, strlen(key));
}

void map_remove(struct map *m, struct map_node *n)
{
	must(m->count > 0);
	struct map_node **at = slot_of(m, n->hash);
	while (*at && *at != n)
		at = &(*at)->next;
	must(*at == n);
	*at = n->next;
	n->next = NULL;
	m->count--;
}
