/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP adapter makes of the parts of a request, without a connection. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/http/metrics/metrics.h"
#include "transport/http/request.h"
#include "transport/http/server/accept.h"
#include "transport/http/server/head.h"
#include "transport/http/server/multipart.h"
#include "transport/http/target.h"

static void what_was_ignored_is_named_once(void **state)
{
	struct request rq = { 0 };
	(void)state;
	request_ignore(&rq, "mode");
	request_ignore(&rq, "workerId");
	request_ignore(&rq, "mode");
	request_ignore(&rq, "work");
	assert_string_equal(rq.ignored, "mode, workerId, work");
	free(rq.ignored);
}

static void a_host_is_an_address_or_a_name_of_ours(void **state)
{
	static const struct {
		const char *authority;
		enum host_verdict verdict;
	} cases[] = {
		{ "127.0.0.1", HOST_GOOD },
		{ "127.0.0.1:2003", HOST_GOOD },
		{ "192.168.1.7:1", HOST_GOOD },
		{ "[::1]", HOST_GOOD },
		{ "[::1]:2003", HOST_GOOD },
		{ "[fe80::1%25eth0]:2003", HOST_GOOD },
		{ "localhost", HOST_GOOD },
		{ "LocalHost:2003", HOST_GOOD },
		{ "localhost.", HOST_GOOD },
		{ "mist.internal:80", HOST_GOOD },
		{ "a.example", HOST_GOOD },
		{ "A.Example:443", HOST_GOOD },
		{ "x.b.example", HOST_GOOD },
		{ "x.y.b.example:1", HOST_GOOD },
		{ "b.example", HOST_FOREIGN },
		{ "xb.example", HOST_FOREIGN },
		{ "evilb.example", HOST_FOREIGN },
		{ "a.example.evil.example", HOST_FOREIGN },
		{ "evil.example", HOST_FOREIGN },
		{ "evil.example:2003", HOST_FOREIGN },
		{ "localhost.evil.example", HOST_FOREIGN },
		{ "127.0.0.1.evil.example", HOST_FOREIGN },
		{ "2130706433", HOST_FOREIGN },
		{ "0x7f.1", HOST_FOREIGN },
		{ "127.1", HOST_FOREIGN },
		{ "", HOST_MALFORMED },
		{ ".", HOST_FOREIGN },
		{ ":2003", HOST_MALFORMED },
		{ "localhost:x", HOST_MALFORMED },
		{ "localhost:2003x", HOST_MALFORMED },
		{ "localhost:999999", HOST_MALFORMED },
		{ "user@localhost", HOST_MALFORMED },
		{ "localhost/x", HOST_MALFORMED },
		{ "local host", HOST_MALFORMED },
		{ "[::1", HOST_MALFORMED },
		{ "[::1]x", HOST_MALFORMED },
		{ "[evil.example]", HOST_MALFORMED },
		{ "\xc3\xa4", HOST_MALFORMED },
	};
	char name[256];
	(void)state;
	struct hosts *h = hosts_new("mist.internal", "a.example, *.b.example");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *text = cases[i].authority;
		if (hosts_judge(h, text, strlen(text)) != cases[i].verdict)
			fail_msg("%s", text);
	}
	check_int(gethostname(name, sizeof name), 0);
	assert_int_equal(hosts_judge(h, name, strlen(name)), HOST_GOOD);
	hosts_free(h);
	h = hosts_new("0.0.0.0", "*");
	assert_int_equal(hosts_judge(h, "evil.example", 12), HOST_GOOD);
	assert_int_equal(hosts_judge(h, "evil example", 12), HOST_MALFORMED);
	hosts_free(h);
}

struct field {
	const char *name, *value;
};

static void check_head(bool is_http_1_1, const struct field *fields, const char *fault)
{
	struct head h = { .is_http_1_1 = is_http_1_1 };
	for (; fields->name; fields++)
		head_add(&h, fields->name, strlen(fields->name), fields->value,
			strlen(fields->value));
	int r = head_check(&h);
	if (fault ? r >= 0 || !strstr(h.fault.text, fault) : r < 0)
		fail_msg("expected %s, got %s", fault, h.fault.text);
}

#define HEAD(...)                                                                                  \
	(const struct field[])                                                                     \
	{                                                                                          \
		{ "Host", "a" }, __VA_ARGS__,                                                      \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}
#define HEAD_ALONE(...)                                                                            \
	(const struct field[])                                                                     \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

static void a_head_leaves_nothing_open(void **state)
{
	(void)state;
	check_head(true, HEAD({ "X-Y_z", "\t a b\xff" }), NULL);
	check_head(true, HEAD({ "Content-Length", "1" }), NULL);
	check_head(true, HEAD({ "Transfer-Encoding", "Chunked " }), NULL);
	check_head(false, HEAD_ALONE({ "X", "" }), NULL);
	check_head(true, HEAD_ALONE({ "X", "" }), "Host: expected one, got 0");
	check_head(true, HEAD({ "host", "a" }), "Host: expected one, got 2");
	check_head(false, HEAD({ "host", "b" }), "Host: expected one, got 2");
	check_head(true, HEAD({ "Content-Length", "1" }, { "content-length", "1" }),
		"Content-Length: expected one");
	check_head(true, HEAD({ "Content-Length", "1" }, { "Transfer-Encoding", "chunked" }),
		"expected one of the two");
	check_head(true,
		HEAD({ "Transfer-Encoding", "chunked" }, { "Transfer-Encoding", "chunked" }),
		"Transfer-Encoding: expected one");
	check_head(true, HEAD({ "Transfer-Encoding", "gzip, chunked" }), "expected chunked");
	check_head(false, HEAD({ "Transfer-Encoding", "chunked" }), "HTTP/1.0 has none");
	check_head(true, HEAD({ "Content-Length ", "1" }), "between it and its colon");
	check_head(true, HEAD({ "", "1" }), "expected a name");
	check_head(true, HEAD({ "X", "a\rb" }), "control characters");
}

static void expect_target(const char *uri, const char *authority, const char *path)
{
	const char *found;
	size_t len;
	const char *rest = target_split(uri, &found, &len);
	if (!path)
		assert_null(rest);
	else
		assert_string_equal(rest, path);
	if (path && authority)
		assert_true(len == strlen(authority) && memcmp(found, authority, len) == 0);
}

static void a_target_is_a_path_or_an_address(void **state)
{
	(void)state;
	expect_target("/a/b?c=d", NULL, "/a/b?c=d");
	expect_target("*", NULL, "*");
	expect_target("http://host:1/a?b", "host:1", "/a?b");
	expect_target("HTTPS://[::1]/", "[::1]", "/");
	expect_target("http://host", "host", "");
	expect_target("http://host?a=b", "host", "?a=b");
	expect_target("a/b", NULL, NULL);
	expect_target("", NULL, NULL);
	expect_target("ftp://host/a", NULL, NULL);
	expect_target("host:443", NULL, NULL);
	expect_target("/a b", NULL, NULL);
	expect_target("/a\tb", NULL, NULL);
	expect_target("/a#b", NULL, NULL);
	assert_int_equal(target_count_parameters("/a"), 0);
	assert_int_equal(target_count_parameters("/a?"), 1);
	assert_int_equal(target_count_parameters("/a?b=c&d&"), 3);
}

static void expect_nearest(const char *list, const char *name, const char *nearest)
{
	char hint[NEAR_HINT];
	_cleanup_(freep) char *expected =
		nearest ? xasprintf("; did you mean %s?", nearest) : xstrdup("");
	query_hint(list, name, hint);
	assert_string_equal(hint, expected);
}

static void a_parameter_is_known_or_near_to_one(void **state)
{
	static const char list[] = "status* limit offset";
	bool repeats;
	(void)state;
	assert_true(query_is_known(list, "status", 6, &repeats) && repeats);
	assert_true(query_is_known(list, "offset", 6, &repeats) && !repeats);
	assert_false(query_is_known(list, "status*", 7, &repeats));
	assert_false(query_is_known(list, "limi", 4, &repeats));
	assert_false(query_is_known(list, "", 0, &repeats));
	assert_false(query_is_known(NULL, "limit", 5, &repeats));
	expect_nearest(list, "Limit", "limit");
	expect_nearest(list, "limt", "limit");
	expect_nearest(list, "state", "status");
	expect_nearest(list, "ofset", "offset");
	expect_nearest(list, "externalId", NULL);
	expect_nearest(list, "", NULL);
	expect_nearest(NULL, "limit", NULL);
}

struct counted {
	struct pool_task task;
	_Atomic int *n;
	pthread_mutex_t *gate;
};

static void count_one(struct pool_task *t)
{
	struct counted *c = container_of(t, struct counted, task);
	pthread_mutex_lock(c->gate);
	pthread_mutex_unlock(c->gate);
	atomic_fetch_add(c->n, 1);
}

static void a_pool_takes_what_it_has_room_for_and_runs_all_of_it(void **state)
{
	enum { THREADS = 2, ROOM = 8, POSTED = THREADS + ROOM + 5 };
	struct pool *pool = NULL;
	_Atomic int n = 0;
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct counted tasks[POSTED];
	int taken = 0;
	(void)state;
	pthread_mutex_lock(&gate);
	check_int(pool_start(&pool, THREADS, ROOM), 0);
	for (int i = 0; i < POSTED; i++) {
		tasks[i] = (struct counted){ .task.run = count_one, .n = &n, .gate = &gate };
		taken += pool_post(pool, &tasks[i].task);
	}
	assert_in_range(taken, ROOM, ROOM + THREADS);
	pthread_mutex_unlock(&gate);
	pool_stop(pool);
	check_int(atomic_load(&n), taken);
	/* The threads that post end after it. */
	check_int(pool_post(pool, &tasks[0].task), false);
	pool_free(pool);
	pool_stop(NULL);
	pool_free(NULL);
}

static bool is_in(const char *list, const char *address)
{
	_cleanup_(freep) struct network *networks = NULL;
	struct sockaddr_storage sa = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&sa;
	struct address_bytes bytes;
	struct fault f;
	size_t n;
	sa.ss_family = strchr(address, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(
		inet_pton(sa.ss_family, address,
			sa.ss_family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr),
		1);
	assert_int_equal(networks_read(list, &networks, &n, &f), 0);
	assert_true(address_read((struct sockaddr *)(void *)&sa, &bytes));
	return networks_have(networks, n, &bytes);
}

static void networks_are_addresses_with_the_number_of_their_bits(void **state)
{
	static const char *const bad[] = { "localhost", "10.0.0", "10.0.0.0/", "10.0.0.0/33",
		"::/129", "10.0.0.0/8x", "10.0.0.0/-1", "fd00::/64/1",
		"::ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" };
	(void)state;
	assert_true(is_in("127.0.0.0/8 ::1", "127.1.2.3"));
	assert_true(is_in("127.0.0.0/8, ::1", "::ffff:127.0.0.1"));
	assert_true(is_in("127.0.0.0/8,::1", "::1"));
	assert_false(is_in("127.0.0.0/8 ::1", "128.0.0.1"));
	assert_false(is_in("127.0.0.0/8 ::1", "::2"));
	assert_true(is_in("10.1.2.3", "10.1.2.3"));
	assert_false(is_in("10.1.2.3", "10.1.2.2"));
	assert_true(is_in("10.1.2.0/23", "10.1.3.255"));
	assert_false(is_in("10.1.2.0/23", "10.1.4.0"));
	assert_true(is_in("fd00:0:0:8::/61", "fd00:0:0:f::1"));
	assert_false(is_in("fd00:0:0:8::/61", "fd00:0:0:10::1"));
	assert_true(is_in("0.0.0.0/0", "8.8.8.8"));
	assert_false(is_in("0.0.0.0/0", "fd00::1"));
	assert_true(is_in("::/0", "8.8.8.8"));
	assert_false(is_in("", "127.0.0.1"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(freep) char *list = xasprintf("::1 %s", bad[i]);
		struct network *networks;
		struct fault f;
		size_t n;
		if (networks_read(list, &networks, &n, &f) == 0)
			fail_msg("%s was taken", bad[i]);
		assert_non_null(strstr(f.text, "is no network: expected an address"));
	}
}

static void metrics_are_told_as_they_are_asked_for(void **state)
{
	static const struct {
		const char *accept;
		enum exposition_format format;
	} cases[] = {
		{ NULL, EXPOSITION_PROMETHEUS },
		{ "", EXPOSITION_PROMETHEUS },
		{ "*/*", EXPOSITION_PROMETHEUS },
		{ "text/plain", EXPOSITION_PROMETHEUS },
		{ "text/plain; version=0.0.4", EXPOSITION_PROMETHEUS },
		{ "text/*", EXPOSITION_PROMETHEUS },
		{ "application/json", EXPOSITION_PROMETHEUS },
		{ "application/openmetrics-text", EXPOSITION_OPENMETRICS },
		{ "Application/OpenMetrics-Text;Version=1.0.0", EXPOSITION_OPENMETRICS },
		{ "application/openmetrics-text; version=\"1.0.0\"; charset=utf-8",
			EXPOSITION_OPENMETRICS },
		{ "application/openmetrics-text; version=0.0.1", EXPOSITION_PROMETHEUS },
		{ "application/openmetrics-text; version=2.0.0", EXPOSITION_PROMETHEUS },
		{ "application/openmetrics-text;q=0", EXPOSITION_PROMETHEUS },
		{ "application/openmetrics-text;q=0.0, */*", EXPOSITION_PROMETHEUS },
		{ "text/plain, application/openmetrics-text;q=0.9", EXPOSITION_PROMETHEUS },
		{ "text/plain;q=0.5 , application/openmetrics-text ; q=0.9",
			EXPOSITION_OPENMETRICS },
		{ "*/*;q=0.9, application/openmetrics-text;q=0.5", EXPOSITION_PROMETHEUS },
		{ "*/*;q=0.1, application/openmetrics-text;q=0.5", EXPOSITION_OPENMETRICS },
		{ "application/*, text/plain;q=0", EXPOSITION_OPENMETRICS },
		{ "application/*, text/*;q=0.1", EXPOSITION_PROMETHEUS },
		/* Prometheus 2.26 and 3.0 */
		{ "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,"
		  "*/*;q=0.1",
			EXPOSITION_PROMETHEUS },
		{ "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
		  "application/openmetrics-text;version=0.0.1;q=0.5,"
		  "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;"
		  "q=0.3,*/*;q=0.2",
			EXPOSITION_OPENMETRICS },
		/* What is no list is read as far as it goes. */
		{ ",;,=;q,;q=,application/openmetrics-text;;q=x,", EXPOSITION_OPENMETRICS },
		{ "application/openmetrics-text;q=1.5;version", EXPOSITION_OPENMETRICS },
		{ "application/openmetrics-text;version=\"", EXPOSITION_PROMETHEUS },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (exposition_of_accept(cases[i].accept) != cases[i].format)
			fail_msg("%s", cases[i].accept ? cases[i].accept : "NULL");
}

static void events_are_told_to_who_names_them_and_wants_them(void **state)
{
	static const struct {
		const char *accept;
		bool is_wanted;
	} cases[] = {
		{ NULL, false },
		{ "", false },
		{ "*/*", false },
		{ "text/*", false },
		{ "text/event-stream", true },
		{ "Text/Event-Stream ; charset=utf-8", true },
		{ "text/event-stream, */*", true },
		{ "text/html;q=0.1, text/event-stream", true },
		{ "text/event-stream;version=7", true },
		{ "text/event-stream;q=0.001", true },
		{ "text/event-stream;q=0", false },
		{ "text/event-stream ; Q=0.000, */*", false },
		{ "text/event-stream;q=0.5, text/plain;q=0.6", false },
		{ "text/event-stream;q=0.5, text/plain;q=0.5", true },
		{ "text/event-stream;q=0.5, text/*", false },
		{ "text/event-streams", false },
		{ "text/event-stream-x, text/event", false },
		{ ",; ,text/event-stream", true },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (accept_names(cases[i].accept, "text/event-stream") != cases[i].is_wanted)
			fail_msg("%s", cases[i].accept ? cases[i].accept : "NULL");
}

static void a_form_has_one_boundary_however_it_is_written(void **state)
{
	static const struct {
		const char *content_type, *boundary; /* NULL: it is refused */
	} cases[] = {
		{ "multipart/form-data;boundary=B", "B" },
		{ "multipart/form-data; boundary=B", "B" },
		{ "Multipart/Form-Data; BOUNDARY=B", "B" },
		{ "multipart/form-data; boundary=B; charset=x", "B" },
		{ "multipart/form-data; charset=x; boundary=B", "B" },
		{ "multipart/form-data; charset=\"a;boundary=A\"; boundary=B", "B" },
		{ "multipart/form-data; xboundary=A; boundary=B", "B" },
		{ "multipart/form-data ;\tboundary=B \t; charset=x ", "B" },
		{ "multipart/form-data; boundary = B", "B" },
		{ "multipart/form-data;; boundary=B;", "B" },
		{ "multipart/form-data; strict; boundary=B", "B" },
		{ "multipart/form-data; boundary=\"B\"", "B" },
		{ "multipart/form-data; boundary=\"a b'()+_,-./:=?\"; charset=x",
			"a b'()+_,-./:=?" },
		{ "multipart/form-data; boundary=\"a\\b\"", "ab" },
		{ "multipart/form-data; boundary=----=_Part_1:2/3", "----=_Part_1:2/3" },
		{ "multipart/form-data", NULL },
		{ "multipart/form-data; boundary", NULL },
		{ "multipart/form-data; boundary=", NULL },
		{ "multipart/form-data; boundary=; charset=x", NULL },
		{ "multipart/form-data; boundary=\"\"", NULL },
		{ "multipart/form-data; boundary=\"B", NULL },
		{ "multipart/form-data; boundary=\"B\"C", NULL },
		{ "multipart/form-data; boundary=\"\\\"B\\\"\"", NULL },
		{ "multipart/form-data; boundary=A; boundary=B", NULL },
		{ "multipart/form-data; boundary=B; Boundary=B", NULL },
		{ "multipart/form-databoundary=B", NULL },
		{ "multipart/form-data-x; boundary=B", NULL },
		{ "multipart/mixed; boundary=B", NULL },
		{ "application/x-www-form-urlencoded", NULL },
		{ "", NULL },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *boundary = cases[i].boundary;
		char *expected =
			boundary ? xasprintf("multipart/form-data;boundary=\"%s\"", boundary)
				 : NULL;
		char *type = multipart_content_type(cases[i].content_type);
		if (!type != !expected || (type && strcmp(type, expected) != 0))
			fail_msg("%s: %s", cases[i].content_type, type ? type : "NULL");
		free(expected);
		free(type);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_are_told_as_they_are_asked_for),
		cmocka_unit_test(events_are_told_to_who_names_them_and_wants_them),
		cmocka_unit_test(what_was_ignored_is_named_once),
		cmocka_unit_test(a_host_is_an_address_or_a_name_of_ours),
		cmocka_unit_test(a_head_leaves_nothing_open),
		cmocka_unit_test(a_form_has_one_boundary_however_it_is_written),
		cmocka_unit_test(a_target_is_a_path_or_an_address),
		cmocka_unit_test(a_parameter_is_known_or_near_to_one),
		cmocka_unit_test(networks_are_addresses_with_the_number_of_their_bits),
		cmocka_unit_test(a_pool_takes_what_it_has_room_for_and_runs_all_of_it),
	};
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
