/* SPDX-License-Identifier: Apache-2.0 */
/* The Content-Type of a form, for a parser that knows one way to write it.
 *
 * libmicrohttpd 0.9.75 takes all that follows "boundary=" for the boundary, so that a parameter
 * behind it, a name in capitals or an escape in quotes makes it look for something that never
 * comes; and one of a single character it takes in quotes only. By RFC 9110 all of these are the
 * same, and clients write them: so it is given the one form that it reads rightly. */
#include "transport/http/server/multipart.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define TYPE "multipart/form-data"

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t");
}

/* Writes the value of a parameter, as long as the text at most, and returns what follows it; NULL:
 * its quotes have no end. */
static const char *read_value(const char *p, char *ret)
{
	size_t n = 0;
	if (*p != '"') {
		n = strcspn(p, ";");
		memcpy(ret, p, n);
		p += n;
		while (n && strchr(" \t", ret[n - 1]))
			n--;
		ret[n] = '\0';
		return p;
	}
	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		ret[n++] = *p;
	}
	ret[n] = '\0';
	return *p ? p + 1 : NULL;
}

char *multipart_content_type(const char *given)
{
	_cleanup_(freep) char *boundary = NULL;
	if (strncasecmp(given, TYPE, strlen(TYPE)) != 0)
		return NULL;
	const char *p = skip_space(given + strlen(TYPE));
	while (*p == ';') {
		const char *name = skip_space(p + 1);
		size_t name_len = strcspn(name, "=; \t");
		p = skip_space(name + name_len);
		if (*p != '=') { /* a parameter without a value, or none at all */
			p += strcspn(p, ";");
			continue;
		}
		_cleanup_(freep) char *value = xstrdup(p);
		p = read_value(skip_space(p + 1), value);
		if (!p)
			return NULL;
		p = skip_space(p);
		if (name_len != strlen("boundary") || strncasecmp(name, "boundary", name_len) != 0)
			continue;
		if (boundary) /* which of them do others read? */
			return NULL;
		boundary = TAKE_PTR(value);
	}
	if (*p || !boundary || !boundary[0] || strchr(boundary, '"'))
		return NULL;
	return xasprintf(TYPE ";boundary=\"%s\"", boundary);
}
