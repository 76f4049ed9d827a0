/* SPDX-License-Identifier: Apache-2.0 */
/* base/metrics: what is counted is shown, in two text formats. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/metrics/exposition.h"
#include "base/metrics/process.h"

static const struct histogram_bounds bounds = { .n = 3, .us = { 500, 1000, 2000000 } };

static const struct metric families[] = {
	{ METRIC_GAUGE, "mist_things", "Things." },
	{ METRIC_COUNTER, "mist_made_bytes_total", "Bytes made." },
	{ METRIC_HISTOGRAM, "mist_wait_seconds", "Waiting." },
	{ METRIC_INFO, "mist_build_info", "Build." },
};

TEST(a_duration_falls_into_the_first_bucket_that_holds_it)
{
	struct histogram h = { 0 };
	const int64_t values[] = { 0, 500, 501, 1000, 1001, 2000000, 2000001, INT64_MAX / 4 };
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		histogram_observe(&h, &bounds, values[i]);
	check_int(counter_read(&h.counts[0]), 2);
	check_int(counter_read(&h.counts[1]), 2);
	check_int(counter_read(&h.counts[2]), 2);
	check_int(counter_read(&h.counts[3]), 2);
	check_int(histogram_count(&h), 8);
	check_int(counter_read(&h.sum_us), 4003002 + 1 + INT64_MAX / 4);
}

TEST(a_clock_that_was_set_back_makes_no_duration_below_zero)
{
	struct histogram h = { 0 };
	histogram_observe(&h, &bounds, -5);
	check_int(counter_read(&h.counts[0]), 1);
	check_int(counter_read(&h.sum_us), 0);
}

TEST(bounds_ascend)
{
	const struct histogram_bounds *all[] = { &histogram_job_bounds, &histogram_call_bounds };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		check(all[i]->n <= HISTOGRAM_BOUNDS_MAX);
		for (size_t k = 1; k < all[i]->n; k++)
			check(all[i]->us[k] > all[i]->us[k - 1]);
	}
}

TEST(histograms_of_threads_add_up)
{
	struct histogram a = { 0 }, b = { 0 };
	histogram_observe(&a, &bounds, 100);
	histogram_observe(&b, &bounds, 100);
	histogram_observe(&b, &bounds, 3000000);
	histogram_merge(&a, &b);
	check_int(counter_read(&a.counts[0]), 2);
	check_int(counter_read(&a.counts[3]), 1);
	check_int(counter_read(&a.sum_us), 3000200);
}

static char *show(enum exposition_format format)
{
	struct exposition *e = exposition_new(format, 1 << 20);
	struct histogram h = { 0 };
	histogram_observe(&h, &bounds, 700);
	histogram_observe(&h, &bounds, 5000000);
	exposition_declare(e, families, ARRAY_SIZE(families));
	exposition_put(e, &families[3], LABELS("version", "1.2"), 1);
	exposition_put(e, &families[0], LABELS("of", "a\"b\\c\nd"), 3);
	exposition_put_histogram(e, &families[2], LABELS("of", "x"), &h, &bounds);
	exposition_put(e, &families[0], NO_LABELS, -4);
	exposition_put_real(e, &families[1], NO_LABELS, 2.5);
	return exposition_take(e);
}

TEST(the_text_format_of_prometheus)
{
	_cleanup_(freep) char *text = show(EXPOSITION_PROMETHEUS);
	check_str(text, "# HELP mist_things Things.\n"
			"# TYPE mist_things gauge\n"
			"mist_things{of=\"a\\\"b\\\\c\\nd\"} 3\n"
			"mist_things -4\n"
			"# HELP mist_made_bytes_total Bytes made.\n"
			"# TYPE mist_made_bytes_total counter\n"
			"mist_made_bytes_total 2.5\n"
			"# HELP mist_wait_seconds Waiting.\n"
			"# TYPE mist_wait_seconds histogram\n"
			"mist_wait_seconds_bucket{of=\"x\",le=\"0.0005\"} 0\n"
			"mist_wait_seconds_bucket{of=\"x\",le=\"0.001\"} 1\n"
			"mist_wait_seconds_bucket{of=\"x\",le=\"2.0\"} 1\n"
			"mist_wait_seconds_bucket{of=\"x\",le=\"+Inf\"} 2\n"
			"mist_wait_seconds_count{of=\"x\"} 2\n"
			"mist_wait_seconds_sum{of=\"x\"} 5.0007\n"
			"# HELP mist_build_info Build.\n"
			"# TYPE mist_build_info gauge\n"
			"mist_build_info{version=\"1.2\"} 1\n");
}

TEST(the_text_format_of_openmetrics)
{
	_cleanup_(freep) char *text = show(EXPOSITION_OPENMETRICS);
	check(strstr(text, "# HELP mist_made_bytes Bytes made.\n# TYPE mist_made_bytes counter\n"
			   "# UNIT mist_made_bytes bytes\nmist_made_bytes_total 2.5\n"));
	check(strstr(text, "# TYPE mist_wait_seconds histogram\n# UNIT mist_wait_seconds seconds\n"
			   "mist_wait_seconds_bucket"));
	check(strstr(text, "# TYPE mist_build info\nmist_build_info{version=\"1.2\"} 1\n# EOF\n"));
}

TEST(families_that_are_declared_twice_are_shown_once)
{
	struct exposition *e = exposition_new(EXPOSITION_OPENMETRICS, 1 << 20);
	exposition_declare(e, families, 1);
	exposition_declare(e, families, 1);
	_cleanup_(freep) char *text = exposition_take(e);
	check_str(text, "# HELP mist_things Things.\n# TYPE mist_things gauge\n# EOF\n");
}

TEST(what_has_no_room_is_left_out_as_a_whole)
{
	struct exposition *e = exposition_new(EXPOSITION_PROMETHEUS, 40);
	struct histogram h = { 0 };
	exposition_declare(e, families, ARRAY_SIZE(families));
	exposition_put(e, &families[0], NO_LABELS, 1);
	exposition_put_histogram(e, &families[2], NO_LABELS, &h, &bounds);
	exposition_put(e, &families[0], NO_LABELS, 2);
	exposition_put(e, &families[0], NO_LABELS, 3);
	_cleanup_(freep) char *text = exposition_take(e);
	check(strstr(text, "mist_things 1\nmist_things 2\n# HELP"));
	check(!strstr(text, "_bucket"));
}

TEST(what_the_kernel_knows_of_the_process)
{
	static const char *const names[] = { "process_cpu_seconds_total",
		"process_start_time_seconds", "process_resident_memory_bytes",
		"process_virtual_memory_bytes", "process_open_fds", "process_max_fds",
		"process_threads" };
	struct exposition *e = exposition_new(EXPOSITION_PROMETHEUS, 1 << 20);
	process_metrics_put(e);
	_cleanup_(freep) char *text = exposition_take(e);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(freep) char *line = xasprintf("\n%s ", names[i]);
		const char *at = strstr(text, line);
		check(at && strtod(at + strlen(line), NULL) >= 0);
	}
	check(strstr(text, "\nprocess_threads 1\n"));
	check(process_resident_bytes() > 4096);
}

RUN_TESTS(PROVES(a_duration_falls_into_the_first_bucket_that_holds_it),
	PROVES(a_clock_that_was_set_back_makes_no_duration_below_zero), PROVES(bounds_ascend),
	PROVES(histograms_of_threads_add_up), PROVES(the_text_format_of_prometheus),
	PROVES(the_text_format_of_openmetrics),
	PROVES(families_that_are_declared_twice_are_shown_once),
	PROVES(what_has_no_room_is_left_out_as_a_whole),
	PROVES(what_the_kernel_knows_of_the_process))
