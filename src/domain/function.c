/* SPDX-License-Identifier: Apache-2.0 */
/* A function and the rows of its settings. A reload makes a new object under the same name; jobs
 * keep the old one alive. */
#include "domain/function.h"

#include <string.h>
#include <strings.h>

#include "base/ignored.h"
#include "base/json.h"

const char *const function_unknown_names[] = { "default", "refuse", "ignore", NULL };

const struct conf_field function_conf[] = {
	{ "path", CONF_PATH, offsetof(struct function_settings, path), "", .live = true,
		.help = "the artifact: a .py, .zip, .whl, .egg or .jar file, here, or where the "
			"worker gets it: http://, https://, file:// (on the worker's machine), "
			"hdfs:// or another scheme of Hadoop; empty for a program that brings its "
			"own functions" },
	{ "class-name", CONF_STR, offsetof(struct function_settings, class_name), NULL,
		.live = true,
		.help = "what to call in the artifact: a function's name, or "
			"package.module.function" },
	{ "context", CONF_STR, offsetof(struct function_settings, context), "default", .live = true,
		.help = "the context whose workers run it unless a request names another" },
	{ "retries", CONF_INT, offsetof(struct function_settings, retries), "0", .min = 0,
		.max = 100, .live = true,
		.help = "how many times a job is given to another worker after its worker died" },
	{ "unknown-arguments", CONF_ENUM, offsetof(struct function_settings, unknown_arguments),
		"default", .choices = function_unknown_names, .live = true,
		.help = "arguments that it does not have: default is as mist.unknown-arguments "
			"says" },
	{ 0 },
};

/* Hadoop's own file systems and those of its distributions. */
static const char *const hadoop_schemes[] = { "hdfs", "viewfs", "webhdfs", "swebhdfs", "har", "s3a",
	"s3n", "s3", "abfs", "abfss", "wasb", "wasbs", "adl", "gs", "o3fs", "ofs", "oss", "obs",
	"cosn", "cos", "swift", "maprfs", "alluxio" };

enum { PATH_BYTES_MAX = 1024 }; /* as of the path in a request (transport/message.c) */

static bool is_scheme(const char *path, size_t len, const char *scheme)
{
	return strlen(scheme) == len && strncasecmp(path, scheme, len) == 0;
}

enum path_kind path_kind_of(const char *path)
{
	static const char *const others[] = { "file", "http", "https" };
	size_t len = path_scheme_len(path);
	if (!len)
		return PATH_HERE;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (is_scheme(path, len, others[i]))
			return PATH_AWAY;
	for (size_t i = 0; i < ARRAY_SIZE(hadoop_schemes); i++)
		if (is_scheme(path, len, hadoop_schemes[i]))
			return PATH_HADOOP;
	return _PATH_INVALID;
}

static bool has_controls(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	return false;
}

/* "http://" leads nowhere, nor do spaces. */
static bool path_leads_nowhere(const char *path)
{
	size_t scheme = path_scheme_len(path);
	const char *rest = scheme ? path + scheme + 1 : path;
	return *path && !rest[strspn(rest, scheme ? " /" : " ")];
}

int path_check(const char *path, struct fault *f)
{
	size_t len = strlen(path);
	if (len > PATH_BYTES_MAX)
		return fault_set(f, FAULT_BAD_REQUEST, "path: expected at most %d bytes, got %zu",
			PATH_BYTES_MAX, len);
	if (has_controls(path))
		return fault_set(f, FAULT_BAD_REQUEST,
			"path: expected a file or an address without control characters");
	if (path_kind_of(path) != _PATH_INVALID && !path_leads_nowhere(path))
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST,
		"path: expected a file, or an address that begins with file, http, https, hdfs or "
		"another scheme of Hadoop's, got \"%.64s\"",
		path);
}

static char *start_members(const struct function *f)
{
	_cleanup_(json_decrefp) json_t *json = json_pack("{s:s, s:s, s:s}", "function", f->name,
		"path", f->location, "className", f->settings.class_name);
	_cleanup_(freep) char *text = json_text(json);
	text[strlen(text) - 1] = '\0';
	return xstrdup(text + 1);
}

struct function *function_new(
	const char *name, const struct function_settings *s, const char *location)
{
	struct function *f = xcalloc(1, sizeof *f);
	atomic_init(&f->refs, 1);
	f->name = xstrdup(name);
	conf_copy(function_conf, &f->settings, s);
	f->location = xstrdup(location);
	f->path_kind = path_kind_of(location);
	f->start_members = start_members(f);
	return f;
}

struct function *function_ref(const struct function *f)
{
	struct function *shared = (struct function *)f;
	atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
	return shared;
}

void function_unref(const struct function *f)
{
	struct function *shared = (struct function *)f;
	if (!f || atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) != 1)
		return;
	conf_done(function_conf, &shared->settings);
	free(shared->location);
	free(shared->start_members);
	free(shared->name);
	free(shared);
}

json_t *function_json(const struct function *f)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "name", f->name, "path", f->settings.path,
		"className", f->settings.class_name, "defaultContext", f->settings.context);
}

static int read_string(const json_t *object, const char *name, char **ret, struct fault *f)
{
	const json_t *value = json_object_get(object, name);
	if (!json_is_string(value))
		return fault_set(f, FAULT_BAD_REQUEST, "%s: expected a string, got %s", name,
			json_kind(value));
	*ret = xstrdup(json_string_value(value));
	return 0;
}

static int read_unknown_arguments(const json_t *object, int *ret, struct fault *f)
{
	const json_t *value = json_object_get(object, "unknownArguments");
	if (!value || json_is_null(value))
		return 0;
	for (int i = 0; function_unknown_names[i]; i++) {
		*ret = i;
		if (json_is_string(value) &&
			strcmp(json_string_value(value), function_unknown_names[i]) == 0)
			return 0;
	}
	return fault_set(f, FAULT_BAD_REQUEST,
		"unknownArguments: expected default, refuse or ignore, got %s%.64s",
		json_is_string(value) ? "" : json_kind(value),
		json_is_string(value) ? json_string_value(value) : "");
}

int function_read_json(
	const json_t *object, struct function_settings *ret, char **ignored, struct fault *f)
{
	static const char *const members[] = { "name", "path", "className", "defaultContext",
		"retries", "unknownArguments", NULL };
	const json_t *retries = json_object_get(object, "retries");
	struct function_settings s = { .retries = json_integer_value(retries) };
	int r = read_string(object, "path", &s.path, f);
	if (r == 0)
		r = read_string(object, "className", &s.class_name, f);
	if (r == 0)
		r = read_string(object, "defaultContext", &s.context, f);
	if (r == 0)
		r = path_check(s.path, f);
	if (r == 0 && !s.class_name[0])
		r = fault_set(f, FAULT_BAD_REQUEST, "className: expected a name, got \"\"");
	if (r == 0 && !name_is_good(s.context))
		r = fault_set(f, FAULT_BAD_REQUEST,
			"defaultContext: expected a name of letters, digits, '.', '_' and '-', got "
			"\"%.64s\"",
			s.context);
	if (r == 0 && retries && (!json_is_integer(retries) || s.retries < 0 || s.retries > 100))
		r = fault_set(f, FAULT_BAD_REQUEST, "retries: expected an integer from 0 to 100");
	if (r == 0)
		r = read_unknown_arguments(object, &s.unknown_arguments, f);
	if (r < 0)
		conf_done(function_conf, &s);
	else
		*ret = s;
	if (r == 0 && ignored)
		ignored_add_members(ignored, object, NULL, members);
	return r;
}
