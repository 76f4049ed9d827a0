/* SPDX-License-Identifier: Apache-2.0 */
/* A data directory with anything in its rows: the start of a gateway on it, and what it tells of
 * them.
 *
 * An input is lines, each a row: `table|column=value|…`. A value is empty for NULL, `#` and a
 * number, `x` and hexadecimal for a blob, `"` and any bytes for a text; a column that is not named
 * has something usual. The tables are those of the schema, without what it demands of columns: a
 * damaged page asks no schema. On these rows a core starts, with workers that run what they are
 * given, is asked for everything, and ends. It must start; what it hands to workers must be JSON,
 * under an id that is a file's name, and what it answers must be JSON. */
#include "fuzz.h"

#include <errno.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"
#include "hands.h"

enum { INPUT_MAX = 16 * 1024, TABLES_MAX = 16, COLUMNS_MAX = 64, ANSWER_MAX = 1 << 20 };

struct column {
	char *name, *type;
	bool is_needed;
};

struct table {
	char *name;
	struct column columns[COLUMNS_MAX];
	int n_columns;
};

/* What is there for all inputs. */
static struct place {
	char directory[64];
	sqlite3 *db;
	struct table tables[TABLES_MAX];
	size_t n_tables;
} place;

struct play {
	uv_loop_t loop;
	struct store *store;
	struct core *core;
	struct intake *in;
	struct transport doors[2], *door_list[2];
};

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	(void)s, (void)type, (void)ftw;
	return remove(path);
}

static void place_leave(void)
{
	sqlite3_close(place.db);
	nftw(place.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void run_sql(const char *sql)
{
	char *why = NULL;
	if (sqlite3_exec(place.db, sql, NULL, NULL, &why) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", sql, why);
		must(!"SQL of the harness");
	}
}

static sqlite3_stmt *prepare(const char *sql)
{
	sqlite3_stmt *s;
	must(sqlite3_prepare_v2(place.db, sql, -1, &s, NULL) == SQLITE_OK);
	return s;
}

static char *text_of(sqlite3_stmt *s, int i)
{
	const char *text = (const char *)sqlite3_column_text(s, i);
	return xstrdup(text ? text : "");
}

static void read_columns(struct table *t)
{
	_cleanup_(freep) char *sql = xasprintf("PRAGMA table_info(%s)", t->name);
	sqlite3_stmt *s = prepare(sql);
	while (sqlite3_step(s) == SQLITE_ROW && t->n_columns < COLUMNS_MAX)
		t->columns[t->n_columns++] = (struct column){ .name = text_of(s, 1),
			.type = text_of(s, 2),
			.is_needed = sqlite3_column_int(s, 3) };
	sqlite3_finalize(s);
}

static void connect_db(void)
{
	_cleanup_(freep) char *path = xasprintf("%s/mist.db", place.directory);
	must(sqlite3_open(path, &place.db) == SQLITE_OK);
	sqlite3_busy_timeout(place.db, 5000);
	run_sql("PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL");
}

/* The schema as the store makes it; then its demands are taken out. */
static void place_make(void)
{
	struct fault f;
	struct store *st;
	snprintf(place.directory, sizeof place.directory, "%s/mist-fuzz-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	must(mkdtemp(place.directory) && atexit(place_leave) == 0);
	must(store_open(&st, &store_sqlite, &(struct store_settings){ place.directory }, &f) == 0);
	store_close(st);
	connect_db();
	sqlite3_stmt *s = prepare(
		"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' "
		"ORDER BY name");
	while (sqlite3_step(s) == SQLITE_ROW && place.n_tables < TABLES_MAX)
		place.tables[place.n_tables++].name = text_of(s, 0);
	sqlite3_finalize(s);
	for (size_t i = 0; i < place.n_tables; i++)
		read_columns(&place.tables[i]);
	run_sql("PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(replace("
		"replace(sql, ' NOT NULL', ''), ', STRICT', ''), ') STRICT', ')') WHERE type = "
		"'table'; PRAGMA writable_schema = OFF");
	sqlite3_close(place.db);
	connect_db();
}

static unsigned nibble(char c)
{
	return c <= '9' ? (unsigned)(c - '0') & 15 : (unsigned)(c - 'a' + 10) & 15;
}

static void bind_value(sqlite3_stmt *s, int i, const char *value, size_t len)
{
	if (len == 0) {
		sqlite3_bind_null(s, i);
	} else if (value[0] == '#') {
		_cleanup_(freep) char *text = strndup(value + 1, len - 1);
		sqlite3_bind_int64(s, i, strtoll(text, NULL, 10));
	} else if (value[0] == 'x') {
		_cleanup_(freep) char *bytes = xcalloc(1, len);
		size_t n = (len - 1) / 2;
		for (size_t k = 0; k < n; k++)
			bytes[k] = (char)(nibble(value[1 + 2 * k]) << 4 | nibble(value[2 + 2 * k]));
		sqlite3_bind_blob(s, i, n ? bytes : "", (int)n, SQLITE_TRANSIENT);
	} else {
		bool is_quoted = value[0] == '"';
		sqlite3_bind_text(
			s, i, value + is_quoted, (int)(len - is_quoted), SQLITE_TRANSIENT);
	}
}

static void bind_usual(sqlite3_stmt *s, int i, const struct column *c)
{
	static const char id[16] = { 1, 0x90, [6] = 0x70, [8] = (char)0x80 };
	if (!c->is_needed)
		sqlite3_bind_null(s, i);
	else if (strcmp(c->type, "INTEGER") == 0)
		sqlite3_bind_int64(s, i, 0);
	else if (strcmp(c->type, "BLOB") == 0)
		sqlite3_bind_blob(s, i, id, sizeof id, SQLITE_STATIC);
	else
		sqlite3_bind_text(s, i, "{}", -1, SQLITE_STATIC);
}

/* The field `name=value` of the line, or NULL. */
static const char *find_field(const char *line, size_t len, const char *name, size_t *ret_len)
{
	size_t n = strlen(name);
	for (const char *at = line, *end = line + len; at < end;) {
		const char *bar = memchr(at, '|', (size_t)(end - at));
		size_t field = (size_t)((bar ? bar : end) - at);
		if (field > n && memcmp(at, name, n) == 0 && at[n] == '=') {
			*ret_len = field - n - 1;
			return at + n + 1;
		}
		at += field + 1;
	}
	return NULL;
}

static void insert_row(const struct table *t, const char *line, size_t len)
{
	struct buf sql;
	buf_init(&sql, 4096);
	buf_printf(&sql, "INSERT OR IGNORE INTO %s VALUES (?", t->name);
	for (int i = 1; i < t->n_columns; i++)
		buf_puts(&sql, ", ?");
	buf_puts(&sql, ")");
	sqlite3_stmt *s = prepare(sql.data);
	for (int i = 0; i < t->n_columns; i++) {
		size_t n;
		const char *value = find_field(line, len, t->columns[i].name, &n);
		if (value)
			bind_value(s, i + 1, value, n);
		else
			bind_usual(s, i + 1, &t->columns[i]);
	}
	(void)sqlite3_step(s);
	sqlite3_finalize(s);
	buf_done(&sql);
}

static void insert_line(const char *line, size_t len)
{
	for (size_t i = 0; i < place.n_tables; i++) {
		size_t n = strlen(place.tables[i].name);
		if (len > n && memcmp(line, place.tables[i].name, n) == 0 && line[n] == '|')
			insert_row(&place.tables[i], line + n + 1, len - n - 1);
	}
}

static void fill_tables(const char *at, const char *end)
{
	run_sql("BEGIN");
	for (size_t i = 0; i < place.n_tables; i++) {
		_cleanup_(freep) char *sql = xasprintf("DELETE FROM %s", place.tables[i].name);
		run_sql(sql);
	}
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline ? newline : end) - at);
		insert_line(at, len);
		at += len + (newline != NULL);
	}
	run_sql("COMMIT");
}

/* Two transports, by whose names jobs may have come. */

static void publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	(void)self, (void)to;
	if (ev->result)
		must_be_json(ev->result, ev->result_len);
	must(ev->kind == EVENT_REFUSED || ev->job);
}

static int restore(void *self, struct reply_to *to)
{
	(void)self;
	to->wants = ~0u;
	return to->text ? 0 : -EINVAL;
}

static void answered(struct ask *a)
{
	if (a->text && a->kind != ASK_METRICS)
		must_be_json(a->text, strlen(a->text));
	ask_done(a);
	free(a);
}

static void ask_all(struct play *p)
{
	static const enum ask_kind kinds[] = { ASK_FUNCTIONS, ASK_CONTEXTS, ASK_WORKERS, ASK_STATUS,
		ASK_METRICS, ASK_READY };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct ask *a = xcalloc(1, sizeof *a);
		*a = (struct ask){ .kind = kinds[i], .answered = answered };
		if (intake_ask(p->in, a) < 0)
			answered(a);
	}
}

static void show_row(void *arg, const struct job_row *r)
{
	struct buf out;
	(void)arg;
	buf_init(&out, ANSWER_MAX);
	if (job_row_print(r, &out) == 0)
		must_be_json(out.data, out.len);
	buf_done(&out);
}

static void up(struct play *p)
{
	static const struct transport_ops ops = {
		.scheme = "fuzz", .publish = publish, .restore = restore
	};
	struct fault f;
	must(uv_loop_init(&p->loop) == 0);
	must(store_open(&p->store, &store_sqlite, &(struct store_settings){ place.directory },
		     &f) == 0);
	p->core = core_new(&(struct core_parts){
		.loop = &p->loop, .store = p->store, .crew = &hands_crew, .mailbox_max = 1000 });
	hands = (struct hands){ .core = p->core };
	core_configure(p->core, catalog_of(2, 1), &limits);
	p->in = core_intake(p->core, "mqtt");
	for (int i = 0; i < 2; i++) {
		p->doors[i] = (struct transport){
			.name = (char *)(i ? "kafka" : "mqtt"), .ops = &ops, .self = p
		};
		p->door_list[i] = &p->doors[i];
	}
	core_set_doors(p->core, p->door_list, 2);
	must(core_load(p->core) == 0);
	must(core_recover(p->core) == 0);
	core_start(p->core);
	must(core_tell_owed(p->core) == 0);
}

static void down(struct play *p)
{
	core_let_go(p->core);
	store_stop(p->store);
	core_close(p->core);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	core_free(p->core);
	store_close(p->store);
	must(uv_loop_close(&p->loop) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play p = { 0 };
	const struct job_query all = { .limit = 100 };
	int64_t total;
	if (size > INPUT_MAX)
		return 0;
	log_set_level(_LOG_LEVEL_MAX);
	if (!place.db)
		place_make();
	fill_tables((const char *)data, (const char *)data + size);
	up(&p);
	(void)store_job_list(p.store, &all, show_row, NULL, &total);
	for (int i = 0; i < 4; i++)
		hands_turn(&p.loop);
	ask_all(&p);
	hands_turn(&p.loop);
	down(&p);
	return 0;
}
