/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the two formats of metrics a client wants (RFC 9110, section 12.5.1).
 *
 * OpenMetrics is for those who name it, in the version that we write, and want it at least as much
 * as plain text. Everybody else gets plain text, which every reader of metrics knows: also those
 * who say nothing, who take anything, or who ask for what is not to be had. */
#include "transport/http/metrics/metrics.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How much a type is wanted, in thousandths, and how exactly it was named. */
struct wish {
	int q, precision;
};

static const char *const openmetrics_names[] = { "*/*", "application/*",
	"application/openmetrics-text" };
static const char *const text_names[] = { "*/*", "text/*", "text/plain" };

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
	const char *text, size_t len, const char *version, struct wish *w, bool *is_other)
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
	else if (is_word(text, name_len, "version") && !is_word(value, value_len, version))
		*is_other = true;
}

/* One element of the list: what it says of a type goes to *ret, if it says it more exactly. */
static void read_element(const char *text, size_t len, const char *const names[static 3],
	const char *version, struct wish *ret)
{
	const char *end = text + len, *next = memchr(text, ';', len), *type = text;
	size_t type_len = trimmed(&type, (size_t)((next ? next : end) - text));
	struct wish w = { .q = 1000 };
	bool is_other = false;
	for (int i = 0; i < 3; i++)
		if (is_word(type, type_len, names[i]))
			w.precision = i + 1;
	while (next) {
		const char *from = next + 1;
		next = memchr(from, ';', (size_t)(end - from));
		read_parameter(from, (size_t)((next ? next : end) - from), version, &w, &is_other);
	}
	if (w.precision && !is_other &&
		(w.precision > ret->precision || (w.precision == ret->precision && w.q > ret->q)))
		*ret = w;
}

static struct wish read_accept(
	const char *accept, const char *const names[static 3], const char *version)
{
	struct wish w = { 0 };
	for (const char *p = accept; *p;) {
		size_t len = strcspn(p, ",");
		read_element(p, len, names, version, &w);
		p += len + (p[len] == ',');
	}
	return w;
}

enum exposition_format exposition_of_accept(const char *accept)
{
	if (!accept)
		return EXPOSITION_PROMETHEUS;
	struct wish open = read_accept(accept, openmetrics_names, "1.0.0"),
		    text = read_accept(accept, text_names, "0.0.4");
	bool is_named = open.precision == 3 && open.q >= text.q;
	return open.q && (is_named || !text.q) && open.precision > 1 ? EXPOSITION_OPENMETRICS
								     : EXPOSITION_PROMETHEUS;
}
