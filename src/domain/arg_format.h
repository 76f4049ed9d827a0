/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that stand for values JSON has no type for: the member `format` of an argument's type. */
#pragma once

#include <stdbool.h>

/* A format, by the name that a type tree gives it. NULL: an unknown one, which says nothing. */
struct arg_format {
	const char *name;
	const char *shown; /* what a caller reads: "date as 2019-10-07" */
	double number_max; /* a JSON number below it is one, too; 0: none is */
	bool (*matches)(const char *text);
};

const struct arg_format *arg_format_find(const char *name);
