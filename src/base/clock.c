/* SPDX-License-Identifier: Apache-2.0 */
/* Milliseconds, and the words people write for them.
 *
 * What is shown or stored is wall time; what is waited for is monotonic time, so that a corrected
 * clock neither fires nor forgets a timeout. A duration is milliseconds too, or DURATION_INF. The
 * units are those of Mist's own settings ("10 minutes", "Inf"). A finite duration is at most half
 * of what fits, so that `now + duration` cannot overflow; only DURATION_INF must be looked at
 * before adding. Pure functions apart from the clocks, any thread. */
#include "base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"

#define DURATION_MAX (INT64_MAX / 2)

static int64_t clock_ms(clockid_t id)
{
	struct timespec t;
	must(clock_gettime(id, &t) == 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t clock_mono_us(void)
{
	struct timespec t;
	must(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static const struct unit {
	const char *names[6];
	int64_t ms;
} units[] = {
	{ { "ms", "milli", "millis", "millisecond", "milliseconds" }, 1 },
	{ { "s", "sec", "secs", "second", "seconds", "" }, 1000 },
	{ { "m", "min", "mins", "minute", "minutes" }, 60 * 1000 },
	{ { "h", "hour", "hours" }, 3600 * 1000 },
	{ { "d", "day", "days" }, 24 * 3600 * 1000 },
};

/* The milliseconds of the unit, 0 when there is no such unit. */
static int64_t unit_ms(const char *name, size_t len)
{
	for (size_t u = 0; u < ARRAY_SIZE(units); u++)
		for (size_t i = 0; i < ARRAY_SIZE(units[u].names) && units[u].names[i]; i++)
			if (strlen(units[u].names[i]) == len &&
				strncasecmp(units[u].names[i], name, len) == 0)
				return units[u].ms;
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads "12" or "1.5" at *text as a whole part and billionths, and moves *text behind it. */
static int number_parse(const char **text, int64_t *ret_whole, int64_t *ret_billionths)
{
	const char *s = *text;
	int64_t whole = 0, billionths = 0;
	if (!is_digit(*s))
		return -EINVAL;
	for (; is_digit(*s); s++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
			__builtin_add_overflow(whole, *s - '0', &whole))
			return -EINVAL;
	if (*s == '.') {
		if (!is_digit(*++s))
			return -EINVAL;
		for (int64_t place = 100000000; is_digit(*s); s++, place /= 10) {
			if (place == 0)
				return -EINVAL;
			billionths += place * (*s - '0');
		}
	}
	*text = s;
	*ret_whole = whole;
	*ret_billionths = billionths;
	return 0;
}

int duration_parse(const char *text, int64_t *ret_ms)
{
	text += strspn(text, " \t");
	size_t len = strlen(text);
	while (len && strchr(" \t", text[len - 1]))
		len--;
	if (len == 3 && strncasecmp(text, "inf", len) == 0) {
		*ret_ms = DURATION_INF;
		return 0;
	}
	const char *end = text + len, *at = text;
	int64_t whole, billionths, ms;
	if (number_parse(&at, &whole, &billionths) < 0)
		return -EINVAL;
	at += strspn(at, " \t");
	int64_t unit = unit_ms(at, at < end ? (size_t)(end - at) : 0);
	if (!unit || __builtin_mul_overflow(whole, unit, &ms) || ms > DURATION_MAX - unit)
		return -EINVAL;
	/* a part of a millisecond counts as one: what is not zero must not become zero */
	*ret_ms = ms + (billionths * unit + 999999999) / 1000000000;
	return 0;
}

void duration_format(int64_t ms, char *ret, size_t size)
{
	if (ms == DURATION_INF)
		snprintf(ret, size, "Inf");
	else
		snprintf(ret, size, "%llds", (long long)(ms / 1000 + (ms % 1000 > 0)));
}

void duration_print(int64_t ms, char *ret, size_t size)
{
	if (ms != DURATION_INF && ms % 1000)
		snprintf(ret, size, "%lldms", (long long)ms);
	else
		duration_format(ms, ret, size);
}

void clock_format(int64_t wall_ms, char ret[static CLOCK_TEXT])
{
	const int64_t last = 253402300799999; /* of the years with four digits */
	if (wall_ms < 0)
		wall_ms = 0;
	if (wall_ms > last)
		wall_ms = last;
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;
	must(gmtime_r(&seconds, &tm));
	size_t len = strftime(ret, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + len, CLOCK_TEXT - len, ".%03d", (int)(wall_ms % 1000));
}
