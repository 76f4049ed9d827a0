/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a frame against the book.
 *
 * frames.json says which frames there are; frames.py makes it a table of rows at build time
 * (frame_table.h). Here a message becomes JSON, its type is looked up, and each member the row
 * names is compared with its kind. Members the row does not name are left alone, so that a newer
 * peer may say more.
 *
 * This runs for every frame in both directions of a job, on the core's thread: there is no
 * allocation here beside the JSON value itself. What a frame means, and whether it may come now, is
 * decided by whoever asked. */
#include "frame.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "frame_table.h"

static const char *const kind_names[] = {
	[KIND_STRING] = "a string",
	[KIND_INTEGER] = "an integer",
	[KIND_NUMBER] = "a number",
	[KIND_BOOLEAN] = "a boolean",
	[KIND_OBJECT] = "an object",
	[KIND_ANY] = "a value",
	[KIND_STRINGS] = "a list of strings",
	[KIND_OBJECTS] = "a list of objects",
};
_Static_assert(ARRAY_SIZE(kind_names) == _KIND_MAX, "every kind has a name");

const char *frame_type_name(enum frame_type type)
{
	must((unsigned)type < _FRAME_MAX);
	return frame_table[type].name;
}

static bool is_kind(const json_t *value, enum frame_kind kind)
{
	switch (kind) {
	case KIND_STRING:
		return json_is_string(value);
	case KIND_INTEGER:
		return json_is_integer(value);
	case KIND_NUMBER:
		return json_is_number(value);
	case KIND_BOOLEAN:
		return json_is_boolean(value);
	case KIND_OBJECT:
		return json_is_object(value);
	case KIND_ANY:
		return value != NULL;
	case KIND_STRINGS:
	case KIND_OBJECTS:
		return json_is_array(value);
	case _KIND_MAX:
		break;
	}
	return false;
}

static int check_items(const json_t *list, const struct frame_row *row,
	const struct frame_member *m, struct fault *f)
{
	enum frame_kind kind = m->kind == KIND_STRINGS ? KIND_STRING : KIND_OBJECT;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		if (!is_kind(item, kind))
			return fault_set(f, FAULT_BAD_REQUEST,
				"frame %s: member %s[%zu]: expected %s, got %s", row->name, m->name,
				i, kind_names[kind], json_kind(item));
	}
	return 0;
}

static int check_members(const json_t *frame, const struct frame_row *row, struct fault *f)
{
	for (const struct frame_member *m = row->members; m->name; m++) {
		const json_t *value = json_object_get(frame, m->name);
		if (!value && m->optional)
			continue;
		if (!is_kind(value, m->kind))
			return fault_set(f, FAULT_BAD_REQUEST,
				"frame %s: member %s: expected %s, got %s", row->name, m->name,
				kind_names[m->kind], json_kind(value));
		if (m->kind == KIND_STRINGS || m->kind == KIND_OBJECTS) {
			int r = check_items(value, row, m, f);
			if (r)
				return r;
		}
	}
	return 0;
}

int frame_parse(const char *text, size_t len, enum frame_from from, enum frame_type *ret_type,
	json_t **ret, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *frame = json_parse(text, len, FRAME_DEPTH_MAX, f);
	if (!frame)
		return fault_prefix(f, "frame");
	if (!json_is_object(frame))
		return fault_set(
			f, FAULT_BAD_REQUEST, "a frame is an object, not %s", json_kind(frame));
	const json_t *name = json_object_get(frame, "type");
	if (!json_is_string(name))
		return fault_set(f, FAULT_BAD_REQUEST,
			"frame: member type: expected a string, got %s", json_kind(name));
	int type = frame_type_find(json_string_value(name), json_string_length(name));
	if (type < 0)
		return fault_set(f, FAULT_BAD_REQUEST, "unknown frame type \"%.64s\"",
			json_string_value(name));
	const struct frame_row *row = &frame_table[type];
	if (!(row->from & BIT(from)))
		return fault_set(f, FAULT_BAD_REQUEST, "a %s may not send \"%s\"",
			from == FRAME_FROM_WORKER ? "worker" : "gateway", row->name);
	int r = check_members(frame, row, f);
	if (r)
		return r;
	*ret_type = (enum frame_type)type;
	*ret = TAKE_PTR(frame);
	return 0;
}
