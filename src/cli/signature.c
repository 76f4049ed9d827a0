/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures for people. The gateway tells a parameter's type as Mist does, {"type": "MList",
 * "args": [{"type": "MInt"}]}; people get list[int]. */
#include "cli/signature.h"

#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"

enum { TEXT_MAX = 1 << 20, DEPTH_MAX = 16 };

static const struct {
	const char *type, *shown;
} plain_types[] = { { "MInt", "int" }, { "MDouble", "double" }, { "MString", "string" },
	{ "MBoolean", "bool" }, { "MAny", "any" }, { "MList", "list" }, { "MMap", "map" } };

static void add_type(struct buf *out, const json_t *type, unsigned depth);

static void add_members(struct buf *out, const json_t *members, unsigned depth)
{
	const char *separator = "", *name;
	json_t *type;
	json_object_foreach ((json_t *)members, name, type) {
		buf_printf(out, "%s%s: ", separator, name);
		add_type(out, type, depth);
		separator = ", ";
	}
}

static void add_args(struct buf *out, const json_t *args, unsigned depth)
{
	json_t *arg;
	size_t i;
	json_array_foreach (args, i, arg) {
		buf_puts(out, i ? ", " : "[");
		add_type(out, arg, depth);
	}
	if (json_array_size(args))
		buf_puts(out, "]");
}

static void add_type(struct buf *out, const json_t *type, unsigned depth)
{
	const char *name = json_string_of(type, "type"), *format = json_string_of(type, "format");
	const json_t *args = json_object_get(type, "args");
	if (depth == DEPTH_MAX || !name) {
		buf_puts(out, "…");
	} else if (strcmp(name, "MOption") == 0) {
		add_type(out, json_array_get(args, 0), depth + 1);
		buf_puts(out, "?");
	} else if (strcmp(name, "MObj") == 0) {
		buf_puts(out, "{");
		add_members(out, json_object_get(type, "fields"), depth + 1);
		buf_puts(out, "}");
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(plain_types); i++)
			if (strcmp(plain_types[i].type, name) == 0)
				name = plain_types[i].shown;
		buf_puts(out, format ? format : name);
		add_args(out, args, depth + 1);
	}
}

char *signature_text(const json_t *execute)
{
	struct buf out;
	buf_init(&out, TEXT_MAX);
	buf_puts(&out, "(");
	add_members(&out, execute, 0);
	buf_puts(&out, ")");
	return buf_take(&out);
}

/* Of an option, that which there may be. */
static const json_t *needed(const json_t *type)
{
	const char *name = json_string_of(type, "type");
	return name && strcmp(name, "MOption") == 0
		       ? needed(json_array_get(json_object_get(type, "args"), 0))
		       : type;
}

bool signature_takes_text(const json_t *type)
{
	const char *name = json_string_of(needed(type), "type");
	return name && strcmp(name, "MString") == 0;
}

bool signature_takes_text_only(const json_t *type)
{
	return signature_takes_text(type) && !json_object_get(needed(type), "format") &&
	       !json_object_get(needed(type), "enum");
}
