/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign JSON, checked before and while jansson reads it.
 *
 * jansson recurses once for each level of nesting, and so does everything we later do with the
 * value, so the depth is counted in one pass over the bytes before it is called: brackets outside
 * of strings, which is never less than the true depth of the text up to its first mistake. Then
 * every refusal is made a sentence of our own with line and column. A name twice in one object is
 * refused, since two readers would believe two different values; \u0000 is refused, since texts are
 * C strings further on. Any thread. */
#include "base/json.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!memchr(" \t\r\n", text[i], 4))
			return false;
	return true;
}

static bool is_deeper(const char *text, size_t len, unsigned max_depth)
{
	unsigned depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max_depth)
				return true;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return false;
}

static int refuse(struct fault *f, const json_error_t *e)
{
	const char *what = NULL, *near;
	switch (json_error_code(e)) {
	case json_error_duplicate_key:
		near = strstr(e->text, " near ");
		return fault_set(f, FAULT_BAD_REQUEST,
			"a name stands twice in one object%s, at line %d column %d",
			near ? near : "", e->line, e->column);
	case json_error_invalid_utf8:
		what = "not UTF-8";
		break;
	case json_error_end_of_input_expected:
		what = "more bytes after the end of the JSON text";
		break;
	case json_error_null_character:
	case json_error_null_byte_in_key:
		what = "\\u0000 is not accepted in a string";
		break;
	case json_error_numeric_overflow:
		what = "a number is too large";
		break;
	default:
		return fault_set(f, FAULT_BAD_REQUEST, "not JSON: %s at line %d column %d", e->text,
			e->line, e->column);
	}
	return fault_set(
		f, FAULT_BAD_REQUEST, "%s, at line %d column %d", what, e->line, e->column);
}

json_t *json_parse(const char *text, size_t len, unsigned max_depth, struct fault *f)
{
	if (is_blank(text, len)) {
		fault_set(f, FAULT_BAD_REQUEST, "empty, expected a JSON text");
		return NULL;
	}
	/* jansson passes over one behind a number, and whoever takes the text for a C string
	 * afterwards has a part of it. */
	const char *nul = memchr(text, '\0', len);
	if (nul) {
		fault_set(f, FAULT_BAD_REQUEST, "not JSON: a NUL byte at byte %zu",
			(size_t)(nul - text) + 1);
		return NULL;
	}
	if (is_deeper(text, len, max_depth)) {
		fault_set(f, FAULT_BAD_REQUEST, "nested deeper than %u", max_depth);
		return NULL;
	}
	json_error_t e;
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (!value)
		refuse(f, &e);
	return value;
}

json_t *json_parse_kept(const char *text, struct fault *f)
{
	return json_parse(text, strlen(text), JSON_KEPT_DEPTH, f);
}

/* jansson 2.14 on 64 bits, with what malloc adds. */
enum {
	NUMBER_BYTES = 32,
	STRING_BYTES = 64,
	ARRAY_BYTES = 128,
	ELEMENT_BYTES = 12, /* its table doubles */
	OBJECT_BYTES = 256,
	MEMBER_BYTES = 104
};

size_t json_memory(const json_t *value)
{
	size_t n = 0, i;
	const char *name;
	json_t *part;
	if (json_is_number(value))
		return NUMBER_BYTES;
	if (json_is_string(value))
		return STRING_BYTES + json_string_length(value);
	if (json_is_array(value)) {
		n = ARRAY_BYTES + ELEMENT_BYTES * json_array_size(value);
		json_array_foreach (value, i, part)
			n += json_memory(part);
	} else if (json_is_object(value)) {
		n = OBJECT_BYTES + MEMBER_BYTES * json_object_size(value);
		json_object_foreach ((json_t *)value, name, part)
			n += strlen(name) + json_memory(part);
	}
	return n;
}

const char *json_kind(const json_t *value)
{
	if (!value)
		return "nothing";
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a real number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

char *json_text(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	must(text); /* jansson holds valid values only */
	return text;
}

char *json_text_short(const json_t *value)
{
	enum { DIGITS = 15 }; /* each number of so many is that of one double */
	_cleanup_(freep) char *text =
		json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS));
	_cleanup_(json_decrefp) json_t *again =
		text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
	return again && json_equal(again, value) ? TAKE_PTR(text) : json_text(value);
}

static json_t *stringn_lossy(const char *text, size_t len)
{
	json_t *value = json_stringn(text, len);
	if (value)
		return value;
	_cleanup_(freep) char *clean = xcalloc(1, len + 1);
	memcpy(clean, text, len);
	return json_stringn(clean, utf8_clean(clean, len));
}

json_t *json_string_lossy(const char *text)
{
	return stringn_lossy(text, strlen(text));
}

char *json_quote(const char *text, size_t len)
{
	_cleanup_(json_decrefp) json_t *value = stringn_lossy(text, len);
	return json_text(value);
}

const char *json_string_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static const char *skip_blank(const char *p, const char *end)
{
	while (p < end && memchr(" \t\r\n", *p, 4))
		p++;
	return p;
}

/* Behind the string that begins at p. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p < end ? p + 1 : end;
}

/* Behind the value that begins at p: as far as the comma or bracket that is not inside of it. */
static const char *skip_value(const char *p, const char *end)
{
	unsigned depth = 0;
	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (depth == 0 && (*p == ',' || *p == '}' || *p == ']'))
			break;
		else if (*p == '}' || *p == ']')
			depth--;
		p++;
	}
	return p;
}

const char *json_member_text(const char *text, size_t len, const char *name, size_t *ret_len)
{
	const char *end = text + len, *p = skip_blank(text, end);
	size_t name_len = strlen(name);
	while (p < end && *p != '}') {
		const char *key = p = skip_blank(p + 1, end); /* behind the bracket or the comma */
		if (p >= end || *p != '"')
			return NULL;
		p = skip_string(p, end);
		bool is_it =
			(size_t)(p - key) == name_len + 2 && memcmp(key + 1, name, name_len) == 0;
		p = skip_blank(p, end);
		const char *value = skip_blank(p + 1, end); /* behind the colon */
		p = skip_value(value, end);
		if (!is_it)
			continue;
		while (p > value && memchr(" \t\r\n", p[-1], 4))
			p--;
		*ret_len = p - value;
		return value;
	}
	return NULL;
}
