/* SPDX-License-Identifier: Apache-2.0 */
/* Looking through a data directory that no gateway uses, changing nothing. */
#pragma once

#include <stddef.h>

/* What was found whole. */
struct store_census {
	size_t jobs, reply_targets, definitions, set_aside, logs, artifacts, workers;
};

/* Looks at all that a gateway keeps in the directory: every row of the database, and every file.
 * `say` gets one sentence for each thing that is wrong. Returns how many there are. */
size_t store_check_data(const char *directory, void (*say)(void *arg, const char *sentence),
	void *arg, struct store_census *ret);
