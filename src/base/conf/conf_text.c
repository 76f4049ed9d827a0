/* SPDX-License-Identifier: Apache-2.0 */
/* One value of a setting: read from text or from the file, copied, compared, freed, and described.
 *
 * A value comes in two forms. Text is the form of defaults, of --set and of --help-config; what
 * libconfig parsed is the form of the file, where a number need not stand in quotes. Both go
 * through the same range check, and the sentence about what would have been right (conf_expected)
 * is made of the same row that checked it, so the two cannot disagree. Texts that are not UTF-8 are
 * refused here, because settings are shown as JSON later. Values are owned by the struct they lie
 * in. Pure functions, any thread. */
#include "base/conf/conf_parts.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"

enum { NAME_MAX_LEN = 128 };

bool name_is_good(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strspn(name, allowed);
	return len > 0 && len <= NAME_MAX_LEN && name[len] == '\0' && name[0] != '.';
}

static bool has_range(const struct conf_field *field)
{
	return field->min != 0 || field->max != 0;
}

static int64_t greatest(const struct conf_field *field)
{
	return has_range(field) && field->max >= field->min ? field->max : INT64_MAX;
}

static int put_number(const struct conf_field *field, int64_t value, void *at)
{
	if (value < field->min || value > greatest(field))
		return -EINVAL;
	*(int64_t *)at = value;
	return 0;
}

size_t path_scheme_len(const char *path)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t len = strspn(path, letters);
	if (len)
		len += strspn(path + len, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789+-.");
	return len && path[len] == ':' && path[len + 1] == '/' ? len : 0;
}

/* The steps "." and ".." at the beginning of the path are taken here, so that people are not shown
 * /etc/mist/../jobs/pi.py. The folder is a real one, in which no part is a symbolic link: then ".."
 * is the one before. What stands further behind may go through links, and stays as it is. */
static char *path_from(const char *folder, const char *path)
{
	size_t len = strlen(folder);
	while (folder[0] == '/' && path[0] == '.') {
		size_t dots = path[1] == '.' ? 2 : 1;
		if (path[dots] && path[dots] != '/')
			break; /* a name */
		path += dots;
		path += strspn(path, "/");
		while (dots == 2 && len > 1 && folder[--len - 1] != '/')
			;
	}
	if (!path[0] && len > 1)
		len--;
	return xasprintf("%.*s%s", (int)len, folder, path);
}

static int put_string(
	const struct conf_field *field, const char *text, const char *folder, void *at)
{
	if (!utf8_is_valid(text, strlen(text)))
		return -EINVAL;
	if (field->type == CONF_PATH && text[0] && text[0] != '/' && !path_scheme_len(text))
		*(char **)at = path_from(folder, text);
	else
		*(char **)at = xstrdup(text);
	return 0;
}

static int put_choice(const struct conf_field *field, const char *text, void *at)
{
	for (int i = 0; field->choices[i]; i++)
		if (strcmp(field->choices[i], text) == 0) {
			*(int *)at = i;
			return 0;
		}
	return -EINVAL;
}

static int integer_parse(const char *text, int64_t *ret, const char **ret_end)
{
	char *end;
	if (!strchr("-0123456789", text[0]) || !text[0])
		return -EINVAL;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno || end == text)
		return -EINVAL;
	*ret = value;
	*ret_end = end;
	return 0;
}

static int put_integer(const struct conf_field *field, const char *text, void *at)
{
	const char *end;
	int64_t value;
	if (integer_parse(text, &value, &end) < 0 || *end)
		return -EINVAL;
	return put_number(field, value, at);
}

static const char size_units[] = "kmgt";

static int put_size(const struct conf_field *field, const char *text, void *at)
{
	const char *end;
	int64_t value;
	if (integer_parse(text, &value, &end) < 0)
		return -EINVAL;
	if (*end) {
		const char *unit = strchr(size_units, *end | 0x20);
		if (!unit || end[1])
			return -EINVAL;
		int shift = 10 * (int)(unit - size_units + 1);
		if (__builtin_mul_overflow(value, (int64_t)1 << shift, &value))
			return -EINVAL;
	}
	return put_number(field, value, at);
}

static int put_duration(const struct conf_field *field, const char *text, void *at)
{
	int64_t ms;
	return duration_parse(text, &ms) < 0 ? -EINVAL : put_number(field, ms, at);
}

int conf_text_value(const struct conf_field *field, const char *text, const char *folder, void *at)
{
	switch (field->type) {
	case CONF_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return -EINVAL;
		*(bool *)at = text[0] == 't';
		return 0;
	case CONF_INT:
		return put_integer(field, text, at);
	case CONF_SIZE:
		return put_size(field, text, at);
	case CONF_DURATION:
		return put_duration(field, text, at);
	case CONF_STR:
	case CONF_PATH:
		return put_string(field, text, folder, at);
	case CONF_ENUM:
		return put_choice(field, text, at);
	case CONF_MAP:
		break;
	}
	must(!"a map has no text");
	return -EINVAL;
}

/* A number of seconds, whole or not, as the text that duration_parse takes. */
static int put_seconds(const struct conf_field *field, const config_setting_t *value, void *at)
{
	char text[64];
	double seconds = config_setting_get_float(value);
	if (config_setting_type(value) != CONFIG_TYPE_FLOAT)
		snprintf(text, sizeof text, "%lld", config_setting_get_int64(value));
	else if (seconds >= 0 && seconds < 1e12)
		snprintf(text, sizeof text, "%.9f", seconds);
	else
		return -EINVAL;
	return put_duration(field, text, at);
}

int conf_setting_value(
	const struct conf_field *field, const config_setting_t *value, const char *folder, void *at)
{
	int type = config_setting_type(value);
	bool is_text = type == CONFIG_TYPE_STRING;
	bool is_integer = type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
	bool is_number = is_integer || type == CONFIG_TYPE_FLOAT;

	if (field->type == CONF_BOOL && type == CONFIG_TYPE_BOOL) {
		*(bool *)at = config_setting_get_bool(value);
		return 0;
	}
	if ((field->type == CONF_INT || field->type == CONF_SIZE) && is_integer)
		return put_number(field, config_setting_get_int64(value), at);
	if (field->type == CONF_DURATION && is_number)
		return put_seconds(field, value, at);
	if (is_text && field->type != CONF_BOOL && field->type != CONF_INT)
		return conf_text_value(field, config_setting_get_string(value), folder, at);
	return -EINVAL;
}

static void size_text(int64_t bytes, char *ret, size_t size)
{
	int unit = 0;
	while (bytes && bytes % 1024 == 0 && unit < (int)sizeof size_units - 1) {
		bytes /= 1024;
		unit++;
	}
	snprintf(ret, size, "%lld%.*s", (long long)bytes, unit > 0,
		unit ? &size_units[unit - 1] : "");
}

static void number_text(enum conf_type type, int64_t value, char *ret, size_t size)
{
	if (type == CONF_SIZE)
		size_text(value, ret, size);
	else if (type == CONF_DURATION && value % 1000 && value != INT64_MAX)
		snprintf(ret, size, "%lldms", (long long)value);
	else if (type == CONF_DURATION)
		duration_format(value, ret, size);
	else
		snprintf(ret, size, "%lld", (long long)value);
}

static void expected_range(const struct conf_field *field, const char *what, char *ret, size_t size)
{
	char min[32], max[32];
	number_text(field->type, field->min, min, sizeof min);
	number_text(field->type, greatest(field), max, sizeof max);
	if (!has_range(field))
		snprintf(ret, size, "%s that is not negative", what);
	else if (greatest(field) == INT64_MAX)
		snprintf(ret, size, "%s of at least %s", what, min);
	else
		snprintf(ret, size, "%s from %s to %s", what, min, max);
}

static void expected_choice(const struct conf_field *field, char *ret, size_t size)
{
	size_t used = (size_t)snprintf(ret, size, "one of");
	for (int i = 0; field->choices[i] && used < size; i++)
		used += (size_t)snprintf(
			ret + used, size - used, "%s \"%s\"", i ? "," : "", field->choices[i]);
}

void conf_expected(const struct conf_field *field, char *ret, size_t size)
{
	char what[80];
	switch (field->type) {
	case CONF_BOOL:
		snprintf(ret, size, "true or false");
		break;
	case CONF_INT:
		snprintf(what, sizeof what, field->unit ? "an integer (%s)" : "an integer%s",
			field->unit ? field->unit : "");
		expected_range(field, what, ret, size);
		break;
	case CONF_SIZE:
		expected_range(
			field, "a size (bytes, or such as \"64k\", \"8m\", \"1g\")", ret, size);
		break;
	case CONF_DURATION:
		snprintf(what, sizeof what,
			"a duration (seconds, or such as \"10s\", \"5 minutes\"%s)",
			greatest(field) == DURATION_INF ? ", \"Inf\"" : "");
		expected_range(field, what, ret, size);
		break;
	case CONF_STR:
		snprintf(ret, size, "a string");
		break;
	case CONF_PATH:
		snprintf(ret, size, "a path in quotes");
		break;
	case CONF_ENUM:
		expected_choice(field, ret, size);
		break;
	case CONF_MAP:
		snprintf(ret, size, "a group of strings, or a list of \"key=value\"");
		break;
	}
}

const char *conf_choice_hint(
	const struct conf_field *field, const char *found, char ret[static NEAR_HINT])
{
	char written[NEAR_NAME_MAX];
	snprintf(written, sizeof written, "%.*s", (int)strcspn(found + 1, "\""), found + 1);
	return near_hint_of(found[0] == '"' ? written : "", field->choices, ret);
}

static void found_text(const char *text, char *ret, size_t size)
{
	if (utf8_is_valid(text, strlen(text)))
		snprintf(ret, size, "\"%.80s\"", text);
	else
		snprintf(ret, size, "bytes that are not UTF-8");
}

void conf_found(const config_setting_t *value, char *ret, size_t size)
{
	switch (config_setting_type(value)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(ret, size, "%lld", config_setting_get_int64(value));
		break;
	case CONFIG_TYPE_FLOAT:
		snprintf(ret, size, "%.15g", config_setting_get_float(value));
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(ret, size, "%s", config_setting_get_bool(value) ? "true" : "false");
		break;
	case CONFIG_TYPE_STRING:
		found_text(config_setting_get_string(value), ret, size);
		break;
	case CONFIG_TYPE_GROUP:
		snprintf(ret, size, "a group");
		break;
	case CONFIG_TYPE_ARRAY:
		snprintf(ret, size, "an array");
		break;
	default:
		snprintf(ret, size, "a list");
		break;
	}
}
