/* SPDX-License-Identifier: Apache-2.0 */
/* A job's arguments from the words of a command line. */
#pragma once

#include "base/fault.h"

/* Each word is KEY=VALUE, a JSON object, or @FILE with one (@- is standard input); of a key that
 * comes twice the later one counts. NULL with the fault set, or the arguments as JSON, the
 * caller's. */
char *parameters_read(char *const *words, int n_words, struct fault *f);
