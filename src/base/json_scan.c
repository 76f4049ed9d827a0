/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON text is checked in one pass, without recursion.
 *
 * What is open is kept as one level a bracket. The names of an open object are kept as places in
 * the text until it closes; then they are compared, pairwise if they are few, sorted if they are
 * many. A name may be written with escapes, so names are compared by their characters. The memory
 * this takes is some bytes for each name of the objects that are open at one time, never anything
 * for values.
 *
 * json_parse reads what it is given into a tree, of which each value takes some fifty bytes: sixty
 * megabytes of `[],[],…` became two and a half gigabytes. Whoever only hands a value on has it
 * checked here.
 *
 * What this program has kept was checked when it came. Read again, its form is enough: names that
 * stand twice, and numbers that nobody could hold, are not looked for (json_is_text). */
#include "base/json_scan.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

enum {
	FEW = 8,          /* names that are compared pairwise */
	NUMBER_MAX = 320, /* characters of a number that strtod is shown */
	INT64_DIGITS = 18 /* any integer of so many digits fits */
};

struct level {
	bool is_object;
	size_t names; /* of the object, in the scan's names */
};

struct scan {
	const char *text, *end, *p;
	struct fault *f;
	struct level *levels;
	unsigned depth, max_depth, room;
	struct json_span *names;
	size_t n_names, names_room;
	size_t n_values;
	bool is_form_only;
};

static int refuse_at(struct scan *s, const char *at, const char *what)
{
	size_t line = 1;
	const char *start = s->text;
	for (const char *p = s->text; p < at; p++)
		if (*p == '\n') {
			line++;
			start = p + 1;
		}
	return fault_set(s->f, FAULT_BAD_REQUEST, "%s, at line %zu column %zu", what, line,
		(size_t)(at - start) + 1);
}

static int unexpected(struct scan *s, const char *expected)
{
	char what[80];
	snprintf(what, sizeof what, "not JSON: expected %s%s", expected,
		s->p < s->end ? "" : ", got the end");
	return refuse_at(s, s->p, what);
}

static void skip_blank(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

static bool is_at(const struct scan *s, char c)
{
	return s->p < s->end && *s->p == c;
}

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits behind "\u"; negative: they are none. */
static int unit_of(const char *p, const char *end)
{
	int unit = 0;
	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_of(p[i]);
		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

static int scan_escape(struct scan *s)
{
	const char *at = s->p++;
	if (s->p < s->end && *s->p && strchr("\"\\/bfnrt", *s->p)) {
		s->p++;
		return 0;
	}
	int unit = s->p < s->end && *s->p == 'u' ? unit_of(s->p + 1, s->end) : -1;
	if (unit < 0)
		return refuse_at(s, at, "not JSON: an invalid escape");
	s->p += 5;
	if (s->is_form_only)
		return 0;
	if (unit == 0)
		return refuse_at(s, at, "\\u0000 is not accepted in a string");
	if (unit < 0xd800 || unit > 0xdfff)
		return 0;
	int low = unit < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u'
			  ? unit_of(s->p + 2, s->end)
			  : -1;
	if (low < 0xdc00 || low > 0xdfff)
		return refuse_at(s, at, "not JSON: half of a surrogate pair");
	s->p += 6;
	return 0;
}

/* A string with its quotes. */
static int scan_string(struct scan *s)
{
	for (s->p++; s->p < s->end;) {
		unsigned char c = (unsigned char)*s->p;
		if (c == '"') {
			s->p++;
			return 0;
		}
		if (c == '\\') {
			int r = scan_escape(s);
			if (r < 0)
				return r;
		} else if (c < 0x20) {
			return refuse_at(s, s->p, "not JSON: a control character in a string");
		} else if (c < 0x80) {
			s->p++;
		} else {
			uint32_t code;
			size_t n = utf8_decode(s->p, (size_t)(s->end - s->p), &code);
			if (!n)
				return refuse_at(s, s->p, "not UTF-8");
			s->p += n;
		}
	}
	return unexpected(s, "\"");
}

static size_t skip_digits(struct scan *s)
{
	const char *from = s->p;
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return (size_t)(s->p - from);
}

/* Does it fit into what readers have for numbers? */
static int check_number(struct scan *s, const char *from, bool is_integer, size_t digits)
{
	char text[NUMBER_MAX + 1];
	size_t len = (size_t)(s->p - from);
	if (is_integer && digits <= INT64_DIGITS)
		return 0;
	if (!is_integer && digits <= INT64_DIGITS && !memchr(from, 'e', len) &&
		!memchr(from, 'E', len))
		return 0;
	if (len > NUMBER_MAX)
		return refuse_at(s, from, "a number is too long");
	memcpy(text, from, len);
	text[len] = '\0';
	errno = 0;
	if (is_integer)
		(void)strtoll(text, NULL, 10);
	bool is_too_large = is_integer ? errno == ERANGE : !isfinite(strtod(text, NULL));
	return is_too_large ? refuse_at(s, from, "a number is too large") : 0;
}

static int scan_number(struct scan *s)
{
	const char *from = s->p;
	bool is_integer = true;
	if (*s->p == '-')
		s->p++;
	bool is_zero = is_at(s, '0');
	size_t digits = skip_digits(s);
	if (digits == 0 || (is_zero && digits > 1))
		return unexpected(s, "a number");
	if (is_at(s, '.')) {
		is_integer = false;
		s->p++;
		if (!skip_digits(s))
			return unexpected(s, "a digit");
	}
	if (is_at(s, 'e') || is_at(s, 'E')) {
		is_integer = false;
		s->p++;
		if (is_at(s, '+') || is_at(s, '-'))
			s->p++;
		if (!skip_digits(s))
			return unexpected(s, "a digit");
	}
	return s->is_form_only ? 0 : check_number(s, from, is_integer, digits);
}

static int scan_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
		return unexpected(s, "a value");
	s->p += len;
	return 0;
}

static int level_open(struct scan *s, bool is_object)
{
	if (s->depth == s->max_depth)
		return fault_set(s->f, FAULT_BAD_REQUEST, "nested deeper than %u", s->max_depth);
	if (s->depth == s->room) {
		s->room = s->room ? 2 * s->room : 16;
		s->levels = xrealloc(s->levels, s->room * sizeof *s->levels);
	}
	s->levels[s->depth++] = (struct level){ is_object, s->n_names };
	s->p++;
	return 0;
}

static void name_add(struct scan *s, const char *from)
{
	if (s->n_names == s->names_room) {
		s->names_room = s->names_room ? 2 * s->names_room : 64;
		s->names = xrealloc(s->names, s->names_room * sizeof *s->names);
	}
	s->names[s->n_names++] =
		(struct json_span){ from + 1, (size_t)(s->p - from) - 2 }; /* without quotes */
}

/* One byte of what is written at *p, with escapes resolved into UTF-8; -1 at the end. */
struct letters {
	const char *p, *end;
	unsigned char rest[4]; /* of an escape, in order */
	int n, at;
};

static void letters_escape(struct letters *l)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *simple = strchr(from, l->p[1]);
	l->at = 0;
	if (simple) {
		l->rest[0] = (unsigned char)to[simple - from];
		l->n = 1;
		l->p += 2;
		return;
	}
	unsigned code = (unsigned)unit_of(l->p + 2, l->end);
	l->p += 6;
	if (code >= 0xd800 && code < 0xdc00) {
		code = 0x10000 + ((code - 0xd800) << 10) +
		       ((unsigned)unit_of(l->p + 2, l->end) - 0xdc00);
		l->p += 6;
	}
	l->n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (int i = l->n - 1; i > 0; i--, code >>= 6)
		l->rest[i] = (unsigned char)(0x80 | (code & 0x3f));
	l->rest[0] = (unsigned char)(l->n == 1 ? code : (0xf00u >> l->n & 0xff) | code);
}

static int letters_next(struct letters *l)
{
	if (l->at < l->n)
		return l->rest[l->at++];
	if (l->p == l->end)
		return -1;
	if (*l->p != '\\')
		return (unsigned char)*l->p++;
	letters_escape(l);
	return l->rest[l->at++];
}

static int name_compare(const void *a, const void *b)
{
	const struct json_span *x = a, *y = b;
	struct letters of_x = { .p = x->text, .end = x->text + x->len },
		       of_y = { .p = y->text, .end = y->text + y->len };
	int i, j;
	do {
		i = letters_next(&of_x);
		j = letters_next(&of_y);
	} while (i == j && i >= 0);
	return i - j;
}

/* Cheaper than name_compare for names that are plain, as nearly all are. */
static bool is_same_name(const struct json_span *a, const struct json_span *b)
{
	if (a->len == b->len && memcmp(a->text, b->text, a->len) == 0)
		return true;
	return (memchr(a->text, '\\', a->len) || memchr(b->text, '\\', b->len)) &&
	       name_compare(a, b) == 0;
}

static int refuse_twice(struct scan *s, const struct json_span *name)
{
	enum { SHOWN = 64 };
	char what[SHOWN + 64];
	size_t shown = name->len > SHOWN ? utf8_whole(name->text, SHOWN) : name->len;
	snprintf(what, sizeof what, "a name stands twice in one object, \"%.*s\"", (int)shown,
		name->text);
	return refuse_at(s, name->text - 1, what);
}

static int check_names(struct scan *s, size_t from)
{
	size_t n = s->n_names - from;
	if (!n) /* of the first object there are no names yet, not even room for them */
		return 0;
	struct json_span *names = s->names + from;
	for (size_t i = 1; n <= FEW && i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (is_same_name(&names[i], &names[k]))
				return refuse_twice(s, &names[i]);
	if (n > FEW)
		qsort(names, n, sizeof *names, name_compare);
	for (size_t i = 1; n > FEW && i < n; i++)
		if (is_same_name(&names[i], &names[i - 1]))
			return refuse_twice(s, &names[i]);
	s->n_names = from;
	return 0;
}

/* A value that is not nested, or the beginning of one that is. *ret_opened: it is. */
static int scan_value(struct scan *s, bool *ret_opened)
{
	*ret_opened = false;
	s->n_values++;
	if (s->p >= s->end)
		return unexpected(s, "a value");
	switch (*s->p) {
	case '{':
	case '[':
		*ret_opened = true;
		return level_open(s, *s->p == '{');
	case '"':
		return scan_string(s);
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	case 'n':
		return scan_word(s, "null");
	default:
		if (*s->p != '-' && (*s->p < '0' || *s->p > '9'))
			return unexpected(s, "a value");
		return scan_number(s);
	}
}

/* A name and its colon, in the innermost object. */
static int scan_name(struct scan *s)
{
	const char *from = s->p;
	if (!is_at(s, '"'))
		return unexpected(s, "a name in quotes");
	int r = scan_string(s);
	if (r < 0)
		return r;
	if (!s->is_form_only)
		name_add(s, from);
	skip_blank(s);
	if (!is_at(s, ':'))
		return unexpected(s, "':'");
	s->p++;
	skip_blank(s);
	return 0;
}

/* Behind a value, or a bracket that was just opened: closes what is complete down to `base`. */
static int scan_closings(struct scan *s, unsigned base, bool *is_opened)
{
	while (s->depth > base) {
		const struct level *top = &s->levels[s->depth - 1];
		skip_blank(s);
		if (!is_at(s, top->is_object ? '}' : ']'))
			return 0;
		int r = top->is_object ? check_names(s, top->names) : 0;
		if (r < 0)
			return r;
		s->depth--;
		s->p++;
		*is_opened = false;
	}
	return 0;
}

/* To the next value of what is innermost. */
static int scan_next(struct scan *s, bool is_first)
{
	bool is_object = s->levels[s->depth - 1].is_object;
	if (!is_first) {
		if (!is_at(s, ','))
			return unexpected(s, is_object ? "',' or '}'" : "',' or ']'");
		s->p++;
		skip_blank(s);
	}
	return is_object ? scan_name(s) : 0;
}

/* One value with all that is in it. What is open around it stays so. */
static int scan_whole(struct scan *s)
{
	unsigned base = s->depth;
	bool is_opened;
	int r = scan_value(s, &is_opened);
	while (r == 0) {
		r = scan_closings(s, base, &is_opened);
		if (r < 0 || s->depth == base)
			break;
		r = scan_next(s, is_opened);
		if (r == 0)
			r = scan_value(s, &is_opened);
	}
	return r;
}

static int scan_members(struct scan *s, json_member_fn *each, void *arg)
{
	bool is_first = true;
	int r = level_open(s, true);
	while (r == 0) {
		r = scan_closings(s, 0, &is_first);
		if (r < 0 || s->depth == 0)
			break;
		r = scan_next(s, is_first);
		if (r < 0)
			break;
		struct json_span name = s->names[s->n_names - 1];
		const char *from = s->p;
		size_t before = s->n_values;
		is_first = false;
		r = scan_whole(s);
		if (r == 0)
			r = each(arg, name, (struct json_span){ from, (size_t)(s->p - from) },
				s->n_values - before, s->f);
	}
	return r;
}

static int scan_text(struct scan *s, json_member_fn *each, void *arg)
{
	skip_blank(s);
	if (s->p == s->end)
		return fault_set(s->f, FAULT_BAD_REQUEST, "empty, expected a JSON text");
	int r = *s->p == '{' && each ? scan_members(s, each, arg) : scan_whole(s);
	skip_blank(s);
	if (r == 0 && s->p < s->end)
		r = refuse_at(s, s->p, "more bytes after the end of the JSON text");
	free(s->levels);
	free(s->names);
	return r;
}

int json_scan(const char *text, size_t len, unsigned max_depth, json_member_fn *each, void *arg,
	struct fault *f)
{
	struct scan s = {
		.text = text, .end = text + len, .p = text, .f = f, .max_depth = max_depth
	};
	return scan_text(&s, each, arg);
}

bool json_is_text(const char *text, size_t len, unsigned max_depth)
{
	struct fault f;
	struct scan s = { .text = text,
		.end = text + len,
		.p = text,
		.f = &f,
		.max_depth = max_depth,
		.is_form_only = true };
	return scan_text(&s, NULL, NULL) == 0;
}

size_t json_compact(char *text, size_t len)
{
	const char *end = text + len;
	char *to = text;
	bool in_string = false;
	for (const char *p = text; p < end; p++) {
		if (!in_string && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
			continue;
		if (*p == '"')
			in_string = !in_string;
		*to++ = *p;
		if (in_string && *p == '\\' && p + 1 < end)
			*to++ = *++p;
	}
	return (size_t)(to - text);
}
