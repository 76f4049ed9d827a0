/* SPDX-License-Identifier: Apache-2.0 */
/* Distance of names: how many letters have to be put in, taken out, replaced or swapped with their
 * neighbour (optimal string alignment), where upper and lower case are the same and so are '-' and
 * '_'. One third of the letters may differ, at most NEAR_MAX. The work is bounded by the length of
 * names, NEAR_NAME_MAX, squared. Any thread. */
#include "base/near.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NEAR_MAX = 3 };

static char folded(char c)
{
	return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Of two names that are not longer than NEAR_NAME_MAX, or `limit` if it is not less. Three rows of
 * the table are enough, and of a row what is that near to its diagonal. */
static size_t distance_of(const char *a, const char *b, size_t limit)
{
	size_t rows[3][NEAR_NAME_MAX + 1], la = strlen(a), lb = strlen(b);
	if (larger(la, lb) - least(la, lb) >= limit)
		return limit;
	for (size_t j = 0; j <= lb; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *over = rows[(i + 1) % 3];
		size_t from = i > limit ? i - limit : 1, to = least(lb, i + limit);
		row[from - 1] = from == 1 ? i : limit;
		for (size_t j = from; j <= to; j++) {
			bool is_same = folded(a[i - 1]) == folded(b[j - 1]);
			/* What is over the end of the row above was not computed. */
			size_t up = j == i + limit ? limit : above[j] + 1;
			row[j] = least(above[j - 1] + !is_same, least(up, row[j - 1] + 1));
			if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
				folded(a[i - 2]) == folded(b[j - 1]))
				row[j] = least(row[j], over[j - 2] + 1);
		}
	}
	return least(rows[la % 3][lb], limit);
}

void near_init(struct near *n, const char *written)
{
	size_t third = (strlen(written) + 2) / 3;
	*n = (struct near){ .written = written, .distance = least(third, NEAR_MAX) + 1 };
}

void near_try(struct near *n, const char *name)
{
	if (strlen(n->written) > NEAR_NAME_MAX || strlen(name) > NEAR_NAME_MAX)
		return;
	size_t distance = distance_of(n->written, name, n->distance);
	if (distance < n->distance && distance < strlen(name)) {
		n->distance = distance;
		n->found = name;
	}
}

const char *near_hint(const struct near *n, char ret[static NEAR_HINT])
{
	ret[0] = '\0';
	if (n->found && strcmp(n->found, n->written) != 0) /* else that is not the mistake */
		snprintf(ret, NEAR_HINT, "; did you mean %s?", n->found);
	return ret;
}

const char *near_hint_of(const char *written, const char *const *names, char ret[static NEAR_HINT])
{
	struct near n;
	near_init(&n, written);
	for (; *names; names++)
		near_try(&n, *names);
	return near_hint(&n, ret);
}
