/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of dates, times, durations, decimals, UUIDs and base64 in arguments.
 *
 * A worker converts these texts to its language's values; what it would refuse has to be refused
 * here first, before there is a job, so each row is the grammar that proto/README.md writes down
 * and that the runners have too. A row looks at the text alone and allocates nothing. Any thread.
 */
#include "domain/arg_format.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base/cleanup.h"

enum { FRACTION_MAX = 6, EXPONENT_DIGITS_MAX = 4, DECIMAL_MAX = 1000, DAYS_MAX = 999999999 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Exactly n digits; NULL if there are not. */
static const char *digits(const char *p, unsigned n, int *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < n; i++, p++) {
		if (!is_digit(*p))
			return NULL;
		*ret = *ret * 10 + (*p - '0');
	}
	return p;
}

static const char *date_at(const char *p)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int y, m, d;
	if (!(p = digits(p, 4, &y)) || *p++ != '-' || !(p = digits(p, 2, &m)) || *p++ != '-' ||
		!(p = digits(p, 2, &d)))
		return NULL;
	if (y < 1 || m < 1 || m > 12 || d < 1)
		return NULL;
	bool is_leap = m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
	return d <= days[m - 1] + is_leap ? p : NULL;
}

/* ".5" up to microseconds; more digits may only be zeros. */
static const char *fraction_at(const char *p)
{
	unsigned n = 0;
	for (p++; is_digit(*p); p++, n++)
		if (n >= FRACTION_MAX && *p != '0')
			return NULL;
	return n ? p : NULL;
}

static const char *offset_at(const char *p)
{
	int h, m, s = 0;
	if (*p == 'Z' || *p == 'z')
		return p + 1;
	if (*p != '+' && *p != '-')
		return NULL;
	if (!(p = digits(p + 1, 2, &h)))
		return NULL;
	bool has_colon = *p == ':';
	if (!(p = digits(p + has_colon, 2, &m)))
		return NULL;
	if (has_colon && *p == ':' && !(p = digits(p + 1, 2, &s)))
		return NULL;
	return h < 24 && m < 60 && s < 60 ? p : NULL;
}

static const char *time_at(const char *p)
{
	int h, m, s = 0;
	if (!(p = digits(p, 2, &h)) || *p++ != ':' || !(p = digits(p, 2, &m)))
		return NULL;
	if (*p == ':') {
		if (!(p = digits(p + 1, 2, &s)))
			return NULL;
		if (*p == '.' && !(p = fraction_at(p)))
			return NULL;
	}
	if (h > 23 || m > 59 || s > 59)
		return NULL;
	return *p ? offset_at(p) : p;
}

static bool is_date(const char *text)
{
	const char *end = date_at(text);
	return end && !*end;
}

static bool is_time(const char *text)
{
	const char *end = time_at(text);
	return end && !*end;
}

static bool is_date_time(const char *text)
{
	const char *p = date_at(text);
	if (p && (*p == 'T' || *p == 't' || *p == ' '))
		p = time_at(p + 1);
	return p && !*p;
}

/* ISO 8601: P1W, P1DT2H3M4.5S; years and months have no length. */
static bool is_duration(const char *text)
{
	static const char units[] = "WDHMS";
	static const double seconds[] = { 604800, 86400, 3600, 60, 1 };
	const char *p = text + (*text == '-');
	double total = 0;
	unsigned next = 0, n = 0;
	if (*p++ != 'P')
		return false;
	for (bool in_time = false; *p; n++) {
		if (*p == 'T') {
			if (in_time || !p[1])
				return false;
			in_time = true;
			next = 2;
			p++;
		}
		if (!is_digit(*p))
			return false;
		double value = 0;
		for (; is_digit(*p); p++)
			value = value * 10 + (*p - '0');
		bool has_fraction = *p == '.';
		if (has_fraction && !(p = fraction_at(p)))
			return false;
		const char *unit = *p ? strchr(units + next, *p) : NULL;
		if (!unit || (unit >= units + 2) != in_time || (has_fraction && *unit != 'S'))
			return false;
		next = (unsigned)(unit - units) + 1;
		total += value * seconds[next - 1];
		p++;
	}
	return n && total < DAYS_MAX * 86400.0;
}

static bool is_decimal(const char *text)
{
	const char *p = text + (*text == '+' || *text == '-');
	unsigned n = 0;
	if (strlen(text) > DECIMAL_MAX)
		return false;
	for (; is_digit(*p); p++)
		n++;
	if (*p == '.')
		for (p++; is_digit(*p); p++)
			n++;
	if (n && (*p == 'e' || *p == 'E')) {
		p += p[1] == '+' || p[1] == '-' ? 2 : 1;
		size_t exponent = strspn(p, "0123456789");
		if (!exponent || exponent > EXPONENT_DIGITS_MAX)
			return false;
		p += exponent;
	}
	return n && !*p;
}

static bool is_uuid(const char *text)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	if (strlen(text) != sizeof form - 1)
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	return true;
}

static bool is_base64(const char *text)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text), n = strspn(text, alphabet);
	return len % 4 == 0 && len - n <= 2 && strspn(text + n, "=") == len - n;
}

static bool is_integer(const char *text)
{
	const char *p = text + (*text == '-');
	size_t n = strspn(p, "0123456789");
	return n && n <= 18 && !p[n];
}

static const struct arg_format formats[] = {
	{ "date", "date as 2019-10-07", 0, is_date },
	{ "date-time", "time as 2019-10-07T12:48:23.123+02:00", 0, is_date_time },
	{ "time", "time of day as 12:48:23", 0, is_time },
	{ "duration", "duration as PT1H30M, or seconds", DAYS_MAX * 86400.0, is_duration },
	{ "decimal", "decimal number", HUGE_VAL, is_decimal },
	{ "uuid", "UUID", 0, is_uuid },
	{ "base64", "bytes in base64", 0, is_base64 },
	{ "integer", "integer", 0, is_integer },
};

const struct arg_format *arg_format_find(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}
