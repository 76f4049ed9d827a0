/* SPDX-License-Identifier: Apache-2.0 */
/* Files that an operation gives their names. For the store's thread: all of it waits for the disk.
 */
#pragma once

#include "mist/store.h"

/* Each of the operation's files gets its name; what had it stays under another one until
 * files_keep or files_put_back. A second call does nothing. 0, or a negative errno, which is
 * the status of the file that could not be had; then files_put_back. */
int files_replace(struct store_op *op);

void files_keep(struct store_op *op);     /* what they replaced goes */
void files_put_back(struct store_op *op); /* what they replaced has its name again */
void files_free(struct store_op *op);
