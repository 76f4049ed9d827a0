/* SPDX-License-Identifier: Apache-2.0 */
/* Events as Mist writes them, byte for byte, and entries of a job's log, written and read again. */
#include "unit.h"

#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "domain/event.h"
#include "domain/log_line.h"

#define ID "0190c0de-0000-7000-8000-000000000000"

static void expect_event(struct event_facts facts, const char *expected)
{
	struct uuid id;
	struct buf out;
	assert_true(uuid_parse(ID, &id));
	facts.id = &id;
	buf_init(&out, 10000);
	assert_int_equal(event_print(&facts, &out), 0);
	assert_string_equal(out.data, expected);
	buf_done(&out);
}

static void events_have_mists_bytes(void **state)
{
	const char *result = "{\"result\": [42,\n\t\"a \\\" b\"]}";
	(void)state;
	expect_event((struct event_facts){ .kind = EVENT_STARTED, .at_ms = 1 },
		"{\"id\":\"" ID "\",\"time\":1,\"event\":\"started\"}");
	expect_event((struct event_facts){ .kind = EVENT_QUEUED },
		"{\"id\":\"" ID "\",\"event\":\"queued\"}");
	expect_event((struct event_facts){ .kind = EVENT_FINISHED,
			     .at_ms = 1,
			     .result = result,
			     .result_len = strlen(result) },
		"{\"id\":\"" ID "\",\"time\":1,\"result\":{\"result\":[42,\"a \\\" b\"]},"
		"\"event\":\"finished\"}");
	expect_event(
		(struct event_facts){ .kind = EVENT_FAILED, .at_ms = 1, .error = "one\ntwo \xff" },
		"{\"id\":\"" ID "\",\"time\":1,\"error\":\"one\\ntwo ?\","
		"\"event\":\"failed\"}");
	expect_event((struct event_facts){ .kind = EVENT_ACCEPTED,
			     .function = "f",
			     .context = "c",
			     .path = "p.py",
			     .class_name = "main",
			     .arguments = "{ }" },
		"{\"id\":\"" ID "\",\"params\":{\"filePath\":\"p.py\",\"className\":\"main\","
		"\"arguments\":{},\"action\":\"execute\"},\"function\":\"f\",\"context\":\"c\","
		"\"event\":\"initialized\"}");
}

static void how_far_a_job_is_has_what_was_said_of_it(void **state)
{
	struct progress p = { .at_ms = 7, .has_value = true, .value = 0.1, .note = "a \"b\"\n" };
	const struct event_facts facts = { .kind = EVENT_PROGRESS, .at_ms = 7, .progress = &p };
	(void)state;
	expect_event(facts,
		"{\"id\":\"" ID "\",\"time\":7,\"value\":0.1,\"note\":\"a \\\"b\\\"\\n\","
		"\"event\":\"progress\"}");
	p.note = NULL;
	static const struct {
		double value;
		const char *text;
	} values[] = { { 0, "0" }, { 1, "1" }, { 0.5, "0.5" }, { 1. / 3, "0.333333" },
		{ 1e-9, "0" }, { 0.999999999, "1" } };
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		_cleanup_(freep) char *expected =
			xasprintf("{\"time\":7,\"value\":%s}", values[i].text);
		p.value = values[i].value;
		_cleanup_(freep) char *text = progress_text(&p);
		assert_string_equal(text, expected);
	}
	p.has_value = false;
	char note[PROGRESS_NOTE_MAX + 1];
	memset(note, 1, sizeof note - 1); /* each becomes six */
	note[sizeof note - 1] = '\0';
	p.note = note;
	_cleanup_(freep) char *text = progress_text(&p);
	assert_int_equal(strlen(text), strlen("{\"time\":7,\"note\":\"\"}") + 6 * strlen(note));
}

/* By which whoever hears of it twice knows it again. */
static void expect_id(enum event_kind kind, unsigned attempt, const char *expected)
{
	struct job job = { .attempt = attempt };
	char text[EVENT_ID];
	assert_true(uuid_parse(ID, &job.id));
	event_id(&(struct job_event){ .kind = kind, .job = &job, .at_ms = 7 }, text);
	assert_string_equal(text, expected);
}

static void an_event_has_one_id_and_no_other_has_it(void **state)
{
	(void)state;
	expect_id(EVENT_STARTED, 1, ID ":started");
	expect_id(EVENT_STARTED, 2, ID ":started:2");
	expect_id(EVENT_QUEUED, 3, ID ":queued:3");
	expect_id(EVENT_PROGRESS, 1, ID ":progress:7");
	expect_id(EVENT_FINISHED, 1, ID ":finished");
	expect_id(EVENT_FINISHED, 3, ID ":finished"); /* told by the next gateway, too */
}

static void expect_line(const char **p, const char *end, enum log_line_level level, int64_t at_ms,
	const char *message)
{
	struct log_line line;
	assert_true(log_line_read(p, end, ID, &line));
	assert_int_equal(line.level, level);
	assert_int_equal(line.at_ms, at_ms);
	assert_int_equal(line.len, strlen(message));
	assert_memory_equal(line.message, message, line.len);
}

/* A job may log what another one has logged. */
#define OTHERS                                                                                     \
	"it says:\nINFO 2019-10-07T12:48:23.123 [0190c0de-0000-7000-8000-000000000001] none of "   \
	"ours"

static void entries_are_read_as_they_were_written(void **state)
{
	static const struct log_line lines[] = {
		{ ID, LOG_LINE_INFO, 1570452503123, "one", 3 },
		{ ID, LOG_LINE_ERROR, 1570452503124, "two\nINFO of no entry\n\nfour", 26 },
		{ ID, LOG_LINE_DEBUG, 1570452503125, "", 0 },
		{ ID, LOG_LINE_INFO, 1570452503126, OTHERS, sizeof OTHERS - 1 },
	};
	struct buf out;
	struct log_line none;
	(void)state;
	buf_init(&out, 10000);
	buf_puts(&out, "the end of an entry that began before\n");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(log_line_print(&lines[i], &out), 0);
	const char *p = out.data, *end = out.data + out.len;
	expect_line(&p, end, LOG_LINE_INFO, 1570452503123, "one");
	expect_line(&p, end, LOG_LINE_ERROR, 1570452503124, "two\nINFO of no entry\n\nfour");
	expect_line(&p, end, LOG_LINE_DEBUG, 1570452503125, "");
	expect_line(&p, end, LOG_LINE_INFO, 1570452503126, OTHERS);
	assert_ptr_equal(p, end);
	assert_false(log_line_read(&p, end, ID, &none));
	buf_done(&out);
}

static void logs_are_one_event(void **state)
{
	static const struct log_line line = { ID, LOG_LINE_DEBUG, 1, "test", 4 };
	struct buf entries, out;
	struct uuid id;
	(void)state;
	assert_true(uuid_parse(ID, &id));
	buf_init(&entries, 10000);
	buf_init(&out, 10000);
	log_line_print_json(&line, &entries);
	log_line_print_json(&line, &entries);
	assert_int_equal(event_print_logs(&id, &entries, 7, &out), 0);
#define ENTRY "{\"from\":\"" ID "\",\"message\":\"test\",\"timeStamp\":1,\"level\":1}"
	assert_string_equal(out.data, "{\"id\":\"" ID "\",\"events\":[" ENTRY "," ENTRY
				      "],\"fileOffset\":7,\"event\":\"logs\"}");
	buf_done(&entries);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_have_mists_bytes),
		cmocka_unit_test(how_far_a_job_is_has_what_was_said_of_it),
		cmocka_unit_test(an_event_has_one_id_and_no_other_has_it),
		cmocka_unit_test(entries_are_read_as_they_were_written),
		cmocka_unit_test(logs_are_one_event),
	};
	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
