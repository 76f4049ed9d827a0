/* SPDX-License-Identifier: Apache-2.0 */
/* Which outcomes a transport has been handed, and those that wait in the store until it has room.
 * Of whoever asked first for a job, and is owed its outcome; the core's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct core;
struct job_row;
struct transport;
struct uuid;

void backlog_init(struct core *c); /* the core's transports are known */
/* Nothing that waits is told any more, and the loop's handles are left alone. */
void backlog_stop(struct core *c);
void backlog_free(struct core *c);

/* An outcome is to be published. False: not now. It is read from the store when the transport has
 * room, so its row is in the store or has been posted before the core's thread goes on. */
bool backlog_admits(struct core *c, struct transport *t);
/* The transport is about to be handed that job's outcome. */
void backlog_hand(struct core *c, const struct transport *t, const struct uuid *job);
bool backlog_has_handed(const struct core *c, const struct uuid *job);
/* It has delivered it. */
void backlog_delivered(struct core *c, const char *transport, const struct uuid *job);
/* It may have room. Behind the writes that say what was delivered. */
void backlog_wake(struct core *c, const char *transport);
/* There may be outcomes that it was not handed. */
bool backlog_is_behind(const struct core *c, const struct transport *t);
uint64_t backlog_count(const struct core *c, const struct transport *t); /* about so many */
