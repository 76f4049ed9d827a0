/* SPDX-License-Identifier: Apache-2.0 */
/* The sentence of a refusal, cleaned for whoever reads it.
 *
 * A fault lies on the stack of the one who asks (a transport, the reader of the settings) and is
 * handed down as the last argument. It is a fixed field, so a refusal never allocates and can never
 * fail itself. The sentence usually quotes what the client sent. It will be shown as JSON, in a log
 * line and on a terminal, so here, at the only place where sentences are made, control characters
 * become spaces and bytes that are not UTF-8 become '?'. Any thread; the fault belongs to the
 * caller. */
#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

/* What fault_set returns; the code in the fault is what tells refusals apart. */
enum { REFUSED = -EINVAL };

static void sentence_clean(char *text, bool cut)
{
	size_t len = strlen(text);
	if (cut)
		len = utf8_whole(text, len);
	len = utf8_clean(text, len);
	text[len] = '\0';
	for (size_t at = 0; at < len;) {
		size_t n = utf8_shown(text + at, len - at);
		uint8_t b = (uint8_t)text[at];
		if (!n)
			text[at] = b < 0x20 || b == 0x7f ? ' ' : '?';
		at += n ? n : 1;
	}
}

size_t sentence_print(char *ret, size_t size, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(ret, size, format, args);
	va_end(args);
	must(len >= 0);
	sentence_clean(ret, (size_t)len >= size);
	return strlen(ret);
}

int fault_set(struct fault *f, enum fault_code code, const char *format, ...)
{
	must(code > FAULT_NONE && code < _FAULT_MAX);
	char text[sizeof f->text]; /* an argument may be the old sentence */
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	must(len >= 0);
	f->code = code;
	memcpy(f->text, text, strlen(text) + 1);
	sentence_clean(f->text, (size_t)len >= sizeof text);
	return REFUSED;
}

int fault_prefix(struct fault *f, const char *format, ...)
{
	must(f->code != FAULT_NONE);
	char text[sizeof f->text + 2];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof f->text, format, args);
	va_end(args);
	must(len >= 0);
	if ((size_t)len > sizeof f->text - 1)
		len = sizeof f->text - 1;
	memcpy(text + len, ": ", 3);
	size_t used = (size_t)len + 2, had = strlen(f->text);
	size_t room = used < sizeof f->text ? sizeof f->text - 1 - used : 0;
	if (used > sizeof f->text - 1)
		used = sizeof f->text - 1;
	size_t kept = had < room ? had : room;
	memmove(f->text + used, f->text, kept);
	memcpy(f->text, text, used);
	f->text[used + kept] = '\0';
	sentence_clean(f->text, kept < had);
	return REFUSED;
}

enum fault_code fault_of_errno(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
	case EEXIST:
	case EISDIR:
	case ENOTDIR:
	case ENOTEMPTY:
	case ELOOP:
	case EINVAL:
	case EMLINK:
	case ENAMETOOLONG:
	case ENOSYS:
	case EOPNOTSUPP:
	case EXDEV:
		return FAULT_CONFLICT;
	}
	return FAULT_UNAVAILABLE;
}
