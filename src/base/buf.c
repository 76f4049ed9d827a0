/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of bytes that knows its limit.
 *
 * A buf is embedded in its owner: buf_init gives it the limit, the first addition gives it memory,
 * and buf_done or buf_take ends it. The limit counts bytes of content; one more is kept for the
 * NUL, which is there for the debugger and for texts, not for binary content. An addition is all or
 * nothing, so the owner can answer "too large" and still use what was in it. Storage doubles and
 * never shrinks before the end: owners that live long and drop from the front (sockets) soon stop
 * allocating. Not thread-safe. */
#include "base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

enum { FIRST_CAP = 64 };

void buf_init(struct buf *b, size_t max)
{
	must(max < SIZE_MAX);
	*b = (struct buf){ .max = max };
}

void buf_done(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

/* Makes place for len more bytes and their NUL. */
static int buf_reserve(struct buf *b, size_t len)
{
	if (len > b->max - b->len)
		return BUF_E_FULL;
	size_t need = b->len + len + 1;
	if (need <= b->cap)
		return 0;
	size_t cap = b->cap ? b->cap : FIRST_CAP;
	while (cap < need && cap <= SIZE_MAX / 2)
		cap *= 2;
	if (cap < need || cap > b->max + 1)
		cap = b->max + 1;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
	return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	int r = buf_reserve(b, len);
	if (r)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int r = buf_vprintf(b, format, args);
	va_end(args);
	return r;
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	size_t room = b->cap - b->len;
	int len = vsnprintf(room ? b->data + b->len : NULL, room, format, args);
	int r = len < 0 ? -errno : 0;
	if (r == 0 && (size_t)len >= room) {
		r = buf_reserve(b, (size_t)len);
		if (r == 0)
			vsnprintf(b->data + b->len, (size_t)len + 1, format, again);
		else if (room)
			b->data[b->len] =
				'\0'; /* the first try wrote past the end of the content */
	}
	va_end(again);
	if (r == 0)
		b->len += (size_t)len;
	return r;
}

void buf_drop(struct buf *b, size_t n)
{
	must(n <= b->len);
	if (n == 0)
		return;
	b->len -= n;
	memmove(b->data, b->data + n, b->len + 1);
}

char *buf_take(struct buf *b)
{
	char *taken = b->data ? b->data : xstrdup("");
	*b = (struct buf){ .max = b->max };
	return taken;
}
