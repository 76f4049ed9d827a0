/* SPDX-License-Identifier: Apache-2.0 */
/* Where will spark-submit find its master? Spark on this machine listens on this machine only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

/* What is said to one spark-submit, by whom. Borrowed; all but `conf` may be NULL. */
struct spark_said {
	const json_t *conf;         /* the context's properties */
	const char *const *options; /* the words of its run options */
	size_t n_options;
	const char *home, *conf_folder; /* SPARK_HOME, SPARK_CONF_DIR */
	const char *master;             /* MASTER of the environment */
};

/* The master is `local`, also because nobody names one. Reads spark-defaults.conf. */
bool spark_is_local(const struct spark_said *said);

/* Somebody gave the property a value: the run options, the context, or Spark's own files. */
bool spark_says(const struct spark_said *said, const char *key);
