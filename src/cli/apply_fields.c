/* SPDX-License-Identifier: Apache-2.0 */
/* From a group in a file to the JSON that the gateway takes.
 *
 * The names are those of mist.conf (max-jobs) or of the API (maxJobs); each is a row here, with its
 * type. Durations are written as the gateway writes them, so that "1h" and "3600s" compare equal;
 * spark-conf is flattened to dotted keys with strings, in groups or as a list of "key=value". A
 * name that is not here is refused: at the gateway it would be silently ignored. */
#include "cli/apply.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/near.h"
#include "base/utf8.h"

enum { KEY_MAX = 256 };
enum field_type { FIELD_TEXT, FIELD_NUMBER, FIELD_FLAG, FIELD_DURATION, FIELD_MAP };

struct field {
	const char *name, *member;
	enum field_type type;
};

static const struct field context_fields[] = {
	{ "spark-conf", "sparkConf", FIELD_MAP },
	{ "downtime", "downtime", FIELD_DURATION },
	{ "max-jobs", "maxJobs", FIELD_NUMBER },
	{ "max-parallel-jobs", "maxJobs", FIELD_NUMBER },
	{ "jobs-per-worker", "jobsPerWorker", FIELD_NUMBER },
	{ "precreated", "precreated", FIELD_FLAG },
	{ "run-options", "runOptions", FIELD_TEXT },
	{ "runtime", "runtime", FIELD_TEXT },
	{ "worker-mode", "workerMode", FIELD_TEXT },
	{ "streaming-duration", "streamingDuration", FIELD_DURATION },
	{ "max-conn-failures", "maxConnFailures", FIELD_NUMBER },
	{ 0 },
};

static const struct field function_fields[] = {
	{ "path", "path", FIELD_TEXT },
	{ "class-name", "className", FIELD_TEXT },
	{ "context", "defaultContext", FIELD_TEXT },
	{ "default-context", "defaultContext", FIELD_TEXT },
	{ "retries", "retries", FIELD_NUMBER },
	{ "unknown-arguments", "unknownArguments", FIELD_TEXT },
	{ 0 },
};

static const struct field no_fields[] = { { 0 } };

static const struct field *const fields_of[_ITEM_MAX] = { no_fields, context_fields,
	function_fields };

char *place_of(const config_setting_t *at, const char *path)
{
	const char *file = config_setting_source_file(at);
	return xasprintf("%s:%u", file ? file : path, config_setting_source_line(at));
}

int refuse_at(
	const config_setting_t *at, const char *path, struct buf *wrong, const char *format, ...)
{
	_cleanup_(freep) char *place = place_of(at, path), *text = NULL;
	struct fault f;
	va_list args;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	must(n >= 0);
	fault_set(&f, FAULT_BAD_REQUEST, "%s: %s", place, text);
	return note_wrong(wrong, &f);
}

int note_wrong(struct buf *wrong, const struct fault *f)
{
	(void)buf_printf(wrong, "%s\n", f->text); /* so many are enough */
	return -EINVAL;
}

/* "maxJobs" is max-jobs. */
static bool is_named(const char *found, const char *name)
{
	for (; *found && *name; found++, name++) {
		if (isupper((unsigned char)*found)) {
			if (*name++ != '-' || *name != tolower((unsigned char)*found))
				return false;
		} else if (*found != *name) {
			return false;
		}
	}
	return !*found && !*name;
}

config_setting_t *member_find(const config_setting_t *group, const char *name)
{
	int n = config_setting_is_group(group) ? config_setting_length(group) : 0;
	for (int i = 0; i < n; i++) {
		config_setting_t *member = config_setting_get_elem(group, (unsigned)i);
		if (is_named(config_setting_name(member), name))
			return member;
	}
	return NULL;
}

static json_t *text_json(const config_setting_t *value)
{
	const char *text = config_setting_get_string(value);
	return text && utf8_is_valid(text, strlen(text)) ? json_string(text) : NULL;
}

static json_t *number_json(const config_setting_t *value)
{
	int type = config_setting_type(value);
	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
		return NULL;
	return json_integer(config_setting_get_int64(value));
}

static json_t *duration_json(const config_setting_t *value)
{
	const char *given = config_setting_get_string(value);
	char text[32];
	int64_t ms;
	_cleanup_(json_decrefp) json_t *seconds = number_json(value);
	if (seconds)
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(seconds));
	if (duration_parse(seconds ? text : given ? given : "", &ms) < 0)
		return NULL;
	duration_format(ms, text, sizeof text);
	return json_string(text);
}

/* A value of spark-conf as text, or NULL. */
static json_t *scalar_text(const config_setting_t *value)
{
	switch (config_setting_type(value)) {
	case CONFIG_TYPE_STRING:
		return text_json(value);
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return json_sprintf("%lld", config_setting_get_int64(value));
	case CONFIG_TYPE_FLOAT:
		return json_sprintf("%.15g", config_setting_get_float(value));
	case CONFIG_TYPE_BOOL:
		return json_string(config_setting_get_bool(value) ? "true" : "false");
	default:
		return NULL;
	}
}

static bool add_group(json_t *map, const char *prefix, const config_setting_t *group)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *value = config_setting_get_elem(group, (unsigned)i);
		char key[KEY_MAX];
		int len = snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "",
			config_setting_name(value));
		if (len >= KEY_MAX)
			return false;
		if (config_setting_is_group(value)) {
			if (!add_group(map, key, value))
				return false;
		} else if (json_object_set_new(map, key, scalar_text(value)) < 0) {
			return false;
		}
	}
	return true;
}

static bool add_list(json_t *map, const config_setting_t *list)
{
	for (int i = 0; i < config_setting_length(list); i++) {
		const char *pair =
			config_setting_get_string(config_setting_get_elem(list, (unsigned)i));
		const char *equals = pair ? strchr(pair, '=') : NULL;
		if (!equals || equals == pair || !utf8_is_valid(pair, strlen(pair)))
			return false;
		_cleanup_(freep) char *key = strndup(pair, (size_t)(equals - pair));
		json_object_set_new(map, key, json_string(equals + 1));
	}
	return true;
}

static json_t *map_json(const config_setting_t *value)
{
	_cleanup_(json_decrefp) json_t *map = json_object();
	bool is_good = config_setting_is_group(value) ? add_group(map, "", value)
		       : config_setting_is_list(value) || config_setting_is_array(value)
			       ? add_list(map, value)
			       : false;
	return is_good ? TAKE_PTR(map) : NULL;
}

static json_t *flag_json(const config_setting_t *value)
{
	if (config_setting_type(value) != CONFIG_TYPE_BOOL)
		return NULL;
	return json_boolean(config_setting_get_bool(value));
}

static const struct {
	json_t *(*read)(const config_setting_t *value);
	const char *expected;
} types[] = {
	[FIELD_TEXT] = { text_json, "a string" },
	[FIELD_NUMBER] = { number_json, "an integer" },
	[FIELD_FLAG] = { flag_json, "true or false" },
	[FIELD_DURATION] = { duration_json, "a duration such as \"10s\", \"1h\", \"Inf\"" },
	[FIELD_MAP] = { map_json, "a group, or a list of \"key=value\"" },
};

static const struct field *field_find(enum item_kind kind, const char *name)
{
	for (const struct field *field = fields_of[kind]; field->name; field++)
		if (is_named(name, field->name))
			return field;
	return NULL;
}

static const char *field_hint(enum item_kind kind, const char *name, char ret[static NEAR_HINT])
{
	struct near n;
	near_init(&n, name);
	for (const struct field *field = fields_of[kind]; field->name; field++)
		near_try(&n, field->name);
	return near_hint(&n, ret);
}

static bool is_skipped(const char *name, const char *const *skip)
{
	for (; *skip; skip++)
		if (is_named(name, *skip))
			return true;
	return false;
}

json_t *fields_read(enum item_kind kind, const config_setting_t *group, const char *const *skip,
	const char *path, struct buf *wrong)
{
	_cleanup_(json_decrefp) json_t *fields = json_object();
	int r = 0;
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *value = config_setting_get_elem(group, (unsigned)i);
		const char *name = config_setting_name(value);
		const struct field *field = field_find(kind, name);
		if (!field && is_skipped(name, skip))
			continue;
		char hint[NEAR_HINT];
		if (!field)
			r = refuse_at(value, path, wrong, "%s: no %s has such a setting%s", name,
				item_names[kind], field_hint(kind, name, hint));
		else if (json_object_set_new(
				 fields, field->member, types[field->type].read(value)) < 0)
			r = refuse_at(value, path, wrong, "%s: expected %s", name,
				types[field->type].expected);
	}
	return r == 0 ? TAKE_PTR(fields) : NULL;
}
