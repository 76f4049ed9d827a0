/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread/detach.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

int thread_detach(void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	if (pthread_attr_init(&attr) != 0)
		return -ENOMEM;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all); /* one that hangs would take them to nowhere */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = -pthread_create(&thread, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return r;
}
