/* SPDX-License-Identifier: Apache-2.0 */
/* mist apply: what files say, made so at the gateway. */
#pragma once

#include <jansson.h>
#include <libconfig.h>

#include "base/buf.h"
#include "base/fault.h"
#include "cli/cli.h"

int apply_command(struct cli *cli, const struct args *args);

/* The order is the one in which they are made: a function needs its artifact and its context. */
enum item_kind { ITEM_ARTIFACT, ITEM_CONTEXT, ITEM_FUNCTION, _ITEM_MAX };

extern const char *const item_names[_ITEM_MAX];

struct item {
	enum item_kind kind;
	unsigned rank;  /* the two digits that the file's name begins with; 100 without */
	size_t n;       /* in the order of reading */
	char *name;     /* at the gateway */
	char *file;     /* of an artifact */
	char *place;    /* "app.conf:12" */
	json_t *fields; /* what was said of it, as the gateway names it; no artifact has any */
	bool is_same;   /* of an artifact: the gateway has it already */
};

struct items {
	struct item *list;
	size_t n;
	const char *prefix; /* NULL: none */
	struct buf wrong;   /* a sentence a line, with its place */
};

/* apply_files.c: reads a file, or every *.conf below a folder, and sorts. 0, or negative with all
 * that is wrong in `items->wrong`; items_done in any case. */
int items_read(struct items *items, const char *path);
void items_done(struct items *items);

/* apply_fields.c: one group's members, but for those in `skip` (NULL-ended), as the gateway's JSON.
 * NULL: what is wrong with each of them was noted. */
json_t *fields_read(enum item_kind kind, const config_setting_t *group, const char *const *skip,
	const char *path, struct buf *wrong);

/* A member by its name in either form ("class-name", "className"), or NULL. */
config_setting_t *member_find(const config_setting_t *group, const char *name);

/* Notes what is not right there, with "app.conf:12: " before it. Negative. */
int refuse_at(const config_setting_t *at, const char *path, struct buf *wrong, const char *format,
	...) __attribute__((format(printf, 4, 5)));
int note_wrong(struct buf *wrong, const struct fault *f);

char *place_of(const config_setting_t *at, const char *path);
