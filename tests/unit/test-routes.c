/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes, and how a path finds its row. */
#include "unit.h"

#include <string.h>

#include "transport/http/request.h"

static void expect_row(const char *method, const char *path, handler_fn *handle, const char *id)
{
	const char *allow;
	char *found = NULL;
	const struct route *r = route_find(method, path, &found, &allow);
	assert_non_null(r);
	assert_ptr_equal(r->handle, handle);
	if (id)
		assert_string_equal(found, id);
	else
		assert_null(found);
	free(found);
}

static void paths_find_their_row(void **state)
{
	(void)state;
	expect_row("GET", "/v2/api/jobs", job_list, NULL);
	expect_row("HEAD", "/v2/api/jobs", job_list, NULL);
	expect_row("GET", "/v2/api/jobs/a", job_show, "a");
	expect_row("DELETE", "/v2/api/jobs/a", job_cancel, "a");
	expect_row("GET", "/v2/api/jobs/a/logs", job_logs, "a");
	expect_row("POST", "/v2/api/functions/x.y-z/jobs", job_submit, "x.y-z");
}

static void nothing_else_does(void **state)
{
	static const char *const none[] = { "/", "", "/v2/api/jobs/", "/v2/api/jobs//logs",
		"/v2/api/jobs/a/b/logs", "/v2/api/job", "/v2/api/jobsx" };
	const char *allow;
	char *id = NULL;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		assert_null(route_find("GET", none[i], &id, &allow));
		assert_null(allow);
	}
	assert_null(route_find("PUT", "/v2/api/jobs/a", &id, &allow));
	assert_string_equal(allow, "GET, HEAD, DELETE");
	assert_null(route_find("PATCH", "/v2/api/functions/f/jobs", &id, &allow));
	assert_string_equal(allow, "GET, HEAD, POST");
}

/* Every path of the table must have the text of its Allow, and no two rows may be the same. */
static void the_table_is_whole(void **state)
{
	(void)state;
	for (const struct route *r = routes; r->path; r++) {
		const char *allow;
		char *id = NULL;
		assert_null(route_find("NONE", r->path, &id, &allow));
		assert_non_null(allow);
		for (const struct route *q = r + 1; q->path; q++)
			assert_false(q->method == r->method && strcmp(q->path, r->path) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_find_their_row),
		cmocka_unit_test(nothing_else_does),
		cmocka_unit_test(the_table_is_whole),
	};
	return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
