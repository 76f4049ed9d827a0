/* SPDX-License-Identifier: Apache-2.0 */
/* What the program serves: filled before the worker runs, only read afterwards, hence by any thread
 * without a lock.
 *
 * The arguments of a function are given as JSON text, name → Mist's type tree (proto/README.md,
 * describe). The text is checked here, at the program's start, because a mistake in it would
 * otherwise show as a puzzling refusal of a job much later; it is kept as the finished signature
 * text, since nobody here looks into it again. */
#include "runner/c/functions.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

enum { TYPE_DEPTH_MAX = 32, NAME_MAX_BYTES = 100 };

static const struct {
	const char *name;
	size_t n_args;
} types[] = {
	{ "MInt", 0 },
	{ "MDouble", 0 },
	{ "MString", 0 },
	{ "MBoolean", 0 },
	{ "MAny", 0 },
	{ "MList", 1 },
	{ "MOption", 1 },
	{ "MMap", 2 },
};

static bool are_fields(const json_t *fields, unsigned depth);

static bool is_type(const json_t *tree, unsigned depth)
{
	const char *name = json_string_of(tree, "type");
	if (!name || depth == 0)
		return false;
	if (strcmp(name, "MObj") == 0)
		return are_fields(json_object_get(tree, "fields"), depth - 1);
	const json_t *args = json_object_get(tree, "args");
	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		if (strcmp(name, types[t].name) != 0)
			continue;
		bool good = json_array_size(args) == types[t].n_args;
		for (size_t i = 0; good && i < types[t].n_args; i++)
			good = is_type(json_array_get(args, i), depth - 1);
		return good;
	}
	return false;
}

static bool are_fields(const json_t *fields, unsigned depth)
{
	const char *name;
	json_t *tree;
	if (!json_is_object(fields))
		return false;
	json_object_foreach ((json_t *)fields, name, tree) /* jansson's iterators take no const */
		if (!is_type(tree, depth))
			return false;
	return true;
}

void functions_init(struct functions *fs)
{
	map_init(&fs->by_name);
}

void functions_done(struct functions *fs)
{
	map_each (n, &fs->by_name) {
		struct function *f = container_of(n, struct function, node);
		map_remove(&fs->by_name, n);
		free(f->name);
		free(f->signature);
		free(f);
	}
	map_done(&fs->by_name);
}

int functions_add(struct functions *fs, const char *name, const char *execute, mist_function_fn *fn,
	void *arg)
{
	struct fault fault;
	_cleanup_(json_decrefp) json_t *fields =
		json_parse(execute, strlen(execute), 2 * TYPE_DEPTH_MAX, &fault);
	if (!are_fields(fields, TYPE_DEPTH_MAX))
		return -EINVAL;
	if (map_find_str(&fs->by_name, name))
		return -EEXIST;
	_cleanup_(freep) char *text = json_text(fields);
	struct function *f = xcalloc(1, sizeof *f);
	f->name = xstrdup(name);
	f->signature = xasprintf("{\"lang\":\"c\",\"execute\":%s,\"tags\":[]%s}", text,
		json_object_size(fields) ? "" : ",\"extraArguments\":\"taken\"");
	f->fn = fn;
	f->arg = arg;
	map_add_str(&fs->by_name, &f->node, f->name);
	return 0;
}

const struct function *functions_find(const struct functions *fs, const char *name)
{
	struct map_node *n = map_find_str(&fs->by_name, name);
	return n ? container_of(n, struct function, node) : NULL;
}

void functions_miss(const struct functions *fs, const char *name, struct buf *ret)
{
	const char *before = "; there are: ";
	if (buf_printf(ret, "no function %.*s", NAME_MAX_BYTES, name))
		return;
	map_each (n, &fs->by_name) {
		const struct function *f = container_of(n, struct function, node);
		if (buf_printf(ret, "%s%s", before, f->name))
			return;
		before = ", ";
	}
	if (fs->by_name.count == 0)
		(void)buf_puts(ret, "; there are none");
}
