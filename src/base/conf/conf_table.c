/* SPDX-License-Identifier: Apache-2.0 */
/* A whole struct of settings, handled by its table: copied, compared, freed, and printed for
 * --help-config.
 *
 * The struct is the caller's; its strings and maps are its own, so a copy is deep. A struct of
 * zeroes is a legal one to free. Nothing here knows any setting by name, which is why a new one is
 * one row. */
#include "base/conf/conf_parts.h"

#include <jansson.h>
#include <string.h>

enum {
	HELP_INDENT = 2,
	HELP_NAMES = 24, /* where the second column begins */
	HELP_WIDTH = 100,
};

static size_t value_size(enum conf_type type)
{
	switch (type) {
	case CONF_BOOL:
		return sizeof(bool);
	case CONF_ENUM:
		return sizeof(int);
	case CONF_INT:
	case CONF_SIZE:
	case CONF_DURATION:
		return sizeof(int64_t);
	case CONF_STR:
	case CONF_PATH:
	case CONF_MAP:
		break;
	}
	return sizeof(void *);
}

void conf_copy_value(enum conf_type type, void *to, const void *from)
{
	if (type == CONF_STR || type == CONF_PATH)
		*(char **)to = xstrdup(*(char *const *)from);
	else if (type == CONF_MAP)
		must((*(json_t **)to = json_deep_copy(*(json_t *const *)from)));
	else
		memcpy(to, from, value_size(type));
}

void conf_copy(const struct conf_field *fields, void *to, const void *from)
{
	for (const struct conf_field *f = fields; f->name; f++)
		conf_copy_value(f->type, (char *)to + f->offset, (const char *)from + f->offset);
}

void conf_done(const struct conf_field *fields, void *settings)
{
	for (const struct conf_field *f = fields; f->name; f++) {
		void *at = (char *)settings + f->offset;
		if (f->type == CONF_STR || f->type == CONF_PATH)
			free(*(char **)at);
		else if (f->type == CONF_MAP)
			json_decref(*(json_t **)at);
		memset(at, 0, value_size(f->type));
	}
}

static bool value_equal(enum conf_type type, const void *a, const void *b)
{
	if (type == CONF_STR || type == CONF_PATH)
		return strcmp(*(char *const *)a, *(char *const *)b) == 0;
	if (type == CONF_MAP)
		return json_equal(*(json_t *const *)a, *(json_t *const *)b);
	return memcmp(a, b, value_size(type)) == 0;
}

bool conf_equal_field(const struct conf_field *field, const void *a, const void *b)
{
	return value_equal(
		field->type, (const char *)a + field->offset, (const char *)b + field->offset);
}

bool conf_equal(const struct conf_field *fields, const void *a, const void *b)
{
	for (const struct conf_field *f = fields; f->name; f++)
		if (!conf_equal_field(f, a, b))
			return false;
	return true;
}

/* Prints text from column `from` on, broken at spaces; the cursor is in that column already. */
static void print_wrapped(FILE *out, const char *text, int from)
{
	size_t width = (size_t)(HELP_WIDTH - from);
	for (;;) {
		size_t len = strlen(text), cut = len;
		if (len > width) {
			for (cut = width; cut > 0 && text[cut] != ' ';)
				cut--;
			if (cut == 0)
				cut = strcspn(text, " ");
		}
		fprintf(out, "%.*s\n", (int)cut, text);
		text += cut;
		text += strspn(text, " ");
		if (!*text)
			return;
		fprintf(out, "%*s", from, "");
	}
}

static char *describe(const struct conf_field *field)
{
	char expected[400];
	conf_expected(field, expected, sizeof expected);
	_cleanup_(freep) char *def = NULL;
	bool is_quoted = field->type == CONF_STR || field->type == CONF_PATH ||
			 field->type == CONF_ENUM || field->type == CONF_DURATION;
	if (field->def)
		def = xasprintf(is_quoted ? "default \"%s\"" : "default %s", field->def);
	else
		def = xstrdup(field->type == CONF_MAP ? "default empty" : "must be given");
	return xasprintf("%s; %s; %s", expected, def, field->live ? "live" : "needs restart");
}

static void help_field(FILE *out, const struct conf_field *field)
{
	int used = fprintf(out, "%*s%s", HELP_INDENT, "", field->name);
	if (used >= HELP_NAMES) {
		fputc('\n', out);
		used = 0;
	}
	fprintf(out, "%*s", HELP_NAMES - used, "");
	_cleanup_(freep) char *text = describe(field);
	print_wrapped(out, text, HELP_NAMES);
	if (field->help) {
		fprintf(out, "%*s", HELP_NAMES, "");
		print_wrapped(out, field->help, HELP_NAMES);
	}
}

static void help_kinds(FILE *out, const struct conf_section *s)
{
	for (const struct conf_section *kind = s->kinds; kind->name; kind++) {
		_cleanup_(freep) char *head =
			xasprintf("%s.NAME of type %s: %s", s->name, kind->name, kind->help);
		fputc('\n', out);
		print_wrapped(out, head, 0);
		for (const struct conf_field *field = kind->fields; field->name; field++)
			help_field(out, field);
	}
}

void conf_help(FILE *out, const struct conf_section *sections)
{
	for (const struct conf_section *s = sections; s->name; s++) {
		if (s->kinds) {
			help_kinds(out, s);
			continue;
		}
		_cleanup_(freep) char *head = xasprintf(
			"%s%s: %s", s->name, s->named ? ".NAME" : "", s->help ? s->help : "");
		if (s != sections)
			fputc('\n', out);
		print_wrapped(out, head, 0);
		for (const struct conf_field *field = s->fields; field->name; field++)
			help_field(out, field);
	}
}
