/* SPDX-License-Identifier: Apache-2.0 */
/* Topics on which no answer may be asked for: requests come in by them, or Mist itself says things
 * there. Who may send requests could else have the gateway publish there with its own rights: a
 * cancel of another's job, say. What one instance reserves holds for all instances of its kind,
 * whichever broker they are at. Any thread. */
#pragma once

#include <stdbool.h>

struct transport;

/* A topic, copied. One that ends with '*' is all topics that are longer than what is before it and
 * begin with that; "" is nothing. `kind` is static: "mqtt". */
void reserved_add(const char *kind, const struct transport *owner, const char *pattern);
bool reserved_has(const char *kind, const char *topic);
void reserved_drop(const struct transport *owner); /* all that it has added */
