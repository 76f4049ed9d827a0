/* SPDX-License-Identifier: Apache-2.0 */
/* The fifth field of a line of mountinfo is the mount point; what would end the field is written as
 * a backslash and three octal digits there (man 5 proc). */
#include "core/artifact/mounts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct mounts {
	char **points; /* of two on one place the first stands for both */
	size_t n;
};

static bool is_octal(const char *p)
{
	for (int i = 0; i < 3; i++)
		if (p[i] < '0' || p[i] > '7')
			return false;
	return true;
}

static void unescape(char *text)
{
	char *to = text;
	for (const char *p = text; *p; p++) {
		if (*p == '\\' && is_octal(p + 1)) {
			*to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
}

struct mounts *mounts_parse(FILE *mountinfo)
{
	struct mounts *m = xcalloc(1, sizeof *m);
	_cleanup_(freep) char *line = NULL;
	size_t cap = 0;
	while (getline(&line, &cap, mountinfo) >= 0) {
		char *rest = line, *field = NULL;
		for (int i = 0; i < 5; i++)
			field = strsep(&rest, " ");
		if (!field)
			continue;
		unescape(field);
		m->points = xrealloc(m->points, (m->n + 1) * sizeof *m->points);
		m->points[m->n++] = xstrdup(field);
	}
	return m;
}

struct mounts *mounts_read(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return NULL;
	struct mounts *m = mounts_parse(f);
	fclose(f);
	return m;
}

void mounts_free(struct mounts *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		free(m->points[i]);
	free(m->points);
	free(m);
}

static bool is_below(const char *path, const char *point, size_t len)
{
	return strncmp(path, point, len) == 0 &&
	       (len == 1 || path[len] == '/' || path[len] == '\0');
}

const char *mounts_of(const struct mounts *m, const char *path)
{
	/* Below a root that is a folder of a mount, the table has no line for it. */
	static const char root[] = "/";
	const char *best = m && path[0] == '/' ? root : NULL;
	size_t best_len = 0;
	for (size_t i = 0; m && i < m->n; i++) {
		size_t len = strlen(m->points[i]);
		if (len > best_len && is_below(path, m->points[i], len)) {
			best = m->points[i];
			best_len = len;
		}
	}
	return best;
}
