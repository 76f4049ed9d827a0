/* SPDX-License-Identifier: Apache-2.0 */
/* A job's arguments: "n=3 name=Ada", '{"n": 3}', @file, also mixed.
 *
 * A value that is JSON is taken as JSON: 3, true, null, [1,2]. Anything else is a string, so that
 * most words need no quotes. Whether name=3 is the number or the text only the function's signature
 * says: when the gateway refuses it, parameters_quote makes texts of those for parameters that take
 * nothing else. One object or file alone is sent as it was written, digits included. Pure, but for
 * reading the file. */
#include "cli/parameters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cli/signature.h"

enum { DEPTH_MAX = 64 };
#define FILE_MAX ((size_t)256 << 20)

static int read_stream(FILE *from, struct buf *text)
{
	char chunk[16384];
	size_t n;
	errno = 0;
	while ((n = fread(chunk, 1, sizeof chunk, from)) > 0)
		if (buf_add(text, chunk, n) == BUF_E_FULL)
			return -EFBIG;
	return !ferror(from) ? 0 : errno ? -errno : -EIO;
}

/* Some editors put it there; it says no more than that the text is UTF-8. */
static void skip_byte_order_mark(struct buf *text)
{
	if (text->len >= 3 && memcmp(text->data, "\xef\xbb\xbf", 3) == 0)
		buf_drop(text, 3);
}

static int read_file(const char *path, struct buf *text, struct fault *f)
{
	if (strcmp(path, "-") == 0)
		return read_stream(stdin, text) == 0
			       ? 0
			       : fault_set(f, FAULT_BAD_REQUEST, "standard input cannot be read");
	_cleanup_(fclosep) FILE *from = fopen(path, "re");
	int r = from ? read_stream(from, text) : -errno;
	return r == 0 ? 0
		      : fault_set(
				f, FAULT_BAD_REQUEST, "%s: cannot be read: %s", path, strerror(-r));
}

static json_t *parse_object(const char *where, const struct buf *text, struct fault *f)
{
	json_t *json = json_parse(text->data ? text->data : "", text->len, DEPTH_MAX, f);
	if (!json) {
		fault_prefix(f, "%s", where);
	} else if (!json_is_object(json)) {
		fault_set(f, FAULT_BAD_REQUEST, "%s: expected a JSON object, got %s", where,
			json_kind(json));
		json_decref(json);
		return NULL;
	}
	return json;
}

/* It would be JSON, but for a number in it. */
static bool is_vast(const char *text, const struct fault *f)
{
	char *end;
	if (strncmp(f->text, "a number is too large", 21) != 0)
		return false;
	if (strchr("[{", *text))
		return true;
	(void)strtod(text, &end); /* another word may begin with many digits, too */
	return !*end;
}

static int add_pair(struct parameters *p, const char *word, struct fault *f)
{
	struct fault why;
	const char *equals = strchr(word, '=');
	if (!utf8_is_valid(word, strlen(word)))
		return fault_set(f, FAULT_BAD_REQUEST, "\"%.200s\" is not UTF-8", word);
	if (!equals || equals == word)
		return fault_set(f, FAULT_BAD_REQUEST,
			"\"%.200s\": expected KEY=VALUE, a JSON object, or @FILE", word);
	_cleanup_(freep) char *key = strndup(word, (size_t)(equals - word));
	json_t *value = json_parse(equals + 1, strlen(equals + 1), DEPTH_MAX, &why);
	json_object_del(p->bare, key);
	json_object_del(p->vast, key);
	if (!value && is_vast(equals + 1, &why))
		json_object_set_new(p->vast, key, json_string(equals + 1));
	if (value && !json_is_string(value))
		json_object_set_new(p->bare, key, json_string(equals + 1));
	json_object_set_new(p->all, key, value ? value : json_string(equals + 1));
	return 0;
}

/* An object's text goes to `text` as well. */
static int add_word(struct parameters *p, const char *word, struct buf *text, struct fault *f)
{
	if (word[0] != '{' && word[0] != '@')
		return add_pair(p, word, f);
	const char *key;
	json_t *value;
	int r = word[0] == '@' ? read_file(word + 1, text, f) : buf_puts(text, word);
	if (r)
		return r;
	if (word[0] == '@')
		skip_byte_order_mark(text);
	_cleanup_(json_decrefp) json_t *object =
		parse_object(word[0] == '@' ? word + 1 : "the arguments", text, f);
	if (!object)
		return -EINVAL;
	json_object_update(p->all, object);
	json_object_foreach (object, key, value) {
		json_object_del(p->bare, key);
		json_object_del(p->vast, key);
	}
	return 0;
}

int parameters_read(struct parameters *p, char *const *words, int n_words, struct fault *f)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	*p = (struct parameters){
		.all = json_object(), .bare = json_object(), .vast = json_object()
	};
	for (int i = 0; i < n_words; i++) {
		buf_done(&text);
		buf_init(&text, FILE_MAX);
		if (add_word(p, words[i], &text, f) != 0)
			return -EINVAL;
	}
	p->text = n_words == 1 && text.len ? buf_take(&text) : json_text(p->all);
	return 0;
}

void parameters_done(struct parameters *p)
{
	json_decref(p->all);
	json_decref(p->bare);
	json_decref(p->vast);
	free(p->text);
}

bool parameters_quote(struct parameters *p, const json_t *execute)
{
	const char *key;
	json_t *text;
	void *next;
	bool is_changed = false;
	json_object_foreach_safe(p->bare, next, key, text)
	{
		if (!signature_takes_text_only(json_object_get(execute, key)))
			continue;
		json_object_set(p->all, key, text);
		json_object_del(p->bare, key);
		is_changed = true;
	}
	if (is_changed) {
		free(p->text);
		p->text = json_text(p->all);
	}
	return is_changed;
}

int parameters_check_vast(const struct parameters *p, const json_t *execute, struct fault *f)
{
	const char *name;
	json_t *written;
	json_object_foreach (p->vast, name, written)
		if (!signature_takes_text(json_object_get(execute, name)))
			return fault_set(f, FAULT_BAD_REQUEST,
				"%.200s: a number is too large; as a text it is "
				"%.200s='\"%.200s\"'",
				name, name, json_string_value(written));
	return 0;
}
