/* SPDX-License-Identifier: Apache-2.0 */
/* base/log.h: one event is one line, whatever it quotes. */
#include "unit.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text/plural.h"

static int real_stderr, lines[2];

static void capture(void)
{
	must(pipe(lines) == 0);
	real_stderr = dup(STDERR_FILENO);
	must(dup2(lines[1], STDERR_FILENO) >= 0);
}

/* What was logged since capture(), without the time. */
static const char *captured(void)
{
	static char text[64 * 1024];
	must(dup2(real_stderr, STDERR_FILENO) >= 0);
	close(real_stderr);
	close(lines[1]);
	ssize_t n = read(lines[0], text, sizeof text - 1);
	must(n >= 0);
	close(lines[0]);
	text[n] = '\0';
	return n < CLOCK_TEXT + 1 ? text : text + CLOCK_TEXT + 1;
}

TEST(a_line_has_time_level_and_message)
{
	capture();
	log_info("job %d is done", 7);
	check_str(captured(), "INFO job 7 is done\n");
}

/* The line without its time, "2026-01-31T12:00:00.000Z" in both forms. */
static const char *captured_json(void)
{
	const char *text = captured() - CLOCK_TEXT - 1;
	check(strncmp(text, "{\"time\":\"20", 11) == 0);
	const char *rest = text + strlen("{\"time\":\"") + CLOCK_TEXT - 1;
	check(strncmp(rest, "Z\",", 3) == 0);
	log_set_format(LOG_FORMAT_TEXT);
	return rest + 3;
}

TEST(a_line_has_the_zone_of_its_time)
{
	capture();
	log_info("now");
	const char *text = captured() - CLOCK_TEXT - 1;
	check(text[CLOCK_TEXT - 1] == 'Z' && text[10] == 'T' && text[CLOCK_TEXT] == ' ');
}

TEST(in_json_what_a_line_is_about_is_in_members)
{
	const struct log_field fields[] = { { "context", "c" }, { "worker", NULL },
		{ "request", "a\"b" } };
	capture();
	log_set_format(LOG_FORMAT_JSON);
	log_write_fields(LOG_LEVEL_INFO, fields, ARRAY_SIZE(fields),
		"job %s of function %s: ended %d", "1-2", "f", 3);
	check_str(captured_json(), "\"level\":\"info\",\"message\":\"job 1-2 of function f: ended "
				   "3\",\"job\":\"1-2\",\"function\":\"f\",\"context\":\"c\","
				   "\"request\":\"a\\\"b\"}\n");
	capture();
	log_set_format(LOG_FORMAT_JSON);
	log_warn("transport %s: %s", "mqtt", "down");
	check_str(captured_json(), "\"level\":\"warn\",\"message\":\"transport mqtt: "
				   "down\",\"transport\":\"mqtt\"}\n");
	capture();
	log_set_format(LOG_FORMAT_JSON);
	log_error("%s", "worker w is no member, since foreign text is none");
	check_str(captured_json(), "\"level\":\"error\",\"message\":\"worker w is no member, since "
				   "foreign text is none\"}\n");
}

TEST(any_text_is_one_json_string)
{
	static char text[4096];
	struct log_limit limit = { 0 };
	for (size_t i = 0; i + 1 < sizeof text; i++)
		text[i] = (char)(i % 255 + 1);
	const struct log_field fields[] = { { "job", text }, { "worker", text }, { "a", text },
		{ "b", text }, { "c", text }, { "d", text }, { "e", text }, { "f", text },
		{ "g", text } };
	capture();
	log_set_format(LOG_FORMAT_JSON);
	log_write_fields(LOG_LEVEL_WARN, fields, ARRAY_SIZE(fields), "job %s of function %s: %s",
		text, text, text);
	log_limited(&limit, LOG_LEVEL_WARN, "context %s is \"said\"", "c\x1b\n\xff\xc2\x85");
	const char *first = captured() - CLOCK_TEXT - 1;
	const char *second = strchr(first, '\n') + 1;
	json_t *json = json_loadb(first, (size_t)(second - first), 0, NULL);
	check(json && json_object_size(json) == 3 + 2 + 8 - 1); /* "job" comes twice */
	json_decref(json);
	json = json_loads(second, 0, NULL);
	check_str(json_string_value(json_object_get(json, "context")), "c\x1b\n\\xff\\xc2\\x85");
	check(json_object_size(json) == 4);
	json_decref(json);
	log_set_format(LOG_FORMAT_TEXT);
}

TEST(foreign_text_cannot_forge_a_line)
{
	capture();
	log_warn("got %s", "a\n2026 ERROR forged\r\x1b[31m\t\xff \xc3\xa9");
	check_str(captured(), "WARN got a\\n2026 ERROR forged\\x0d\\x1b[31m \\xff \xc3\xa9\n");
}

TEST(a_long_message_is_cut)
{
	_cleanup_(freep) char *text = xcalloc(20001, 1);
	memset(text, 1, 20000);
	capture();
	log_error("%s", text);
	const char *line = captured();
	size_t len = strlen(line);
	check(len > 4000 && len < 20000);
	check_str(line + len - 8, "\\x01...\n");
}

TEST(what_is_below_the_level_is_not_written)
{
	capture();
	log_debug("hidden");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("hidden too");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("shown");
	log_set_level(LOG_LEVEL_INFO);
	check_str(captured(), "DEBUG shown\n");
}

TEST(errno_survives_a_log_line)
{
	capture();
	errno = ENOSPC;
	log_info("cannot write: %m");
	check_int(errno, ENOSPC);
	check_str(captured(), "INFO cannot write: No space left on device\n");
}

TEST(lines_of_one_cause_are_counted_once_there_were_enough)
{
	struct log_limit limit = { 0 };
	uint64_t written = log_count(LOG_LEVEL_WARN), dropped = log_count_dropped();
	capture();
	for (int i = 0; i < 822; i++)
		log_limited(&limit, LOG_LEVEL_WARN, "refused number %d", i);
	check(log_limit_tick(&limit));
	limit.until_ms = clock_mono_ms(); /* the minute is over */
	check(!log_limit_tick(&limit));
	log_limited(&limit, LOG_LEVEL_WARN, "refused again");
	const char *text = captured();
	int n = 0;
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		n++;
	check_int(n, LOG_LIMIT_LINES + 2);
	check_int(log_count(LOG_LEVEL_WARN) - written, LOG_LIMIT_LINES + 2);
	check_int(log_count_dropped() - dropped, 812);
	check(strstr(text, "812 more lines like this in the last minute, the last of them: refused "
			   "number 821\n"));
	check(strstr(text, "refused again\n"));
}

TEST(what_is_counted_is_named_in_the_number_it_has)
{
	static const struct {
		uint64_t n;
		const char *sentence;
	} cases[] = {
		{ 0, "0 jobs wait" },
		{ 1, "1 job waits" },
		{ 2, "2 jobs wait" },
		{ UINT64_MAX, "18446744073709551615 jobs wait" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t n = cases[i].n;
		_cleanup_(freep) char *text = xasprintf(
			"%" PRIu64 " job%s %s", n, plural(n), by_count(n, "waits", "wait"));
		check_str(text, cases[i].sentence);
	}
	struct log_limit limit = { 0 };
	capture();
	for (int i = 0; i < LOG_LIMIT_LINES + 1; i++)
		log_limited(&limit, LOG_LEVEL_WARN, "refused number %d", i);
	limit.until_ms = clock_mono_ms();
	check(!log_limit_tick(&limit));
	check(strstr(captured(), "1 more line like this in the last minute"));
}

TEST(a_reader_that_stopped_reading_stops_nobody)
{
	enum { MANY = 4000 }; /* more than a pipe holds */
	char text[64 * 1024];
	capture();
	for (int i = 0; i < MANY; i++)
		log_info("line number %d of many that nobody reads", i);
	check(read(lines[0], text, sizeof text) > 0); /* there is room again */
	log_info("and on");
	const char *rest = captured();
	check(strstr(rest, "lines were left out here, since nobody read the log\n"));
	check(strstr(rest, "INFO and on\n"));
}

RUN_TESTS(PROVES(a_line_has_time_level_and_message), PROVES(a_line_has_the_zone_of_its_time),
	PROVES(in_json_what_a_line_is_about_is_in_members), PROVES(any_text_is_one_json_string),
	PROVES(lines_of_one_cause_are_counted_once_there_were_enough),
	PROVES(what_is_counted_is_named_in_the_number_it_has),
	PROVES(a_reader_that_stopped_reading_stops_nobody),
	PROVES(foreign_text_cannot_forge_a_line), PROVES(a_long_message_is_cut),
	PROVES(what_is_below_the_level_is_not_written), PROVES(errno_survives_a_log_line))
