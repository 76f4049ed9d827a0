/* SPDX-License-Identifier: Apache-2.0 */
/* See beat.h. The mark is of the thread and not of the loop, so that code which several threads run
 * (timers, mailboxes) marks whichever of them is watched. */
#include "base/beat.h"

#include <unistd.h>

_Thread_local struct beat *beat_of_thread;

void beat_begin(struct beat *b)
{
	b->thread = pthread_self();
	b->tid = gettid();
	beat_of_thread = b;
}
