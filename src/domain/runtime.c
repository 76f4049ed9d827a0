/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a runtime's settings. */
#include "domain/runtime.h"

static const char *const kinds[] = { "spark", "python", "program", NULL };

const struct conf_field runtime_conf[] = {
	{ "kind", CONF_ENUM, offsetof(struct runtime_settings, kind), "spark", .choices = kinds,
		.live = true,
		.help = "spark: Python functions under spark-submit; python: Python functions "
			"without Spark; program: the command" },
	{ "spark-home", CONF_PATH, offsetof(struct runtime_settings, spark_home), "", .live = true,
		.help = "folder of the Spark distribution; empty: SPARK_HOME of the gateway's "
			"environment" },
	{ "python", CONF_STR, offsetof(struct runtime_settings, python), "", .live = true,
		.help = "Python interpreter; empty: PYSPARK_PYTHON of the gateway's environment, "
			"else python3" },
	{ "java", CONF_STR, offsetof(struct runtime_settings, java), "", .live = true,
		.help = "JAVA_HOME of the workers; empty: as in the gateway's environment" },
	{ "command", CONF_STR, offsetof(struct runtime_settings, command), "", .live = true,
		.help = "kind program: the command line of a worker, split at spaces" },
	{ "environment", CONF_MAP, offsetof(struct runtime_settings, environment), NULL,
		.live = true, .help = "environment variables added for the workers" },
	{ 0 },
};
