/* SPDX-License-Identifier: Apache-2.0 */
/* mistd --check-data: is what is in the data directory what a gateway would have written?
 *
 * The database is opened for reading, and nothing is written beside it; SQLite checks its pages,
 * and each row is read as the gateway reads it. A directory that an older version left is read as
 * it is, without making it new. Files are looked at by what they are and, where they have a form,
 * by that. */
#include "store/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/text/plural.h"
#include "base/utf8.h"
#include "domain/context.h"
#include "domain/function.h"
#include "store/journal.h"
#include "store/sqlite_aside.h"
#include "store/sqlite_db.h"
#include "store/sqlite_reader.h"

enum { FILE_MAX = 1 << 20 };

struct check {
	void (*say)(void *arg, const char *sentence);
	void *arg;
	const char *directory;
	size_t problems;
	struct store_census *census;
	struct context_settings defaults;
};

static void complain(struct check *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void complain(struct check *c, const char *format, ...)
{
	struct fault f; /* its text is cut and cleaned for people */
	char text[sizeof f.text];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	fault_set(&f, FAULT_INTERNAL, "%s", text);
	c->problems++;
	c->say(c->arg, f.text);
}

/* Each row of the statement. False: the database failed. */
static bool each_row(struct check *c, sqlite3 *db, const char *sql,
	void (*row)(struct check *c, sqlite3_stmt *s))
{
	_cleanup_(sqlite3_finalizep) sqlite3_stmt *s = NULL;
	int step = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	if (step == SQLITE_OK)
		while ((step = sqlite3_step(s)) == SQLITE_ROW)
			row(c, s);
	if (step == SQLITE_DONE)
		return true;
	complain(c, "the database %s/mist.db cannot be read to its end: %s", c->directory,
		sqlite3_errmsg(db));
	return false;
}

static char *subject_of(sqlite3_stmt *s, enum store_part part, int noun)
{
	int column = part == STORE_PART_DEFINITION ? 1 : 0;
	const void *bytes = sqlite3_column_blob(s, column);
	struct store_row *row =
		store_row_new(part, bytes ? bytes : "", (size_t)sqlite3_column_bytes(s, column));
	row->noun = noun;
	char *subject = store_row_subject(row);
	store_row_free(row);
	return subject;
}

static void check_page(struct check *c, sqlite3_stmt *s)
{
	const char *text = (const char *)sqlite3_column_text(s, 0);
	if (!text || strcmp(text, "ok") != 0)
		complain(c, "the database %s/mist.db is damaged: %s", c->directory,
			text ? text : "");
}

static void check_job(struct check *c, sqlite3_stmt *s)
{
	_cleanup_(job_row_done) struct job_row row = { 0 };
	struct fault f;
	if (sqlite_row_read(s, &row, &f) == 0) {
		c->census->jobs++;
		return;
	}
	_cleanup_(freep) char *subject = subject_of(s, STORE_PART_JOB, 0);
	complain(c, "%s cannot be read: %s", subject, f.text);
}

static bool is_text(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	size_t len = (size_t)sqlite3_column_bytes(s, column);
	return len && utf8_is_text(text, len);
}

static void check_reply_target(struct check *c, sqlite3_stmt *s)
{
	if (sqlite3_column_bytes(s, 0) == sizeof(struct uuid) && is_text(s, 1) && is_text(s, 2)) {
		c->census->reply_targets++;
		return;
	}
	_cleanup_(freep) char *subject = subject_of(s, STORE_PART_REPLY_TARGET, 0);
	complain(c, "%s cannot be read: expected the id of a job, a transport and a text of it",
		subject);
}

static int read_settings(struct check *c, int64_t kind, const json_t *json, struct fault *f)
{
	struct function_settings function;
	struct context_settings context;
	int r;
	if (kind == STORE_FUNCTION) {
		r = function_read_json(json, &function, NULL, f);
		if (r == 0)
			conf_done(function_conf, &function);
	} else {
		r = context_read_json(json, &c->defaults, &context, NULL, f);
		if (r == 0)
			conf_done(context_conf, &context);
	}
	return r;
}

static void check_definition(struct check *c, sqlite3_stmt *s)
{
	int64_t kind = sqlite3_column_int64(s, 0);
	struct fault f;
	_cleanup_(json_decrefp) json_t *json = NULL;
	_cleanup_(freep) char *subject = subject_of(s, STORE_PART_DEFINITION, (int)kind);
	if (kind != STORE_FUNCTION && kind != STORE_CONTEXT)
		fault_set(&f, FAULT_INTERNAL, "its kind is %" PRId64 ", expected 0 or 1", kind);
	else if (!is_text(s, 1) || !name_is_good((const char *)sqlite3_column_text(s, 1)))
		fault_set(&f, FAULT_INTERNAL, "name: expected letters, digits, '.', '_' and '-'");
	else if (!is_text(s, 2))
		fault_set(&f, FAULT_INTERNAL, "settings: expected UTF-8");
	else
		json = json_parse_kept((const char *)sqlite3_column_text(s, 2), &f);
	if (json && json_is_object(json) && read_settings(c, kind, json, &f) == 0) {
		c->census->definitions++;
		return;
	}
	if (json && !json_is_object(json))
		fault_set(&f, FAULT_INTERNAL, "settings: expected an object, got %s",
			json_kind(json));
	complain(c, "%s cannot be read: %s", subject, f.text);
}

static void count_set_aside(struct check *c, sqlite3_stmt *s)
{
	c->census->set_aside = (size_t)sqlite3_column_int64(s, 0);
}

/* Columns that came later are not there yet. */
static const char *jobs_of_version(int version)
{
	if (version < 6)
		return "SELECT " JOB_COLUMNS_OF_1 ", NULL, NULL FROM job";
	if (version < 7)
		return "SELECT " JOB_COLUMNS_OF_1 ", progress, NULL FROM job";
	return "SELECT " JOB_COLUMNS " FROM job";
}

static void check_rows(struct check *c, sqlite3 *db)
{
	int version = 0;
	if (sqlite_db_version(db, &version) < 0) {
		complain(c, "the database %s/mist.db cannot be used: %s", c->directory,
			sqlite3_errmsg(db));
		return;
	}
	if (version < 1 || version > sqlite_db_newest()) {
		complain(c, "the schema of %s/mist.db is %d, expected 1 to %d", c->directory,
			version, sqlite_db_newest());
		return;
	}
	(void)each_row(c, db, "PRAGMA integrity_check", check_page);
	(void)each_row(c, db, jobs_of_version(version), check_job);
	(void)each_row(c, db, "SELECT kind, name, settings FROM noun", check_definition);
	if (version >= 2)
		(void)each_row(
			c, db, "SELECT job, door, reply_to FROM listener", check_reply_target);
	if (version >= 3)
		(void)each_row(c, db, "SELECT COUNT(*) FROM unreadable", count_set_aside);
}

static void check_database(struct check *c)
{
	_cleanup_(freep) char *path = xasprintf("%s/mist.db", c->directory);
	_cleanup_(sqlite3_closep) sqlite3 *db = NULL;
	struct stat st;
	if (stat(path, &st) < 0)
		complain(c, "the database %s cannot be read: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		complain(c, "the database %s cannot be read: it is no file", path);
	else if (sqlite_db_open_looker(&db, path) < 0)
		complain(c, "the database %s cannot be opened", path);
	else
		check_rows(c, db);
}

static void check_worker(struct check *c, const char *path, const char *name, mode_t mode);

/* Each name in a folder of the directory, and whether it is a file, or a folder. */
static void each_name(struct check *c, const char *folder,
	void (*found)(struct check *c, const char *path, const char *name, mode_t mode))
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", c->directory, folder);
	_cleanup_(closedirp) DIR *d = opendir(path);
	if (!d && errno == ENOENT && found == check_worker)
		return; /* a backup, which leaves out what ran: the next start makes the folder */
	if (!d) {
		complain(c, "the folder %s cannot be read: %s", path, strerror(errno));
		return;
	}
	for (;;) {
		struct stat st;
		errno = 0; /* at the end readdir leaves it as it is */
		const struct dirent *e = readdir(d);
		if (!e)
			break;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		_cleanup_(freep) char *child = xasprintf("%s/%s", path, e->d_name);
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			complain(c, "%s cannot be read: %s", child, strerror(errno));
		else
			found(c, child, e->d_name, st.st_mode);
	}
	if (errno)
		complain(c, "the folder %s cannot be read to its end: %s", path, strerror(errno));
}

static bool is_readable(struct check *c, const char *path, mode_t mode)
{
	if (!S_ISREG(mode)) {
		complain(c, "%s is no file", path);
		return false;
	}
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		complain(c, "%s cannot be read: %s", path, strerror(errno));
	return fd >= 0;
}

static void check_log(struct check *c, const char *path, const char *name, mode_t mode)
{
	(void)name;
	c->census->logs += is_readable(c, path, mode);
}

static void check_artifact(struct check *c, const char *path, const char *name, mode_t mode)
{
	if (name[0] == '.') /* what was not finished: the next start sees to it */
		return;
	if (!name_is_good(name))
		complain(c,
			"%s has a name that no artifact can have: expected letters, digits, "
			"'.', '_' and '-'",
			path);
	else
		c->census->artifacts += is_readable(c, path, mode);
}

/* One that a gateway did not end is no trouble: the next start ends it. */
static void check_deployment(struct check *c)
{
	_cleanup_(freep) char *artifacts = xasprintf("%s/artifacts", c->directory);
	_cleanup_(journal_freep) struct journal *j = NULL;
	struct fault f, sentence;
	int r = journal_read(&j, artifacts, &f);
	if (r == 0) {
		char id[UUID_TEXT];
		uuid_format(&j->id, id);
		fault_set(&sentence, FAULT_INTERNAL,
			"deployment %s of %zu artifact%s is not finished: the next start finishes "
			"or undoes it",
			id, j->n_files, plural(j->n_files));
		c->say(c->arg, sentence.text);
	} else if (r != -ENOENT && r != -ENOTDIR) {
		complain(c, "a deployment is not finished, and its journal cannot be read: %s",
			f.text);
	}
	for (int n = 0; n < JOURNALS_ASIDE_MAX; n++) {
		_cleanup_(freep) char *aside = journal_aside(artifacts, n);
		struct stat st;
		if (lstat(aside, &st) == 0)
			complain(c,
				"%s has what is left of a deployment that could not be undone: put "
				"back by hand what is to be kept, and remove it",
				aside);
	}
}

static void check_worker(struct check *c, const char *path, const char *name, mode_t mode)
{
	_cleanup_(freep) char *file = xasprintf("%s/worker.json", path), *text = NULL;
	struct fault f;
	struct stat st;
	if (!S_ISDIR(mode)) {
		complain(c, "%s is no folder of a worker", path);
		return;
	}
	if (lstat(file, &st) < 0) {
		complain(c, "the record of worker %s cannot be read: %s", name, strerror(errno));
		return;
	}
	if (!is_readable(c, file, st.st_mode))
		return;
	_cleanup_(fclosep) FILE *f_in = fopen(file, "re");
	text = xcalloc(1, FILE_MAX + 1);
	text[f_in ? fread(text, 1, FILE_MAX, f_in) : 0] = '\0';
	_cleanup_(json_decrefp) json_t *json = json_parse_kept(text, &f);
	if (json_string_of(json, "worker"))
		c->census->workers++;
	else
		complain(c, "the record of worker %s is no record: %s", name,
			json ? "it names no worker" : f.text);
}

static void check_id(struct check *c)
{
	_cleanup_(freep) char *path = xasprintf("%s/gateway-id", c->directory);
	char text[UUID_TEXT] = "";
	struct uuid id;
	struct stat st;
	if (lstat(path, &st) < 0) {
		complain(c, "%s cannot be read: %s", path, strerror(errno));
		return;
	}
	if (!is_readable(c, path, st.st_mode))
		return;
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	if (!f || fread(text, 1, UUID_TEXT - 1, f) != UUID_TEXT - 1 || !uuid_parse(text, &id))
		complain(c,
			"%s holds no id: the next start makes another, by which brokers do not "
			"know this gateway",
			path);
}

/* What contexts have where nothing is said; the configuration may say more. */
static int read_defaults(struct context_settings *ret)
{
	_cleanup_(conf_freep) struct conf *empty = NULL;
	const struct conf_section section = { "context", context_conf, sizeof *ret, false, "" };
	struct fault f;
	int r = conf_open(&empty, NULL, NULL, 0, &f);
	return r < 0 ? r : conf_read(empty, &section, NULL, ret, &f);
}

size_t store_check_data(const char *directory, void (*say)(void *arg, const char *sentence),
	void *arg, struct store_census *ret)
{
	struct check c = { .say = say, .arg = arg, .directory = directory, .census = ret };
	*ret = (struct store_census){ 0 };
	must(read_defaults(&c.defaults) == 0);
	check_database(&c);
	each_name(&c, "logs", check_log);
	each_name(&c, "artifacts", check_artifact);
	check_deployment(&c);
	each_name(&c, "workers", check_worker);
	check_id(&c);
	conf_done(context_conf, &c.defaults);
	return c.problems;
}
