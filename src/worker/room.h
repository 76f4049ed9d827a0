/* SPDX-License-Identifier: Apache-2.0 */
/* The room of workers: starts their processes, talks to them, watches them. Core's thread, except
 * for the door. */
#pragma once

#include "core/core.h"
#include "core/worker_door.h"

struct room_settings {
	int64_t heartbeat_ms, mute_ms, gateway_grace_ms, reconnect_grace_ms, start_timeout_ms,
		kill_grace_ms, frame_max, output_max, outputs_kept, mistakes_max;
	char *pass_environment; /* patterns of names, with blanks between */
	char *runner; /* the folder of the Python package; empty: where it was built or installed */
};

extern const struct conf_field room_conf[]; /* names as in the section `workers` */

struct room;

/* The directory is mistd's data directory. */
struct room *room_new(uv_loop_t *loop, const char *data_directory);
void room_free(struct room *r);

extern const struct crew_ops room_crew;

/* Once the core exists. url is "ws://127.0.0.1:2003/v2/workers/connect". */
void room_configure(struct room *r, const struct room_settings *s);
void room_attach(struct room *r, struct core *c, const char *url);

/* Finds the workers that an earlier gateway left behind and tells them where we are. Before
 * core_recover. */
void room_scan(struct room *r);

const struct worker_door *room_door(struct room *r);

/* Closes every connection; processes stay. The loop must run out after it. */
void room_close(struct room *r);
