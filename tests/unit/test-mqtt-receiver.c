/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that come in over MQTT, and who waits for whom meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "transport/mqtt/private.h"

enum { PATIENCE_MS = 300 }; /* shorter than a log waits for who reads it */

static struct mqtt mqtt = {
	.settings = { .prefix = (char *)"p",
		.subscribe_topic = (char *)"in",
		.publish_topic = (char *)"",
		.payload_max = 1024 },
	.env.name = "mqtt",
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.refusals_lock = PTHREAD_MUTEX_INITIALIZER,
};
static struct link receiver = {
	.mqtt = &mqtt,
	.id = (char *)"receiver",
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

static void *refused(void *arg)
{
	MQTTAsync_message message = MQTTAsync_message_initializer;
	message.payload = (char *)"no request";
	message.payloadlen = (int)strlen(message.payload);
	receiver_arrived(&receiver, "in", &message);
	return arg;
}

/* The log of the process is a pipe that is full, and that nobody reads. */
static int log_nowhere(int pipe_fds[static 2])
{
	static const char block[4096];
	int log = dup(STDERR_FILENO);
	must(log >= 0 && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0);
	while (write(pipe_fds[1], block, sizeof block) > 0)
		;
	must(dup2(pipe_fds[1], STDERR_FILENO) == STDERR_FILENO);
	return log;
}

static bool lock_comes(pthread_mutex_t *lock)
{
	int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
	while (pthread_mutex_trylock(lock)) {
		if (clock_mono_ms() > until_ms)
			return false;
		usleep(1000);
	}
	pthread_mutex_unlock(lock);
	return true;
}

static void a_log_that_nobody_reads_holds_nobody_up(void **state)
{
	pthread_t thread;
	int fds[2];
	(void)state;
	uint64_t n = log_count(LOG_LEVEL_INFO);
	int log = log_nowhere(fds);
	must(pthread_create(&thread, NULL, refused, NULL) == 0);
	while (log_count(LOG_LEVEL_INFO) == n)
		usleep(1000);
	bool is_free = lock_comes(&mqtt.lock);
	pthread_join(thread, NULL);
	must(dup2(log, STDERR_FILENO) == STDERR_FILENO);
	close(log);
	close(fds[0]);
	close(fds[1]);
	assert_true(is_free);
	assert_int_equal(mqtt.counts.refused, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_that_nobody_reads_holds_nobody_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
