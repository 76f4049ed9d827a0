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

struct conf {
	config_t tree;
	char *path;   /* as given; NULL without a file */
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

/* conf_file.c: the whole file into `text`, and everything refused that libconfig would misread. */
int conf_file_read(const char *path, struct buf *text, struct fault *f);
int conf_file_check(const char *path, const char *folder, const struct buf *text, struct fault *f);

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
