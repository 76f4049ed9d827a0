/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that sees every room and hands each what it needs. */
#pragma once

#include "mistd/settings.h"

struct gateway;

/* Locks a data directory that is there, as a gateway does. The descriptor that holds the lock, or
 * negative with the fault set. Without `makes` nothing is written: a directory without a lock is
 * one that no gateway uses. */
int gateway_lock(const char *directory, bool makes, struct fault *f);

/* Opens everything and starts serving. Takes the settings' catalog. The fault is one sentence;
 * nothing is left behind then. */
int gateway_start(struct gateway **ret, uv_loop_t *loop, struct settings *s, struct fault *f);
const char *gateway_url(const struct gateway *g);

/* Runs the loop, watched, until gateway_stop has ended it. */
void gateway_run(struct gateway *g);

/* New settings: what is live takes effect. Takes the catalog. */
void gateway_reload(struct gateway *g, struct settings *s);

/* Begins the end; the loop stops when idle workers are gone or after a grace. `and_workers`: busy
 * ones are ended too. */
void gateway_stop(struct gateway *g, bool and_workers);

/* After the loop stopped. Runs it once more until all handles are closed. */
void gateway_free(struct gateway *g);
