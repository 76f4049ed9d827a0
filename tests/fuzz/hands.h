/* SPDX-License-Identifier: Apache-2.0 */
/* Workers for harnesses that are about something else: they are there at the next turn, and run at
 * once what they get. What they are handed must be right. */
#pragma once

#include <string.h>

#include "base/utf8.h"
#include "house.h"
#include "inline.h"
#include "must_be_json.h"

enum { LAUNCHED_MAX = 64 };

static struct hands {
	struct core *core;
	struct worker *launched[LAUNCHED_MAX];
	size_t n_launched;
} hands;

static void hands_launch(
	void *room, struct worker *w, const struct runtime_settings *runtime, bool is_describer)
{
	(void)room, (void)runtime, (void)is_describer;
	must(!strchr(w->id, '/') && utf8_is_valid(w->id, strlen(w->id)));
	if (hands.n_launched < LAUNCHED_MAX)
		hands.launched[hands.n_launched++] = w;
}

static void hands_start(void *room, struct worker *w, const struct job *j)
{
	char id[UUID_TEXT];
	_cleanup_(freep) char *frame = xasprintf(
		"{\"job\":1,%s,\"parameters\":%s}", j->function->start_members, j->parameters);
	(void)room;
	must_be_json(frame, strlen(frame));
	uuid_format(&j->id, id);
	crew_started(hands.core, w, id, clock_wall_ms());
	crew_ended(hands.core, w, id, xstrdup("1"), NULL);
}

static void hands_describe_it(
	void *room, struct worker *w, const char *id, const char *path, const char *class_name)
{
	json_t *signature = json_pack("{s:s, s:{}, s:[]}", "lang", "c", "execute", "tags");
	(void)room;
	must(utf8_is_valid(path, strlen(path)) && utf8_is_valid(class_name, strlen(class_name)));
	crew_described(hands.core, w, id, signature, NULL);
	json_decref(signature);
}

static void hands_cancel(void *room, struct worker *w, const struct uuid *job, const char *reason)
{
	(void)room, (void)w, (void)job, (void)reason;
}

static void hands_ack(void *room, struct worker *w, json_t *job_ids)
{
	(void)room, (void)w, (void)job_ids;
}

static void hands_on_worker(void *room, struct worker *w)
{
	(void)room, (void)w;
}

static void hands_flush(void *room)
{
	(void)room;
}

static const struct crew_ops hands_crew = { .launch = hands_launch,
	.start = hands_start,
	.cancel = hands_cancel,
	.describe = hands_describe_it,
	.ack = hands_ack,
	.drain = hands_on_worker,
	.kill = hands_on_worker,
	.forget = hands_on_worker,
	.flush = hands_flush };

/* The loop turns once, and who was launched says hello. */
static void hands_turn(uv_loop_t *loop)
{
	uv_run(loop, UV_RUN_NOWAIT);
	works_deliver();
	while (hands.n_launched) {
		struct worker *w = hands.launched[--hands.n_launched];
		json_t *forget = NULL, *hello = json_pack("{s:i, s:i, s:[]}", "protocol", 1,
					       "capacity", 9, "resumes");
		crew_hello(hands.core, w, hello, &forget);
		crew_settled(hands.core, w);
		json_decref(forget);
		json_decref(hello);
	}
}
