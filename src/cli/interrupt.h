/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C, and waiting that notices it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void interrupt_catch(void);
bool interrupt_came(void);
void interrupt_forget(void); /* to do one more thing before the end */

/* Waits; less when an interrupt comes. */
void interrupt_or_ms(int64_t ms);
