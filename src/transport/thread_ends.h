/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a thread that may be inside of a library which does not come back. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

/* Joins the thread. False: it does not end within that many milliseconds, and may go on to use what
 * it uses; it may be waited for again. Any thread, one at a time. */
bool thread_ends(pthread_t thread, int ms);
