/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the store that cannot be read. What a program finds in its own database may be of a later
 * version of it, of a person with an editor, or of a disk that forgets; one such row stops neither
 * a start nor a list. It is set aside: moved whole to where people find it, with a sentence, and
 * counted. Nothing of it is lost, and who set it right may bring it back. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

struct store;

/* What is kept by name beside jobs. The numbers stand in the database: append only. */
enum store_noun { STORE_FUNCTION, STORE_CONTEXT };

/* What a row was that could not be read. The numbers stand in the database: append only. */
enum store_part { STORE_PART_JOB, STORE_PART_REPLY_TARGET, STORE_PART_DEFINITION, _STORE_PART_MAX };

/* Names one row, by bytes: what names it may be what is wrong with it. */
struct store_row {
	enum store_part part;
	int noun; /* of a definition: enum store_noun */
	/* A job: its id. A reply target: the job's id, the transport, the text. A definition: its
	 * name. Owned. */
	struct {
		char *bytes;
		size_t len;
	} key[3];
};

/* Any thread, like the next three. */
struct store_row *store_row_new(enum store_part part, const void *key, size_t len);
void store_row_set_key(struct store_row *row, size_t i, const void *bytes, size_t len);
void store_row_free(struct store_row *row);         /* NULL is fine */
char *store_row_title(const struct store_row *row); /* what names it, for people; the caller's */
/* The same as the subject of a sentence: "a reply target of job …"; the caller's. */
char *store_row_subject(const struct store_row *row);
/* "job", "reply-target", "definition"; of a number that is none of enum store_part: "unknown". */
const char *store_part_name(int64_t part);

/* A row that was set aside, borrowed. */
struct store_unreadable {
	int64_t number, found_ms;
	const char *kind;    /* "job", "reply-target", "definition" */
	const char *key;     /* what named it, for people */
	const char *reason;  /* a sentence */
	const char *content; /* JSON: all its columns as they were; NULL in a list */
};

typedef void store_unreadable_fn(void *arg, const struct store_unreadable *u);

/* Moves a row out of the way that its reader cannot take for what it should be, whole, with a
 * sentence why; done when the store can write. Any thread. Takes row. */
void store_set_aside(struct store *st, struct store_row *row, const char *reason);
void store_set_aside_definition(
	struct store *st, enum store_noun noun, const char *name, const char *reason);
void store_set_aside_reply_target(struct store *st, const struct uuid *job, const char *transport,
	const char *text, const char *reason);

/* As in store_ops. The second: how many there are. */
int store_unreadable_each(struct store *st, int64_t number, int64_t limit, int64_t offset,
	store_unreadable_fn *each, void *arg, int64_t *ret_total);
int64_t store_unreadable_count(struct store *st);
