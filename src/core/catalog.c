/* SPDX-License-Identifier: Apache-2.0 */
/* The configured functions, contexts and runtimes. A reload builds a new catalog and the core drops
 * the old one; what jobs and lanes hold of it are references, so nothing disappears under them. */
#include "core/catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/near.h"

struct function_entry {
	struct map_node by_name;
	struct function *function;
	bool is_configured;
};

struct context_entry {
	struct map_node by_name;
	struct context *context;
	bool is_configured;
};

struct runtime_entry {
	struct map_node by_name;
	char *name;
	struct runtime_settings settings;
};

struct catalog {
	struct map functions, contexts, runtimes;
	struct context_settings defaults;
	char *artifacts;
	struct catalog_rules rules;
};

struct catalog *catalog_new(const struct context_settings *defaults, const char *artifacts)
{
	struct catalog *c = xcalloc(1, sizeof *c);
	map_init(&c->functions);
	map_init(&c->contexts);
	map_init(&c->runtimes);
	conf_copy(context_conf, &c->defaults, defaults);
	c->artifacts = xstrdup(artifacts);
	return c;
}

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	map_each (n, &c->functions) {
		struct function_entry *e = container_of(n, struct function_entry, by_name);
		function_unref(e->function);
		free(e);
	}
	map_each (n, &c->contexts) {
		struct context_entry *e = container_of(n, struct context_entry, by_name);
		context_unref(e->context);
		free(e);
	}
	map_each (n, &c->runtimes) {
		struct runtime_entry *e = container_of(n, struct runtime_entry, by_name);
		conf_done(runtime_conf, &e->settings);
		free(e->name);
		free(e);
	}
	map_done(&c->functions);
	map_done(&c->contexts);
	map_done(&c->runtimes);
	conf_done(context_conf, &c->defaults);
	free(c->artifacts);
	free(c);
}

char *catalog_location(const struct catalog *c, const char *path)
{
	return path[0] && !strchr(path, '/') ? xasprintf("%s/%s", c->artifacts, path)
					     : xstrdup(path);
}

const struct context_settings *catalog_defaults(const struct catalog *c)
{
	return &c->defaults;
}

static struct function_entry *function_entry(const struct catalog *c, const char *name)
{
	struct map_node *n = map_find_str(&c->functions, name);
	return n ? container_of(n, struct function_entry, by_name) : NULL;
}

static struct context_entry *context_entry(const struct catalog *c, const char *name)
{
	struct map_node *n = map_find_str(&c->contexts, name);
	return n ? container_of(n, struct context_entry, by_name) : NULL;
}

static void add_function(struct catalog *c, struct function *f, bool is_configured)
{
	struct function_entry *e = xcalloc(1, sizeof *e);
	e->function = f;
	e->is_configured = is_configured;
	map_add_str(&c->functions, &e->by_name, f->name);
}

static void add_context(struct catalog *c, struct context *context, bool is_configured)
{
	struct context_entry *e = xcalloc(1, sizeof *e);
	e->context = context;
	e->is_configured = is_configured;
	map_add_str(&c->contexts, &e->by_name, context->name);
}

int catalog_add_function(struct catalog *c, const char *name, const struct function_settings *s)
{
	if (function_entry(c, name))
		return -EEXIST;
	_cleanup_(freep) char *location = catalog_location(c, s->path);
	add_function(c, function_new(name, s, location), true);
	return 0;
}

int catalog_add_context(struct catalog *c, const char *name, const struct context_settings *s)
{
	if (context_entry(c, name))
		return -EEXIST;
	add_context(c, context_new(name, s), true);
	return 0;
}

int catalog_drop_function(struct catalog *c, const char *name)
{
	struct function_entry *e = function_entry(c, name);
	if (!e || e->is_configured)
		return e ? -EPERM : -ENOENT;
	map_remove(&c->functions, &e->by_name);
	function_unref(e->function);
	free(e);
	return 0;
}

int catalog_drop_context(struct catalog *c, const char *name)
{
	struct context_entry *e = context_entry(c, name);
	if (!e || e->is_configured)
		return e ? -EPERM : -ENOENT;
	map_remove(&c->contexts, &e->by_name);
	context_unref(e->context);
	free(e);
	return 0;
}

int catalog_put_function(struct catalog *c, struct function *f)
{
	if (catalog_drop_function(c, f->name) == -EPERM)
		return -EPERM;
	add_function(c, function_ref(f), false);
	return 0;
}

int catalog_put_context(struct catalog *c, struct context *context)
{
	if (catalog_drop_context(c, context->name) == -EPERM)
		return -EPERM;
	add_context(c, context_ref(context), false);
	return 0;
}

bool catalog_is_configured(const struct catalog *c, enum store_noun noun, const char *name)
{
	const struct function_entry *f = noun == STORE_FUNCTION ? function_entry(c, name) : NULL;
	const struct context_entry *context = noun == STORE_CONTEXT ? context_entry(c, name) : NULL;
	return (f && f->is_configured) || (context && context->is_configured);
}

void catalog_adopt(struct catalog *c, const struct catalog *from)
{
	map_each (n, &from->functions) {
		struct function_entry *e = container_of(n, struct function_entry, by_name);
		if (!e->is_configured)
			(void)catalog_put_function(c, e->function);
	}
	map_each (n, &from->contexts) {
		struct context_entry *e = container_of(n, struct context_entry, by_name);
		if (!e->is_configured)
			(void)catalog_put_context(c, e->context);
	}
}

int catalog_add_runtime(struct catalog *c, const char *name, const struct runtime_settings *s)
{
	if (map_find_str(&c->runtimes, name))
		return -EEXIST;
	struct runtime_entry *e = xcalloc(1, sizeof *e);
	e->name = xstrdup(name);
	conf_copy(runtime_conf, &e->settings, s);
	map_add_str(&c->runtimes, &e->by_name, e->name);
	return 0;
}

const struct function *catalog_function(const struct catalog *c, const char *name)
{
	struct map_node *n = map_find_str(&c->functions, name);
	return n ? container_of(n, struct function_entry, by_name)->function : NULL;
}

bool catalog_has_context(const struct catalog *c, const char *name)
{
	return map_find_str(&c->contexts, name);
}

const struct context *catalog_context(const struct catalog *c, const char *name)
{
	struct map_node *n = map_find_str(&c->contexts, name);
	if (n)
		return context_ref(container_of(n, struct context_entry, by_name)->context);
	return context_new(name, &c->defaults);
}

const struct runtime_settings *catalog_runtime(const struct catalog *c, const char *name)
{
	struct map_node *n = map_find_str(&c->runtimes, name);
	return n ? &container_of(n, struct runtime_entry, by_name)->settings : NULL;
}

void catalog_set_rules(struct catalog *c, const struct catalog_rules *rules)
{
	c->rules = *rules;
}

const struct catalog_rules *catalog_rules_of(const struct catalog *c)
{
	return &c->rules;
}

/* Names in their order, the first of those that were offered: there may be thousands, and a
 * sentence has room for few. */
struct first_names {
	const char *names[64];
	size_t n;
	bool are_more;
};

static void first_names_offer(struct first_names *f, const char *name)
{
	size_t i = f->n;
	f->are_more |= f->n == ARRAY_SIZE(f->names);
	if (f->n == ARRAY_SIZE(f->names) && strcmp(f->names[--i], name) < 0)
		return;
	for (; i > 0 && strcmp(f->names[i - 1], name) > 0; i--)
		f->names[i] = f->names[i - 1];
	f->names[i] = name;
	f->n += f->n < ARRAY_SIZE(f->names);
}

/* The keys of the map, in their order, as far as the sentence has room. */
static int refuse_name(const struct map *map, const char *what, const char *name, struct fault *f)
{
	struct first_names first = { 0 };
	struct near near;
	struct buf list;
	char hint[NEAR_HINT];
	near_init(&near, name);
	map_each (it, map) {
		near_try(&near, it->key);
		first_names_offer(&first, it->key);
	}
	buf_init(&list, sizeof f->text);
	for (size_t i = 0; i < first.n; i++)
		buf_printf(&list, "%s%s", i ? ", " : "", first.names[i]);
	if (first.are_more)
		buf_puts(&list, ", …");
	near_hint(&near, hint);
	int r = fault_set(f, FAULT_BAD_REQUEST, "there is no %s %.128s%s%s There are: %s", what,
		name, hint, hint[0] ? "" : ".", list.data ? list.data : "none");
	buf_done(&list);
	return r;
}

int catalog_check_context(const struct catalog *c, const char *name, struct fault *f)
{
	if (c->rules.takes_unknown_contexts || catalog_has_context(c, name))
		return 0;
	return refuse_name(&c->contexts, "context", name, f);
}

int catalog_check_runtime(const struct catalog *c, const char *name, struct fault *f)
{
	return catalog_runtime(c, name) ? 0 : refuse_name(&c->runtimes, "runtime", name, f);
}

static const char *hint_in(const struct map *map, const char *name, char ret[static NEAR_HINT])
{
	struct near near;
	near_init(&near, name);
	map_each (it, map)
		near_try(&near, it->key);
	return near_hint(&near, ret);
}

const char *catalog_function_hint(
	const struct catalog *c, const char *name, char ret[static NEAR_HINT])
{
	return hint_in(&c->functions, name, ret);
}

const char *catalog_context_hint(
	const struct catalog *c, const char *name, char ret[static NEAR_HINT])
{
	return hint_in(&c->contexts, name, ret);
}

int catalog_check_path(
	const struct catalog *c, const char *path, const char *context_name, struct fault *f)
{
	_cleanup_(context_unrefp) const struct context *context = catalog_context(c, context_name);
	return catalog_check_path_in(c, path, context, f);
}

int catalog_check_path_in(
	const struct catalog *c, const char *path, const struct context *context, struct fault *f)
{
	if (*path)
		return 0;
	const struct runtime_settings *runtime = catalog_runtime(c, context->settings.runtime);
	if (runtime && runtime->kind == RUNTIME_PROGRAM)
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST,
		"path: expected a file or an address, got \"\"; only a runtime of the kind program "
		"has functions without one");
}

void catalog_each_runtime(const struct catalog *c,
	void (*each)(void *arg, const char *name, const struct runtime_settings *r), void *arg)
{
	map_each (n, &c->runtimes) {
		const struct runtime_entry *e = container_of(n, struct runtime_entry, by_name);
		each(arg, e->name, &e->settings);
	}
}

void catalog_each_function(
	const struct catalog *c, void (*each)(void *arg, const struct function *f), void *arg)
{
	map_each (n, &c->functions)
		each(arg, container_of(n, struct function_entry, by_name)->function);
}

void catalog_each_context(
	const struct catalog *c, void (*each)(void *arg, const struct context *ctx), void *arg)
{
	map_each (n, &c->contexts)
		each(arg, container_of(n, struct context_entry, by_name)->context);
}
