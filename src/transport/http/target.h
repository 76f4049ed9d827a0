/* SPDX-License-Identifier: Apache-2.0 */
/* The target of a request: its path, and the parameters of its query. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/fault.h"
#include "base/near.h"

struct request;

/* The decoded path of a raw request target that begins with its path, owned by the
 * caller; an encoded slash is a character, an encoded NUL a byte that no route and no name has. */
char *target_path(const char *uri);

/* In a sentence that quotes a part of such a path, that character becomes a slash again. */
void target_show(char *sentence);

/* Its parameters are text, the route knows them, each comes once and has a value. */
int target_check_query(struct request *rq, struct fault *f);

/* Is it in a list with spaces between? *ret_repeats: it may come more than once. */
bool query_is_known(const char *list, const char *name, size_t len, bool *ret_repeats);
/* "; did you mean limit?" of a name that is not in the list, or "". */
void query_hint(const char *list, const char *name, char ret[static NEAR_HINT]);
