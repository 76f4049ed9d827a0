/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of the worker protocol (proto/README.md), checked against the table generated from
 * frames.json. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/fault.h"

enum { FRAME_PROTOCOL = 1, FRAME_DEPTH_MAX = 512, FRAME_VALUES_MAX = 200000 };

/* Generated: FRAME_HELLO, FRAME_STARTED, … in the order of frames.json, _FRAME_MAX. */
#include "frame_types.h"

enum frame_from { FRAME_FROM_WORKER, FRAME_FROM_GATEWAY };

/* Parses one message of that sender. *ret is a new reference to the object, *ret_type its type. The
 * fault is the sentence for the `error` frame. 0 or negative. Any thread. */
int frame_parse(const char *text, size_t len, enum frame_from from, enum frame_type *ret_type,
	json_t **ret, struct fault *f);

/* A message that was read without its member of the kind `any`, a result, being built. */
struct frame {
	enum frame_type type;
	json_t *members; /* the others that the type has; a new reference */
	const char *any; /* text of that one, borrowed from the message; NULL: it has none */
	size_t any_len;
};

/* The same, for messages that may be large: takes their bytes and little more, whatever they hold.
 * At most FRAME_VALUES_MAX values may be in the other members. Members that the type does not have
 * are checked as JSON and left out. 0 or negative. Any thread. */
int frame_read(
	const char *text, size_t len, enum frame_from from, struct frame *ret, struct fault *f);
void frame_done(struct frame *frame);

const char *frame_type_name(enum frame_type type);
