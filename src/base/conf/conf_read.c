/* SPDX-License-Identifier: Apache-2.0 */
/* Fills structs of settings, one group at a time.
 *
 * For every row of the section's table the value comes from the first that has one: --set, the
 * file, the struct given as `base`, the row's default. A group is read completely or not at all: on
 * a refusal what was filled is freed and the struct is zeroes. The names of groups and of --set are
 * checked here too, since both may contain dots: of the ways to split "contexts.a.b.max-jobs" the
 * one with the shortest name that ends in a setting is taken. Not thread-safe. */
#include "base/conf/conf_parts.h"

#include <jansson.h>
#include <string.h>

#include "base/near.h"
#include "base/utf8.h"

enum { MAP_DEPTH_MAX = 64, SHOWN_MAX = 400 };

/* One group being read. */
struct reader {
	struct conf *c;
	const struct conf_section *section;
	const char *name;              /* in a named section, else NULL */
	const config_setting_t *group; /* NULL: not in the file */
	bool is_in_list;               /* then it has a member "name" */
	bool is_of_kind;               /* then it has a member "type" */
	struct fault *f;
};

/* What a --set means in a section. */
struct target {
	const char *name; /* the group's, name_len long; NULL in a plain section */
	size_t name_len;
	const struct conf_field *field;
	const char *key; /* in a map, else NULL */
};

static bool field_of(const struct conf_section *s, const char *text, struct target *ret)
{
	size_t len = strcspn(text, ".");
	for (const struct conf_field *field = s->fields; field->name; field++) {
		if (strlen(field->name) != len || memcmp(field->name, text, len) != 0)
			continue;
		bool has_key = text[len] == '.' && text[len + 1];
		if (field->type == CONF_MAP ? !has_key : text[len] != '\0')
			return false;
		ret->field = field;
		ret->key = has_key ? text + len + 1 : NULL;
		return true;
	}
	return false;
}

static bool set_is_in(const struct conf_section *s, const struct conf_set *set)
{
	size_t len = strlen(s->name);
	return strncmp(set->path, s->name, len) == 0 && set->path[len] == '.';
}

static bool target_of(const struct conf_section *s, const struct conf_set *set, struct target *ret)
{
	const char *rest = set->path + strlen(s->name) + 1;
	*ret = (struct target){ 0 };
	if (!s->named)
		return field_of(s, rest, ret);
	for (const char *dot = strchr(rest, '.'); dot; dot = strchr(dot + 1, '.'))
		if (field_of(s, dot + 1, ret)) {
			ret->name = rest;
			ret->name_len = (size_t)(dot - rest);
			return true;
		}
	return false;
}

/* Whether set i sets something in the group being read. */
static bool set_is_for(const struct reader *r, size_t i, struct target *ret)
{
	const struct conf_set *set = &r->c->sets[i];
	if (!set_is_in(r->section, set) || !target_of(r->section, set, ret))
		return false;
	return !r->name ||
	       (strlen(r->name) == ret->name_len && memcmp(r->name, ret->name, ret->name_len) == 0);
}

static char *known_fields(const struct conf_section *s)
{
	struct buf known;
	buf_init(&known, SHOWN_MAX);
	for (const struct conf_field *field = s->fields; field->name; field++)
		buf_printf(&known, "%s%s", field == s->fields ? "" : ", ", field->name);
	return buf_take(&known);
}

/* What stands between "no such setting" and what there is. */
static const char *field_hint(
	const struct conf_section *s, const char *written, char ret[static NEAR_HINT])
{
	struct near n;
	near_init(&n, written);
	for (const struct conf_field *field = s->fields; field->name; field++)
		near_try(&n, field->name);
	return n.found ? near_hint(&n, ret) : ",";
}

/* Whether a --set names a map without one of its keys. */
static bool set_lacks_key(const struct conf_section *s, const struct conf_set *set)
{
	struct target t;
	_cleanup_(freep) char *with_key = xasprintf("%s.key", set->path);
	const struct conf_set tried = { .path = with_key };
	return target_of(s, &tried, &t);
}

static int check_sets(struct conf *c, const struct conf_section *s, struct fault *f)
{
	struct target t;
	struct fault own;
	int r = 0;
	for (size_t i = 0; i < c->n_sets; i++) {
		const char *path = c->sets[i].path;
		if (!set_is_in(s, &c->sets[i]) || target_of(s, &c->sets[i], &t))
			continue;
		if (set_lacks_key(s, &c->sets[i])) {
			fault_set(&own, FAULT_BAD_REQUEST,
				"--set: %.200s: is set key by key, as in %.200s.KEY=VALUE", path,
				path);
			r = conf_refuse(c, &own, f, r);
			continue;
		}
		char hint[NEAR_HINT];
		_cleanup_(freep) char *known = known_fields(s);
		fault_set(&own, FAULT_BAD_REQUEST, "--set: %.200s: no such setting%s %s%s has: %s",
			path, field_hint(s, strrchr(path, '.') + 1, hint), s->name,
			s->named ? ".NAME" : "", known);
		r = conf_refuse(c, &own, f, r);
	}
	return r;
}

/* "contexts.a" */
static char *scope_of(const struct reader *r)
{
	return xasprintf("%s%s%s", r->section->name, r->name ? "." : "", r->name ? r->name : "");
}

/* Refuses the value of a field; `at` NULL: it came by --set. */
static int refuse(const struct reader *r, const struct conf_field *field,
	const config_setting_t *at, const char *got)
{
	char expected[SHOWN_MAX], hint[NEAR_HINT] = "";
	conf_expected(field, expected, sizeof expected);
	_cleanup_(freep) char *scope = scope_of(r);
	_cleanup_(freep) char *place = at ? conf_place(r->c, at) : xstrdup("--set");
	if (field->type == CONF_ENUM)
		conf_choice_hint(field, got, hint);
	return fault_set(r->f, FAULT_BAD_REQUEST, "%s: %s.%s: expected %s, got %s%s", place, scope,
		field->name, expected, got, hint);
}

/* A map being filled from the file. */
struct filling {
	const struct reader *r;
	const struct conf_field *field;
	json_t *map;
};

static int map_put(
	const struct filling *to, const config_setting_t *at, const char *key, const char *value)
{
	const char *mistake = NULL;
	if (!key[0])
		mistake = "an entry without a key";
	else if (!utf8_is_valid(key, strlen(key)) || !utf8_is_valid(value, strlen(value)))
		mistake = "an entry that is not UTF-8";
	else if (json_object_get(to->map, key))
		mistake = "a key for the second time";
	if (mistake) {
		_cleanup_(freep) char *got = xasprintf("%s: \"%.200s\"", mistake, key);
		return refuse(to->r, to->field, at, got);
	}
	must(json_object_set_new(to->map, key, json_string(value)) == 0);
	return 0;
}

static int map_put_pair(const struct filling *to, const config_setting_t *at)
{
	char got[SHOWN_MAX];
	const char *pair = config_setting_get_string(at);
	const char *equals = pair ? strchr(pair, '=') : NULL;
	if (!equals) {
		conf_found(at, got, sizeof got);
		return refuse(to->r, to->field, at, got);
	}
	_cleanup_(freep) char *key = strndup(pair, (size_t)(equals - pair));
	must(key);
	return map_put(to, at, key, equals + 1);
}

static int map_put_group(
	const struct filling *to, const config_setting_t *group, const char *prefix, int depth)
{
	if (depth > MAP_DEPTH_MAX)
		return refuse(to->r, to->field, group, "groups nested deeper than 64");
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *at = config_setting_get_elem(group, (unsigned)i);
		char got[SHOWN_MAX];
		_cleanup_(freep) char *key =
			xasprintf("%s%s%s", prefix, *prefix ? "." : "", config_setting_name(at));
		int r;
		if (config_setting_is_group(at)) {
			r = map_put_group(to, at, key, depth + 1);
		} else if (config_setting_type(at) == CONFIG_TYPE_STRING) {
			r = map_put(to, at, key, config_setting_get_string(at));
		} else if (config_setting_is_scalar(at)) {
			conf_found(at, got, sizeof got);
			r = map_put(to, at, key, got);
		} else {
			conf_found(at, got, sizeof got);
			r = refuse(to->r, to->field, at, got);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int map_put_all(const struct filling *to, const config_setting_t *at)
{
	char got[SHOWN_MAX];
	int r = 0;
	if (config_setting_is_group(at))
		return map_put_group(to, at, "", 1);
	if (!config_setting_is_aggregate(at)) {
		conf_found(at, got, sizeof got);
		return refuse(to->r, to->field, at, got);
	}
	for (int i = 0; r == 0 && i < config_setting_length(at); i++)
		r = map_put_pair(to, config_setting_get_elem(at, (unsigned)i));
	return r;
}

/* The file or the base gives the map, --set puts single keys on top. */
static int read_map(
	const struct reader *r, const struct conf_field *field, const void *base, json_t **ret)
{
	const config_setting_t *at =
		r->group ? config_setting_get_member(r->group, field->name) : NULL;
	must(!field->def);
	if (base && !at)
		conf_copy_value(CONF_MAP, ret, base);
	else
		*ret = json_object();
	const struct filling to = { r, field, *ret };
	int result = at ? map_put_all(&to, at) : 0;
	struct target t;
	for (size_t i = 0; result == 0 && i < r->c->n_sets; i++)
		if (set_is_for(r, i, &t) && t.field == field)
			must(json_object_set_new(*ret, t.key, json_string(r->c->sets[i].value)) ==
				0);
	return result;
}

/* The last --set wins. */
static const struct conf_set *find_set(const struct reader *r, const struct conf_field *field)
{
	struct target t;
	for (size_t i = r->c->n_sets; i > 0; i--)
		if (set_is_for(r, i - 1, &t) && t.field == field)
			return &r->c->sets[i - 1];
	return NULL;
}

/* Only paths need a folder, and asking for one costs system calls. */
static char *folder_for(
	const struct reader *r, const struct conf_field *field, const config_setting_t *at)
{
	return field->type == CONF_PATH ? conf_folder(r->c, at) : NULL;
}

static int read_set(
	const struct reader *r, const struct conf_field *field, const char *text, void *to)
{
	_cleanup_(freep) char *folder = folder_for(r, field, NULL);
	if (conf_text_value(field, text, folder, to) == 0)
		return 0;
	_cleanup_(freep) char *got = xasprintf("\"%.80s\"", text);
	return refuse(r, field, NULL, got);
}

static int read_setting(const struct reader *r, const struct conf_field *field,
	const config_setting_t *at, void *to)
{
	_cleanup_(freep) char *folder = folder_for(r, field, at);
	if (conf_setting_value(field, at, folder, to) == 0)
		return 0;
	char got[SHOWN_MAX];
	conf_found(at, got, sizeof got);
	return refuse(r, field, at, got);
}

static int read_default(const struct reader *r, const struct conf_field *field, void *to)
{
	if (!field->def) {
		_cleanup_(freep) char *scope = scope_of(r);
		_cleanup_(freep) char *place = conf_place(r->c, r->group);
		return fault_set(r->f, FAULT_BAD_REQUEST, "%s: %s.%s: must be given", place, scope,
			field->name);
	}
	_cleanup_(freep) char *folder = folder_for(r, field, NULL);
	must(conf_text_value(field, field->def, folder, to) == 0);
	return 0;
}

static int read_field(
	const struct reader *r, const struct conf_field *field, const void *base, void *settings)
{
	void *to = (char *)settings + field->offset;
	const void *from = base ? (const char *)base + field->offset : NULL;
	if (field->type == CONF_MAP)
		return read_map(r, field, from, to);
	const struct conf_set *set = find_set(r, field);
	if (set)
		return read_set(r, field, set->value, to);
	const config_setting_t *at =
		r->group ? config_setting_get_member(r->group, field->name) : NULL;
	if (at)
		return read_setting(r, field, at, to);
	if (!from)
		return read_default(r, field, to);
	conf_copy_value(field->type, to, from);
	return 0;
}

static int check_names(const struct reader *r)
{
	struct fault own;
	int result = 0;
	for (int i = 0; r->group && i < config_setting_length(r->group); i++) {
		const config_setting_t *at = config_setting_get_elem(r->group, (unsigned)i);
		const char *name = config_setting_name(at);
		bool is_known = (r->is_in_list && strcmp(name, "name") == 0) ||
				(r->is_of_kind && strcmp(name, "type") == 0);
		for (const struct conf_field *field = r->section->fields; !is_known && field->name;
			field++)
			is_known = strcmp(field->name, name) == 0;
		if (is_known)
			continue;
		_cleanup_(freep) char *place = conf_place(r->c, at), *scope = scope_of(r);
		_cleanup_(freep) char *known = known_fields(r->section);
		char hint[NEAR_HINT];
		fault_set(&own, FAULT_BAD_REQUEST, "%s: %s.%.100s: no such setting%s %s has: %s",
			place, scope, name, field_hint(r->section, name, hint), scope, known);
		result = conf_refuse(r->c, &own, r->f, result);
	}
	return result;
}

/* Fills `settings`, or leaves it zeroes. */
static int read_group(const struct reader *r, const void *base, void *settings)
{
	struct fault own;
	struct reader reader = *r;
	reader.f = &own;
	memset(settings, 0, r->section->size);
	int result = check_names(r);
	for (const struct conf_field *field = r->section->fields; field->name; field++)
		if (read_field(&reader, field, base, settings) < 0)
			result = conf_refuse(r->c, &own, r->f, result);
	if (result < 0)
		conf_done(r->section->fields, settings);
	return result;
}

static int not_a_group(
	struct conf *c, const config_setting_t *at, const char *what, struct fault *f)
{
	char got[SHOWN_MAX];
	struct fault own;
	conf_found(at, got, sizeof got);
	_cleanup_(freep) char *place = conf_place(c, at);
	fault_set(&own, FAULT_BAD_REQUEST, "%s: %s, got %s", place, what, got);
	return conf_refuse(c, &own, f, 0);
}

int conf_read(struct conf *c, const struct conf_section *s, const void *base, void *settings,
	struct fault *f)
{
	must(!s->named);
	const config_setting_t *group =
		config_setting_get_member(config_root_setting(&c->tree), s->name);
	memset(settings, 0, s->size);
	if (group && !config_setting_is_group(group)) {
		_cleanup_(freep) char *what =
			xasprintf("%s: expected a group %s = { ... }", s->name, s->name);
		return not_a_group(c, group, what, f);
	}
	struct fault own;
	int r = check_sets(c, s, f);
	const struct reader reader = {
		.c = c, .section = s, .group = group, .f = r < 0 ? &own : f
	};
	if (read_group(&reader, base, settings) < 0)
		return -1;
	if (r < 0)
		conf_done(s->fields, settings);
	return r;
}

/* All groups of a named section. */
struct naming {
	struct conf *c;
	const struct conf_section *section;
	const void *base;
	conf_base_fn *base_of; /* or NULL: the base is the same for all */
	json_t *seen;          /* name to place */
	int (*each)(void *arg, const char *name, const void *settings, struct fault *f);
	void *arg;
	struct fault *f;
	const struct conf_section *kind; /* of a section with kinds, */
	int (*each_kind)(void *arg, const struct conf_section *kind, const char *name,
		const void *settings, struct fault *f);
	bool *is_used; /* by number of --set */
};

/* The fault of `n` was set, r is negative. */
static int noted(const struct naming *n, int r)
{
	conf_add_problem(n->c, n->f);
	return r;
}

/* Reads one group and hands it out; `group` NULL: it exists by --set only. */
static int one_named(
	const struct naming *n, const char *name, const config_setting_t *group, bool is_in_list)
{
	_cleanup_(freep) char *place = group ? conf_place(n->c, group) : xstrdup("--set");
	if (!name_is_good(name))
		return noted(n,
			fault_set(n->f, FAULT_BAD_REQUEST,
				"%s: %s: \"%.200s\" is not a name: expected 1 to 128 of letters, "
				"digits, '.', '_', '-', and no '.' at the beginning",
				place, n->section->name, name));
	const char *first = json_string_value(json_object_get(n->seen, name));
	if (first)
		return noted(
			n, fault_set(n->f, FAULT_BAD_REQUEST, "%s: %s: \"%s\" stands at %s already",
				   place, n->section->name, name, first));
	must(json_object_set_new(n->seen, name, json_stringn_nocheck(place, strlen(place))) == 0);
	const struct reader reader = { n->c, n->section, name, group, is_in_list, n->kind, n->f };
	_cleanup_(freep) void *settings = xcalloc(1, n->section->size);
	const void *base = n->base_of ? n->base_of(n->arg, name) : n->base;
	int r = read_group(&reader, base, settings);
	if (r < 0)
		return r;
	r = n->kind ? n->each_kind(n->arg, n->kind, name, settings, n->f)
		    : n->each(n->arg, name, settings, n->f);
	conf_done(n->section->fields, settings);
	return r < 0 ? noted(n, fault_prefix(n->f, "%s", place)) : 0;
}

static int named_in_file(const struct naming *n, const config_setting_t *at, bool is_in_list)
{
	const char *section = n->section->name;
	if (!config_setting_is_group(at)) {
		_cleanup_(freep) char *what =
			xasprintf("%s: expected a group for each name", section);
		return not_a_group(n->c, at, what, n->f);
	}
	if (!is_in_list)
		return one_named(n, config_setting_name(at), at, false);
	const config_setting_t *member = config_setting_get_member(at, "name");
	const char *name = member ? config_setting_get_string(member) : NULL;
	if (name)
		return one_named(n, name, at, true);
	_cleanup_(freep) char *place = conf_place(n->c, at);
	return noted(
		n, fault_set(n->f, FAULT_BAD_REQUEST,
			   "%s: %s: a group in the list needs name = \"...\";", place, section));
}

/* Does one of them; those that come after are done too, and the first refusal is kept. */
static int each_in_turn(const struct naming *n, int before, const config_setting_t *at,
	bool is_in_list, const char *name)
{
	struct fault own;
	struct naming one = *n;
	one.f = &own;
	int r = at ? named_in_file(&one, at, is_in_list) : one_named(&one, name, NULL, false);
	if (r < 0 && before == 0)
		*n->f = own;
	return r < 0 ? -1 : before;
}

static int named_by_sets(const struct naming *n, int r)
{
	struct target t;
	for (size_t i = 0; i < n->c->n_sets; i++) {
		const struct conf_set *set = &n->c->sets[i];
		if (!set_is_in(n->section, set) || !target_of(n->section, set, &t))
			continue;
		_cleanup_(freep) char *name = strndup(t.name, t.name_len);
		must(name);
		if (!json_object_get(n->seen, name))
			r = each_in_turn(n, r, NULL, false, name);
	}
	return r;
}

static int read_named(const struct naming *all)
{
	struct naming n = *all;
	struct conf *c = n.c;
	const struct conf_section *s = n.section;
	struct fault *f = n.f;
	must(s->named);
	_cleanup_(json_decrefp) json_t *seen = json_object();
	n.seen = seen;
	const config_setting_t *section =
		config_setting_get_member(config_root_setting(&c->tree), s->name);
	bool is_list = section && config_setting_is_list(section);
	if (section && !is_list && !config_setting_is_group(section)) {
		_cleanup_(freep) char *what =
			xasprintf("%s: expected a group of groups or a list of them", s->name);
		return not_a_group(c, section, what, f);
	}
	int r = check_sets(c, s, f);
	for (int i = 0; section && i < config_setting_length(section); i++)
		r = each_in_turn(
			&n, r, config_setting_get_elem(section, (unsigned)i), is_list, NULL);
	return named_by_sets(&n, r);
}

int conf_read_named(struct conf *c, const struct conf_section *s, const void *base,
	int (*each)(void *arg, const char *name, const void *settings, struct fault *f), void *arg,
	struct fault *f)
{
	return read_named(&(struct naming){
		.c = c, .section = s, .base = base, .each = each, .arg = arg, .f = f });
}

int conf_read_named_on(struct conf *c, const struct conf_section *s, conf_base_fn *base_of,
	int (*each)(void *arg, const char *name, const void *settings, struct fault *f), void *arg,
	struct fault *f)
{
	return read_named(&(struct naming){
		.c = c, .section = s, .base_of = base_of, .each = each, .arg = arg, .f = f });
}

static const struct conf_section *kind_of(const struct conf_section *s, const char *type)
{
	for (const struct conf_section *kind = s->kinds; type && kind->name; kind++)
		if (strcmp(kind->name, type) == 0)
			return kind;
	return NULL;
}

/* The overrides that are for this group. */
static void note_sets(const struct naming *n, const char *name)
{
	const struct reader r = { .c = n->c, .section = n->section, .name = name };
	struct target t;
	for (size_t i = 0; i < n->c->n_sets; i++)
		n->is_used[i] |= set_is_for(&r, i, &t);
}

/* One group of a section with kinds: read as if the section had just the fields of its kind. */
static int one_of_kind(const struct naming *all, const config_setting_t *at)
{
	const char *section = all->section->name, *type = NULL, *name = NULL;
	if (!config_setting_is_group(at)) {
		_cleanup_(freep) char *what = xasprintf("%s: expected a list of groups", section);
		return not_a_group(all->c, at, what, all->f);
	}
	config_setting_lookup_string(at, "type", &type);
	const struct conf_section *kind = kind_of(all->section, type);
	if (!kind) {
		struct buf known;
		struct near n;
		char hint[NEAR_HINT];
		_cleanup_(freep) char *place = conf_place(all->c, at);
		buf_init(&known, SHOWN_MAX);
		near_init(&n, type ? type : "");
		for (kind = all->section->kinds; kind->name; kind++) {
			buf_printf(&known, "%s\"%s\"", known.len ? ", " : "", kind->name);
			near_try(&n, kind->name);
		}
		_cleanup_(freep) char *words = buf_take(&known);
		return noted(all, fault_set(all->f, FAULT_BAD_REQUEST,
					  "%s: %s.type: expected one of %s%s%.80s%s%s", place,
					  section, words, type ? ", got \"" : "", type ? type : "",
					  type ? "\"" : "", near_hint(&n, hint)));
	}
	if (!config_setting_lookup_string(at, "name", &name))
		name = type;
	const struct conf_section as_if = {
		.name = section, .fields = kind->fields, .size = kind->size, .named = true
	};
	struct naming n = *all;
	n.section = &as_if;
	n.kind = kind;
	note_sets(&n, name);
	return one_named(&n, name, at, true);
}

int conf_read_kinds(struct conf *c, const struct conf_section *s,
	int (*each)(void *arg, const struct conf_section *kind, const char *name,
		const void *settings, struct fault *f),
	void *arg, struct fault *f)
{
	must(s->kinds);
	_cleanup_(json_decrefp) json_t *seen = json_object();
	_cleanup_(freep) bool *is_used = xcalloc(c->n_sets + 1, sizeof *is_used);
	const struct naming n = { .c = c,
		.section = s,
		.seen = seen,
		.each_kind = each,
		.arg = arg,
		.f = f,
		.is_used = is_used };
	const config_setting_t *section =
		config_setting_get_member(config_root_setting(&c->tree), s->name);
	if (section && !config_setting_is_list(section)) {
		_cleanup_(freep) char *what = xasprintf(
			"%s: expected a list %s = ( { type = ...; }, ... )", s->name, s->name);
		return not_a_group(c, section, what, f);
	}
	int r = 0;
	struct fault own;
	struct naming one = n;
	one.f = &own;
	for (int i = 0; section && i < config_setting_length(section); i++) {
		int result = one_of_kind(&one, config_setting_get_elem(section, (unsigned)i));
		if (result < 0 && r == 0)
			*f = own;
		r = result < 0 ? -1 : r;
	}
	for (size_t i = 0; i < c->n_sets; i++) {
		if (!set_is_in(s, &c->sets[i]) || is_used[i])
			continue;
		fault_set(&own, FAULT_BAD_REQUEST,
			"--set: %.200s: no group of %s has such a setting", c->sets[i].path,
			s->name);
		r = conf_refuse(c, &own, f, r);
	}
	return r;
}
