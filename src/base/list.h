/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked ring: the head is a node, an empty list points at itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(l)                                                                               \
	{                                                                                          \
		&(l), &(l)                                                                         \
	}

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *l, struct list *node)
{
	node->prev = l->prev;
	node->next = l;
	l->prev->next = node;
	l->prev = node;
}

/* Leaves the node pointing at itself, so removing twice is harmless. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

static inline struct list *list_pop(struct list *l)
{
	struct list *first = l->next;
	if (first == l)
		return NULL;
	list_remove(first);
	return first;
}

/* The loop body may remove `it`, nothing else. */
#define list_each(it, l)                                                                           \
	for (struct list *it = (l)->next, *it##_next = it->next; it != (l);                        \
		it = it##_next, it##_next = it->next)
