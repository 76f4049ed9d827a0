/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of a job's log: as a line of its file, in Mist's format, and as an object of the event
 * `logs`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Mist's numbers. */
enum log_line_level { LOG_LINE_DEBUG = 1, LOG_LINE_INFO, LOG_LINE_WARN, LOG_LINE_ERROR };

struct log_line {
	const char *job; /* the id as text */
	enum log_line_level level;
	int64_t at_ms;
	const char *message; /* may have several lines */
	size_t len;
	/* When it was read: all of it, as it stands there. */
	const char *text;
	size_t text_len;
};

/* "DEBUG", "INFO", "WARN" or "ERROR". */
enum log_line_level log_line_level_of(const char *name);

/* The same words in any case; false: it is none of them. */
bool log_line_level_parse(const char *word, enum log_line_level *ret);

/* `LEVEL 2019-10-07T12:48:23.123 [job] message`. 0, or BUF_E_FULL. */
int log_line_print(const struct log_line *line, struct buf *out);

/* `{"from": job, "message", "timeStamp", "level"}`, after a comma unless it is the first there. */
int log_line_print_json(const struct log_line *line, struct buf *out);

/* Reads the entry at *p: all up to the next one or the end, so an entry whose rest is not there yet
 * looks whole. Moves *p behind it; what is no beginning of an entry of this job is passed over.
 * False: there is none. */
bool log_line_read(const char **p, const char *end, const char *job, struct log_line *ret);
