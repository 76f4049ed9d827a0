/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration, read again while the gateway runs. The loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct settings;
struct reread;

/* The strings live as long as the program; `runs_empty`: the settings of the start had is_empty.
 * `take` gets what was read, when it is right; what it leaves of it is freed. */
struct reread *reread_new(uv_loop_t *loop, const char *config, const char *const *sets,
	size_t n_sets, bool runs_empty, void (*take)(void *owner, struct settings *s), void *owner);

/* Reads it now, or again when the read that is under way has ended. */
void reread_ask(struct reread *r);

/* Nothing is taken any more. The loop must run once more to forget its handle. */
void reread_close(struct reread *r);
