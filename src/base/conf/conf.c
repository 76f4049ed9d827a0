/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: the file and the --set texts, opened together and checked for unknown names.
 *
 * A conf is made by conf_open, asked once for each section, and freed: the settings it filled do
 * not point into it. Each room brings its own table; the composition root lists the sections and is
 * the only one that calls this. For every row the first that has it gives the value: --set, the
 * file, the struct given as `base` (context-defaults are one for contexts), the default of the row.
 * Everything found must be known and in range, since a misspelt limit that is silently ignored is
 * found out at night; every refusal names the place. A reload opens a second conf and drops it when
 * it is refused, so the first stays in force. Not thread-safe; libconfig's tree and the texts are
 * owned by the conf. */
#include "base/conf/conf_parts.h"

#include <string.h>

#include "base/utf8.h"

enum { PROBLEMS_MAX = 64 << 10 };

static char *file_of(const struct conf *c, const config_setting_t *at)
{
	const char *file = at ? config_setting_source_file(at) : NULL;
	return xstrdup(file ? file : c->path ? c->path : "(no file)");
}

char *conf_place(const struct conf *c, const config_setting_t *at)
{
	_cleanup_(freep) char *file = file_of(c, at);
	unsigned line = at ? config_setting_source_line(at) : 0;
	return line ? xasprintf("%s:%u", file, line) : TAKE_PTR(file);
}

char *conf_folder(const struct conf *c, const config_setting_t *at)
{
	_cleanup_(freep) char *file = at ? file_of(c, at) : NULL;
	const char *slash = file ? strrchr(file, '/') : NULL;
	_cleanup_(freep) char *folder =
		slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
	must(folder);
	_cleanup_(freep) char *real = realpath(folder, NULL);
	const char *found = real ? real : folder;
	return xasprintf("%s%s", found, found[strlen(found) - 1] == '/' ? "" : "/");
}

static int add_set(struct conf *c, const char *text, struct fault *f)
{
	const char *equals = strchr(text, '=');
	if (!equals || equals == text)
		return fault_set(
			f, FAULT_BAD_REQUEST, "--set: \"%.200s\": expected PATH=VALUE", text);
	if (!utf8_is_valid(text, strlen(text)))
		return fault_set(f, FAULT_BAD_REQUEST, "--set: \"%.200s\": not UTF-8", text);
	char *path = xstrdup(text);
	path[equals - text] = '\0';
	c->sets[c->n_sets++] =
		(struct conf_set){ .path = path, .value = path + (equals - text) + 1 };
	return 0;
}

/* Each setting says the file and the line it was written in. No deeper than the text was found to
 * be. */
static void place_settings(const struct conf *c, config_setting_t *group)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		config_setting_t *at = config_setting_get_elem(group, (unsigned)i);
		if (at->line)
			at->file = conf_text_line(&c->text, &at->line);
		if (config_setting_is_aggregate(at))
			place_settings(c, at);
	}
}

static int parse_file(struct conf *c, struct fault *f)
{
	int r = conf_text_read(c->path, c->folder, &c->text, f);
	if (r < 0)
		return r;
	bool is_good = config_read_string(&c->tree, c->text.flat.data ? c->text.flat.data : "");
	if (is_good) {
		place_settings(c, config_root_setting(&c->tree));
	} else {
		unsigned line = (unsigned)config_error_line(&c->tree), last = c->text.n_lines;
		line = line < last ? line : last;
		const char *file = conf_text_line(&c->text, &line);
		r = fault_set(f, FAULT_BAD_REQUEST, "%s:%u: %s", file ? file : c->path, line,
			config_error_text(&c->tree));
	}
	buf_done(&c->text.flat);
	return r;
}

int conf_open(struct conf **ret, const char *path, const char *const *sets, size_t n_sets,
	struct fault *f)
{
	_cleanup_(conf_freep) struct conf *c = xcalloc(1, sizeof *c);
	const char *slash = path ? strrchr(path, '/') : NULL;
	config_init(&c->tree);
	c->path = path ? xstrdup(path) : NULL;
	c->folder = xasprintf("%.*s", slash ? (int)(slash - path) + 1 : 0, path ? path : "");
	c->sets = xcalloc(n_sets, sizeof *c->sets);
	buf_init(&c->problems, PROBLEMS_MAX);
	int r = path ? parse_file(c, f) : 0;
	for (size_t i = 0; r == 0 && i < n_sets; i++)
		r = add_set(c, sets[i], f);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_sets; i++)
		free(c->sets[i].path);
	free(c->sets);
	buf_done(&c->problems);
	config_destroy(&c->tree);
	conf_text_done(&c->text);
	free(c->folder);
	free(c->path);
	free(c);
}

const config_setting_t *conf_root(const struct conf *c)
{
	return config_root_setting(&c->tree);
}

bool conf_is_empty(const struct conf *c)
{
	return config_setting_length(config_root_setting(&c->tree)) == 0;
}

const char *conf_problems(const struct conf *c)
{
	return c->problems.data ? c->problems.data : "";
}

void conf_add_problem(struct conf *c, const struct fault *f)
{
	(void)buf_printf(&c->problems, "%s\n", f->text); /* what has no room is one too many */
}

int conf_refuse(struct conf *c, const struct fault *f, struct fault *ret, int before)
{
	conf_add_problem(c, f);
	if (before == 0)
		*ret = *f;
	return -1;
}

static const struct conf_section *section_of(
	const struct conf_section *sections, const char *name, size_t len)
{
	for (const struct conf_section *s = sections; s->name; s++)
		if (strlen(s->name) == len && memcmp(s->name, name, len) == 0)
			return s;
	return NULL;
}

static int no_such_section(
	const struct conf_section *sections, const char *place, const char *name, struct fault *f)
{
	_cleanup_(buf_done) struct buf known;
	_cleanup_(freep) char *written = xasprintf("%.*s", (int)strcspn(name, "."), name);
	char hint[NEAR_HINT];
	struct near n;
	near_init(&n, written);
	buf_init(&known, sizeof f->text);
	for (const struct conf_section *s = sections; s->name; s++) {
		buf_printf(&known, "%s%s", s == sections ? "" : ", ", s->name);
		near_try(&n, s->name);
	}
	return fault_set(f, FAULT_BAD_REQUEST, "%s: %.200s: no such section%s there are: %s", place,
		name, n.found ? near_hint(&n, hint) : ",", known.data ? known.data : "none");
}

int conf_check_sections(struct conf *c, const struct conf_section *sections, struct fault *f)
{
	const config_setting_t *root = config_root_setting(&c->tree);
	struct fault own;
	int r = 0;
	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *at = config_setting_get_elem(root, (unsigned)i);
		const char *name = config_setting_name(at);
		_cleanup_(freep) char *place = conf_place(c, at);
		if (!section_of(sections, name, strlen(name))) {
			no_such_section(sections, place, name, &own);
			r = conf_refuse(c, &own, f, r);
		}
	}
	for (size_t i = 0; i < c->n_sets; i++) {
		const char *path = c->sets[i].path;
		size_t len = strcspn(path, ".");
		if (!path[len] || !section_of(sections, path, len)) {
			no_such_section(sections, "--set", path, &own);
			r = conf_refuse(c, &own, f, r);
		}
	}
	return r;
}
