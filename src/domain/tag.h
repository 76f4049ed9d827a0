/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags of functions and contexts, and lists of them as conditions have them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* In quotes, as a header has it; the caller frees it. Without `shown` its second half is missing,
 * and no reader's copy is that one. */
char *tag_new(const json_t *settings, const json_t *shown);

enum tag_match {
	TAG_WHOLE,    /* the same to whoever reads it; W/ does not matter */
	TAG_SETTINGS, /* the same settings; a weak tag is never good enough */
};

/* Is the tag one of the list of an If-Match or If-None-Match? "*" lists all; a tag that is NULL is
 * in no list. */
bool tag_is_listed(const char *list, const char *tag, enum tag_match how);
