/* SPDX-License-Identifier: Apache-2.0 */
/* The program's own log: one line an event, on stderr. Logged once, by the room that decides. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, _LOG_LEVEL_MAX };

extern const char *const log_level_names[_LOG_LEVEL_MAX + 1]; /* "debug" …, NULL-ended */

enum log_format {
	LOG_FORMAT_TEXT, /* "TIME LEVEL message" */
	LOG_FORMAT_JSON, /* an object a line: time, level, message and what it is about */
};
extern const char *const log_format_names[]; /* "text" …, NULL-ended */

/* What a line is about, beside its message: a member of the object, nothing in text. Names are
 * `job`, `function`, `context`, `worker`, `transport`, `request`, …; value NULL: not known. What
 * the format begins with, as "worker %s …" or "transport %s: …", is a member by itself. */
struct log_field {
	const char *name, *value;
};

/* Any thread, all of these. */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
enum log_format log_format(void);
bool log_is_on(enum log_level level);
/* Lines since the start: those written, of that level, and those that nobody gets to see, since
 * they were of one cause too often or nobody read the log. Any thread. */
uint64_t log_count(enum log_level level);
uint64_t log_count_dropped(void);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* At most 8 of them; values are cut after 256 bytes. */
void log_write_fields(enum log_level level, const struct log_field *fields, size_t n,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_is_on(LOG_LEVEL_DEBUG))                                                    \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                   \
	} while (0)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Lines of one cause that somebody outside can bring about at will: so many of them a minute are
 * written, the others counted, and the count is written when the minute is over. All zeroes to
 * begin with; one thread at a time. */
struct log_limit {
	int64_t until_ms; /* monotonic: when the minute is over; 0: none has begun */
	unsigned n, n_left_out;
	char last[200]; /* the newest of those left out */
};

enum { LOG_LIMIT_LINES = 10, LOG_LIMIT_MS = 60000 };

void log_limited(struct log_limit *l, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Writes the count if the minute is over. True: call again later, something is counted. */
bool log_limit_tick(struct log_limit *l);
