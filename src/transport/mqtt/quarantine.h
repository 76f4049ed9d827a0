/* SPDX-License-Identifier: Apache-2.0 */
/* The letters that go over a connection of their own, one at a time.
 *
 * They wait by topic: what goes to one topic goes in the order made, and of each only the first may
 * go, when its time has come. So a topic that the broker refuses for hours holds up no other, and
 * however much waits for it costs those that do not. Under mqtt's lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/map.h"

struct letter;

struct quarantine {
	struct map topics;
	struct heap firsts; /* the first letter of each; on top the one whose time comes first */
};

void quarantine_init(struct quarantine *q);
void quarantine_done(struct quarantine *q); /* frees the letters */

/* Among those of its topic, to where its number says. Its time is now if it has none. */
void quarantine_put(struct quarantine *q, struct letter *l);
void quarantine_take(struct quarantine *q, struct letter *l); /* out of it, for the caller */

/* The letter whose time comes first, of those that are the first of their topics. NULL: none. It
 * changes nothing, and costs nothing. */
struct letter *quarantine_first(const struct quarantine *q);
/* The first of a topic. NULL: none waits for it. */
struct letter *quarantine_first_of(const struct quarantine *q, uint64_t topic_hash);
/* The newest letter that is accused, which all are looked through for. NULL: none is. */
struct letter *quarantine_accused(const struct quarantine *q);
