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
 * and return -errno after.
 *
 * A line is text, or a JSON object (RFC 8259). There what a line is about is in members of its own:
 * those that the caller gives, and those that its format begins with, as in "worker %s is lost":
 * the format is ours, so that nothing foreign can make itself a member. Times are RFC 3339, UTC. */
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
#include "base/text/plural.h"
#include "base/utf8.h"

enum { MESSAGE_MAX = 4000, VALUE_MAX = 256, FIELDS_MAX = 8, ROOM_MS = 1000 };

/* A byte becomes six at most, and names are short. */
enum { LINE_MAX_BYTES = 6 * MESSAGE_MAX + (FIELDS_MAX + 3) * (6 * VALUE_MAX + 32) + 128 };

const char *const log_format_names[] = { "text", "json", NULL };

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

static atomic_int line_format = LOG_FORMAT_TEXT;

void log_set_format(enum log_format format)
{
	atomic_store_explicit(&line_format, (int)format, memory_order_relaxed);
}

enum log_format log_format(void)
{
	return (enum log_format)atomic_load_explicit(&line_format, memory_order_relaxed);
}

/* What a format begins with, and the member that each of its first arguments, a text, is. */
static const struct head {
	const char *begin, *names[2], *transport;
} heads[] = {
	{ "transport %s: request %s ", { "transport", "request" }, NULL },
	{ "transport %s: ", { "transport" }, NULL },
	{ "worker %s ", { "worker" }, NULL },
	{ "worker %s: ", { "worker" }, NULL },
	{ "job %s of function %s: ", { "job", "function" }, NULL },
	{ "job %s ", { "job" }, NULL },
	{ "function %s ", { "function" }, NULL },
	{ "function %s: ", { "function" }, NULL },
	{ "context %s ", { "context" }, NULL },
	{ "http: request %s ", { "request" }, "http" },
	{ "http: ", { NULL }, "http" },
};

/* A line as it is made. Whoever adds to it keeps within what LINE_MAX_BYTES has room for. */
struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
	bool is_json;
};

static void add_text(struct line *l, const char *text)
{
	size_t len = strlen(text);
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

/* One byte that cannot be shown, or that means something in JSON: at most six bytes. */
static void add_escaped(struct line *l, char c)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char b = (unsigned char)c;
	const char high = digits[b >> 4], low = digits[b & 15];
	if (c == '\n')
		add_text(l, "\\n");
	else if (c == '\t')
		add_text(l, l->is_json ? "\\t" : " ");
	else if (l->is_json && (c == '"' || c == '\\'))
		add_text(l, (char[]){ '\\', c, '\0' });
	else if (l->is_json && b < 0x80)
		add_text(l, (char[]){ '\\', 'u', '0', '0', high, low, '\0' });
	else if (l->is_json)
		add_text(l, (char[]){ '\\', '\\', 'x', high, low, '\0' });
	else
		add_text(l, (char[]){ '\\', 'x', high, low, '\0' });
}

/* Copies what can be shown and escapes the rest. */
static void add_shown(struct line *l, const char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		bool is_plain = !l->is_json || (text[at] != '"' && text[at] != '\\');
		size_t n = is_plain ? utf8_shown(text + at, len - at) : 0;
		memcpy(l->text + l->len, text + at, n);
		l->len += n;
		if (!n)
			add_escaped(l, text[at]);
		at += n ? n : 1;
	}
}

static void add_member(struct line *l, const char *name, const char *value)
{
	size_t len = value ? strlen(value) : 0;
	if (!value || !l->is_json)
		return;
	add_text(l, ",\"");
	add_text(l, name);
	add_text(l, "\":\"");
	add_shown(l, value, len > VALUE_MAX ? utf8_whole(value, VALUE_MAX) : len);
	add_text(l, "\"");
}

/* The format's own. */
static void add_head(struct line *l, const char *format, va_list args)
{
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		const struct head *h = &heads[i];
		if (strncmp(format, h->begin, strlen(h->begin)) != 0)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(h->names) && h->names[k]; k++)
			add_member(l, h->names[k], va_arg(args, const char *));
		add_member(l, "transport", h->transport);
		return;
	}
}

/* How many lines were left out since there was room. */
static atomic_uint n_unread;

static _Atomic uint64_t counts[_LOG_LEVEL_MAX], n_dropped;

uint64_t log_count(enum log_level level)
{
	return atomic_load_explicit(&counts[level], memory_order_relaxed);
}

uint64_t log_count_dropped(void)
{
	return atomic_load_explicit(&n_dropped, memory_order_relaxed);
}

/* Is there room for a line? A file and a terminal that is not stopped always have it. */
static bool has_room(void)
{
	struct pollfd to = { .fd = STDERR_FILENO, .events = POLLOUT };
	bool is_stuck = atomic_load_explicit(&n_unread, memory_order_relaxed);
	if (poll(&to, 1, is_stuck ? 0 : ROOM_MS) != 0)
		return true;
	atomic_fetch_add(&n_unread, 1);
	atomic_fetch_add(&n_dropped, 1);
	return false;
}

static void write_line(const char *line, size_t size)
{
	if (!has_room())
		return;
	unsigned n = atomic_exchange(&n_unread, 0);
	if (n)
		log_warn("%u line%s left out here, since nobody read the log", n,
			by_count(n, " was", "s were"));
	if (write(STDERR_FILENO, line, size) < 0)
		return; /* there is nobody to tell */
}

static void add_message(struct line *l, const char *message, size_t len)
{
	bool is_cut = len >= MESSAGE_MAX;
	add_shown(l, message, is_cut ? utf8_whole(message, MESSAGE_MAX - 1) : len);
	if (is_cut)
		add_text(l, "...");
}

static void write_fields(enum log_level level, const struct log_field *fields, size_t n,
	const char *format, va_list args)
{
	int saved_errno = errno;
	atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
	char when[CLOCK_TEXT], message[MESSAGE_MAX];
	struct line l;
	va_list again;
	l.len = 0;
	l.is_json = log_format() == LOG_FORMAT_JSON;
	clock_format(clock_wall_ms(), when);
	va_copy(again, args);
	errno = saved_errno; /* the format may have %m */
	int len = vsnprintf(message, sizeof message, format, args);
	must(len >= 0);
	add_text(&l, l.is_json ? "{\"time\":\"" : "");
	add_text(&l, when);
	add_text(&l, l.is_json ? "Z\",\"level\":\"" : "Z ");
	add_text(&l, l.is_json ? log_level_names[level] : shown_names[level]);
	add_text(&l, l.is_json ? "\",\"message\":\"" : " ");
	add_message(&l, message, (size_t)len);
	if (l.is_json) {
		add_text(&l, "\"");
		add_head(&l, format, again);
		for (size_t i = 0; i < n && i < FIELDS_MAX; i++)
			add_member(&l, fields[i].name, fields[i].value);
		add_text(&l, "}");
	}
	va_end(again);
	add_text(&l, "\n");
	write_line(l.text, l.len);
	errno = saved_errno;
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list args;
	if (!log_is_on(level))
		return;
	va_start(args, format);
	write_fields(level, NULL, 0, format, args);
	va_end(args);
}

void log_write_fields(
	enum log_level level, const struct log_field *fields, size_t n, const char *format, ...)
{
	va_list args;
	if (!log_is_on(level))
		return;
	va_start(args, format);
	write_fields(level, fields, n, format, args);
	va_end(args);
}

bool log_limit_tick(struct log_limit *l)
{
	if (l->until_ms && clock_mono_ms() >= l->until_ms) {
		if (l->n_left_out)
			log_warn(
				"%u more line%s like this in the last minute, the last of them: %s",
				l->n_left_out, plural(l->n_left_out), l->last);
		*l = (struct log_limit){ 0 };
	}
	return l->n_left_out;
}

void log_limited(struct log_limit *l, enum log_level level, const char *format, ...)
{
	va_list args;
	if (!log_is_on(level))
		return;
	log_limit_tick(l);
	if (!l->until_ms)
		l->until_ms = clock_mono_ms() + LOG_LIMIT_MS;
	va_start(args, format);
	if (l->n < LOG_LIMIT_LINES) {
		l->n++;
		write_fields(level, NULL, 0, format, args);
	} else {
		l->n_left_out++;
		atomic_fetch_add(&n_dropped, 1);
		int len = vsnprintf(l->last, sizeof l->last, format, args);
		must(len >= 0);
		if ((size_t)len >= sizeof l->last)
			l->last[utf8_whole(l->last, sizeof l->last - 1)] = '\0';
	}
	va_end(args);
}
