/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of a file system. Any thread that may wait for the disk. */
#pragma once

/* Makes the names in a folder durable: those that were given, changed and removed before. 0 or a
 * negative errno. */
int folder_sync(const char *path);

/* Tries whether files can be made and written in a folder, and leaves none. 0, or the negative
 * errno that says why not. */
int folder_try(const char *path);
