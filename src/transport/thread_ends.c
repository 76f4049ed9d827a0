/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a thread is waited for in bounded time: an adapter whose library hangs leaves the
 * thread behind, and with it all that the thread uses, so that the gateway can end. The wait looks
 * again and again: the one call that waits in bounded time and that the thread sanitizer knows goes
 * by the wall clock, which may be set back meanwhile. */
#include "transport/thread_ends.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

bool thread_ends(pthread_t thread, int ms)
{
	const struct timespec moment = { .tv_nsec = 2000000 };
	int64_t until = clock_mono_ms() + ms;
	int r;
	while ((r = pthread_tryjoin_np(thread, NULL)) == EBUSY && clock_mono_ms() < until)
		nanosleep(&moment, NULL);
	return r == 0;
}
