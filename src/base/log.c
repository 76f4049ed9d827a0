/* SPDX-License-Identifier: Apache-2.0 */
/* The log: what happened to the program, for whoever runs it.
 *
 * One event is one line and one write(2), so lines of different threads never mix, also through a
 * pipe. Messages quote what clients and workers sent, so control characters and bytes that are not
 * UTF-8 are written as escapes: nobody outside can forge a line or talk to a terminal. A line is
 * cut at a few kilobytes. Nothing is buffered, nothing is retried: a log that cannot be written
 * must not stop the gateway. Nor may one that nobody reads any more: whoever finds a full pipe
 * waits for a second, and after that lines are left out, and counted, until there is room. Any
 * thread; errno is left as it was, so that a caller may log first
 * and return -errno after. */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"

enum { MESSAGE_MAX = 4000, ROOM_MS = 1000 };

const char *const log_level_names[_LOG_LEVEL_MAX + 1] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_ERROR] = "error",
};

static const char *const shown_names[_LOG_LEVEL_MAX] = {
	[LOG_LEVEL_DEBUG] = "DEBUG",
	[LOG_LEVEL_INFO] = "INFO",
	[LOG_LEVEL_WARN] = "WARN",
	[LOG_LEVEL_ERROR] = "ERROR",
};

static atomic_int least_level = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&least_level, (int)level, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

/* Copies what can be shown and escapes the rest: at most four bytes for one. */
static size_t write_shown(char *out, const char *text, size_t len)
{
	char *start = out;
	for (size_t at = 0; at < len;) {
		size_t n = utf8_shown(text + at, len - at);
		if (n) {
			memcpy(out, text + at, n);
			out += n;
		} else if (text[at] == '\n') {
			memcpy(out, "\\n", 2);
			out += 2;
		} else if (text[at] == '\t') {
			*out++ = ' ';
		} else {
			static const char digits[] = "0123456789abcdef";
			unsigned char b = (unsigned char)text[at];
			memcpy(out, (char[]){ '\\', 'x', digits[b >> 4], digits[b & 15] }, 4);
			out += 4;
		}
		at += n ? n : 1;
	}
	return (size_t)(out - start);
}

/* How many lines were left out since there was room. */
static atomic_uint n_unread;

/* Is there room for a line? A file and a terminal that is not stopped always have it. */
static bool has_room(void)
{
	struct pollfd to = { .fd = STDERR_FILENO, .events = POLLOUT };
	bool is_stuck = atomic_load_explicit(&n_unread, memory_order_relaxed);
	if (poll(&to, 1, is_stuck ? 0 : ROOM_MS) != 0)
		return true;
	atomic_fetch_add(&n_unread, 1);
	return false;
}

static void write_line(const char *line, size_t size)
{
	if (!has_room())
		return;
	unsigned n = atomic_exchange(&n_unread, 0);
	if (n)
		log_warn("%u lines were left out here, since nobody read the log", n);
	if (write(STDERR_FILENO, line, size) < 0)
		return; /* there is nobody to tell */
}

void log_write(enum log_level level, const char *format, ...)
{
	if (!log_is_on(level))
		return;
	int saved_errno = errno;
	char when[CLOCK_TEXT], message[MESSAGE_MAX];
	char line[CLOCK_TEXT + 8 + 4 * MESSAGE_MAX + 8];
	clock_format(clock_wall_ms(), when);
	int head = snprintf(line, sizeof line, "%s %s ", when, shown_names[level]);

	errno = saved_errno; /* the format may have %m */
	va_list args;
	va_start(args, format);
	int len = vsnprintf(message, sizeof message, format, args);
	va_end(args);
	must(head > 0 && len >= 0);
	bool cut = (size_t)len >= sizeof message;
	size_t shown = cut ? utf8_whole(message, sizeof message - 1) : (size_t)len;

	size_t size = (size_t)head + write_shown(line + head, message, shown);
	if (cut) {
		memcpy(line + size, "...", 3);
		size += 3;
	}
	line[size++] = '\n';
	write_line(line, size);
	errno = saved_errno;
}

bool log_limit_tick(struct log_limit *l)
{
	if (l->until_ms && clock_mono_ms() >= l->until_ms) {
		if (l->n_left_out)
			log_warn("%u more lines like this in the last minute, the last of them: %s",
				l->n_left_out, l->last);
		*l = (struct log_limit){ 0 };
	}
	return l->n_left_out;
}

void log_limited(struct log_limit *l, enum log_level level, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(message, sizeof message, format, args);
	va_end(args);
	if (len < 0)
		return;
	log_limit_tick(l);
	if (!l->until_ms)
		l->until_ms = clock_mono_ms() + LOG_LIMIT_MS;
	if (l->n < LOG_LIMIT_LINES) {
		l->n++;
		log_write(level, "%s", message);
		return;
	}
	l->n_left_out++;
	size_t kept = strlen(message);
	if (kept > sizeof l->last - 1)
		kept = utf8_whole(message, sizeof l->last - 1);
	memcpy(l->last, message, kept);
	l->last[kept] = '\0';
}
