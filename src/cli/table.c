/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and JSON on stdout.
 *
 * A cell is made from a JSON value: a string as it can be shown (shown.h), a time in
 * the reader's own zone, anything else as compact JSON. Columns are as wide as their widest cell,
 * counted in characters. JSON is passed on as the gateway wrote it, so that no number changes its
 * look; on a terminal only white space is put between. */
#include "cli/table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "cli/shown.h"

enum { CELL_MAX = 1 << 20, COLUMNS_MAX = 12, GAP = 2, INDENT = 2 };

bool is_for_people(const struct cli *cli)
{
	return cli->is_terminal && !cli->is_json;
}

static const json_t *member_of(const json_t *row, const char *path)
{
	while (path && row) {
		size_t len = strcspn(path, ".");
		_cleanup_(freep) char *name = strndup(path, len);
		row = json_object_get(row, name);
		path = path[len] ? path + len + 1 : NULL;
	}
	return row;
}

static void add_shown(struct buf *out, const char *text)
{
	_cleanup_(freep) char *line = shown_line(text);
	buf_puts(out, line);
}

static char *cell_text(const json_t *value, enum cell kind)
{
	struct buf out;
	buf_init(&out, CELL_MAX);
	if (kind == CELL_TIME && json_is_integer(value)) {
		time_t seconds = json_integer_value(value) / 1000;
		struct tm local;
		char text[32];
		localtime_r(&seconds, &local);
		strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
		buf_puts(&out, text);
	} else if (kind == CELL_LINE && json_is_string(value)) {
		const char *text = json_string_value(value);
		_cleanup_(freep) char *line = strndup(text, strcspn(text, "\n"));
		add_shown(&out, line);
	} else if (json_is_string(value)) {
		add_shown(&out, json_string_value(value));
	} else if (value && !json_is_null(value)) {
		_cleanup_(freep) char *text = json_text_short(value);
		add_shown(&out, text);
	}
	return buf_take(&out);
}

static size_t width_of(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void print_cell(const char *text, size_t width, bool is_last)
{
	fputs(text, stdout);
	if (is_last)
		putchar('\n');
	else
		printf("%*s", (int)(width - width_of(text) + GAP), "");
}

static bool is_anywhere(const json_t *rows, const char *member)
{
	json_t *row;
	size_t i;
	json_array_foreach (rows, i, row)
		if (member_of(row, member))
			return true;
	return false;
}

void table_print(const struct column *columns, const json_t *rows)
{
	struct column used[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX] = { 0 }, n_columns = 0, n_rows = json_array_size(rows);
	for (const struct column *c = columns; c->head; c++) {
		if (c->is_rare && !is_anywhere(rows, c->member))
			continue;
		must(n_columns < COLUMNS_MAX);
		widths[n_columns] = width_of(c->head);
		used[n_columns++] = *c;
	}
	char **cells = xcalloc(n_rows * n_columns + 1, sizeof *cells);
	for (size_t i = 0; i < n_rows * n_columns; i++) {
		const struct column *c = &used[i % n_columns];
		const json_t *row = json_array_get(rows, i / n_columns);
		cells[i] = cell_text(member_of(row, c->member), c->kind);
		if (width_of(cells[i]) > widths[i % n_columns])
			widths[i % n_columns] = width_of(cells[i]);
	}
	for (size_t c = 0; c < n_columns; c++)
		print_cell(used[c].head, widths[c], c + 1 == n_columns);
	for (size_t i = 0; i < n_rows * n_columns; i++) {
		print_cell(cells[i], widths[i % n_columns], (i + 1) % n_columns == 0);
		free(cells[i]);
	}
	free(cells);
}

static bool is_time(const char *name)
{
	size_t len = strlen(name);
	return (len > 4 && strcmp(name + len - 4, "Time") == 0) || strcmp(name, "time") == 0;
}

static void add_fields(json_t *rows, const char *prefix, const json_t *object)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)object, key, value) {
		_cleanup_(freep) char *name = xasprintf("%s%s%s", prefix, *prefix ? "." : "", key);
		if (json_object_size(value) > 0) {
			add_fields(rows, name, value);
			continue;
		}
		_cleanup_(freep) char *text =
			cell_text(value, is_time(key) ? CELL_TIME : CELL_PLAIN);
		_cleanup_(freep) char *shown = shown_line(name);
		json_array_append_new(rows, json_pack("[s, s]", shown, text));
	}
}

void fields_print(const json_t *object)
{
	_cleanup_(json_decrefp) json_t *rows = json_array();
	size_t width = 0, i;
	json_t *row;
	add_fields(rows, "", object);
	json_array_foreach (rows, i, row) {
		size_t w = width_of(json_string_value(json_array_get(row, 0)));
		width = w > width ? w : width;
	}
	json_array_foreach (rows, i, row) {
		print_cell(json_string_value(json_array_get(row, 0)), width, false);
		print_cell(json_string_value(json_array_get(row, 1)), 0, true);
	}
}

static void print_line(unsigned depth)
{
	printf("\n%*s", (int)(depth * INDENT), "");
}

/* The text is valid JSON; only what is outside of strings is looked at. */
static void print_indented(const char *text, size_t len)
{
	unsigned depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (in_string) {
			putchar(c);
			if (c == '\\' && i + 1 < len)
				putchar(text[++i]);
			in_string = c != '"';
		} else if (memchr(" \t\r\n", c, 4)) {
			continue;
		} else if ((c == '{' || c == '[') && i + 1 < len && memchr("}]", text[i + 1], 2)) {
			printf("%c%c", c, text[++i]);
		} else if (c == '{' || c == '[') {
			putchar(c);
			print_line(++depth);
		} else if (c == '}' || c == ']') {
			print_line(depth ? --depth : 0);
			putchar(c);
		} else if (c == ',') {
			putchar(c);
			print_line(depth);
		} else {
			printf(c == ':' ? "%c " : "%c", c);
			in_string = c == '"';
		}
	}
}

void json_print(const struct cli *cli, const char *text, size_t len)
{
	if (cli->is_terminal)
		print_indented(text, len);
	else
		fwrite(text, 1, len, stdout);
	putchar('\n');
}
