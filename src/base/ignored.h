/* SPDX-License-Identifier: Apache-2.0 */
/* The names of what a request said that was taken and has no effect. Older clients send such
 * things, so they are not refused, but they are not ignored in silence either: the list travels
 * with the request and is told with its answer (Mist-Ignored over HTTP, mist-ignored over brokers).
 *
 * A list is the text that is told, "force, runSettings.mode": names in the order in which they were
 * found, each once. It is owned by whoever holds it and freed with free(); NULL is the empty list.
 * Not shared between threads while it changes. */
#pragma once

#include <jansson.h>

/* Bytes of a list. What has no room is left out, and the list ends with "..." then. */
enum { IGNORED_MAX = 1024 };

/* Adds a name. Bytes that a header may not have in a word are written as %XX. */
void ignored_add(char **list, const char *name);

/* Adds all of another list; `more` may be NULL. */
void ignored_add_all(char **list, const char *more);

/* Adds the members of `object` (nothing, if it is no object) that are not in `known`, which NULL
 * ends. `path` is put before them with a dot, "runSettings.mode"; NULL: they stand alone. */
void ignored_add_members(
	char **list, const json_t *object, const char *path, const char *const *known);
