/* SPDX-License-Identifier: Apache-2.0 */
/* Mist's type tree and the check of arguments against it.
 *
 * The words of the refusals are Mist's: `Invalid field <name>: Invalid type: expected <T>, got
 * <value>`, several of them inside `Errors[…]`. A type prints as Int, Double, String, Boolean, Any,
 * List[T], Option[T], Map[K, V], Object {a=T,b=T}. No state; any thread. Trees come from workers,
 * so their depth is bounded here; arguments were bounded when they were parsed. */
#include "domain/params.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"

enum { TYPE_DEPTH_MAX = 32, SHOWN_MAX = 120, PROBLEMS_MAX = 8 };

static const char *type_name(const json_t *type)
{
	const char *name = json_string_of(type, "type");
	return name ? name : "";
}

static const json_t *type_arg(const json_t *type, size_t i)
{
	return json_array_get(json_object_get(type, "args"), i);
}

static bool type_is_good(const json_t *type, unsigned depth)
{
	static const char *const plain[] = { "MInt", "MDouble", "MString", "MBoolean", "MAny" };
	const char *name = type_name(type);
	if (depth > TYPE_DEPTH_MAX)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		if (strcmp(name, plain[i]) == 0)
			return true;
	if (strcmp(name, "MList") == 0 || strcmp(name, "MOption") == 0)
		return type_is_good(type_arg(type, 0), depth + 1);
	if (strcmp(name, "MMap") == 0)
		return type_is_good(type_arg(type, 0), depth + 1) &&
		       type_is_good(type_arg(type, 1), depth + 1);
	if (strcmp(name, "MObj") != 0 || !json_is_object(json_object_get(type, "fields")))
		return false;
	const char *key;
	json_t *field;
	json_object_foreach (json_object_get(type, "fields"), key, field)
		if (!type_is_good(field, depth + 1))
			return false;
	return true;
}

int params_check_types(const json_t *execute, struct fault *f)
{
	const char *key;
	json_t *type;
	if (!json_is_object(execute))
		return fault_set(f, FAULT_BAD_REQUEST, "execute must be an object, not %s",
			json_kind(execute));
	json_object_foreach ((json_t *)execute, key, type)
		if (!type_is_good(type, 0))
			return fault_set(f, FAULT_BAD_REQUEST,
				"the type of argument %s is not one of Mist's", key);
	return 0;
}

static void print_type(const json_t *type, struct buf *out)
{
	const char *name = type_name(type), *key, *comma = "";
	json_t *field;
	if (strcmp(name, "MList") == 0 || strcmp(name, "MOption") == 0) {
		buf_printf(out, "%s[", name + 1);
		print_type(type_arg(type, 0), out);
		buf_puts(out, "]");
	} else if (strcmp(name, "MMap") == 0) {
		buf_puts(out, "Map[");
		print_type(type_arg(type, 0), out);
		buf_puts(out, ", ");
		print_type(type_arg(type, 1), out);
		buf_puts(out, "]");
	} else if (strcmp(name, "MObj") == 0) {
		buf_puts(out, "Object {");
		json_object_foreach (json_object_get(type, "fields"), key, field) {
			buf_printf(out, "%s%s=", comma, key);
			print_type(field, out);
			comma = ",";
		}
		buf_puts(out, "}");
	} else {
		buf_puts(out, name[0] ? name + 1 : "Any");
	}
}

/* Where a value stands: a chain on the stack, put into words only when there is something to
 * complain of. */
struct place {
	const struct place *up; /* NULL: an argument */
	const char *key;        /* NULL: an item of a list */
	size_t index;
};

struct check {
	struct buf out;
	unsigned problems;
};

static void print_place(const struct place *at, struct buf *out)
{
	if (at->up)
		print_place(at->up, out);
	if (at->key)
		buf_printf(out, "%s%.*s", at->up ? "." : "", SHOWN_MAX, at->key);
	else
		buf_printf(out, "[%zu]", at->index);
}

static void complain(
	struct check *c, const struct place *at, const json_t *type, const json_t *value)
{
	_cleanup_(freep) char *shown =
		value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	const char *text = shown ? shown : "nothing";
	bool is_long = strlen(text) > SHOWN_MAX;
	buf_printf(&c->out, "%sInvalid field ", c->problems++ ? "," : "");
	print_place(at, &c->out);
	buf_puts(&c->out, ": Invalid type: expected ");
	print_type(type, &c->out);
	buf_printf(&c->out, ", got %.*s%s", SHOWN_MAX, text, is_long ? "…" : "");
}

static bool is_whole(const json_t *value)
{
	if (json_is_integer(value))
		return true;
	double d = json_real_value(value);
	return json_is_real(value) && d == floor(d) && fabs(d) < 9007199254740992.0;
}

static bool matches_plain(const char *type, const json_t *value)
{
	if (strcmp(type, "MInt") == 0)
		return is_whole(value);
	if (strcmp(type, "MDouble") == 0)
		return json_is_number(value);
	if (strcmp(type, "MString") == 0)
		return json_is_string(value);
	if (strcmp(type, "MBoolean") == 0)
		return json_is_boolean(value);
	return false; /* MList, MMap, MObj of what is none */
}

static void check_value(
	struct check *c, const struct place *at, const json_t *type, const json_t *value);

static void check_members(
	struct check *c, const struct place *up, const json_t *fields, const json_t *value)
{
	const char *key;
	json_t *field;
	json_object_foreach ((json_t *)fields, key, field)
		check_value(c, &(struct place){ .up = up, .key = key }, field,
			json_object_get(value, key));
}

static void check_list(
	struct check *c, const struct place *at, const json_t *type, const json_t *list)
{
	struct place here = { .up = at };
	for (; here.index < json_array_size(list); here.index++)
		check_value(c, &here, type, json_array_get(list, here.index));
}

static void check_map(
	struct check *c, const struct place *at, const json_t *type, const json_t *map)
{
	const char *key;
	json_t *item;
	json_object_foreach ((json_t *)map, key, item)
		check_value(c, &(struct place){ .up = at, .key = key }, type, item);
}

static void check_value(
	struct check *c, const struct place *at, const json_t *type, const json_t *value)
{
	const char *name = type_name(type);
	if (c->problems == PROBLEMS_MAX)
		return;
	if (json_is_null(value))
		value = NULL;
	if (strcmp(name, "MOption") == 0) {
		if (value)
			check_value(c, at, type_arg(type, 0), value);
	} else if (strcmp(name, "MAny") == 0) {
		return;
	} else if (strcmp(name, "MList") == 0 && json_is_array(value)) {
		check_list(c, at, type_arg(type, 0), value);
	} else if (strcmp(name, "MMap") == 0 && json_is_object(value)) {
		check_map(c, at, type_arg(type, 1), value);
	} else if (strcmp(name, "MObj") == 0 && json_is_object(value)) {
		check_members(c, at, json_object_get(type, "fields"), value);
	} else if (!value || !matches_plain(name, value)) {
		complain(c, at, type, value);
	}
}

int params_check(const json_t *execute, const json_t *arguments, struct fault *f)
{
	struct check c = { 0 };
	if (!json_is_object(arguments))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the arguments must be a JSON object, not %s", json_kind(arguments));
	buf_init(&c.out, sizeof f->text);
	check_members(&c, NULL, execute, arguments);
	int r = 0;
	if (c.problems)
		r = fault_set(f, FAULT_BAD_REQUEST, c.problems > 1 ? "Errors[%s]" : "%s",
			c.out.data ? c.out.data : "");
	buf_done(&c.out);
	return r;
}
