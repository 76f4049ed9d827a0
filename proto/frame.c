/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a frame against the book.
 *
 * frames.json says which frames there are; frames.py makes it a table of rows at build time
 * (frame_table.h). Here a message becomes JSON, its type is looked up, and each member the row
 * names is compared with its kind. Members the row does not name are left alone, so that a newer
 * peer may say more.
 *
 * What a frame means, and whether it may come now, is decided by whoever asked.
 *
 * A gateway only hands a result on, and it may be large: frame_read checks the message as text,
 * finds its members, and builds those that somebody looks at. */
#include "frame.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/json_scan.h"
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

/* is_any_apart: members of any kind were looked for already. */
static int check_members(
	const json_t *frame, const struct frame_row *row, bool is_any_apart, struct fault *f)
{
	for (const struct frame_member *m = row->members; m->name; m++) {
		const json_t *value = json_object_get(frame, m->name);
		if (!value && (m->optional || (is_any_apart && m->kind == KIND_ANY)))
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

/* The row of a frame of that type that the sender may send; NULL with the fault set. */
static const struct frame_row *row_of(
	const char *name, size_t len, enum frame_from from, enum frame_type *ret, struct fault *f)
{
	int type = frame_type_find(name, len);
	if (type < 0) {
		fault_set(f, FAULT_BAD_REQUEST, "unknown frame type \"%.*s\"",
			len > 64 ? 64 : (int)len, name);
		return NULL;
	}
	const struct frame_row *row = &frame_table[type];
	if (!(row->from & BIT(from))) {
		fault_set(f, FAULT_BAD_REQUEST, "a %s may not send \"%s\"",
			from == FRAME_FROM_WORKER ? "worker" : "gateway", row->name);
		return NULL;
	}
	*ret = (enum frame_type)type;
	return row;
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
	enum frame_type type;
	const struct frame_row *row =
		row_of(json_string_value(name), json_string_length(name), from, &type, f);
	if (!row)
		return -EINVAL;
	int r = check_members(frame, row, false, f);
	if (r)
		return r;
	*ret_type = type;
	*ret = TAKE_PTR(frame);
	return 0;
}

struct member_text {
	struct json_span name, value;
	size_t n_values;
};

/* The members of a message, as they stand in it. */
struct member_texts {
	size_t n, room;
	struct member_text *v;
};

static int note_member(
	void *arg, struct json_span name, struct json_span value, size_t n_values, struct fault *f)
{
	struct member_texts *t = arg;
	(void)f;
	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 8;
		t->v = xrealloc(t->v, t->room * sizeof *t->v);
	}
	t->v[t->n++] = (struct member_text){ name, value, n_values };
	return 0;
}

static const struct member_text *member_find(const struct member_texts *t, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].name.len == len && memcmp(t->v[i].name.text, name, len) == 0)
			return &t->v[i];
	return NULL;
}

/* As json_kind has it. */
static const char *kind_of_text(const struct json_span *value)
{
	switch (value->text[0]) {
	case '{':
		return "an object";
	case '[':
		return "an array";
	case '"':
		return "a string";
	case 't':
	case 'f':
		return "a boolean";
	case 'n':
		return "null";
	default:
		return memchr(value->text, '.', value->len) ||
				       memchr(value->text, 'e', value->len) ||
				       memchr(value->text, 'E', value->len)
			       ? "a real number"
			       : "an integer";
	}
}

/* The value of a text that was checked. */
static json_t *value_of(const struct json_span *text)
{
	if (text->text[0] == '"' && !memchr(text->text, '\\', text->len))
		return json_stringn_nocheck(text->text + 1, text->len - 2);
	return json_loadb(text->text, text->len, JSON_DECODE_ANY, NULL);
}

static int build_members(const struct member_texts *t, const struct frame_row *row,
	struct frame *ret, struct fault *f)
{
	size_t n_values = 0;
	for (const struct frame_member *m = row->members; m->name; m++) {
		const struct member_text *found = member_find(t, m->name);
		if (found && m->kind == KIND_ANY) {
			ret->any = found->value.text;
			ret->any_len = found->value.len;
			continue;
		}
		if (!found && m->kind == KIND_ANY && !m->optional)
			return fault_set(f, FAULT_BAD_REQUEST,
				"frame %s: member %s: expected a value, got nothing", row->name,
				m->name);
		if (!found)
			continue;
		n_values += found->n_values;
		if (n_values > FRAME_VALUES_MAX)
			return fault_set(f, FAULT_BAD_REQUEST,
				"frame %s: member %s: more than %d values in one frame", row->name,
				m->name, FRAME_VALUES_MAX);
		json_t *value = value_of(&found->value);
		if (!value)
			return fault_set(f, FAULT_BAD_REQUEST,
				"frame %s: member %s: it cannot be read", row->name, m->name);
		json_object_set_new_nocheck(ret->members, m->name, value);
	}
	return 0;
}

static int read_members(
	const struct member_texts *t, enum frame_from from, struct frame *ret, struct fault *f)
{
	const struct member_text *type = member_find(t, "type");
	if (!type || type->value.text[0] != '"')
		return fault_set(f, FAULT_BAD_REQUEST,
			"frame: member type: expected a string, got %s",
			type ? kind_of_text(&type->value) : "nothing");
	const struct frame_row *row =
		row_of(type->value.text + 1, type->value.len - 2, from, &ret->type, f);
	int r = row ? build_members(t, row, ret, f) : -EINVAL;
	return r < 0 ? r : check_members(ret->members, row, true, f);
}

int frame_read(
	const char *text, size_t len, enum frame_from from, struct frame *ret, struct fault *f)
{
	struct member_texts t = { 0 };
	*ret = (struct frame){ .members = json_object() };
	int r = json_scan(text, len, FRAME_DEPTH_MAX, note_member, &t, f);
	if (r < 0) {
		r = fault_prefix(f, "frame");
	} else {
		struct json_span whole = { text + strspn(text, " \t\r\n"), len };
		r = whole.text[0] == '{'
			    ? read_members(&t, from, ret, f)
			    : fault_set(f, FAULT_BAD_REQUEST, "a frame is an object, not %s",
				      kind_of_text(&whole));
	}
	free(t.v);
	if (r < 0)
		frame_done(ret);
	return r;
}

void frame_done(struct frame *frame)
{
	json_decref(frame->members);
	*frame = (struct frame){ 0 };
}
