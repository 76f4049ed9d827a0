/* SPDX-License-Identifier: Apache-2.0 */
/* The header Accept (RFC 9110, section 12.5.1): of the elements of the list that match a type the
 * one that names it most exactly counts. What is no list is read as far as it goes. */
#include "transport/http/server/accept.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(text, word, len) == 0;
}

static size_t trimmed(const char **text, size_t len)
{
	while (len && strchr(" \t", **text)) {
		(*text)++;
		len--;
	}
	while (len && strchr(" \t", (*text)[len - 1]))
		len--;
	return len;
}

/* "0.35" → 350; what is no number counts as 1. */
static int read_q(const char *text, size_t len)
{
	char digits[8] = "";
	char *end;
	memcpy(digits, text, len < sizeof digits ? len : sizeof digits - 1);
	double q = strtod(digits, &end);
	return end == digits || !(q >= 0) || q > 1 ? 1000 : (int)(q * 1000 + 0.5);
}

/* One parameter of a type: a version that is not ours makes it another type. */
static void read_parameter(
	const char *text, size_t len, const char *version, struct accept_wish *w, bool *is_other)
{
	const char *eq = memchr(text, '=', len);
	if (!eq)
		return;
	const char *value = eq + 1, *end = text + len;
	size_t name_len = trimmed(&text, (size_t)(eq - text)),
	       value_len = trimmed(&value, (size_t)(end - value));
	if (value_len >= 2 && value[0] == '"' && value[value_len - 1] == '"') {
		value++;
		value_len -= 2;
	}
	if (is_word(text, name_len, "q"))
		w->q = read_q(value, value_len);
	else if (version && is_word(text, name_len, "version") &&
		 !is_word(value, value_len, version))
		*is_other = true;
}

/* How exactly `text` names the type, as in struct accept_wish. */
static int precision_of(const char *text, size_t len, const char *type)
{
	size_t group = strcspn(type, "/") + 1;
	if (is_word(text, len, type))
		return ACCEPT_NAMED;
	if (len == group + 1 && strncasecmp(text, type, group) == 0 && text[group] == '*')
		return ACCEPT_GROUP;
	return is_word(text, len, "*/*") ? ACCEPT_ANY : ACCEPT_NOT;
}

/* One element of the list: what it says of a type goes to *ret, if it says it more exactly. */
static void read_element(const char *text, size_t len, const char *type, const char *version,
	struct accept_wish *ret)
{
	const char *end = text + len, *next = memchr(text, ';', len), *name = text;
	size_t name_len = trimmed(&name, (size_t)((next ? next : end) - text));
	struct accept_wish w = { .q = 1000, .precision = precision_of(name, name_len, type) };
	bool is_other = false;
	while (next) {
		const char *from = next + 1;
		next = memchr(from, ';', (size_t)(end - from));
		read_parameter(from, (size_t)((next ? next : end) - from), version, &w, &is_other);
	}
	if (w.precision && !is_other &&
		(w.precision > ret->precision || (w.precision == ret->precision && w.q > ret->q)))
		*ret = w;
}

struct accept_wish accept_wish(const char *accept, const char *type, const char *version)
{
	struct accept_wish w = { 0 };
	for (const char *p = accept ? accept : ""; *p;) {
		size_t len = strcspn(p, ",");
		read_element(p, len, type, version, &w);
		p += len + (p[len] == ',');
	}
	return w;
}

bool accept_names(const char *accept, const char *type)
{
	struct accept_wish w = accept_wish(accept, type, NULL);
	return w.precision == ACCEPT_NAMED && w.q &&
	       w.q >= accept_wish(accept, "text/plain", NULL).q;
}
