/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a job's life, and the JSON of its row. */
#include "unit.h"

#include "base/buf.h"
#include "base/json.h"
#include "domain/job.h"

static void states_have_the_words_of_mist(void **state)
{
	(void)state;
	for (int s = 0; s < _JOB_STATE_MAX; s++)
		assert_int_equal(job_state_parse(job_state_name(s)), s);
	assert_string_equal(job_state_name(JOB_DOWNLOADING), "job-file-downloading");
	assert_string_equal(job_state_name(JOB_CANCELLED), "cancelled");
	assert_int_equal(job_state_parse("canceled"), _JOB_STATE_INVALID);
}

static void final_states_lead_nowhere(void **state)
{
	(void)state;
	for (int from = 0; from < _JOB_STATE_MAX; from++)
		for (int to = 0; to < _JOB_STATE_MAX; to++)
			if (job_state_is_final(from))
				assert_false(job_may(from, to));
}

static void the_usual_ways_are_legal(void **state)
{
	static const enum job_state ways[][2] = {
		{ JOB_INITIALIZED, JOB_QUEUED },
		{ JOB_QUEUED, JOB_STARTED },
		{ JOB_QUEUED, JOB_DOWNLOADING },
		{ JOB_DOWNLOADING, JOB_STARTED },
		{ JOB_STARTED, JOB_FINISHED },
		{ JOB_STARTED, JOB_CANCELLING },
		{ JOB_QUEUED, JOB_CANCELLING },
		{ JOB_CANCELLING, JOB_FINISHED },
		{ JOB_CANCELLING, JOB_CANCELLED },
		{ JOB_CANCELLING, JOB_FAILED },
		{ JOB_INITIALIZED, JOB_FAILED },
		{ JOB_STARTED, JOB_QUEUED },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		assert_true(job_may(ways[i][0], ways[i][1]));
	assert_false(job_may(JOB_QUEUED, JOB_FINISHED));
	assert_false(job_may(JOB_CANCELLING, JOB_QUEUED));
	assert_false(job_may(JOB_STARTED, JOB_CANCELLED));
}

static json_t *printed(const struct job_row *row)
{
	struct buf out;
	buf_init(&out, 1 << 16);
	assert_int_equal(job_row_print(row, &out), 0);
	json_t *json = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	buf_done(&out);
	return json;
}

static void a_row_prints_as_mists_job(void **state)
{
	struct job_row row = { .state = JOB_QUEUED,
		.function = xstrdup("f"),
		.path = xstrdup("f.py"),
		.class_name = xstrdup("F"),
		.context = xstrdup("default"),
		.parameters = xstrdup("{\"a\":[1,2]}"),
		.source = xstrdup("Http"),
		.created_ms = 1 };
	(void)state;
	json_t *json = printed(&row);
	assert_string_equal(json_string_of(json, "status"), "queued");
	assert_int_equal(
		json_array_size(json_object_get(
			json_object_get(json_object_get(json, "params"), "arguments"), "a")),
		2);
	assert_null(json_object_get(json, "startTime"));
	assert_null(json_object_get(json, "externalId"));
	assert_null(json_object_get(json, "jobResult"));
	assert_null(json_object_get(json, "workerId"));
	json_decref(json);

	row.state = JOB_FINISHED;
	row.result = xstrdup("{\"x\":null}");
	json = printed(&row);
	assert_true(json_is_object(json_object_get(json, "jobResult")));
	json_decref(json);

	row.state = JOB_FAILED;
	row.error = xstrdup("it \"broke\"\nbadly");
	json = printed(&row);
	assert_string_equal(json_string_of(json, "jobResult"), row.error);
	assert_null(json_object_get(json, "cancelReason"));
	json_decref(json);

	row.state = JOB_CANCELLED;
	json = printed(&row);
	assert_null(json_object_get(json, "jobResult"));
	assert_string_equal(json_string_of(json, "cancelReason"), row.error);
	json_decref(json);
	job_row_done(&row);
}

static void the_bytes_of_a_row_are_those_of_all_its_texts(void **state)
{
	static char nine[] = "123456789";
	struct job_row row = { .state = JOB_FINISHED };
	char **const texts[] = { &row.function, &row.path, &row.class_name, &row.context,
		&row.parameters, &row.source, &row.external_id, &row.reply_to, &row.trace,
		&row.worker, &row.result, &row.error, &row.progress, &row.ignored, &row.door };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(job_row_bytes(&row), 9 * i);
		*texts[i] = nine;
	}
	assert_int_equal(job_row_bytes(&row), 9 * ARRAY_SIZE(texts));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_have_the_words_of_mist),
		cmocka_unit_test(final_states_lead_nowhere),
		cmocka_unit_test(the_usual_ways_are_legal),
		cmocka_unit_test(a_row_prints_as_mists_job),
		cmocka_unit_test(the_bytes_of_a_row_are_those_of_all_its_texts),
	};
	return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
