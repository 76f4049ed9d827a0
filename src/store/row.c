/* SPDX-License-Identifier: Apache-2.0 */
/* The name of one row of the store, as bytes and for people. */
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "mist/store_unreadable.h"

void store_row_set_key(struct store_row *row, size_t i, const void *bytes, size_t len)
{
	row->key[i].bytes = xcalloc(1, len + 1);
	row->key[i].len = len;
	memcpy(row->key[i].bytes, bytes, len);
}

struct store_row *store_row_new(enum store_part part, const void *key, size_t len)
{
	struct store_row *row = xcalloc(1, sizeof *row);
	row->part = part;
	store_row_set_key(row, 0, key, len);
	return row;
}

void store_row_free(struct store_row *row)
{
	if (!row)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(row->key); i++)
		free(row->key[i].bytes);
	free(row);
}

/* A text as it is, anything else as hexadecimal. */
static void add_bytes(struct buf *out, const char *bytes, size_t len)
{
	if (utf8_is_text(bytes, len)) {
		buf_add(out, bytes, len);
		return;
	}
	for (size_t i = 0; i < len; i++)
		buf_printf(out, "%02x", (unsigned char)bytes[i]);
}

static void add_id(struct buf *out, const char *bytes, size_t len)
{
	struct uuid id;
	char text[UUID_TEXT];
	if (len != sizeof id) {
		add_bytes(out, bytes, len);
		return;
	}
	memcpy(&id, bytes, sizeof id);
	uuid_format(&id, text);
	buf_puts(out, text);
}

char *store_row_title(const struct store_row *row)
{
	struct buf out;
	buf_init(&out, 2 * row->key[0].len + 2 * row->key[1].len + 64);
	if (row->part == STORE_PART_DEFINITION) {
		buf_puts(&out, row->noun == STORE_FUNCTION ? "function " : "context ");
		add_bytes(&out, row->key[0].bytes, row->key[0].len);
		return buf_take(&out);
	}
	add_id(&out, row->key[0].bytes, row->key[0].len);
	if (row->key[1].len) {
		buf_puts(&out, " ");
		add_bytes(&out, row->key[1].bytes, row->key[1].len);
	}
	return buf_take(&out);
}

char *store_row_subject(const struct store_row *row)
{
	static const char *const kinds[_STORE_PART_MAX] = {
		[STORE_PART_JOB] = "job ",
		[STORE_PART_REPLY_TARGET] = "a reply target of job ",
		[STORE_PART_DEFINITION] = "",
	};
	_cleanup_(freep) char *title = store_row_title(row);
	return xasprintf("%s%s", kinds[row->part], title);
}

const char *store_part_name(int64_t part)
{
	static const char *const names[_STORE_PART_MAX] = {
		[STORE_PART_JOB] = "job",
		[STORE_PART_REPLY_TARGET] = "reply-target",
		[STORE_PART_DEFINITION] = "definition",
	};
	return part >= 0 && part < _STORE_PART_MAX ? names[part] : "unknown";
}
