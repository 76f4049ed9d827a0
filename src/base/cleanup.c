/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the road: what happens when our own reasoning was wrong, or when memory is out.
 *
 * Both end the process with one line on stderr and SIGABRT, so that a core file shows the place.
 * Nothing is flushed or closed on the way: what was promised to anyone is on disk already, and a
 * process that no longer knows its own state should touch nothing more. Allocation for foreign
 * bytes is bounded long before it comes here (base/buf.h has no unbounded buffer), so running out
 * means the machine is out, not that a client asked for much. Any thread may call these. */
#include "base/cleanup.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

_Noreturn void must_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "%s:%d: must(%s) does not hold, the program stops here\n", file, line,
		cond);
	abort();
}

static _Noreturn void out_of_memory(size_t size)
{
	fprintf(stderr, "out of memory while asking for %zu bytes, the program stops here\n", size);
	abort();
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);
	if (!p)
		out_of_memory(size > 1 && n > SIZE_MAX / size ? SIZE_MAX : n * size);
	return p;
}

void *xrealloc(void *p, size_t size)
{
	void *grown = realloc(p, size ? size : 1);
	if (!grown)
		out_of_memory(size);
	return grown;
}

char *xstrdup(const char *s)
{
	size_t size = strlen(s) + 1;
	return memcpy(xrealloc(NULL, size), s, size);
}

char *xasprintf(const char *format, ...)
{
	char *text;
	va_list args;
	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		out_of_memory(strlen(format));
	return text;
}
