/* SPDX-License-Identifier: Apache-2.0 */
/* Names of what was ignored, kept in the form in which they are told. */
#include "base/ignored.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

enum { NAME_BYTES_MAX = 128 };

static const char cut_mark[] = "...";

/* The bytes of a header's token (RFC 9110, 5.6.2) but for '%', which we write the others with, and
 * the brackets of an index. */
static bool is_plain(char c)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&'*+-.^_`|~[]";
	return c && strchr(plain, c);
}

static char *encoded(const char *name)
{
	struct buf out;
	buf_init(&out, NAME_BYTES_MAX + sizeof cut_mark + 1);
	for (const char *p = name; *p; p++) {
		if (out.len > NAME_BYTES_MAX - strlen("%XX")) {
			buf_puts(&out, cut_mark);
			break;
		}
		if (is_plain(*p) && !(p == name && *p == '.')) /* "..." is our mark */
			buf_add(&out, p, 1);
		else
			buf_printf(&out, "%%%02X", (unsigned char)*p);
	}
	return out.data ? buf_take(&out) : xstrdup("%00");
}

static bool has(const char *list, const char *name, size_t len)
{
	for (const char *p = list; p && *p; p += strspn(p, ", ")) {
		size_t n = strcspn(p, ",");
		if (n == len && memcmp(p, name, n) == 0)
			return true;
		p += n;
	}
	return false;
}

static void add(char **list, const char *name, size_t len)
{
	size_t used = *list ? strlen(*list) : 0;
	if (has(*list, name, len) || has(*list, cut_mark, strlen(cut_mark)))
		return;
	if (used + len + 2 > IGNORED_MAX - sizeof cut_mark - 2) {
		name = cut_mark;
		len = strlen(cut_mark);
	}
	char *longer = xasprintf("%s%s%.*s", used ? *list : "", used ? ", " : "", (int)len, name);
	free(*list);
	*list = longer;
}

void ignored_add(char **list, const char *name)
{
	_cleanup_(freep) char *word = encoded(name);
	add(list, word, strlen(word));
}

void ignored_add_all(char **list, const char *more)
{
	for (const char *p = more; p && *p; p += strspn(p, ", ")) {
		size_t n = strcspn(p, ",");
		add(list, p, n);
		p += n;
	}
}

static bool is_in(const char *const *known, const char *name)
{
	for (; *known; known++)
		if (strcmp(*known, name) == 0)
			return true;
	return false;
}

void ignored_add_members(
	char **list, const json_t *object, const char *path, const char *const *known)
{
	const char *name;
	json_t *value;
	json_object_foreach ((json_t *)object, name, value) {
		if (is_in(known, name))
			continue;
		_cleanup_(freep) char *whole =
			path ? xasprintf("%s.%s", path, name) : xstrdup(name);
		ignored_add(list, whole);
	}
}
