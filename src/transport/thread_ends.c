/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a thread is waited for in bounded time: an adapter whose library hangs leaves the
 * thread behind, and with it all that the thread uses, so that the gateway can end. */
#include "transport/thread_ends.h"

#include <time.h>

bool thread_ends(pthread_t thread, int ms)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ms % 1000 * 1000000L;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}
