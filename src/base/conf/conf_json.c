/* SPDX-License-Identifier: Apache-2.0 */
/* The same rows, filled from a JSON object of the API: the setting "max-jobs" is the member
 * "maxJobs". Types, ranges and words for what was expected are those of the configuration file. */
#include <ctype.h>
#include <string.h>

#include "base/conf/conf_parts.h"
#include "base/json.h"

enum { NAME_MAX_BYTES = 64, EXPECTED_MAX = 160, SHOWN_MAX = 60 };

static void conf_json_name(const struct conf_field *field, char *ret, size_t size)
{
	size_t n = 0;
	for (const char *p = field->name; *p && n + 1 < size; p++) {
		if (*p == '-' && p[1])
			ret[n++] = toupper((unsigned char)*++p);
		else
			ret[n++] = *p;
	}
	ret[n] = '\0';
}

static int refuse(
	const struct conf_field *field, const char *name, const json_t *value, struct fault *f)
{
	char expected[EXPECTED_MAX], hint[NEAR_HINT] = "";
	_cleanup_(freep) char *shown = json_text(value);
	conf_expected(field, expected, sizeof expected);
	if (field->type == CONF_ENUM)
		conf_choice_hint(field, shown, hint);
	return fault_set(f, FAULT_BAD_REQUEST, "%s: expected %s, got %.*s%s", name, expected,
		SHOWN_MAX, shown, hint);
}

/* A scalar as the text that a row's default would be written in; NULL: not of the row's kind. */
static char *scalar_text(enum conf_type type, const json_t *value)
{
	bool is_number = type == CONF_INT || type == CONF_SIZE;
	if (is_number && json_is_integer(value))
		return xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (type == CONF_BOOL && json_is_boolean(value))
		return xstrdup(json_is_true(value) ? "true" : "false");
	if (!is_number && type != CONF_BOOL && json_is_string(value))
		return xstrdup(json_string_value(value));
	return NULL;
}

/* Strings, and numbers and booleans as strings. */
static json_t *map_of(const json_t *object)
{
	const char *key;
	json_t *value, *map = json_object();
	json_object_foreach ((json_t *)object, key, value) {
		if (json_is_object(value) || json_is_array(value) || json_is_null(value)) {
			json_decref(map);
			return NULL;
		}
		_cleanup_(freep) char *text = json_is_string(value)
						      ? xstrdup(json_string_value(value))
						      : json_text(value);
		json_object_set_new(map, key, json_string(text));
	}
	return map;
}

static int put_member(const struct conf_field *field, const char *name, const json_t *value,
	void *at, struct fault *f)
{
	if (field->type == CONF_MAP) {
		json_t *map = json_is_object(value) ? map_of(value) : NULL;
		*(json_t **)at = map;
		return map ? 0 : refuse(field, name, value, f);
	}
	_cleanup_(freep) char *text = scalar_text(field->type, value);
	if (!text || conf_text_value(field, text, "", at) < 0)
		return refuse(field, name, value, f);
	return 0;
}

static int put_absent(const struct conf_field *field, const char *name, const void *base, void *at,
	struct fault *f)
{
	if (base)
		conf_copy_value(field->type, at, (const char *)base + field->offset);
	else if (field->type == CONF_MAP)
		*(json_t **)at = json_object();
	else if (!field->def)
		return fault_set(f, FAULT_BAD_REQUEST, "%s: it must be given", name);
	else
		must(conf_text_value(field, field->def, "", at) == 0);
	return 0;
}

int conf_read_json(const struct conf_section *s, const json_t *object, const void *base,
	void *settings, struct fault *f)
{
	memset(settings, 0, s->size);
	for (const struct conf_field *field = s->fields; field->name; field++) {
		char name[NAME_MAX_BYTES];
		void *at = (char *)settings + field->offset;
		conf_json_name(field, name, sizeof name);
		const json_t *value = json_object_get(object, name);
		int r = value && !json_is_null(value) ? put_member(field, name, value, at, f)
						      : put_absent(field, name, base, at, f);
		if (r < 0) {
			conf_done(s->fields, settings);
			return r;
		}
	}
	return 0;
}

bool conf_json_has(const struct conf_section *s, const char *member)
{
	for (const struct conf_field *field = s->fields; field->name; field++) {
		char name[NAME_MAX_BYTES];
		conf_json_name(field, name, sizeof name);
		if (strcmp(name, member) == 0)
			return true;
	}
	return false;
}
