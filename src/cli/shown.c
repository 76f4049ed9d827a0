/* SPDX-License-Identifier: Apache-2.0 */
/* What a terminal would obey is spelled out: \x1b for a control character of ASCII and for a byte
 * that is not UTF-8, \u202e for others: C1, and the characters that change the direction of what
 * stands around them or the line it stands in. JSON has none of the former in its strings and
 * understands the latter, so it stays JSON.
 *
 * A job may print anything, and its text reaches us in log lines, errors, results, names and in
 * whatever a server that is none of ours answers. So this is not done where text is printed, which
 * somebody would forget, but behind stdout and stderr: they are replaced by streams that write
 * through here. Characters may come in pieces; an unfinished one waits for its rest. */
#include "cli/shown.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"

enum { PIECE_MAX = 64 << 20, REST_MAX = 4 };

struct sink {
	int fd;
	char rest[REST_MAX]; /* the beginning of a character */
	size_t n_rest;
};

static bool is_obeyed(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e ||
	       code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069) || code == 0xfeff ||
	       (code >= 0xe0000 && code <= 0xe007f);
}

static void add_code(struct buf *out, uint32_t code)
{
	if (code < 0x20)
		buf_printf(out, "\\x%02x", code);
	else if (code < 0x10000)
		buf_printf(out, "\\u%04x", code);
	else /* as JSON has it */
		buf_printf(out, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
			0xdc00 + (code & 0x3ff));
}

/* Returns how many bytes are left, which begin a character. `kept`: characters that are printed
 * although a terminal obeys them. */
static size_t add_shown(struct buf *out, const char *text, size_t len, const char *kept)
{
	for (size_t i = 0, n; i < len; i += n) {
		uint32_t code;
		n = utf8_decode(text + i, len - i, &code);
		if (!n && len - i < REST_MAX && utf8_whole(text + i, len - i) == 0)
			return len - i;
		if (!n) {
			n = 1;
			buf_printf(out, "\\x%02x", (unsigned char)text[i]);
		} else if (is_obeyed(code) && !(code && code < 0x80 && strchr(kept, (int)code))) {
			add_code(out, code);
		} else {
			buf_add(out, text + i, n);
		}
	}
	return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static ssize_t sink_write(void *cookie, const char *data, size_t len)
{
	struct sink *s = cookie;
	_cleanup_(buf_done) struct buf in, out;
	buf_init(&in, PIECE_MAX);
	buf_init(&out, PIECE_MAX);
	buf_add(&in, s->rest, s->n_rest);
	if (len > PIECE_MAX / 16)
		len = PIECE_MAX / 16;
	buf_add(&in, data, len);
	s->n_rest = add_shown(&out, in.data ? in.data : "", in.len, "\n\t");
	memcpy(s->rest, (in.data ? in.data : "") + in.len - s->n_rest, s->n_rest);
	return write_all(s->fd, out.data ? out.data : "", out.len) < 0 ? 0 : (ssize_t)len;
}

/* What was begun and has no end is no character. */
static int sink_close(void *cookie)
{
	struct sink *s = cookie;
	char text[REST_MAX * 4 + 1];
	for (size_t i = 0; i < s->n_rest; i++)
		snprintf(text + 4 * i, 5, "\\x%02x", (unsigned char)s->rest[i]);
	return write_all(s->fd, text, 4 * s->n_rest);
}

static void replace(FILE **stream, struct sink *sink, int fd, int mode)
{
	const cookie_io_functions_t functions = { .write = sink_write, .close = sink_close };
	if (!isatty(fd))
		return;
	sink->fd = fd;
	FILE *shown = fopencookie(sink, "w", functions);
	must(shown);
	setvbuf(shown, NULL, mode, BUFSIZ);
	*stream = shown;
}

void shown_begin(void)
{
	static struct sink out, err;
	replace(&stdout, &out, STDOUT_FILENO, _IOLBF);
	replace(&stderr, &err, STDERR_FILENO, _IONBF);
}

char *shown_line(const char *text)
{
	struct buf out;
	buf_init(&out, PIECE_MAX);
	size_t left = add_shown(&out, text, strlen(text), "");
	for (const char *p = text + strlen(text) - left; *p; p++)
		buf_printf(&out, "\\x%02x", (unsigned char)*p);
	return out.data ? buf_take(&out) : xstrdup("");
}
