/* SPDX-License-Identifier: Apache-2.0 */
/* The configured functions, contexts and runtimes. A reload builds a new catalog and the core drops
 * the old one; what jobs and lanes hold of it are references, so nothing disappears under them. */
#include "core/catalog.h"

#include <errno.h>

struct function_entry {
	struct map_node by_name;
	struct function *function;
};

struct context_entry {
	struct map_node by_name;
	struct context *context;
};

struct runtime_entry {
	struct map_node by_name;
	char *name;
	struct runtime_settings settings;
};

struct catalog {
	struct map functions, contexts, runtimes;
	struct context_settings defaults;
};

struct catalog *catalog_new(const struct context_settings *defaults)
{
	struct catalog *c = xcalloc(1, sizeof *c);
	map_init(&c->functions);
	map_init(&c->contexts);
	map_init(&c->runtimes);
	conf_copy(context_conf, &c->defaults, defaults);
	return c;
}

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	map_each(n, &c->functions)
	{
		struct function_entry *e = container_of(n, struct function_entry, by_name);
		function_unref(e->function);
		free(e);
	}
	map_each(n, &c->contexts)
	{
		struct context_entry *e = container_of(n, struct context_entry, by_name);
		context_unref(e->context);
		free(e);
	}
	map_each(n, &c->runtimes)
	{
		struct runtime_entry *e = container_of(n, struct runtime_entry, by_name);
		conf_done(runtime_conf, &e->settings);
		free(e->name);
		free(e);
	}
	map_done(&c->functions);
	map_done(&c->contexts);
	map_done(&c->runtimes);
	conf_done(context_conf, &c->defaults);
	free(c);
}

int catalog_add_function(struct catalog *c, const char *name, const struct function_settings *s)
{
	if (map_find_str(&c->functions, name))
		return -EEXIST;
	struct function_entry *e = xcalloc(1, sizeof *e);
	e->function = function_new(name, s);
	map_add_str(&c->functions, &e->by_name, e->function->name);
	return 0;
}

int catalog_add_context(struct catalog *c, const char *name, const struct context_settings *s)
{
	if (map_find_str(&c->contexts, name))
		return -EEXIST;
	struct context_entry *e = xcalloc(1, sizeof *e);
	e->context = context_new(name, s);
	map_add_str(&c->contexts, &e->by_name, e->context->name);
	return 0;
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

void catalog_each_function(
	const struct catalog *c, void (*each)(void *arg, const struct function *f), void *arg)
{
	map_each(n, &c->functions)
		each(arg, container_of(n, struct function_entry, by_name)->function);
}

void catalog_each_context(
	const struct catalog *c, void (*each)(void *arg, const struct context *ctx), void *arg)
{
	map_each(n, &c->contexts)
		each(arg, container_of(n, struct context_entry, by_name)->context);
}
