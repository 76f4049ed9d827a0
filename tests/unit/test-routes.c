/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes, and how a path finds its row. */
#include "unit.h"

#include <string.h>

#include "transport/http/request.h"
#include "transport/http/target.h"

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
	expect_row("GET", "/", root_show, NULL);
	expect_row("GET", "/ui", ui_redirect, NULL);
}

static void the_rest_of_a_path_is_one_id(void **state)
{
	(void)state;
	expect_row("GET", "/ui/", ui_show, "");
	expect_row("GET", "/ui/a", ui_show, "a");
	expect_row("HEAD", "/ui/a/b.js", ui_show, "a/b.js");
	expect_row("GET", "/ui//", ui_show, "/");
}

static void expect_target(const char *uri, const char *path)
{
	_cleanup_(freep) char *found = target_path(uri);
	assert_string_equal(found, path);
}

static void a_target_is_decoded_once(void **state)
{
	const char *allow;
	char *id = NULL;
	(void)state;
	expect_target("/v2/api/jobs?a=%41", "/v2/api/jobs");
	expect_target("/%6Aobs/%c3%A4+b", "/jobs/\xc3\xa4+b");
	expect_target("/%2541/%/%4/%zz/%4g", "/%41/%/%4/%zz/%4g");
	expect_target("/a%2Fb%00c%2f", "/a\xee\x80\xaf"
				       "b\xff"
				       "c\xee\x80\xaf");
	expect_target("", "");
	_cleanup_(freep) char *path = target_path("/v2/api/jobs/a%2Flogs");
	const struct route *r = route_find("GET", path, &id, &allow);
	assert_ptr_equal(r->handle, job_show);
	assert_string_equal(id, "a\xee\x80\xaflogs");
	target_show(id);
	assert_string_equal(id, "a/logs");
	free(id);
}

static void nothing_else_does(void **state)
{
	static const char *const none[] = { "", "//", "/uix", "/v2/api/jobs/", "/v2/api/jobs//logs",
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
		cmocka_unit_test(the_rest_of_a_path_is_one_id),
		cmocka_unit_test(a_target_is_decoded_once),
		cmocka_unit_test(nothing_else_does),
		cmocka_unit_test(the_table_is_whole),
	};
	return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
