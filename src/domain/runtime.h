/* SPDX-License-Identifier: Apache-2.0 */
/* A runtime: what a worker process is started with. A name → SPARK_HOME, interpreter, environment.
 */
#pragma once

#include "base/conf.h"
#include "base/json.h"

enum runtime_kind { RUNTIME_SPARK, RUNTIME_PYTHON, RUNTIME_PROGRAM };

struct runtime_settings {
	char *spark_home, *python, *java, *command;
	json_t *environment;
	int kind; /* enum runtime_kind */
};

extern const struct conf_field runtime_conf[];
