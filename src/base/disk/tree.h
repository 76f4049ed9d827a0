/* SPDX-License-Identifier: Apache-2.0 */
/* Whole trees of a file system. Any thread that may wait for the disk. */
#pragma once

/* Removes a folder with all that is in it, however deep, or whatever else is there in its place.
 * Symbolic links are removed, never followed, and what is mounted in it is left. 0, also when there
 * is nothing; a negative errno: something of it is still there. */
int tree_remove(const char *path);
