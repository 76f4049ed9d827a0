/* SPDX-License-Identifier: Apache-2.0 */
/* What the files conf*.c share; nobody else includes it. */
#pragma once

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/near.h"

struct conf_set {
	char *path; /* the text up to its first '=' */
	const char *value;
};

/* The lines from this one of a text up to the next run's are those of a file from `line` on. */
struct conf_run {
	unsigned from;
	const char *file;
	unsigned line;
};

struct conf_text {
	struct buf flat;
	struct conf_run *runs;
	size_t n_runs;
	char **files; /* that are included */
	size_t n_files;
	unsigned n_lines; /* that have ended */
};

struct conf {
	config_t tree;
	struct conf_text text; /* its names of files are those of the tree's settings */
	char *path;            /* as given; NULL without a file */
	char *folder; /* of the file, with its last slash; "" when that is the working directory */
	struct conf_set *sets;
	size_t n_sets;
	struct buf problems;
};

/* conf.c: notes the refusal `f`, and keeps the first one of a call in *ret; returns -1. */
int conf_refuse(struct conf *c, const struct fault *f, struct fault *ret, int before);

/* conf.c: where something stands, for sentences: "mist.conf:12". The caller frees it. */
char *conf_place(const struct conf *c, const config_setting_t *at);

/* The real folder, with a slash at its end, that a relative path counts from; `at` NULL: not in a
 * file, so it is the working directory. The caller frees it. */
char *conf_folder(const struct conf *c, const config_setting_t *at);

/* conf_file.c: the whole file, with the files that it includes in their places, and everything
 * refused that libconfig would misread. All zeroes before; conf_text_done in any case. `path` and
 * the text's own names of files are borrowed by it and by conf_text_line. */
int conf_text_read(const char *path, const char *folder, struct conf_text *to, struct fault *f);
void conf_text_done(struct conf_text *text);

/* From a line of the text to that of the file it is from, and that file; NULL: the text is empty.
 */
const char *conf_text_line(const struct conf_text *text, unsigned *line);

/* conf_text.c, conf_table.c: one value. The parsers return 0 or -EINVAL; the caller knows the words
 * for it. A relative path counts from `folder`. Not for maps. */
int conf_text_value(const struct conf_field *field, const char *text, const char *folder, void *at);
int conf_setting_value(const struct conf_field *field, const config_setting_t *value,
	const char *folder, void *at);
void conf_copy_value(enum conf_type type, void *to, const void *from);

/* "an integer from 0 to 65535" */
void conf_expected(const struct conf_field *field, char *ret, size_t size);

/* "; did you mean shared?" or "", for the text that conf_found or its like has shown, in quotes. */
const char *conf_choice_hint(
	const struct conf_field *field, const char *found, char ret[static NEAR_HINT]);

/* "70000", "\"abc\"", "a group" */
void conf_found(const config_setting_t *value, char *ret, size_t size);
