/* SPDX-License-Identifier: Apache-2.0 */
/* A job's arguments, from the words of a command line. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/fault.h"

struct parameters {
	char *text;   /* JSON, what is sent */
	json_t *all;  /* the same */
	json_t *bare; /* name → as it was written, of values without quotes that are JSON */
	json_t *vast; /* the same, of those with a number that is too large for JSON here: texts */
};

/* 0, or negative with the fault set; parameters_done in any case. */
int parameters_read(struct parameters *p, char *const *words, int n_words, struct fault *f);
void parameters_done(struct parameters *p);

/* Makes texts of bare values whose parameters take nothing else, as `execute` of the function says
 * it. True: there were any. */
bool parameters_quote(struct parameters *p, const json_t *execute);

/* Refuses values with a number that is too large, but where a text is taken. 0 or negative. */
int parameters_check_vast(const struct parameters *p, const json_t *execute, struct fault *f);
