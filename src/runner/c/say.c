/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as text, written directly.
 *
 * Building JSON values only to print them would cost more than the rest of a short job, and the
 * frames are few and flat. Ids of jobs are UUIDs by the time they come here, so they need no
 * escaping; every other text goes through say_string. Numbers are printed as integers, because
 * printf's decimal point depends on the program's locale.
 *
 * A result is the program's own: what the gateway would refuse as a frame (nested too deep, a NUL
 * in a text, too long) is found here, where it can still become a failure of the job. Sent, it
 * would end the connection again after every reconnect. */
#include "runner/c/say.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "frame.h"

static int say_char(struct buf *b, unsigned char c)
{
	switch (c) {
	case '"':
		return buf_puts(b, "\\\"");
	case '\\':
		return buf_puts(b, "\\\\");
	case '\n':
		return buf_puts(b, "\\n");
	case '\t':
		return buf_puts(b, "\\t");
	default:
		return c < 0x80 ? buf_printf(b, "\\u%04x", c) : buf_puts(b, "\xef\xbf\xbd");
	}
}

int say_string(struct buf *b, const char *text, size_t len)
{
	int r = buf_puts(b, "\"");
	size_t plain = 0; /* characters in a row that can be copied as they are */
	for (size_t i = 0; r == 0 && i < len;) {
		size_t n = text[i] == '"' || text[i] == '\\' ? 0 : utf8_shown(text + i, len - i);
		if (n) {
			plain += n;
			i += n;
			continue;
		}
		r = buf_add(b, text + i - plain, plain);
		if (r == 0)
			r = say_char(b, (unsigned char)text[i]);
		plain = 0;
		i++;
	}
	if (r == 0)
		r = buf_add(b, text + len - plain, plain);
	return r ? r : buf_puts(b, "\"");
}

int say_started(struct buf *b, const char *job, int64_t at)
{
	return buf_printf(b, "{\"type\":\"started\",\"job\":\"%s\",\"at\":%" PRId64 "}", job, at);
}

int say_cancelled(struct buf *b, const char *job, int64_t at)
{
	return buf_printf(b, "{\"type\":\"cancelled\",\"job\":\"%s\",\"at\":%" PRId64 "}", job, at);
}

int say_failed(struct buf *b, const char *job, int64_t at, const char *error)
{
	int r = buf_printf(
		b, "{\"type\":\"failed\",\"job\":\"%s\",\"at\":%" PRId64 ",\"error\":", job, at);
	if (r == 0)
		r = say_string(b, error, strlen(error));
	return r ? r : buf_puts(b, "}");
}

int say_progress(struct buf *b, const char *job, double value, const char *note)
{
	int r = buf_printf(b, "{\"type\":\"progress\",\"job\":\"%s\"", job);
	if (r == 0 && !isnan(value)) {
		long millionths = lround(fmin(fmax(value, 0), 1) * 1000000);
		r = buf_printf(
			b, ",\"value\":%ld.%06ld", millionths / 1000000, millionths % 1000000);
	}
	if (r == 0 && note) {
		r = buf_puts(b, ",\"note\":");
		if (r == 0)
			r = say_string(b, note, strlen(note));
	}
	return r ? r : buf_puts(b, "}");
}

int say_error(struct buf *b, const char *reason)
{
	int r = buf_puts(b, "{\"type\":\"error\",\"reason\":");
	if (r == 0)
		r = say_string(b, reason, strlen(reason));
	return r ? r : buf_puts(b, "}");
}

int say_entry(struct buf *b, int64_t at, const char *level, const char *message)
{
	int r = buf_printf(b, "{\"at\":%" PRId64 ",\"level\":\"%s\",\"message\":", at, level);
	if (r == 0)
		r = say_string(b, message, strlen(message));
	return r ? r : buf_puts(b, "}");
}

static const char *objection_to_text(const char *text, size_t len)
{
	if (memchr(text, '\0', len))
		return "the result has a text with a NUL in it";
	return utf8_is_valid(text, len) ? NULL : "the result has a text that is not UTF-8";
}

/* Why the gateway would refuse the value, or NULL. */
static const char *objection(const json_t *value, unsigned depth)
{
	const char *why = NULL;
	if (json_is_string(value))
		return objection_to_text(json_string_value(value), json_string_length(value));
	if (!json_is_object(value) && !json_is_array(value))
		return NULL;
	if (depth == 0)
		return "the result is nested too deep";
	for (size_t i = 0; !why && i < json_array_size(value); i++)
		why = objection(json_array_get(value, i), depth - 1);
	void *at = json_object_iter((json_t *)value);
	for (; !why && at; at = json_object_iter_next((json_t *)value, at)) {
		why = objection_to_text(json_object_iter_key(at), json_object_iter_key_len(at));
		if (!why)
			why = objection(json_object_iter_value(at), depth - 1);
	}
	return why;
}

static int append(const char *data, size_t len, void *arg)
{
	return buf_add(arg, data, len) ? -1 : 0;
}

int say_finished(
	struct buf *b, const char *job, int64_t at, const json_t *result, const char **ret_why)
{
	const char *why = objection(result, FRAME_DEPTH_MAX - 1);
	if (why) {
		*ret_why = why;
		return SAY_E_BAD;
	}
	int r = buf_printf(
		b, "{\"type\":\"finished\",\"job\":\"%s\",\"at\":%" PRId64 ",\"result\":", job, at);
	if (r == 0)
		r = json_dump_callback(result, append, b, JSON_COMPACT | JSON_ENCODE_ANY)
			    ? BUF_E_FULL
			    : 0;
	return r ? r : buf_puts(b, "}");
}
