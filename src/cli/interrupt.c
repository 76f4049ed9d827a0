/* SPDX-License-Identifier: Apache-2.0 */
/* SIGINT and SIGTERM, as a flag.
 *
 * A command that waits looks at the flag between two questions, libcurl's transfer looks at it at
 * least once a second. So an interrupted command gets to cancel its job and to end with a status of
 * its own. A signal that comes just before the wait starts is seen at its end: waits are a second
 * at most. One thread. */
#include "cli/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t came;

static void note(int number)
{
	(void)number;
	came = 1;
}

void interrupt_catch(void)
{
	struct sigaction action = { .sa_handler = note };
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool interrupt_came(void)
{
	return came;
}

void interrupt_forget(void)
{
	came = 0;
}

void interrupt_or_ms(int64_t ms)
{
	if (!came && ms > 0)
		poll(NULL, 0, ms > 1000 ? 1000 : (int)ms);
}
