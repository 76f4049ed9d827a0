/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of bytes with a limit: there is no unbounded one. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

enum { BUF_E_FULL = 1 }; /* the limit would be crossed; nothing was added */

struct buf {
	char *data; /* always NUL-terminated when not NULL */
	size_t len, cap, max;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b); /* frees; may be called twice and on all zeroes */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list args);
void buf_drop(struct buf *b, size_t n); /* the first n bytes; keeps the storage */
char *buf_take(struct buf *b);          /* the caller owns it; "" when nothing was added */
