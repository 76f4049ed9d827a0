/* SPDX-License-Identifier: Apache-2.0 */
/* worker/spark_local: who says where the master is. */
#include "worker/spark_local.h"

#include <string.h>

#include "unit.h"

struct row {
	bool is_local;
	const char *conf;
	const char *options[5];
	const char *master;
	const char *file; /* what stands in spark-defaults.conf */
};

static const struct row rows[] = {
	{ true, "{}" },
	{ true, "{\"spark.master\": \"local\"}" },
	{ true, "{\"spark.master\": \"local[*]\"}" },
	{ true, "{\"spark.master\": \"local-cluster[2,1,1024]\"}" },
	{ false, "{\"spark.master\": \"localhost\"}" },
	{ false, "{\"spark.master\": \"spark://host:7077\"}" },
	{ false, "{\"spark.master\": \"yarn\"}" },
	{ false, "{\"spark.remote\": \"sc://host\"}" },
	{ false, "{\"spark.master\": \"local\"}", { "--master", "yarn" } },
	{ false, "{}", { "--master=k8s://x" } },
	{ true, "{\"spark.master\": \"yarn\"}", { "--master", "local[2]" } },
	{ false, "{}", { "--verbose", "--conf", "spark.master=yarn" } },
	{ false, "{}", { "-c", "spark.master=yarn" } },
	{ true, "{}", { "--master" } },
	{ false, "{}", { "--remote", "sc://x" } },
	{ false, "{}", { NULL }, "yarn" },
	{ true, "{\"spark.master\": \"local\"}", { NULL }, "yarn" },
	{ false, "{}", { NULL }, NULL, "# comment\nspark.master   yarn\n" },
	{ false, "{}", { NULL }, NULL, "spark.master=spark://h:1\r\n" },
	{ false, "{}", { NULL }, "local", "  spark.master : yarn" },
	{ true, "{}", { NULL }, NULL, "spark.masterful yarn\n#spark.master yarn\n" },
	{ true, "{\"spark.master\": \"local\"}", { NULL }, NULL, "spark.master yarn\n" },
};

static char folder[] = "/tmp/mist-spark-local-XXXXXX";

static void write_defaults(const char *text)
{
	_cleanup_(freep) char *path = xasprintf("%s/spark-defaults.conf", folder);
	_cleanup_(fclosep) FILE *file = fopen(path, "w");
	check(file);
	fputs(text ? text : "", file);
}

TEST(the_master_is_found_where_spark_submit_finds_it)
{
	check(mkdtemp(folder));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		_cleanup_(json_decrefp) json_t *conf = json_loads(row->conf, 0, NULL);
		struct spark_said said = { .conf = conf,
			.options = row->options,
			.conf_folder = folder,
			.master = row->master };
		while (said.n_options < 5 && row->options[said.n_options])
			said.n_options++;
		write_defaults(row->file);
		if (spark_is_local(&said) != row->is_local)
			fail_msg("row %zu: %s", i, row->conf);
	}
}

TEST(what_somebody_says_is_heard)
{
	static const char *const options[] = { "--conf", "spark.driver.host=a" };
	_cleanup_(json_decrefp) json_t *conf =
		json_loads("{\"spark.ui.enabled\": \"true\"}", 0, NULL);
	const struct spark_said said = {
		.conf = conf, .options = options, .n_options = 2, .conf_folder = folder
	};
	write_defaults("spark.driver.bindAddress 0.0.0.0\n");
	check(spark_says(&said, "spark.driver.host"));
	check(spark_says(&said, "spark.ui.enabled"));
	check(spark_says(&said, "spark.driver.bindAddress"));
	check(!spark_says(&said, "spark.driver.port"));
	_cleanup_(freep) char *remove = xasprintf("rm -r %s", folder);
	check_int(system(remove), 0);
}

RUN_TESTS(PROVES(the_master_is_found_where_spark_submit_finds_it),
	PROVES(what_somebody_says_is_heard))
