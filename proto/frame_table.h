/* SPDX-License-Identifier: Apache-2.0 */
/* The rows that frames.py generates from frames.json, for frame.c alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "frame.h"

enum frame_kind {
	KIND_STRING,
	KIND_INTEGER,
	KIND_NUMBER,
	KIND_BOOLEAN,
	KIND_OBJECT,
	KIND_ANY,
	KIND_STRINGS, /* a list of them */
	KIND_OBJECTS,
	_KIND_MAX
};

struct frame_member {
	const char *name; /* NULL ends the list */
	enum frame_kind kind;
	bool optional;
};

struct frame_row {
	const char *name;
	unsigned from; /* BIT(enum frame_from) of each side that may send it */
	const struct frame_member *members;
};

extern const struct frame_row frame_table[_FRAME_MAX];

int frame_type_find(const char *name, size_t len); /* an enum frame_type, or -1 */
