/* SPDX-License-Identifier: Apache-2.0 */
/* The files of `mist apply`: found, read, turned into items in the order they are to be made.
 *
 * A file has groups `artifacts`, `contexts`, `functions`, each of them NAME = { … } or a list of
 * { name = "…"; … } for names that libconfig's own cannot spell; or it is one thing in Mist's form:
 * model, name, version, data. In a folder every *.conf counts, below it too. The order is by kind,
 * then by the two digits that a file's name may begin with, then by name of the file. Relative
 * paths of artifacts count from the folder of their file. Two things of one kind and name are a
 * mistake. An item owns all it has. */
#include "cli/apply.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/conf.h"

enum { NO_RANK = 100, WRONG_MAX = 64 << 10 };

const char *const item_names[_ITEM_MAX] = { "artifact", "context", "function" };
static const char *const group_names[_ITEM_MAX] = { "artifacts", "contexts", "functions" };

struct source {
	struct items *items;
	const char *path;
	unsigned rank;
	struct buf *wrong; /* the reading goes on after what is wrong, to tell all of it */
};

void items_done(struct items *items)
{
	for (size_t i = 0; i < items->n; i++) {
		free(items->list[i].name);
		free(items->list[i].file);
		free(items->list[i].place);
		json_decref(items->list[i].fields);
	}
	free(items->list);
	buf_done(&items->wrong);
	*items = (struct items){ 0 };
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static char *folder_of(const char *path)
{
	return xasprintf("%.*s", (int)(last_part(path) - path), path);
}

/* Artifact x of version 1 in y.py is x_1.py; an extension that is there is not put twice. */
static char *artifact_name(const char *name, const char *version, const char *file)
{
	const char *dot = strrchr(last_part(file), '.');
	size_t len = strlen(name), extra = dot ? strlen(dot) : 0;
	bool has_it = dot && len > extra && strcasecmp(name + len - extra, dot) == 0;
	return xasprintf("%.*s%s%s%s", (int)(has_it ? len - extra : len), name, version ? "_" : "",
		version ? version : "", dot ? dot : "");
}

static bool is_artifact_name(const char *path)
{
	return !strchr(path, '/');
}

static char *prefixed(const struct items *items, const char *name)
{
	return items->prefix ? xasprintf("%s_%s", items->prefix, name) : xstrdup(name);
}

static void prefix_member(const struct items *items, json_t *fields, const char *member)
{
	_cleanup_(freep) char *name =
		prefixed(items, json_string_value(json_object_get(fields, member)));
	json_object_set_new(fields, member, json_string(name));
}

static int finish_function(const struct source *s, const config_setting_t *group, struct item *item)
{
	if (!json_object_get(item->fields, "path") || !json_object_get(item->fields, "className"))
		return refuse_at(group, s->path, s->wrong,
			"function %s needs a path and a class-name", item->name);
	if (!json_object_get(item->fields, "defaultContext"))
		json_object_set_new(item->fields, "defaultContext", json_string("default"));
	if (!s->items->prefix)
		return 0;
	if (is_artifact_name(json_string_value(json_object_get(item->fields, "path"))))
		prefix_member(s->items, item->fields, "path");
	if (strcmp(json_string_value(json_object_get(item->fields, "defaultContext")), "default"))
		prefix_member(s->items, item->fields, "defaultContext");
	return 0;
}

static int finish_artifact(const struct source *s, const config_setting_t *group,
	const char *version, struct item *item)
{
	config_setting_t *file = member_find(group, "file");
	if (!file)
		file = member_find(group, "file-path");
	const char *path = file ? config_setting_get_string(file) : NULL;
	if (!path || !*path)
		return refuse_at(group, s->path, s->wrong, "artifact %s needs a file", item->name);
	_cleanup_(freep) char *folder = path[0] == '/' ? xstrdup("") : folder_of(s->path);
	_cleanup_(freep) char *plain = TAKE_PTR(item->name);
	item->file = xasprintf("%s%s", folder, path);
	item->name = artifact_name(plain, version, path);
	return 0;
}

static int check_twice(const struct source *s, const config_setting_t *at, const struct item *item)
{
	for (size_t i = 0; i < s->items->n; i++) {
		const struct item *other = &s->items->list[i];
		if (other->kind == item->kind && strcmp(other->name, item->name) == 0)
			return refuse_at(at, s->path, s->wrong, "%s %s is also in %s",
				item_names[item->kind], item->name, other->place);
	}
	return 0;
}

static int fill(const struct source *s, const config_setting_t *group, const char *version,
	struct item *item)
{
	static const char *const of_artifacts[] = { "file", "file-path", "name", "version", NULL };
	static const char *const of_others[] = { "name", NULL };
	item->place = place_of(group, s->path);
	if (!config_setting_is_group(group))
		return refuse_at(group, s->path, s->wrong, "%s %s: expected a group",
			item_names[item->kind], item->name);
	item->fields = fields_read(item->kind, group,
		item->kind == ITEM_ARTIFACT ? of_artifacts : of_others, s->path, s->wrong);
	if (!item->fields)
		return -EINVAL;
	int r = 0;
	if (item->kind == ITEM_ARTIFACT)
		r = finish_artifact(s, group, version, item);
	else if (item->kind == ITEM_FUNCTION)
		r = finish_function(s, group, item);
	if (r == 0 && !name_is_good(item->name))
		r = refuse_at(group, s->path, s->wrong,
			"\"%s\": a name is up to 128 of A-Z a-z 0-9 . _ - and begins with no dot",
			item->name);
	return r ? r : check_twice(s, group, item);
}

/* version NULL: the group's own, if it has one. */
static int add_item(const struct source *s, enum item_kind kind, const config_setting_t *group,
	const char *name, const char *version)
{
	struct items *items = s->items;
	config_setting_t *own = member_find(group, "version");
	if (!version && own && kind == ITEM_ARTIFACT)
		version = config_setting_get_string(own);
	items->list = xrealloc(items->list, (items->n + 1) * sizeof *items->list);
	struct item *item = &items->list[items->n];
	*item = (struct item){
		.kind = kind, .rank = s->rank, .n = items->n, .name = prefixed(items, name)
	};
	int r = fill(s, group, version, item);
	items->n++;
	return r;
}

static int read_group(const struct source *s, enum item_kind kind, const config_setting_t *group)
{
	bool is_list = config_setting_is_list(group);
	if (!is_list && !config_setting_is_group(group))
		return refuse_at(group, s->path, s->wrong,
			"%s: expected a group or a list of groups", group_names[kind]);
	int r = 0;
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *one = config_setting_get_elem(group, (unsigned)i);
		config_setting_t *given = member_find(one, "name");
		const char *name = given     ? config_setting_get_string(given)
				   : is_list ? NULL
					     : config_setting_name(one);
		if (!name)
			r = refuse_at(
				one, s->path, s->wrong, "one of %s has no name", group_names[kind]);
		else if (add_item(s, kind, one, name, NULL) < 0)
			r = -EINVAL;
	}
	return r;
}

static int kind_of(const char *const *names, const char *name)
{
	for (int kind = 0; kind < _ITEM_MAX; kind++)
		if (strcasecmp(names[kind], name) == 0)
			return kind;
	return -1;
}

static int check_model_members(const struct source *s, const config_setting_t *root)
{
	static const char *const known[] = { "model", "name", "version", "data" };
	int r = 0;
	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *member = config_setting_get_elem(root, (unsigned)i);
		bool is_known = false;
		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			is_known |= strcmp(known[k], config_setting_name(member)) == 0;
		if (!is_known)
			r = refuse_at(member, s->path, s->wrong,
				"%s: there are model, name, version and data",
				config_setting_name(member));
	}
	return r;
}

/* The name of a thing without one is that of the folder its file is in. */
static char *folder_name(const char *path)
{
	_cleanup_(freep) char *folder = folder_of(path);
	_cleanup_(freep) char *real = realpath(*folder ? folder : ".", NULL);
	return xstrdup(real ? last_part(real) : "");
}

/* Mist's form: the whole file is one thing. */
static int read_model(const struct source *s, const config_setting_t *root)
{
	const char *model = NULL, *name = NULL, *version = NULL;
	config_setting_t *data = config_setting_get_member(root, "data");
	config_setting_lookup_string(root, "model", &model);
	config_setting_lookup_string(root, "name", &name);
	config_setting_lookup_string(root, "version", &version);
	int kind = model ? kind_of(item_names, model) : -1;
	if (kind < 0)
		return refuse_at(config_setting_get_member(root, "model"), s->path, s->wrong,
			"model: expected \"Artifact\", \"Context\" or \"Function\"");
	if (!data)
		return refuse_at(root, s->path, s->wrong, "there is no data");
	if (kind == ITEM_ARTIFACT && !version)
		return refuse_at(root, s->path, s->wrong, "an Artifact needs a version");
	int r = check_model_members(s, root);
	_cleanup_(freep) char *own = name ? xstrdup(name) : folder_name(s->path);
	return add_item(s, (enum item_kind)kind, data, own, version) < 0 ? -EINVAL : r;
}

static int read_root(const struct source *s, const config_setting_t *root)
{
	if (config_setting_get_member(root, "model"))
		return read_model(s, root);
	int r = 0;
	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *group = config_setting_get_elem(root, (unsigned)i);
		int kind = kind_of(group_names, config_setting_name(group));
		if (kind < 0)
			r = refuse_at(group, s->path, s->wrong,
				"%s: there are artifacts, contexts and functions",
				config_setting_name(group));
		else if (read_group(s, (enum item_kind)kind, group) < 0)
			r = -EINVAL;
	}
	return r;
}

static int read_file(struct items *items, const char *path)
{
	const char *name = last_part(path);
	struct source s = { .items = items, .path = path, .rank = NO_RANK, .wrong = &items->wrong };
	_cleanup_(conf_freep) struct conf *c = NULL;
	struct fault f;
	if (conf_open(&c, path, NULL, 0, &f) < 0)
		return note_wrong(s.wrong, &f);
	if (name[0] >= '0' && name[0] <= '9' && name[1] >= '0' && name[1] <= '9')
		s.rank = (unsigned)((name[0] - '0') * 10 + name[1] - '0');
	return read_root(&s, conf_root(c));
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool is_conf(const FTSENT *e)
{
	const char *dot = strrchr(e->fts_name, '.');
	return dot && strcmp(dot, ".conf") == 0;
}

/* A file that was named counts whatever it is called. */
static int read_entry(struct items *items, const FTSENT *e)
{
	struct fault f;
	bool is_named = e->fts_level == FTS_ROOTLEVEL;
	if (e->fts_info == FTS_NS || e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
		fault_set(&f, FAULT_BAD_REQUEST, "%s: cannot be read: %s", e->fts_path,
			strerror(e->fts_errno));
	else if (e->fts_info == FTS_SLNONE || (e->fts_info == FTS_DEFAULT && is_named))
		fault_set(&f, FAULT_BAD_REQUEST, "%s: not a file", e->fts_path);
	else if ((e->fts_info == FTS_F || e->fts_info == FTS_SL) && (is_named || is_conf(e)))
		return read_file(items, e->fts_path);
	else
		return 0;
	return note_wrong(&items->wrong, &f);
}

static int read_tree(struct items *items, const char *path)
{
	char *const roots[] = { (char *)path, NULL };
	struct fault f;
	FTS *tree = fts_open(roots, FTS_COMFOLLOW | FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (!tree) {
		fault_set(&f, FAULT_BAD_REQUEST, "%s: %s", path, strerror(errno));
		return note_wrong(&items->wrong, &f);
	}
	int r = 0;
	for (FTSENT *e; (e = fts_read(tree));)
		if (read_entry(items, e) < 0)
			r = -EINVAL;
	fts_close(tree);
	return r;
}

static int in_order(const void *x, const void *y)
{
	const struct item *a = x, *b = y;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->n < b->n ? -1 : a->n > b->n;
}

int items_read(struct items *items, const char *path)
{
	struct fault f;
	buf_init(&items->wrong, WRONG_MAX);
	int r = read_tree(items, path);
	if (r < 0)
		return r;
	if (!items->n) {
		fault_set(&f, FAULT_BAD_REQUEST, "%s: nothing to apply", path);
		return note_wrong(&items->wrong, &f);
	}
	qsort(items->list, items->n, sizeof *items->list, in_order);
	return 0;
}
