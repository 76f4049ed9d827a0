/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that nobody waits for. */
#pragma once

/* Runs it on a thread of its own, for calls that may never return, as one of a dead mount's; it
 * takes no signals. 0, or a negative errno: there is none. */
int thread_detach(void *(*run)(void *), void *arg);
