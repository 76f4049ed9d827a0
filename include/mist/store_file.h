/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a deployment, as an operation of the store (store.h) has them. */
#pragma once

#include <stdbool.h>

/* A file that is whole and on the disk is to have another name, in place of what has that. Both are
 * on one file system. All of an operation get their names in one folder, which is that of
 * store_settings. */
struct store_file {
	char *from, *to;  /* owned */
	int status;       /* the store's: 0, or a negative errno: why it did not get its name */
	bool is_replaced; /* the store's: it has it; in `done` of a failure: it has it still */
};
