/* SPDX-License-Identifier: Apache-2.0 */
/* Settings from a libconfig file and from `--set path=value`. A setting is one row of a table:
 * parser, range errors, --help-config and the defaults all come from it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/fault.h"

/* What lies at `offset` of a field.
 * CONF_SIZE: a number, or a string such as "64k", "8m", "1g" (powers of 1024).
 * CONF_DURATION: a string as in base/clock.h, or a number of seconds.
 * CONF_PATH: a string; a relative path counts from the folder of the file it stands in, by --set or
 * default from the working directory ("" stays "", and "hdfs://…", "file:/…" are no paths of here);
 * its "./" and "../" at the beginning are resolved.
 * CONF_MAP: nested groups, flattened to dotted keys, or a list of "key=value". */
enum conf_type {
	CONF_BOOL,     /* bool; in text: true, false */
	CONF_INT,      /* int64_t */
	CONF_SIZE,     /* int64_t bytes */
	CONF_DURATION, /* int64_t milliseconds */
	CONF_STR,      /* char *, owned, never NULL once read */
	CONF_PATH,     /* char *, the same */
	CONF_ENUM,     /* int, an index into `choices` */
	CONF_MAP,      /* json_t *, an object of strings, owned */
};

struct conf_field {
	const char *name;
	enum conf_type type;
	size_t offset;
	const char *def;  /* in text; NULL: it must be given (maps: NULL is the empty map) */
	int64_t min, max; /* of numbers, sizes and durations; 0, 0: any that is not negative */
	const char *const *choices; /* CONF_ENUM; NULL-ended */
	const char *unit;           /* for the help: "bytes", "ms"; may be NULL */
	const char *help;           /* one sentence */
	bool live;                  /* a reload (SIGHUP) takes a new value */
};

/* A section is one group (`http = { ... };`) or, when `named`, many: `contexts = { a = { ... };
 * };`, also written as a list `contexts = ( { name = "a.b"; ... } );` for names that libconfig's
 * own names cannot spell. */
struct conf_section {
	const char *name;
	const struct conf_field *fields; /* ended by { 0 } */
	size_t size;                     /* of the struct the fields lie in */
	bool named;
	const char *help;
	/* A named section of groups that differ: `transports = ( { type = "mqtt"; ... } );`.
	 * `type` is the name of one of these (ended by { 0 }), which has the fields; `name` may be
	 * left out and is the type then. */
	const struct conf_section *kinds;
};

struct config_setting_t; /* libconfig.h */

struct conf; /* a parsed file with its overrides */

/* The length of the scheme of "hdfs://…" or "file:/…"; 0: it has none. */
size_t path_scheme_len(const char *path);

/* path NULL: an empty file. `sets` are texts "http.port=0" (for named sections
 * "contexts.default.max-jobs=2") that win over the file. A value from --set is text in the form the
 * type has in a `def`; a CONF_MAP is set key by key:
 * "contexts.default.spark-conf.spark.master=local[2]". Fails with a sentence that starts with
 * "FILE:LINE: ". */
int conf_open(struct conf **ret, const char *path, const char *const *sets, size_t n_sets,
	struct fault *f);
void conf_free(struct conf *c);
DEFINE_CLEANUP(struct conf *, conf_free)

/* The file as libconfig read it, in which each setting's source file (as a path from the working
 * directory) and line are those it was written in, included or not. Borrowed. */
const struct config_setting_t *conf_root(const struct conf *c);

/* The file, with what it includes, has nothing but comments. */
bool conf_is_empty(const struct conf *c);

/* What is wrong is told in the fault, and the rest is read on: all that was refused so far, a
 * sentence a line; "" for nothing. Borrowed, until the next call. */
const char *conf_problems(const struct conf *c);
/* Adds one that the caller has found. */
void conf_add_problem(struct conf *c, const struct fault *f);

/* Every top-level name must be one of the sections, every --set must name one. `sections` is ended
 * by { 0 }. */
int conf_check_sections(struct conf *c, const struct conf_section *sections, struct fault *f);

/* Fills all fields of a plain section: from --set, else the file, else `base` (copied; may be
 * NULL), else the default. An unknown name, a wrong type, a value out of range:
 * "FILE:LINE: http.port: expected an integer from 0 to 65535, got 70000". */
int conf_read(struct conf *c, const struct conf_section *s, const void *base, void *settings,
	struct fault *f);

/* Calls `each` for every group of a named section, in the file's order, with its settings (valid
 * during the call only; take what you need with conf_copy) and where it stands ("mist.conf:12"). A
 * name not of [A-Za-z0-9._-], longer than 128, or given twice is refused. A negative return of
 * `each`, with the fault set, refuses the group; the place is then put before the sentence. Groups
 * that exist only through --set are made too. */
int conf_read_named(struct conf *c, const struct conf_section *s, const void *base,
	int (*each)(void *arg, const char *name, const void *settings, struct fault *f), void *arg,
	struct fault *f);

/* The same, with a base of its own for each name; NULL: the defaults. Borrowed for the call. */
typedef const void *conf_base_fn(void *arg, const char *name);
int conf_read_named_on(struct conf *c, const struct conf_section *s, conf_base_fn *base_of,
	int (*each)(void *arg, const char *name, const void *settings, struct fault *f), void *arg,
	struct fault *f);

/* The same for a section with kinds. Groups must be in the file. */
int conf_read_kinds(struct conf *c, const struct conf_section *s,
	int (*each)(void *arg, const struct conf_section *kind, const char *name,
		const void *settings, struct fault *f),
	void *arg, struct fault *f);

/* The same from a JSON object: the field "max-jobs" is the member "maxJobs"; absent and null are
 * the same and mean `base`'s value, else the default. Durations are strings. Unknown members are
 * ignored. The fault starts with the member's name. Nothing to free on failure. */
int conf_read_json(const struct conf_section *s, const json_t *object, const void *base,
	void *settings, struct fault *f);

/* True if conf_read_json looks at a member of that name. */
bool conf_json_has(const struct conf_section *s, const char *member);

/* Whether what the field `name` says can be read, and is nothing that may have no end or make its
 * reader wait, such as a pipe or a device. 0 also if it says nothing. */
int conf_check_file(const char *name, const char *path, struct fault *f);

/* The first line of the file that the field `name` says; NULL if it says none. The caller frees it.
 */
int conf_read_secret(const char *name, const char *path, char **ret, struct fault *f);

/* A deep copy into a struct that is not initialised. */
void conf_copy(const struct conf_field *fields, void *to, const void *from);
/* Frees the strings and maps, and leaves zeroes. */
void conf_done(const struct conf_field *fields, void *settings);
bool conf_equal_field(const struct conf_field *field, const void *a, const void *b);
bool conf_equal(const struct conf_field *fields, const void *a, const void *b);

/* The table of every setting, for --help-config. */
void conf_help(FILE *out, const struct conf_section *sections);

/* A name a client may use for a thing: [A-Za-z0-9._-], 1 to 128 long, no leading dot. */
bool name_is_good(const char *name);
