/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of embedded nodes. A node knows its place, so removal from the middle is O(log n).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct heap_node {
	size_t at; /* 0 when in no heap, else its place counted from 1 */
};

typedef bool heap_less_fn(const struct heap_node *a, const struct heap_node *b);

struct heap {
	struct heap_node **nodes;
	size_t len, cap;
	heap_less_fn *less;
};

void heap_init(struct heap *h, heap_less_fn *less);
void heap_done(struct heap *h); /* the nodes are the caller's */
void heap_add(struct heap *h, struct heap_node *n);
void heap_remove(struct heap *h, struct heap_node *n); /* nothing if it is in no heap */
struct heap_node *heap_first(const struct heap *h);    /* NULL when empty */
