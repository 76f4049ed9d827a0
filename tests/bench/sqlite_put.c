/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the comparison of durable accepts from Kafka: the same rows, put into a
 * database like the one they come from by nothing but SQLite.
 *
 *     sqlite_put FROM TO ROWS-PER-COMMIT
 *
 * Reads the table `job` of FROM into memory, makes TO with the tables and indexes of FROM and the
 * store's way of writing, and inserts the rows. Prints one line of JSON: rows, failures, and the
 * microseconds that the inserts and commits took. */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void check(int r, sqlite3 *db)
{
	if (r == SQLITE_OK || r == SQLITE_ROW || r == SQLITE_DONE)
		return;
	fprintf(stderr, "%s\n", sqlite3_errmsg(db));
	exit(EXIT_FAILURE);
}

static int copy_schema(void *arg, int n, char **values, char **names)
{
	sqlite3 *to = arg;
	(void)n, (void)names;
	check(sqlite3_exec(to, values[0], NULL, NULL, NULL), to);
	return 0;
}

struct rows {
	sqlite3_value **values;
	size_t n;
	int width;
};

static struct rows read_rows(sqlite3 *from)
{
	struct rows rows = { 0 };
	size_t room = 0;
	sqlite3_stmt *s;
	check(sqlite3_prepare_v2(from, "SELECT * FROM job", -1, &s, NULL), from);
	rows.width = sqlite3_column_count(s);
	while (sqlite3_step(s) == SQLITE_ROW) {
		if (rows.n == room) {
			room = room ? 2 * room : 1024;
			rows.values = realloc(
				rows.values, room * (size_t)rows.width * sizeof *rows.values);
			if (!rows.values)
				exit(EXIT_FAILURE);
		}
		for (int i = 0; i < rows.width; i++)
			rows.values[rows.n * (size_t)rows.width + (size_t)i] =
				sqlite3_value_dup(sqlite3_column_value(s, i));
		rows.n++;
	}
	sqlite3_finalize(s);
	return rows;
}

static void insert(sqlite3 *to, const struct rows *rows, size_t batch)
{
	char sql[512] = "INSERT INTO job VALUES (?";
	sqlite3_stmt *s;
	for (int i = 1; i < rows->width; i++)
		snprintf(sql + strlen(sql), sizeof sql - strlen(sql), ",?");
	snprintf(sql + strlen(sql), sizeof sql - strlen(sql), ")");
	check(sqlite3_prepare_v2(to, sql, -1, &s, NULL), to);
	for (size_t n = 0; n < rows->n; n++) {
		if (n % batch == 0)
			check(sqlite3_exec(to, n ? "COMMIT; BEGIN" : "BEGIN", NULL, NULL, NULL),
				to);
		for (int i = 0; i < rows->width; i++)
			check(sqlite3_bind_value(
				      s, i + 1, rows->values[n * (size_t)rows->width + (size_t)i]),
				to);
		check(sqlite3_step(s), to);
		sqlite3_reset(s);
	}
	check(sqlite3_exec(to, "COMMIT", NULL, NULL, NULL), to);
	sqlite3_finalize(s);
}

int main(int argc, char **argv)
{
	sqlite3 *from, *to;
	size_t batch = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	if (!batch) {
		fputs("usage: sqlite_put FROM TO ROWS-PER-COMMIT\n", stderr);
		return 2;
	}
	check(sqlite3_open(argv[1], &from), from);
	check(sqlite3_open(argv[2], &to), to);
	check(sqlite3_exec(
		      to, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", NULL, NULL, NULL),
		to);
	check(sqlite3_exec(from, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL", copy_schema,
		      to, NULL),
		from);
	struct rows rows = read_rows(from);
	int64_t began = now_us();
	insert(to, &rows, batch);
	printf("{\"requests\":%zu,\"bad\":0,\"duration\":%lld}\n", rows.n,
		(long long)(now_us() - began));
	for (size_t i = 0; i < rows.n * (size_t)rows.width; i++)
		sqlite3_value_free(rows.values[i]);
	free(rows.values);
	sqlite3_close(to);
	sqlite3_close(from);
	return EXIT_SUCCESS;
}
