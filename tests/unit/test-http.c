/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP adapter makes of the parts of a request, without a connection. */
#include "unit.h"

#include <string.h>

#include "transport/http/request.h"

static void what_was_ignored_is_named_once(void **state)
{
	struct request rq = { 0 };
	(void)state;
	request_ignore(&rq, "mode");
	request_ignore(&rq, "workerId");
	request_ignore(&rq, "mode");
	request_ignore(&rq, "work");
	assert_string_equal(rq.ignored.data, "mode, workerId, work");
	request_ignore(&rq, "a name\r\nX: y");
	request_ignore(&rq, "");
	assert_string_equal(rq.ignored.data, "mode, workerId, work, ...");
	request_ignore(&rq, "late");
	assert_string_equal(rq.ignored.data, "mode, workerId, work, ...");
	buf_done(&rq.ignored);
}

static void what_was_ignored_has_a_limit(void **state)
{
	struct request rq = { 0 };
	char name[16];
	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "name-%d", i);
		request_ignore(&rq, name);
	}
	assert_in_range(rq.ignored.len, IGNORED_MAX / 2, IGNORED_MAX + 8);
	assert_string_equal(rq.ignored.data + rq.ignored.len - 5, ", ...");
	buf_done(&rq.ignored);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_ignored_is_named_once),
		cmocka_unit_test(what_was_ignored_has_a_limit),
	};
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
