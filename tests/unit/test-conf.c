/* SPDX-License-Identifier: Apache-2.0 */
/* base/conf.h, by cases: every folder of conf.d is a test of its name. It holds input.conf, perhaps
 * `sets` (one --set a line) and other files, and either `expected` (every group, and each setting
 * that is not the default) or `error` (the whole sentence). A new case needs no code. */
#include "unit.h"

#include <dirent.h>
#include <jansson.h>
#include <libconfig.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/conf.h"

enum { TEXT_MAX = 100000, SETS_MAX = 20 };

struct door {
	char *host, *root;
	int64_t port, body, wait_ms;
	bool tls;
	int mode;
};

struct room {
	json_t *conf;
	char *class_name;
	int64_t jobs, downtime_ms;
	bool eager;
};

static const char *const modes[] = { "one", "many", NULL };

static const struct conf_field door_fields[] = {
	{ "host", CONF_STR, offsetof(struct door, host), "127.0.0.1", .help = "where to listen" },
	{ "port", CONF_INT, offsetof(struct door, port), "2003", .max = 65535,
		.help = "0 takes any free one" },
	{ "body", CONF_SIZE, offsetof(struct door, body), "1m", .min = 1, .max = 1 << 30,
		.unit = "bytes",
		.help = "the longest body that is taken, with a sentence that goes on for so long "
			"that it does not "
			"fit in one line of the help and is broken" },
	{ "wait", CONF_DURATION, offsetof(struct door, wait_ms), "10s", .min = 1000, .max = 3600000,
		.live = true, .help = "how long to wait" },
	{ "tls", CONF_BOOL, offsetof(struct door, tls), "false", .help = "speak TLS" },
	{ "mode", CONF_ENUM, offsetof(struct door, mode), "one", .choices = modes,
		.help = "one or many" },
	{ "root", CONF_PATH, offsetof(struct door, root), "", .help = "files to serve" },
	{ 0 },
};

static const struct conf_field room_fields[] = {
	{ "spark-conf", CONF_MAP, offsetof(struct room, conf), NULL, .live = true,
		.help = "Spark properties" },
	{ "class-name", CONF_STR, offsetof(struct room, class_name), "none", .live = true,
		.help = "the class" },
	{ "max-jobs", CONF_INT, offsetof(struct room, jobs), "1", .min = 1, .max = 1000,
		.live = true, .help = "jobs" },
	{ "downtime", CONF_DURATION, offsetof(struct room, downtime_ms), "1h", .live = true,
		.help = "idle time" },
	{ "a-setting-with-a-rather-long-name", CONF_BOOL, offsetof(struct room, eager), "false",
		.help = "eager" },
	{ 0 },
};

static const struct conf_field must_fields[] = {
	{ "class-name", CONF_STR, offsetof(struct room, class_name), NULL,
		.help = "has no default" },
	{ 0 },
};

static const struct conf_section door_section = { "door", door_fields, sizeof(struct door), false,
	"the door" };
static const struct conf_section defaults_section = { "room-defaults", room_fields,
	sizeof(struct room), false, "what rooms have in common" };
static const struct conf_section rooms_section = { "rooms", room_fields, sizeof(struct room), true,
	"the rooms" };
static const struct conf_section musts_section = { "musts", must_fields, sizeof(struct room), true,
	"with a must" };

static char *read_text(const char *path)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "r");
	if (!file)
		return NULL;
	char *text = xcalloc(TEXT_MAX, 1);
	size_t len = fread(text, 1, TEXT_MAX - 1, file);
	text[len] = '\0';
	return text;
}

static void show_value(struct buf *out, const struct conf_field *field, const void *at)
{
	char cwd[1000];
	char *const *text = at;
	must(getcwd(cwd, sizeof cwd));
	switch (field->type) {
	case CONF_BOOL:
		buf_puts(out, *(const bool *)at ? "true" : "false");
		break;
	case CONF_INT:
	case CONF_SIZE:
	case CONF_DURATION:
		buf_printf(out, "%lld", *(const long long *)at);
		break;
	case CONF_PATH:
		if (strncmp(*text, cwd, strlen(cwd)) == 0)
			buf_printf(out, "(here)%s", *text + strlen(cwd));
		else
			buf_puts(out, *text);
		break;
	case CONF_STR:
		buf_printf(out, "\"%s\"", *text);
		break;
	case CONF_ENUM:
		buf_puts(out, field->choices[*(const int *)at]);
		break;
	case CONF_MAP: {
		_cleanup_(freep) char *map =
			json_dumps(*(json_t *const *)at, JSON_COMPACT | JSON_SORT_KEYS);
		buf_puts(out, map);
		break;
	}
	}
}

/* "NAME" and then each setting that differs from the default. */
static void show_group(
	struct buf *out, const struct conf_section *s, const char *name, const void *settings)
{
	const struct conf_section plain = { s->name, s->fields, s->size, false, NULL };
	struct conf *empty;
	struct fault f;
	_cleanup_(freep) void *plainly = xcalloc(1, s->size);
	buf_printf(out, "%s\n", name);
	must(conf_open(&empty, NULL, NULL, 0, &f) == 0);
	bool has_defaults = conf_read(empty, &plain, NULL, plainly, &f) == 0;
	for (const struct conf_field *field = s->fields; field->name; field++) {
		_cleanup_(buf_done) struct buf is, was;
		buf_init(&is, TEXT_MAX);
		buf_init(&was, TEXT_MAX);
		show_value(&is, field, (const char *)settings + field->offset);
		if (has_defaults)
			show_value(&was, field, (const char *)plainly + field->offset);
		if (!has_defaults || strcmp(is.data, was.data) != 0)
			buf_printf(out, "  %s = %s\n", field->name, is.data);
	}
	conf_done(s->fields, plainly);
	conf_free(empty);
}

struct showing {
	struct buf *out;
	const struct conf_section *section;
};

static int show_named(void *arg, const char *name, const void *settings, struct fault *f)
{
	const struct showing *s = arg;
	if (strcmp(name, "haunted") == 0)
		return fault_set(f, FAULT_BAD_REQUEST, "there is something in the room");
	_cleanup_(freep) char *title = xasprintf("%s %s", s->section->name, name);
	show_group(s->out, s->section, title, settings);
	return 0;
}

static int read_rooms(struct conf *c, struct buf *out, struct fault *f)
{
	struct room defaults;
	int r = conf_read(c, &defaults_section, NULL, &defaults, f);
	if (r < 0)
		return r;
	struct showing rooms = { out, &rooms_section }, musts = { out, &musts_section };
	r = conf_read_named(c, &rooms_section, &defaults, show_named, &rooms, f);
	conf_done(room_fields, &defaults);
	return r < 0 ? r : conf_read_named(c, &musts_section, NULL, show_named, &musts, f);
}

static int read_all(const char *const *sets, size_t n_sets, struct buf *out, struct fault *f)
{
	const struct conf_section sections[] = { door_section, defaults_section, rooms_section,
		musts_section, { 0 } };
	_cleanup_(conf_freep) struct conf *c = NULL;
	struct door door;
	int r = conf_open(&c, "input.conf", sets, n_sets, f);
	if (r == 0)
		r = conf_check_sections(c, sections, f);
	if (r == 0)
		r = conf_read(c, &door_section, NULL, &door, f);
	if (r < 0)
		return r;
	show_group(out, &door_section, "door", &door);
	conf_done(door_fields, &door);
	return read_rooms(c, out, f);
}

static void a_case_reads_as_expected(void **state)
{
	const char *name = *state, *sets[SETS_MAX];
	size_t n_sets = 0;
	must(chdir(name) == 0);
	_cleanup_(freep) char *set_lines = read_text("sets"), *expected = read_text("expected"),
			      *error = read_text("error");
	for (char *rest = set_lines, *line; rest && (line = strsep(&rest, "\n"));)
		if (*line && n_sets < SETS_MAX)
			sets[n_sets++] = line;
	_cleanup_(buf_done) struct buf out;
	buf_init(&out, TEXT_MAX);
	struct fault f = { 0 };
	int r = read_all(sets, n_sets, &out, &f);
	must(chdir("..") == 0);
	if (r < 0)
		strncat(f.text, "\n", sizeof f.text - strlen(f.text) - 1);
	check((expected == NULL) != (error == NULL));
	if (error)
		check_str(r < 0 ? f.text : "no error\n", error);
	else
		check_str(r < 0 ? f.text : out.data, expected);
}

TEST(help_shows_every_setting_in_100_columns)
{
	const struct conf_section sections[] = { door_section, rooms_section, { 0 } };
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	must(out);
	conf_help(out, sections);
	fclose(out);
	_cleanup_(freep) char *expected = read_text("../conf-help.txt");
	check(expected != NULL);
	check_str(text, expected);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		check(strlen(line) <= 100);
	free(text);
}

TEST(a_copy_is_deep_and_equal_until_changed)
{
	struct conf *c;
	struct fault f;
	struct room a, b;
	const char *set = "room-defaults.spark-conf.spark.master=local";
	must(conf_open(&c, NULL, &set, 1, &f) == 0);
	must(conf_read(c, &defaults_section, NULL, &a, &f) == 0);
	conf_free(c);
	conf_copy(room_fields, &b, &a);
	check(conf_equal(room_fields, &a, &b));
	json_object_set_new(b.conf, "spark.master", json_string("yarn"));
	check(!conf_equal(room_fields, &a, &b));
	conf_done(room_fields, &b);
	conf_copy(room_fields, &b, &a);
	b.class_name[0] = 'N';
	check(!conf_equal(room_fields, &a, &b));
	conf_done(room_fields, &a);
	conf_done(room_fields, &a);
	conf_done(room_fields, &b);
}

TEST(a_file_that_cannot_be_read_is_told)
{
	struct conf *c;
	struct fault f;
	check(conf_open(&c, "none.conf", NULL, 0, &f) < 0);
	check_str(f.text, "none.conf: cannot be read: No such file or directory");
	check(conf_open(&c, ".", NULL, 0, &f) < 0);
	check_str(f.text, ".: cannot be read: Is a directory");
}

TEST(a_secret_is_the_first_line_of_a_file_and_of_nothing_that_has_no_end)
{
	char long_line[4098], path[] = "/tmp/mist-secret-XXXXXX";
	_cleanup_(closep) int fd = mkstemp(path);
	_cleanup_(freep) char *secret = NULL;
	struct fault f;
	must(fd >= 0);
	memset(long_line, 'x', sizeof long_line);
	check(conf_read_secret("file", path, &secret, &f) < 0 && strstr(f.text, "it is empty"));
	check(write(fd, "one\r\ntwo\n", 10) == 10);
	check_int(conf_read_secret("file", path, &secret, &f), 0);
	check_str(secret, "one");
	free(TAKE_PTR(secret));
	check(pwrite(fd, long_line, 4096, 0) == 4096);
	check_int(conf_read_secret("file", path, &secret, &f), 0);
	check_int(strlen(secret), 4096);
	free(TAKE_PTR(secret));
	check(pwrite(fd, long_line, 4097, 0) == 4097);
	check(conf_read_secret("file", path, &secret, &f) < 0 && strstr(f.text, "4096 bytes"));
	unlink(path);
	check_int(mkfifo(path, 0600), 0);
	check(conf_read_secret("file", path, &secret, &f) < 0 && strstr(f.text, "not a file"));
	unlink(path);
	check(conf_read_secret("file", "/dev/zero", &secret, &f) < 0);
	check(conf_read_secret("file", "/tmp", &secret, &f) < 0 && strstr(f.text, "directory"));
	check_int(conf_read_secret("file", "", &secret, &f), 0);
	check(secret == NULL);
}

static void put_file(const char *path, const char *text)
{
	FILE *to = fopen(path, "we");
	must(to && fputs(text, to) >= 0 && fclose(to) == 0);
}

static void check_written(const struct conf *c, const char *name, const char *file, int line)
{
	const config_setting_t *at = config_setting_get_member(conf_root(c), name);
	check(at != NULL);
	check_str(config_setting_source_file(at), file);
	check_int(config_setting_source_line(at), line);
}

static void check_includes(const char *path, const char *folder, const char *top)
{
	_cleanup_(conf_freep) struct conf *c = NULL;
	_cleanup_(freep) char *a = xasprintf("%s/more/a.conf", top),
			      *b = xasprintf("%s/more/b.conf", top),
			      *d = xasprintf("%smore/d.conf", folder);
	struct fault f;
	if (conf_open(&c, path, NULL, 0, &f) < 0)
		fail_msg("%s: %s", path, f.text);
	check_written(c, "before", path, 1);
	check_written(c, "in-a", a, 2);
	check_written(c, "in-b", b, 1);
	check_written(c, "in-d", d, 2);
	check_written(c, "after-b", a, 4);
	check_written(c, "behind", path, 2);
	check_written(c, "after", path, 3);
}

TEST(an_included_file_is_found_by_its_absolute_name_and_from_the_folder_of_the_main_file)
{
	char top[] = "/tmp/mist-conf-XXXXXX", here[PATH_MAX], text[256], path[64];
	must(mkdtemp(top) && getcwd(here, sizeof here) && chdir(top) == 0);
	must(mkdir("more", 0700) == 0 && mkdir("other", 0700) == 0);
	snprintf(text, sizeof text,
		"before = 1;\n @include \t\"%s/more/a.conf\" behind = 2;\n"
		"after = 3; # @include \"none\"",
		top);
	put_file("main.conf", text);
	snprintf(text, sizeof text,
		"\nin-a = 1; /*\n@include \"none\" */ \n@include \"%s/more/b.conf\" "
		"after-b = 1;\n# the end",
		top);
	put_file("more/a.conf", text);
	put_file("more/b.conf", "in-b = 1;\n@include \"more/d.conf\"");
	put_file("more/d.conf", "\nin-d = 1;");
	snprintf(path, sizeof path, "%s/main.conf", top);
	snprintf(text, sizeof text, "%s/", top);
	check_includes("main.conf", "", top);
	check_includes("./main.conf", "./", top);
	check_includes(path, text, top);
	must(chdir("other") == 0);
	check_includes("../main.conf", "../", top);
	must(chdir("..") == 0);
	put_file("more/d.conf", "\n/* in-d = 1;");
	struct conf *c;
	struct fault f;
	check(conf_open(&c, "main.conf", NULL, 0, &f) < 0);
	check_str(f.text, "more/d.conf:2: a comment without its end");
	put_file("more/d.conf", "@include \"/no/such.conf\"");
	check(conf_open(&c, "main.conf", NULL, 0, &f) < 0);
	check_str(f.text, "more/d.conf:1: @include \"/no/such.conf\": No such file or directory");
	put_file("main.conf", "@include \"many.conf\"");
	FILE *many = fopen("many.conf", "we");
	for (int i = 0; i < 1001; i++)
		fprintf(many, "@include \"more/e.conf\"\n");
	fclose(many);
	put_file("more/e.conf", "");
	check(conf_open(&c, "main.conf", NULL, 0, &f) < 0);
	check_str(f.text, "many.conf:1000: more than 1000 files are included");
	static const char *const files[] = { "main.conf", "many.conf", "more/a.conf", "more/b.conf",
		"more/d.conf", "more/e.conf" };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(files[i]);
	must(rmdir("more") == 0 && rmdir("other") == 0 && chdir(here) == 0 && rmdir(top) == 0);
}

TEST(names_are_checked)
{
	char longest[130];
	memset(longest, 'x', 129);
	longest[128] = longest[129] = '\0';
	check(name_is_good("a") && name_is_good("A.b_c-9") && name_is_good("9") &&
		name_is_good(longest));
	longest[128] = 'x';
	check(!name_is_good("") && !name_is_good(".a") && !name_is_good("a b") &&
		!name_is_good("a/b"));
	check(!name_is_good(longest) && !name_is_good("\xc3\xa9") && !name_is_good("a\n"));
}

static int is_case(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(void)
{
	const struct CMUnitTest single[] = { PROVES(help_shows_every_setting_in_100_columns),
		PROVES(a_copy_is_deep_and_equal_until_changed),
		PROVES(a_file_that_cannot_be_read_is_told),
		PROVES(a_secret_is_the_first_line_of_a_file_and_of_nothing_that_has_no_end),
		PROVES(an_included_file_is_found_by_its_absolute_name_and_from_the_folder_of_the_main_file),
		PROVES(names_are_checked) };
	struct dirent **cases;
	must(chdir("conf.d") == 0);
	int n = scandir(".", &cases, is_case, alphasort);
	must(n > 0);
	_cleanup_(freep) struct CMUnitTest *tests =
		xcalloc((size_t)n + ARRAY_SIZE(single), sizeof *tests);
	for (int i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){ cases[i]->d_name, a_case_reads_as_expected, NULL,
			NULL, cases[i]->d_name };
	memcpy(tests + n, single, sizeof single);
	int failed =
		_cmocka_run_group_tests("conf", tests, (size_t)n + ARRAY_SIZE(single), NULL, NULL);
	for (int i = 0; i < n; i++)
		free(cases[i]);
	free(cases);
	return failed;
}
