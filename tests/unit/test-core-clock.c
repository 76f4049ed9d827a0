/* SPDX-License-Identifier: Apache-2.0 */
/* The core while somebody sets the clock: what has been accepted keeps its order, and nothing is
 * waited for longer or forgotten sooner. */
#include "house.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "transport/thread_ends.h"

#define DAY_MS  INT64_C(86400000)
#define YEAR_MS (365 * DAY_MS)

static _Atomic int64_t ahead_ms; /* how far the wall clock of this process is */

/* In place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, id, ret);
	if (r == 0 && id == CLOCK_REALTIME)
		ret->tv_sec += ahead_ms / 1000;
	return r;
}

static void *hang(void *arg)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	while (!*(_Atomic bool *)arg)
		nanosleep(&moment, NULL);
	return NULL;
}

/* To the system it looks as if the clock was set back in the middle of the wait. */
static void the_end_of_a_thread_is_waited_for_no_longer_when_the_clock_goes_back(void **state)
{
	_Atomic bool may_end = false;
	pthread_t thread;
	(void)state;
	ahead_ms = YEAR_MS;
	assert_int_equal(pthread_create(&thread, NULL, hang, &may_end), 0);
	assert_false(thread_ends(thread, 20));
	may_end = true;
	assert_true(thread_ends(thread, DEADLINE_MS));
	ahead_ms = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			the_end_of_a_thread_is_waited_for_no_longer_when_the_clock_goes_back),
	};
	return cmocka_run_group_tests_name("core-clock", tests, NULL, NULL);
}
