/* SPDX-License-Identifier: Apache-2.0 */
/* A data directory with anything in its rows: the start of a gateway on it, and what it tells of
 * them.
 *
 * An input is lines, each a row: `table|column=value|…`. A value is empty for NULL, `#` and a
 * number, `x` and hexadecimal for a blob, `"` and any bytes for a text; a column that is not named
 * has something usual. The tables are those of the schema, without what it demands of columns: a
 * damaged page asks no schema. On these rows a core starts, with workers that run what they are
 * given, is asked for everything, and ends. It must start; what it hands to workers must be JSON,
 * under an id that is a file's name, and what it answers must be JSON. The store is opened once:
 * what is read of it is read anew by each core. */
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
	sqlite3_stmt *clear, *insert;
};

/* What is there for all inputs. */
static struct place {
	char directory[64];
	sqlite3 *db;
	struct table tables[TABLES_MAX];
	size_t n_tables;
	sqlite3_stmt *begin, *commit;
	struct store *store;
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

/* SQLite asks for memory all the time, and each time the sanitizer keeps who did. It is given
 * memory of which it only knows the ends. */
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#include <sanitizer/asan_interface.h>
#define HAS_OWN_MEMORY 1
enum { HEAD = 16, TAIL = 24 };

void *__libc_malloc(size_t size);
void __libc_free(void *p);

static void *memory_get(int size)
{
	char *p = __libc_malloc(HEAD + (size_t)size + TAIL);
	if (!p)
		return NULL;
	*(int *)(void *)p = size;
	ASAN_POISON_MEMORY_REGION(p + HEAD + size, TAIL);
	return p + HEAD;
}

static int memory_size(void *p)
{
	return p ? *(int *)(void *)((char *)p - HEAD) : 0;
}

static void memory_put(void *p)
{
	int size = memory_size(p);
	if (!p)
		return;
	ASAN_UNPOISON_MEMORY_REGION((char *)p + size, TAIL);
	__libc_free((char *)p - HEAD);
}

static void *memory_resize(void *p, int size)
{
	int old = memory_size(p);
	void *new = memory_get(size);
	if (!new)
		return NULL;
	memcpy(new, p, (size_t)(old < size ? old : size));
	memory_put(p);
	return new;
}

static int memory_round(int size)
{
	return (size + 7) & ~7;
}

static int memory_begin(void *data)
{
	(void)data;
	return SQLITE_OK;
}

static void memory_end(void *data)
{
	(void)data;
}

static const struct sqlite3_mem_methods memory = { memory_get, memory_put, memory_resize,
	memory_size, memory_round, memory_begin, memory_end, NULL };
#endif

static void configure_sqlite(void)
{
#ifdef HAS_OWN_MEMORY
	must(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) == SQLITE_OK);
#endif
	must(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
}

static void place_leave(void)
{
	store_close(place.store);
	for (size_t i = 0; i < place.n_tables; i++) {
		sqlite3_finalize(place.tables[i].clear);
		sqlite3_finalize(place.tables[i].insert);
	}
	sqlite3_finalize(place.begin);
	sqlite3_finalize(place.commit);
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
	must(sqlite3_prepare_v3(place.db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) ==
		SQLITE_OK);
	return s;
}

static void run(sqlite3_stmt *s)
{
	(void)sqlite3_step(s);
	(void)sqlite3_reset(s);
}

static void prepare_table(struct table *t)
{
	struct buf sql;
	_cleanup_(freep) char *clear = xasprintf("DELETE FROM %s", t->name);
	buf_init(&sql, 4096);
	buf_printf(&sql, "INSERT OR IGNORE INTO %s VALUES (?", t->name);
	for (int i = 1; i < t->n_columns; i++)
		buf_puts(&sql, ", ?");
	buf_puts(&sql, ")");
	t->clear = prepare(clear);
	t->insert = prepare(sql.data);
	buf_done(&sql);
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
	configure_sqlite();
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
	place.begin = prepare("BEGIN");
	place.commit = prepare("COMMIT");
	for (size_t i = 0; i < place.n_tables; i++)
		prepare_table(&place.tables[i]);
	must(store_open(&place.store, &store_sqlite, &(struct store_settings){ place.directory },
		     &f) == 0);
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
	sqlite3_stmt *s = t->insert;
	for (int i = 0; i < t->n_columns; i++) {
		size_t n;
		const char *value = find_field(line, len, t->columns[i].name, &n);
		if (value)
			bind_value(s, i + 1, value, n);
		else
			bind_usual(s, i + 1, &t->columns[i]);
	}
	run(s);
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
	run(place.begin);
	for (size_t i = 0; i < place.n_tables; i++)
		run(place.tables[i].clear);
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline ? newline : end) - at);
		insert_line(at, len);
		at += len + (newline != NULL);
	}
	run(place.commit);
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
	must(uv_loop_init(&p->loop) == 0);
	p->store = place.store;
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
	store_stop(p->store); /* it writes what was posted, here, and goes on with the next */
	core_close(p->core);
	works_finish(&p->loop);
	core_free(p->core);
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
