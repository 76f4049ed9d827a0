/* SPDX-License-Identifier: Apache-2.0 */
/* Watches the core's thread: one that does not turn any more helps nobody, and nobody sees it. So
 * it does with the threads that have a beat of that kind (base/mailbox.h, beat_watch). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"

struct watchdog;

/* Once the core's loop is about to run. limit_ms DURATION_INF: nobody watches, *ret is NULL.
 * `exits`: the process ends, with WATCHDOG_STATUS, when the core is stuck; else that is logged.
 * Negative: the thread could not be started. */
enum { WATCHDOG_STATUS = 70 };
int watchdog_start(struct watchdog **ret, struct core *c, int64_t limit_ms, bool exits);
/* It watches no more; its letter may still be at the core. NULL is fine. */
void watchdog_stop(struct watchdog *w);
/* Once the core's mailbox is closed. NULL is fine. */
void watchdog_free(struct watchdog *w);
