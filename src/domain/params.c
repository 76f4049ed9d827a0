/* SPDX-License-Identifier: Apache-2.0 */
/* Mist's type tree and the check of arguments against it.
 *
 * The words of the refusals are Mist's: `Invalid field <name>: Invalid type: expected <T>, got
 * <value>`, several of them inside `Errors[…]`. A type prints as Int, Double, String, Boolean, Any,
 * List[T], Option[T], Map[K, V], Object {a=T,b=T}. No state; any thread. Trees come from workers,
 * so their depth is bounded here; arguments were bounded when they were parsed.
 *
 * The check runs on the core's thread, and everybody waits for it. Where each value is tried with
 * several types or words it is counted, and refused beyond STEPS_MAX, some 20 ms; a long list of
 * plain values, the usual large argument, is looked at without looking into its type each time. */
#include "domain/params.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/ignored.h"
#include "base/near.h"
#include "domain/arg_format.h"

enum {
	TYPE_DEPTH_MAX = 32,
	SHOWN_MAX = 120,
	PROBLEMS_MAX = 8,
	PROBLEM_BYTES = 600, /* of a place, and of what is wrong there */
	STEPS_MAX = 200000,
	WORDS_A_STEP = 16, /* of an enum, or plain values of a list */
	NESTED_MAX = 256
};

static const char *type_name(const json_t *type)
{
	const char *name = json_string_of(type, "type");
	return name ? name : "";
}

static const json_t *type_arg(const json_t *type, size_t i)
{
	return json_array_get(json_object_get(type, "args"), i);
}

static const struct arg_format *type_format(const json_t *type)
{
	return arg_format_find(json_string_of(type, "format"));
}

static bool type_is_good(const json_t *type, unsigned depth);

/* `member` is absent or a list, of types if it is one of the two that have such. */
static bool list_is_good(const json_t *type, const char *member, bool of_types, unsigned depth)
{
	const json_t *list = json_object_get(type, member);
	if (list && !json_is_array(list))
		return false;
	for (size_t i = 0; of_types && i < json_array_size(list); i++)
		if (!type_is_good(json_array_get(list, i), depth + 1))
			return false;
	return true;
}

static bool type_is_good(const json_t *type, unsigned depth)
{
	static const char *const plain[] = { "MInt", "MDouble", "MString", "MBoolean", "MAny" };
	const char *name = type_name(type);
	if (depth > TYPE_DEPTH_MAX || !list_is_good(type, "enum", false, depth) ||
		!list_is_good(type, "anyOf", true, depth) ||
		!list_is_good(type, "items", true, depth))
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

static void print_type(const json_t *type, struct buf *out);

static void print_types(const json_t *types, const char *between, struct buf *out)
{
	for (size_t i = 0; i < json_array_size(types); i++) {
		buf_puts(out, i ? between : "");
		print_type(json_array_get(types, i), out);
	}
}

static void print_enum(const json_t *values, struct buf *out)
{
	size_t start = out->len;
	buf_puts(out, json_array_size(values) > 1 ? "one of " : "");
	for (size_t i = 0; i < json_array_size(values); i++) {
		_cleanup_(freep) char *text =
			json_dumps(json_array_get(values, i), JSON_ENCODE_ANY | JSON_COMPACT);
		if (out->len - start > SHOWN_MAX) {
			buf_puts(out, ", …");
			return;
		}
		buf_printf(out, "%s%.*s", i ? ", " : "", SHOWN_MAX, text ? text : "?");
	}
}

static void print_fields(const json_t *fields, struct buf *out)
{
	const char *key, *comma = "";
	json_t *field;
	buf_puts(out, "Object {");
	json_object_foreach ((json_t *)fields, key, field) {
		buf_printf(out, "%s%s=", comma, key);
		print_type(field, out);
		comma = ",";
	}
	buf_puts(out, "}");
}

static void print_type(const json_t *type, struct buf *out)
{
	const char *name = type_name(type);
	const struct arg_format *format = type_format(type);
	const json_t *items = json_object_get(type, "items"),
		     *any_of = json_object_get(type, "anyOf");
	if (json_object_get(type, "enum")) {
		print_enum(json_object_get(type, "enum"), out);
	} else if (any_of) {
		print_types(any_of, " or ", out);
	} else if (items) {
		buf_puts(out, "List[");
		print_types(items, ", ", out);
		buf_puts(out, "]");
	} else if (strcmp(name, "MList") == 0 || strcmp(name, "MOption") == 0) {
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
		print_fields(json_object_get(type, "fields"), out);
	} else {
		buf_puts(out, name[0] ? name + 1 : "Any");
	}
	if (format)
		buf_printf(out, " (%s)", format->shown);
}

/* Where a value stands: a chain on the stack, put into words only when there is something to
 * complain of. */
struct place {
	const struct place *up; /* NULL: an argument */
	const char *key;        /* NULL: an item of a list */
	size_t index;
	const json_t *object; /* the MObj that the key is a field of, or NULL */
};

struct check {
	struct buf out;
	json_t *errors; /* the same, a list; NULL: nobody asks for it */
	unsigned problems, problems_max;
	unsigned *steps;   /* left for what is tried more than once with each value; 0: too many */
	unsigned n_nested; /* alternatives within alternatives: a type may mean itself by `again` */
	bool is_silent;    /* only whether there are problems is asked */
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

/* "Invalid field a.b: " and what is wrong with it. */
static void complain_of(struct check *c, const struct place *at, const struct buf *wrong)
{
	struct buf name;
	const char *text = wrong->data ? wrong->data : "";
	buf_init(&name, PROBLEM_BYTES);
	print_place(at, &name);
	buf_printf(&c->out, "%sInvalid field %s: %s", c->problems ? "," : "",
		name.data ? name.data : "", text);
	if (c->errors)
		json_array_append_new(
			c->errors, json_pack("{s:s, s:o, s:o}", "kind", "argument", "name",
					   json_string_lossy(name.data ? name.data : ""), "error",
					   json_string_lossy(text)));
	buf_done(&name);
	c->problems++;
}

/* The beginning of a value as JSON; however long it is. */
struct shown {
	char text[SHOWN_MAX + 1];
	size_t len;
	bool is_cut;
};

static int show_part(const char *bytes, size_t n, void *data)
{
	struct shown *s = data;
	size_t room = SHOWN_MAX - s->len;
	s->is_cut |= n > room;
	memcpy(s->text + s->len, bytes, n > room ? room : n);
	s->len += n > room ? room : n;
	return s->is_cut ? -1 : 0;
}

static void complain(
	struct check *c, const struct place *at, const json_t *type, const json_t *value)
{
	if (c->is_silent) {
		c->problems++;
		return;
	}
	struct shown shown = { 0 };
	if (value)
		(void)json_dump_callback(value, show_part, &shown, JSON_ENCODE_ANY | JSON_COMPACT);
	struct buf wrong;
	buf_init(&wrong, PROBLEM_BYTES);
	buf_puts(&wrong, "Invalid type: expected ");
	print_type(type, &wrong);
	buf_printf(&wrong, ", got %s%s", value ? shown.text : "nothing", shown.is_cut ? "…" : "");
	complain_of(c, at, &wrong);
	buf_done(&wrong);
}

static void complain_of_unknown(struct check *c, const struct place *at, const json_t *fields)
{
	const char *key;
	json_t *field;
	struct near n;
	char hint[NEAR_HINT];
	struct buf wrong;
	if (c->is_silent) {
		c->problems++;
		return;
	}
	near_init(&n, at->key);
	json_object_foreach ((json_t *)fields, key, field)
		near_try(&n, key);
	buf_init(&wrong, PROBLEM_BYTES);
	buf_printf(&wrong, "there is no such %s%s", at->up ? "field" : "argument",
		near_hint(&n, hint));
	complain_of(c, at, &wrong);
	buf_done(&wrong);
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
	return strcmp(type, "MAny") == 0; /* not MList, MMap, MObj: the value is none */
}

static bool matches_format(const struct arg_format *format, const json_t *value)
{
	if (json_is_number(value))
		return fabs(json_number_value(value)) < format->number_max;
	return json_is_string(value) && format->matches(json_string_value(value));
}

static bool is_same(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b) && json_is_integer(a) != json_is_integer(b))
		return json_number_value(a) == json_number_value(b);
	return json_equal(a, b);
}

/* False: there are none left. */
static bool take_steps(struct check *c, size_t n)
{
	*c->steps = n < *c->steps ? *c->steps - (unsigned)n : 0;
	c->problems += !*c->steps;
	return *c->steps;
}

static bool is_in(struct check *c, const json_t *values, const json_t *value)
{
	if (!take_steps(c, json_array_size(values) / WORDS_A_STEP))
		return false;
	for (size_t i = 0; i < json_array_size(values); i++)
		if (is_same(json_array_get(values, i), value))
			return true;
	return false;
}

static void check_value(
	struct check *c, const struct place *at, const json_t *type, const json_t *value);

/* `object` is the MObj, NULL: the arguments of the function. */
static void check_members(struct check *c, const struct place *up, const json_t *object,
	const json_t *fields, const json_t *value)
{
	const char *key;
	json_t *field;
	json_object_foreach ((json_t *)fields, key, field)
		check_value(c, &(struct place){ .up = up, .key = key, .object = object }, field,
			json_object_get(value, key));
}

static void check_no_others(
	struct check *c, const struct place *up, const json_t *fields, const json_t *value)
{
	const char *key;
	json_t *item;
	json_object_foreach ((json_t *)value, key, item)
		if (!json_object_get(fields, key) && c->problems < c->problems_max)
			complain_of_unknown(c, &(struct place){ .up = up, .key = key }, fields);
}

/* How many items at its beginning are of a type that says nothing but one of the plain names. */
static size_t count_plain(struct check *c, const json_t *type, const json_t *list)
{
	size_t n = json_array_size(list), i = 0;
	if (json_object_size(type) != 1 || (c->is_silent && !take_steps(c, n / WORDS_A_STEP)))
		return 0;
	const char *name = type_name(type);
	bool is_any = strcmp(name, "MAny") == 0;
	while (i < n && (is_any || matches_plain(name, json_array_get(list, i))))
		i++;
	return i;
}

static void check_list(
	struct check *c, const struct place *at, const json_t *type, const json_t *list)
{
	const json_t *items = json_object_get(type, "items");
	struct place here = { .up = at };
	if (items && json_array_size(items) != json_array_size(list)) {
		complain(c, at, type, list);
		return;
	}
	if (!items)
		here.index = count_plain(c, type_arg(type, 0), list);
	for (; here.index < json_array_size(list) && c->problems < c->problems_max; here.index++)
		check_value(c, &here, items ? json_array_get(items, here.index) : type_arg(type, 0),
			json_array_get(list, here.index));
}

static void check_map(
	struct check *c, const struct place *at, const json_t *type, const json_t *map)
{
	const json_t *of_key = type_arg(type, 0);
	bool is_any_text = json_object_size(of_key) == 1; /* its type alone */
	const char *key;
	json_t *item;
	json_object_foreach ((json_t *)map, key, item) {
		struct place here = { .up = at, .key = key };
		if (!is_any_text) {
			_cleanup_(json_decrefp) json_t *text = json_string(key);
			check_value(c, &here, of_key, text);
		}
		check_value(c, &here, type_arg(type, 1), item);
	}
}

static bool matches(
	struct check *c, const struct place *at, const json_t *type, const json_t *value)
{
	struct check silent = {
		.is_silent = true, .problems_max = 1, .steps = c->steps, .n_nested = c->n_nested + 1
	};
	if (silent.n_nested > NESTED_MAX)
		return false;
	check_value(&silent, at, type, value);
	return !silent.problems;
}

/* What is said beside the type, of a value that is there. */
static bool matches_more(
	struct check *c, const struct place *at, const json_t *type, const json_t *value)
{
	const json_t *values = json_object_get(type, "enum"),
		     *any_of = json_object_get(type, "anyOf");
	const struct arg_format *format = type_format(type);
	bool is_one = !any_of;
	for (size_t i = 0; !is_one && i < json_array_size(any_of); i++)
		is_one = matches(c, at, json_array_get(any_of, i), value);
	return is_one && (!values || is_in(c, values, value)) &&
	       (!format || matches_format(format, value));
}

/* The MObj that `again` means; NULL: there is none. */
static const json_t *type_again(const struct place *at, const json_t *type)
{
	const json_t *again = json_object_get(type, "again");
	json_int_t n = json_integer_value(again);
	if (!json_is_integer(again) || n < 0)
		return NULL;
	for (; at; at = at->up)
		if (at->object && n-- == 0)
			return at->object;
	return NULL;
}

static bool has_more(const json_t *type)
{
	return json_object_get(type, "enum") || json_object_get(type, "anyOf") ||
	       json_object_get(type, "format");
}

static void check_value(
	struct check *c, const struct place *at, const json_t *type, const json_t *value)
{
	const json_t *again = type_again(at, type);
	type = again ? again : type;
	const char *name = type_name(type);
	if (c->problems >= c->problems_max)
		return;
	if (!*c->steps || (c->is_silent && !take_steps(c, 1)))
		return;
	if (json_is_null(value))
		value = NULL;
	if (strcmp(name, "MOption") == 0) {
		if (value)
			check_value(c, at, type_arg(type, 0), value);
	} else if (!value && strcmp(name, "MAny") == 0 && !has_more(type)) {
		return;
	} else if (!value || !matches_more(c, at, type, value)) {
		complain(c, at, type, value);
	} else if (strcmp(name, "MList") == 0 && json_is_array(value)) {
		check_list(c, at, type, value);
	} else if (strcmp(name, "MMap") == 0 && json_is_object(value)) {
		check_map(c, at, type, value);
	} else if (strcmp(name, "MObj") == 0 && json_is_object(value)) {
		check_members(c, at, type, json_object_get(type, "fields"), value);
		if (json_is_true(json_object_get(type, "closed")))
			check_no_others(c, at, json_object_get(type, "fields"), value);
	} else if (!matches_plain(name, value)) {
		complain(c, at, type, value);
	}
}

int params_check(const json_t *execute, const json_t *arguments, enum unknown_arguments unknown,
	char **ignored, json_t *errors, struct fault *f)
{
	unsigned steps = STEPS_MAX;
	struct check c = { .errors = errors, .problems_max = PROBLEMS_MAX, .steps = &steps };
	const char *key;
	json_t *value;
	if (!json_is_object(arguments))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the arguments must be a JSON object, not %s", json_kind(arguments));
	buf_init(&c.out, 2 * PROBLEMS_MAX * PROBLEM_BYTES); /* the fault cuts it */
	check_members(&c, NULL, NULL, execute, arguments);
	if (unknown == UNKNOWN_REFUSE)
		check_no_others(&c, NULL, execute, arguments);
	int r = 0;
	if (!steps)
		r = fault_set(f, FAULT_BAD_REQUEST,
			"the arguments have too many values of types that have alternatives "
			"(unions, enums): at most about %d may be tried in one request",
			STEPS_MAX);
	else if (c.problems)
		r = fault_set(f, FAULT_BAD_REQUEST, c.problems > 1 ? "Errors[%s]" : "%s",
			c.out.data ? c.out.data : "");
	if (!steps && errors)
		json_array_clear(errors);
	buf_done(&c.out);
	if (r < 0 || unknown != UNKNOWN_IGNORE)
		return r;
	json_object_foreach ((json_t *)arguments, key, value)
		if (!json_object_get(execute, key))
			ignored_add(ignored, key);
	return 0;
}
