/* SPDX-License-Identifier: Apache-2.0 */
/* base/clock.h: the words people write for durations, and the ones we answer with. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

TEST(durations_are_read_in_every_unit)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{ "0", 0 },
		{ "10", 10000 },
		{ "10s", 10000 },
		{ "10 s", 10000 },
		{ "  10 sec ", 10000 },
		{ "1 second", 1000 },
		{ "3600s", 3600000 },
		{ "5ms", 5 },
		{ "5 millis", 5 },
		{ "5 milliseconds", 5 },
		{ "10 minutes", 600000 },
		{ "2m", 120000 },
		{ "2 mins", 120000 },
		{ "1h", 3600000 },
		{ "1.5h", 5400000 },
		{ "1.5 hours", 5400000 },
		{ "2 days", 172800000 },
		{ "1D", 86400000 },
		{ "0.25s", 250 },
		{ "0.000000001s", 1 },
		{ "0.1ms", 1 },
		{ "1.000000001d", 86400001 },
		{ "Inf", DURATION_INF },
		{ "inf", DURATION_INF },
		{ " INF ", DURATION_INF },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ms = -1;
		check_int(duration_parse(rows[i].text, &ms), 0);
		check_int(ms, rows[i].ms);
	}
}

TEST(what_is_no_duration_is_refused)
{
	static const char *const rows[] = {
		"",
		" ",
		"s",
		"-1s",
		"+1s",
		"1.s",
		".5s",
		"1..5s",
		"1 fortnight",
		"10 s s",
		"1e3s",
		"0x10",
		"Infinite",
		"9223372036854775807",
		"99999999999999999999s",
		"9223372036854775807ms",
		"9000000000000000s",
		"4611686018427387904ms",
		"1,5s",
		"1.0000000001s",
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ms = -1;
		check_int(duration_parse(rows[i], &ms), -EINVAL);
		check_int(ms, -1);
	}
}

TEST(the_longest_duration_can_be_added_to_any_clock)
{
	int64_t ms, sum;
	check_int(duration_parse("4611686018427387ms", &ms), 0);
	check_int(duration_parse("4611686018427386s", &ms), 0);
	check(!__builtin_add_overflow(ms, clock_wall_ms(), &sum));
}

TEST(durations_are_written_in_seconds)
{
	char text[32];
	duration_format(3600000, text, sizeof text);
	check_str(text, "3600s");
	duration_format(1, text, sizeof text);
	check_str(text, "1s");
	duration_format(1001, text, sizeof text);
	check_str(text, "2s");
	duration_format(0, text, sizeof text);
	check_str(text, "0s");
	duration_format(DURATION_INF, text, sizeof text);
	check_str(text, "Inf");
}

TEST(wall_time_is_written_in_utc_with_milliseconds)
{
	char text[CLOCK_TEXT];
	clock_format(1570452503123, text);
	check_str(text, "2019-10-07T12:48:23.123");
	clock_format(0, text);
	check_str(text, "1970-01-01T00:00:00.000");
	clock_format(INT64_MAX, text);
	check_str(text, "9999-12-31T23:59:59.999");
	clock_format(-5, text);
	check_str(text, "1970-01-01T00:00:00.000");
}

TEST(monotonic_time_does_not_go_back)
{
	int64_t last = clock_mono_ms();
	for (int i = 0; i < 1000; i++) {
		int64_t now = clock_mono_ms();
		check(now >= last);
		last = now;
	}
}

RUN_TESTS(PROVES(durations_are_read_in_every_unit), PROVES(what_is_no_duration_is_refused),
	PROVES(the_longest_duration_can_be_added_to_any_clock),
	PROVES(durations_are_written_in_seconds),
	PROVES(wall_time_is_written_in_utc_with_milliseconds),
	PROVES(monotonic_time_does_not_go_back))
