/* SPDX-License-Identifier: Apache-2.0 */
/* proto/frame: every sample of proto/golden is taken, every one of proto/golden/bad is refused with
 * a sentence, and the sentences name what is wrong. The folder is MIST_GOLDEN in the environment,
 * else the tree's own. */
#include "frame.h"

#include <dirent.h>
#include <stdbool.h>
#include <string.h>

#include "base/json.h"
#include "unit.h"

static const char *golden(void)
{
	const char *path = getenv("MIST_GOLDEN");
	return path ? path : "../../proto/golden";
}

typedef void sample_fn(const char *name, json_t *sample);

/* Calls `each` for every .json file of the folder; returns how many there were. */
static int each_sample(const char *folder, sample_fn *each)
{
	_cleanup_(freep) char *path = xasprintf("%s%s", golden(), folder);
	DIR *dir = opendir(path);
	int n = 0;
	check(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		const char *dot = strrchr(e->d_name, '.');
		if (!dot || strcmp(dot, ".json") != 0)
			continue;
		_cleanup_(freep) char *file = xasprintf("%s/%s", path, e->d_name);
		json_error_t error;
		_cleanup_(json_decrefp) json_t *sample = json_load_file(file, 0, &error);
		if (!sample)
			fail_msg("%s: %s", file, error.text);
		each(e->d_name, sample);
		n++;
	}
	closedir(dir);
	return n;
}

/* What is read without building the result is the same otherwise. */
static void is_read_likewise(const char *name, const char *text, enum frame_from sender, int r,
	enum frame_type type, json_t *parsed)
{
	struct frame frame;
	struct fault f = { 0 };
	if ((frame_read(text, strlen(text), sender, &frame, &f) == 0) != (r == 0))
		fail_msg("%s: %s", name, f.text);
	if (r) {
		check(f.code == FAULT_BAD_REQUEST && f.text[0] && !frame.members);
		return;
	}
	check_int(frame.type, type);
	_cleanup_(json_decrefp) json_t *any =
		frame.any ? json_loadb(frame.any, frame.any_len, JSON_DECODE_ANY, NULL) : NULL;
	if (any)
		check_int(json_object_set(frame.members, "result", any), 0);
	const char *key;
	json_t *value;
	json_object_foreach (frame.members, key, value)
		check(json_equal(value, json_object_get(parsed, key)));
	check(!json_object_get(parsed, "result") == !any);
	frame_done(&frame);
}

static int parse_sample(const char *name, const json_t *sample, enum frame_type *ret_type,
	json_t **ret, struct fault *f)
{
	const char *from = json_string_of(sample, "from");
	const json_t *raw = json_object_get(sample, "text");
	if (!from || (strcmp(from, "worker") != 0 && strcmp(from, "gateway") != 0))
		fail_msg("%s: from is worker or gateway", name);
	_cleanup_(freep) char *text =
		raw ? xstrdup(json_string_value(raw)) : json_text(json_object_get(sample, "frame"));
	enum frame_from sender =
		strcmp(from, "worker") == 0 ? FRAME_FROM_WORKER : FRAME_FROM_GATEWAY;
	int r = frame_parse(text, strlen(text), sender, ret_type, ret, f);
	is_read_likewise(name, text, sender, r, *ret_type, *ret);
	return r;
}

static bool seen[_FRAME_MAX];

static void is_taken(const char *name, json_t *sample)
{
	struct fault f = { 0 };
	enum frame_type type;
	_cleanup_(json_decrefp) json_t *frame = NULL;
	if (parse_sample(name, sample, &type, &frame, &f))
		fail_msg("%s: %s", name, f.text);
	check_str(frame_type_name(type), json_string_of(frame, "type"));
	check(json_equal(frame, json_object_get(sample, "frame")));
	seen[type] = true;
}

static void is_refused(const char *name, json_t *sample)
{
	struct fault f = { 0 };
	enum frame_type type;
	json_t *frame = NULL;
	if (parse_sample(name, sample, &type, &frame, &f) == 0)
		fail_msg("%s was taken, though: %s", name, json_string_of(sample, "why"));
	check(!frame);
	check(f.code == FAULT_BAD_REQUEST && f.text[0]);
}

TEST(every_golden_sample_is_taken)
{
	check(each_sample("", is_taken) >= _FRAME_MAX);
	for (int t = 0; t < _FRAME_MAX; t++)
		if (!seen[t])
			fail_msg("no sample of \"%s\"", frame_type_name((enum frame_type)t));
}

TEST(every_bad_sample_is_refused)
{
	check(each_sample("/bad", is_refused) > 0);
}

TEST(a_refusal_names_the_member_and_what_was_expected)
{
	static const struct {
		enum frame_from from;
		const char *text, *sentence;
	} rows[] = {
		{ FRAME_FROM_WORKER, "{\"type\":\"started\",\"job\":\"j\",\"at\":\"now\"}",
			"frame started: member at: expected an integer, got a string" },
		{ FRAME_FROM_WORKER, "{\"type\":\"started\",\"job\":\"j\"}",
			"frame started: member at: expected an integer, got nothing" },
		{ FRAME_FROM_WORKER, "{\"type\":\"started\",\"job\":\"j\",\"at\":1.5}",
			"frame started: member at: expected an integer, got a real number" },
		{ FRAME_FROM_WORKER,
			"{\"type\":\"progress\",\"job\":\"j\",\"value\":1,\"note\":null}",
			"frame progress: member note: expected a string, got null" },
		{ FRAME_FROM_GATEWAY, "{\"type\":\"ack\",\"jobs\":\"j\"}",
			"frame ack: member jobs: expected a list of strings, got a string" },
		{ FRAME_FROM_GATEWAY, "{\"type\":\"ack\",\"jobs\":[\"j\",1]}",
			"frame ack: member jobs[1]: expected a string, got an integer" },
		{ FRAME_FROM_WORKER, "{\"type\":\"log\",\"job\":\"j\",\"entries\":[[]]}",
			"frame log: member entries[0]: expected an object, got an array" },
		{ FRAME_FROM_WORKER, "{\"type\":\"x\"}", "unknown frame type \"x\"" },
		{ FRAME_FROM_WORKER, "{\"type\":\"staRted\"}", "unknown frame type \"staRted\"" },
		{ FRAME_FROM_GATEWAY, "{\"type\":\"hello\"}", "a gateway may not send \"hello\"" },
		{ FRAME_FROM_WORKER, "{\"type\":\"start\"}", "a worker may not send \"start\"" },
		{ FRAME_FROM_WORKER, "{\"at\":1}",
			"frame: member type: expected a string, got nothing" },
		{ FRAME_FROM_WORKER, "[]", "a frame is an object, not an array" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fault f = { 0 };
		enum frame_type type;
		json_t *frame = NULL;
		check(frame_parse(rows[i].text, strlen(rows[i].text), rows[i].from, &type, &frame,
			      &f) < 0);
		check_str(f.text, rows[i].sentence);
		struct frame read;
		check(frame_read(rows[i].text, strlen(rows[i].text), rows[i].from, &read, &f) < 0);
		check_str(f.text, rows[i].sentence);
	}
}

TEST(text_that_is_no_json_is_refused)
{
	static const char *const rows[] = { "", "{", "{\"type\":\"ping\"}x", "\xff",
		"{\"type\":\"ping\",\"type\":\"ping\"}" };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fault f = { 0 };
		enum frame_type type;
		json_t *frame = NULL;
		check(frame_parse(rows[i], strlen(rows[i]), FRAME_FROM_GATEWAY, &type, &frame, &f) <
			0);
		check_bytes(f.text, "frame: ", 7);
	}
}

TEST(members_the_book_does_not_know_are_left_alone)
{
	static const char text[] = "{\"type\":\"ping\",\"later\":{\"more\":[1]}}";
	struct fault f = { 0 };
	enum frame_type type;
	_cleanup_(json_decrefp) json_t *frame = NULL;
	check_int(frame_parse(text, sizeof text - 1, FRAME_FROM_GATEWAY, &type, &frame, &f), 0);
	check_int(type, FRAME_PING);
	check(json_object_get(frame, "later"));
}

TEST(depth_is_bounded)
{
	char text[2 * FRAME_DEPTH_MAX + 100];
	struct fault f = { 0 };
	enum frame_type type;
	json_t *frame = NULL;
	int n = snprintf(
		text, sizeof text, "{\"type\":\"finished\",\"job\":\"j\",\"at\":1,\"result\":");
	memset(text + n, '[', FRAME_DEPTH_MAX);
	memset(text + n + FRAME_DEPTH_MAX, ']', FRAME_DEPTH_MAX);
	text[n + 2 * FRAME_DEPTH_MAX] = '}';
	check(frame_parse(text, (size_t)n + 2 * FRAME_DEPTH_MAX + 1, FRAME_FROM_WORKER, &type,
		      &frame, &f) < 0);
	check(strstr(f.text, "nested deeper"));
}

TEST(a_frame_has_no_more_values_than_somebody_looks_at)
{
	enum { HEAD = 100 };
	size_t room = HEAD + 3 * (FRAME_VALUES_MAX + 10);
	_cleanup_(freep) char *text = xcalloc(room, 1);
	static const char *const heads[] = { "{\"type\":\"log\",\"job\":\"j\",\"entries\":[",
		"{\"type\":\"finished\",\"job\":\"j\",\"at\":1,\"result\":[" };
	for (int i = 0; i < 2; i++) {
		size_t len = (size_t)snprintf(text, HEAD, "%s", heads[i]);
		for (int k = 0; k < FRAME_VALUES_MAX; k++, len += 3)
			memcpy(text + len, "{},", 3);
		memcpy(text + len, "{}]}", 4);
		struct frame frame;
		struct fault f = { 0 };
		int r = frame_read(text, len + 4, FRAME_FROM_WORKER, &frame, &f);
		check_int(r == 0, i);
		if (r == 0)
			frame_done(&frame);
		else
			check(strstr(f.text, "member entries: more than 200000 values"));
	}
}

TEST(every_type_is_found_by_its_name)
{
	for (int t = 0; t < _FRAME_MAX; t++) {
		_cleanup_(freep) char *text =
			xasprintf("{\"type\":\"%s\"}", frame_type_name((enum frame_type)t));
		struct fault f = { 0 };
		enum frame_type type;
		_cleanup_(json_decrefp) json_t *frame = NULL;
		for (int from = FRAME_FROM_WORKER; from <= FRAME_FROM_GATEWAY; from++) {
			if (frame_parse(text, strlen(text), (enum frame_from)from, &type, &frame,
				    &f) == 0)
				check_int(type, t);
			else
				check(!strstr(f.text, "unknown"));
			json_decref(frame);
			frame = NULL;
		}
	}
}

RUN_TESTS(PROVES(every_golden_sample_is_taken), PROVES(every_bad_sample_is_refused),
	PROVES(a_refusal_names_the_member_and_what_was_expected),
	PROVES(text_that_is_no_json_is_refused),
	PROVES(members_the_book_does_not_know_are_left_alone), PROVES(depth_is_bounded),
	PROVES(a_frame_has_no_more_values_than_somebody_looks_at),
	PROVES(every_type_is_found_by_its_name))
