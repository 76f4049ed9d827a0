/* SPDX-License-Identifier: Apache-2.0 */
/* What the settings refer to, looked at for --check-config: a file that a function is in, programs
 * that workers are started with, folders, certificates, contexts. Each that is not there is a line
 * that names the setting. And, at a reload, what of the settings cannot change in a running
 * gateway. Nothing is opened or started. */
#include "mistd/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

enum { TEXT_MAX = 64 << 10 };

/* One thing to look at, or that is known to be wrong already. */
struct reference {
	struct reference *next;
	char *what, *path; /* path NULL: `what` is a line of the answer */
	bool is_file;      /* and nothing else that can be read */
	int mode; /* of access(); `path` may be the name of a program in PATH if it is X_OK */
};

struct references {
	const struct settings *settings; /* while they are gathered */
	struct reference *first, **last;
};

static void add(struct references *c, char *what, const char *path, int mode)
{
	struct reference *r = xcalloc(1, sizeof *r);
	*r = (struct reference){ .what = what, .path = path ? xstrdup(path) : NULL, .mode = mode };
	*c->last = r;
	c->last = &r->next;
}

static void check_path(struct references *c, const char *what, const char *path, int mode)
{
	if (*path)
		add(c, xstrdup(what), path, mode);
}

/* Certificates and passwords. */
static void check_file(struct references *c, const char *what, const char *path)
{
	check_path(c, what, path, R_OK);
	if (*path)
		container_of(c->last, struct reference, next)->is_file = true;
}

static void check_program(struct references *c, const char *what, const char *program)
{
	check_path(c, what, program, X_OK);
}

static void check_function(void *arg, const struct function *f)
{
	struct references *c = arg;
	const struct catalog *catalog = c->settings->catalog;
	struct fault fault;
	_cleanup_(freep) char *what = xasprintf("functions.%s.path", f->name);
	if (catalog_check_context(catalog, f->settings.context, &fault) < 0)
		add(c, xasprintf("functions.%s.context: %s", f->name, fault.text), NULL, 0);
	if (catalog_check_path(catalog, f->settings.path, f->settings.context, &fault) < 0)
		add(c, xasprintf("functions.%s.%s", f->name, fault.text), NULL, 0);
	if (f->path_kind == PATH_HERE)
		check_path(c, what, f->location, R_OK);
}

static void check_runtime(void *arg, const char *name, const struct runtime_settings *r)
{
	struct references *c = arg;
	_cleanup_(freep) char *python = xasprintf("runtimes.%s.python", name),
			      *spark = xasprintf("runtimes.%s.spark-home", name),
			      *java = xasprintf("runtimes.%s.java", name),
			      *command = xasprintf("runtimes.%s.command", name);
	check_program(c, python, r->python);
	if (r->kind == RUNTIME_PROGRAM) {
		_cleanup_(freep) char *program = strndup(r->command, strcspn(r->command, " "));
		check_program(c, command, program);
	}
	if (r->spark_home[0]) {
		_cleanup_(freep) char *submit = xasprintf("%s/bin/spark-submit", r->spark_home);
		check_path(c, spark, submit, X_OK);
	}
	if (r->java[0]) {
		_cleanup_(freep) char *program = xasprintf("%s/bin/java", r->java);
		check_path(c, java, program, X_OK);
	}
}

static void check_paths(struct references *c, const char *scope, const struct conf_field *fields,
	const void *settings,
	void (*check)(struct references *c, const char *what, const char *path))
{
	for (const struct conf_field *field = fields; field->name; field++) {
		_cleanup_(freep) char *what = xasprintf("%s.%s", scope, field->name);
		if (field->type == CONF_PATH)
			check(c, what, *(char *const *)((const char *)settings + field->offset));
	}
}

static void check_readable(struct references *c, const char *what, const char *path)
{
	check_path(c, what, path, R_OK);
}

struct references *references_of(const struct settings *s)
{
	struct references *c = xcalloc(1, sizeof *c);
	c->settings = s;
	c->last = &c->first;
	check_paths(c, "http", http_conf, &s->http, check_readable);
	for (size_t i = 0; i < s->n_transports; i++) {
		const struct transport_setting *t = &s->transports[i];
		_cleanup_(freep) char *scope = xasprintf("transports.%s", t->name);
		check_paths(c, scope, t->kind->fields, t->settings, check_file);
	}
	check_paths(c, "workers", room_conf, &s->room, check_readable);
	catalog_each_runtime(s->catalog, check_runtime, c);
	catalog_each_function(s->catalog, check_function, c);
	c->settings = NULL;
	return c;
}

static bool is_on_path(const char *program)
{
	const char *path = getenv("PATH");
	for (const char *p = path ? path : ""; *p; p += strcspn(p, ":"), p += *p == ':') {
		_cleanup_(freep) char *file =
			xasprintf("%.*s/%s", (int)strcspn(p, ":"), p, program);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static void look(const struct reference *r, struct buf *out)
{
	struct fault f;
	if (!r->path)
		(void)buf_printf(out, "%s\n", r->what);
	else if (r->mode == X_OK && !strchr(r->path, '/')) {
		if (!is_on_path(r->path))
			(void)buf_printf(
				out, "%s: there is no program %s in PATH\n", r->what, r->path);
	} else if (r->is_file) {
		if (conf_check_file(r->what, r->path, &f) < 0)
			(void)buf_printf(out, "%s\n", f.text);
	} else if (access(r->path, r->mode) < 0)
		(void)buf_printf(out, "%s: %s %s: %s\n", r->what, r->path,
			r->mode == X_OK ? "cannot be run" : "cannot be read", strerror(errno));
}

char *references_check(const struct references *c)
{
	struct buf out;
	buf_init(&out, TEXT_MAX);
	for (const struct reference *r = c->first; r; r = r->next)
		look(r, &out);
	return out.data ? buf_take(&out) : NULL;
}

void references_free(struct references *c)
{
	for (struct reference *r = c ? c->first : NULL, *next; r; r = next) {
		next = r->next;
		free(r->what);
		free(r->path);
		free(r);
	}
	free(c);
}

char *settings_check_references(const struct settings *s)
{
	struct references *c = references_of(s);
	char *text = references_check(c);
	references_free(c);
	return text;
}

static void add_changed(struct buf *out, const char *scope, const struct conf_field *fields,
	const void *a, const void *b)
{
	for (const struct conf_field *field = fields; field->name; field++)
		if (!field->live && !conf_equal_field(field, a, b))
			(void)buf_printf(out, "%s%s.%s", out->len ? ", " : "", scope, field->name);
}

static const struct transport_setting *transport_named(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->n_transports; i++)
		if (strcmp(s->transports[i].name, name) == 0)
			return &s->transports[i];
	return NULL;
}

static void add_changed_transport(
	struct buf *out, const struct transport_setting *t, const struct transport_setting *other)
{
	_cleanup_(freep) char *scope = xasprintf("transports.%s", t->name);
	if (other && other->kind == t->kind)
		add_changed(out, scope, t->kind->fields, t->settings, other->settings);
	else
		(void)buf_printf(out, "%s%s", out->len ? ", " : "", scope);
}

char *settings_need_restart(const struct settings *running, const struct settings *s)
{
	struct buf out;
	buf_init(&out, TEXT_MAX);
	add_changed(&out, "mist", mist_conf, &running->mist, &s->mist);
	add_changed(&out, "http", http_conf, &running->http, &s->http);
	add_changed(&out, "workers", room_conf, &running->room, &s->room);
	for (size_t i = 0; i < s->n_transports; i++)
		add_changed_transport(
			&out, &s->transports[i], transport_named(running, s->transports[i].name));
	for (size_t i = 0; i < running->n_transports; i++)
		if (!transport_named(s, running->transports[i].name))
			add_changed_transport(&out, &running->transports[i], NULL);
	return out.data ? buf_take(&out) : NULL;
}
