/* SPDX-License-Identifier: Apache-2.0 */
/* Setting rows aside that cannot be read. In a transaction of the writing connection, by the
 * store's thread. */
#pragma once

#include <sqlite3.h>

#include "mist/store_unreadable.h"

/* 0, also when there is no such row any more, or it can be read after all. */
int sqlite_set_aside(sqlite3 *db, const struct store_row *row, const char *reason);
int sqlite_unreadable_drop(sqlite3 *db, int64_t number); /* 0: all */
