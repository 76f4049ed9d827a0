/* SPDX-License-Identifier: Apache-2.0 */
/* SIGTERM, SIGINT and SIGHUP, and the time that the end of the program may take after them,
 * whatever hangs. One for the process. */
#pragma once

#include <stdint.h>

struct store;

enum { DEADLINE_STATUS = 71 }; /* what a mistd exits with that was over it */

/* Main thread, before there are others: both signals are taken by a thread of its own from here on,
 * and end the process at once until deadline_serve. limit_ms: from the first of them to the end.
 * Negative: the thread could not be started. */
int deadline_start(int64_t limit_ms);
/* `asked` is called on that thread for each signal; when this returns, the one before it is not
 * called any more. */
void deadline_serve(void (*asked)(void *arg, int signal), void *arg);
/* SIGHUP ends a process by default: from the first of these on it waits, and the thread above calls
 * `hung_up` for it, if need be at once; NULL: nobody wants to hear of it any more. Main thread. */
void deadline_hold_hangups(void);
void deadline_serve_hangups(void (*hung_up)(void *arg), void *arg);
/* What is ended from here on, for the log: "transport kafka". printf's format. */
void deadline_part(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The store whose thread gets a moment to write what it has before the process ends; NULL: it has
 * ended. */
void deadline_store(struct store *st);
/* Nothing hung. The signals stay blocked. */
void deadline_end(void);
