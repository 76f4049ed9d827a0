/* SPDX-License-Identifier: Apache-2.0 */
/* Text of jobs, names and errors on a terminal: shown, never obeyed. */
#pragma once

#include <stddef.h>

/* Where stdout or stderr is a terminal, all that is printed to it from here on has its control
 * characters spelled out, but for line ends and tabs. What goes to a file or a pipe stays as it is.
 * Once, before anything is printed. */
void shown_begin(void);

/* The same for a cell of a table: one line, nothing but what can be shown. The caller frees it. */
char *shown_line(const char *text);
