/* SPDX-License-Identifier: Apache-2.0 */
/* How long the command line waits for a gateway that takes a form, or does not; under a clock of
 * its own. */
#include "cli/http.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/interrupt.h"
#include "unit.h"

enum { LARGE = 64 << 20, SMALL = 1000 };

static atomic_llong now_ms = 1000, step_ms; /* the clock goes on with each look at it */
static char told[1024];

int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_ms(void)
{
	return atomic_fetch_add(&now_ms, atomic_load(&step_ms));
}

bool interrupt_came(void)
{
	return false;
}

int complain(int code, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(told, sizeof told, format, ap);
	va_end(ap);
	return code;
}

static int listen_here(char *url, size_t size)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 8) == 0);
	check(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
	snprintf(url, size, "http://127.0.0.1:%d", ntohs(at.sin_port));
	return fd;
}

/* An exit status; sends `bytes` of a file. */
static int send_form(const char *url, size_t bytes)
{
	struct cli cli = { .url = url };
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *form = xcalloc(1, bytes + 1);
	memset(form, 'x', bytes);
	const struct http_part part = { .name = "file", .text = form };
	check_int(http_open(&cli), 0);
	int code = http_ask(&cli,
		&(struct http_call){ .method = "POST", .path = "/", .parts = &part, .n_parts = 1 },
		&reply);
	http_close(&cli);
	return code;
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&step_ms, 0);
	told[0] = '\0';
	return 0;
}

static void a_gateway_that_takes_nothing_is_given_up(void **state)
{
	char url[64];
	int fd = listen_here(url, sizeof url); /* nobody accepts */
	(void)state;
	atomic_store(&step_ms, 50 * 1000);
	check_int(send_form(url, LARGE), EXIT_UNREACHABLE);
	check(strstr(told, "for 120 s it has taken nothing of what is sent"));
	close(fd);
}

/* Takes all of the form; then time passes, and nothing is said. */
static void *take(void *arg)
{
	char taken[4 * SMALL];
	size_t n_taken = 0;
	ssize_t n;
	int fd = accept(*(int *)arg, NULL, NULL);
	while ((n = read(fd, taken + n_taken, sizeof taken - n_taken)) > 0) {
		n_taken += (size_t)n;
		if (n_taken > SMALL && memmem(taken, n_taken, "--\r\n", 4))
			atomic_store(&step_ms, 1900 * 1000);
	}
	close(fd);
	return NULL;
}

static void a_gateway_that_says_nothing_is_given_up_later(void **state)
{
	char url[64];
	pthread_t thread;
	int fd = listen_here(url, sizeof url);
	long long began = atomic_load(&now_ms);
	(void)state;
	check_int(pthread_create(&thread, NULL, take, &fd), 0);
	check_int(send_form(url, SMALL), EXIT_UNREACHABLE);
	check_int(pthread_join(thread, NULL), 0);
	check(strstr(told, "for 3600 s it has said nothing"));
	check(atomic_load(&now_ms) - began > 3600 * 1000);
	close(fd);
}

#define ROW(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(a_gateway_that_takes_nothing_is_given_up),
		ROW(a_gateway_that_says_nothing_is_given_up_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
