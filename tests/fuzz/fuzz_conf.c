/* SPDX-License-Identifier: Apache-2.0 */
/* A file of settings, read with one setting of every type, in a plain section and in a named one.
 *
 * libconfig's include wants a path, so the bytes stand in a file without a name, at a descriptor
 * that is always the same: an input can include itself as "100". */
#include "fuzz.h"

#include <sys/mman.h>

#include "base/conf.h"
#include "base/json.h"

enum { INPUT_MAX = 8 * 1024, FILE_FD = 100 };

struct settings {
	bool flag;
	int64_t number, size, wait;
	char *text, *path;
	int choice;
	json_t *map;
};

static const char *const choices[] = { "one", "two", NULL };

#define AT(member) offsetof(struct settings, member)
static const struct conf_field fields[] = {
	{ "flag", CONF_BOOL, AT(flag), "true" },
	{ "number", CONF_INT, AT(number), "7", .min = -10, .max = 65535 },
	{ "size", CONF_SIZE, AT(size), "64k" },
	{ "wait", CONF_DURATION, AT(wait), "10s" },
	{ "text", CONF_STR, AT(text), "" },
	{ "path", CONF_PATH, AT(path), "here" },
	{ "choice", CONF_ENUM, AT(choice), "one", .choices = choices },
	{ "map", CONF_MAP, AT(map) },
	{ 0 },
};

static const struct conf_section sections[] = {
	{ "plain", fields, sizeof(struct settings) },
	{ "named", fields, sizeof(struct settings), .named = true },
	{ 0 },
};

/* libconfig 1.5 loses the string it was reading when the text ends in a mistake. Only its parser is
 * excused: what we get from it and do not give back is still found. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yyparse\nleak:libconfig_yylex\n";
}

static int each(void *arg, const char *name, const void *settings, struct fault *f)
{
	struct settings copy;
	(void)arg;
	(void)f;
	must(name_is_good(name));
	conf_copy(fields, &copy, settings);
	must(conf_equal(fields, &copy, settings));
	conf_done(fields, &copy);
	return 0;
}

static void write_file(const uint8_t *data, size_t size)
{
	static bool is_made;
	if (!is_made) {
		_cleanup_(closep) int fd = memfd_create("fuzz-conf", 0);
		must(fd >= 0 && dup2(fd, FILE_FD) == FILE_FD);
		is_made = true;
	}
	must(ftruncate(FILE_FD, 0) == 0);
	must(pwrite(FILE_FD, data, size, 0) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const sets[] = { "plain.number=8", "named.a.b.map.c=d" };
	struct fault f = { 0 };
	struct settings plain = { 0 };
	_cleanup_(conf_freep) struct conf *c = NULL;
	if (size > INPUT_MAX)
		return 0;
	write_file(data, size);
	_cleanup_(freep) char *path = xasprintf("/proc/self/fd/%d", FILE_FD);
	int r = conf_open(&c, path, sets, ARRAY_SIZE(sets), &f);
	if (r == 0)
		r = conf_check_sections(c, sections, &f);
	if (r == 0)
		r = conf_read(c, &sections[0], NULL, &plain, &f);
	if (r == 0)
		r = conf_read_named(c, &sections[1], &plain, each, NULL, &f);
	must(r == 0 || f.text[0]);
	conf_done(fields, &plain);
	return 0;
}
