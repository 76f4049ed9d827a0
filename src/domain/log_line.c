/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a job's log, written and read.
 *
 * The file is for people and for Mist's clients, so it keeps Mist's format, in which a message may
 * go over several lines. An entry is found again by its beginning: level, time and the job's own id
 * in brackets; whatever follows up to the next such beginning is its message. What is read is
 * therefore what was told live, unless a function logs lines that look like entries of itself. */
#include "domain/log_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/uuid.h"

enum { TIME_LEN = CLOCK_TEXT - 1, MARK_LEN = UUID_TEXT - 1 + 2 };

static const char *const levels[] = { [LOG_LINE_DEBUG] = "DEBUG",
	[LOG_LINE_INFO] = "INFO",
	[LOG_LINE_WARN] = "WARN",
	[LOG_LINE_ERROR] = "ERROR" };

enum log_line_level log_line_level_of(const char *name)
{
	enum log_line_level level = LOG_LINE_DEBUG;
	while (level < LOG_LINE_ERROR && strcmp(levels[level], name) != 0)
		level++;
	return level;
}

bool log_line_level_parse(const char *word, enum log_line_level *ret)
{
	for (enum log_line_level level = LOG_LINE_DEBUG; level <= LOG_LINE_ERROR; level++) {
		if (strcasecmp(levels[level], word) != 0)
			continue;
		*ret = level;
		return true;
	}
	return false;
}

int log_line_print(const struct log_line *line, struct buf *out)
{
	char at[CLOCK_TEXT];
	clock_format(line->at_ms, at);
	return buf_printf(out, "%s %s [%s] %.*s\n", levels[line->level], at, line->job,
		(int)line->len, line->message);
}

int log_line_print_json(const struct log_line *line, struct buf *out)
{
	_cleanup_(freep) char *message = json_quote(line->message, line->len);
	return buf_printf(out,
		"%s{\"from\":\"%s\",\"message\":%s,\"timeStamp\":%" PRId64 ",\"level\":%d}",
		out->len && out->data[out->len - 1] == '}' ? "," : "", line->job, message,
		line->at_ms, (int)line->level);
}

static int64_t read_time(const char *text)
{
	struct tm tm = { 0 };
	char copy[CLOCK_TEXT];
	int ms = 0;
	memcpy(copy, text, TIME_LEN);
	copy[TIME_LEN] = '\0';
	const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest || sscanf(rest, ".%3d", &ms) != 1)
		return 0;
	return (int64_t)timegm(&tm) * 1000 + ms;
}

/* The beginning of an entry at p; its message begins at the returned place. */
static const char *read_head(const char *p, const char *end, const char *job, struct log_line *ret)
{
	for (int level = LOG_LINE_DEBUG; level <= LOG_LINE_ERROR; level++) {
		size_t len = strlen(levels[level]);
		const char *mark = p + len + 1 + TIME_LEN + 1;
		if (end - p < (ptrdiff_t)(len + 1 + TIME_LEN + 1 + MARK_LEN + 1) ||
			memcmp(p, levels[level], len) != 0 || p[len] != ' ')
			continue;
		if (mark[0] != '[' || memcmp(mark + 1, job, MARK_LEN - 2) != 0 ||
			mark[MARK_LEN - 1] != ']' || mark[MARK_LEN] != ' ')
			return NULL;
		ret->level = level;
		ret->at_ms = read_time(p + len + 1);
		ret->job = job;
		return mark + MARK_LEN + 1;
	}
	return NULL;
}

static const char *next_line(const char *p, const char *end)
{
	const char *newline = memchr(p, '\n', end - p);
	return newline ? newline + 1 : end;
}

bool log_line_read(const char **p, const char *end, const char *job, struct log_line *ret)
{
	struct log_line other;
	const char *message = NULL, *at = *p;
	while (at < end && !(message = read_head(at, end, job, ret)))
		at = next_line(at, end);
	if (!message) {
		*p = end;
		return false;
	}
	ret->text = at;
	for (at = next_line(message, end); at < end && !read_head(at, end, job, &other);)
		at = next_line(at, end);
	*p = at;
	ret->text_len = at - ret->text;
	ret->message = message;
	ret->len = at - message;
	if (ret->len && message[ret->len - 1] == '\n')
		ret->len--;
	return true;
}
