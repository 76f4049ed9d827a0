/* SPDX-License-Identifier: Apache-2.0 */
/* Files that an operation gives their names, together with its transaction. For the store's thread:
 * all of it waits for the disk. */
#pragma once

#include "mist/store.h"
#include "store/journal.h"

/* Each of the operation's files gets its name; what had it is kept until files_keep or
 * files_put_back, and op->journal says how, in memory and on the disk. A second call does nothing.
 * `deployed` is the last deployment that the database took, NULL: none. 0, or a negative errno,
 * which is the status of the file that could not be had; then files_put_back, if there is a
 * journal. All are to be in one folder. One operation at a time in each folder. */
int files_replace(struct store_op *op, const struct uuid *deployed);

void files_keep(struct store_op *op);     /* what they replaced goes */
void files_put_back(struct store_op *op); /* what they replaced has its name again */
void files_free(struct store_op *op);

/* Finishes or undoes what an earlier process, or an operation that could not be put back, left in
 * the folder. What cannot be put back is told in the log, and its journal set aside; so is what is
 * no journal, with nothing put back. 0, or a negative errno: it is still in the way, and to be
 * tried again. */
int files_recover(const char *artifacts, const struct uuid *deployed);
