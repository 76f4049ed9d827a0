/* SPDX-License-Identifier: Apache-2.0 */
/* A function and the rows of its settings. A reload makes a new object under the same name; jobs
 * keep the old one alive. */
#include "domain/function.h"

#include <string.h>

#include "base/json.h"

const struct conf_field function_conf[] = {
	{ "path", CONF_PATH, offsetof(struct function_settings, path), "", .live = true,
		.help = "the artifact: a .py, .zip, .whl, .egg or .jar file; empty for a program "
			"that brings its own functions" },
	{ "class-name", CONF_STR, offsetof(struct function_settings, class_name), NULL,
		.live = true,
		.help = "what to call in the artifact: a function's name, or "
			"package.module.function" },
	{ "context", CONF_STR, offsetof(struct function_settings, context), "default", .live = true,
		.help = "the context whose workers run it unless a request names another" },
	{ "retries", CONF_INT, offsetof(struct function_settings, retries), "0", .min = 0,
		.max = 100, .live = true,
		.help = "how many times a job is given to another worker after its worker died" },
	{ 0 },
};

static char *start_members(const struct function *f)
{
	_cleanup_(json_decrefp) json_t *json = json_pack("{s:s, s:s, s:s}", "function", f->name,
		"path", f->settings.path, "className", f->settings.class_name);
	_cleanup_(freep) char *text = json_text(json);
	text[strlen(text) - 1] = '\0';
	return xstrdup(text + 1);
}

struct function *function_new(const char *name, const struct function_settings *s)
{
	struct function *f = xcalloc(1, sizeof *f);
	atomic_init(&f->refs, 1);
	f->name = xstrdup(name);
	conf_copy(function_conf, &f->settings, s);
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
	free(shared->start_members);
	free(shared->name);
	free(shared);
}
