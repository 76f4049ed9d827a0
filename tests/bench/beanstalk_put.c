/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the comparison of durable accepts: producers for beanstalkd.
 *
 *     beanstalk_put PORT PRODUCERS SECONDS BODY
 *
 * One thread and one connection for each producer; each puts BODY, waits for INSERTED (with -f0
 * that is said after an fsync), and begins again. Prints one line of JSON: puts, failures, the time
 * it took in microseconds. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PRODUCERS_MAX = 1024, REQUEST_MAX = 4096 };

struct producer {
	pthread_t thread;
	int fd;
	size_t n, n_failed;
};

static atomic_bool over;
static char request[REQUEST_MAX];
static size_t request_len;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Whether the answer, a line, says INSERTED. */
static bool put_one(int fd)
{
	char line[256];
	size_t len = 0;
	if (send(fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		return false;
	do {
		ssize_t n = recv(fd, line + len, sizeof line - len, 0);
		if (n <= 0)
			return false;
		len += (size_t)n;
	} while (line[len - 1] != '\n' && len < sizeof line);
	return len > 9 && memcmp(line, "INSERTED ", 9) == 0;
}

static void *produce(void *arg)
{
	struct producer *p = arg;
	while (!atomic_load_explicit(&over, memory_order_relaxed) && p->n_failed == 0) {
		if (put_one(p->fd))
			p->n++;
		else
			p->n_failed++;
	}
	return NULL;
}

static int dial(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	return fd;
}

int main(int argc, char **argv)
{
	static struct producer all[PRODUCERS_MAX];
	int n = argc == 5 ? (int)strtol(argv[2], NULL, 10) : 0;
	if (n < 1 || n > PRODUCERS_MAX || strlen(argv[4]) > REQUEST_MAX / 2) {
		fprintf(stderr, "usage: beanstalk_put PORT PRODUCERS SECONDS BODY\n");
		return 2;
	}
	request_len = (size_t)snprintf(
		request, sizeof request, "put 0 0 120 %zu\r\n%s\r\n", strlen(argv[4]), argv[4]);
	for (int i = 0; i < n; i++)
		if ((all[i].fd = dial((int)strtol(argv[1], NULL, 10))) < 0) {
			perror("beanstalk_put");
			return EXIT_FAILURE;
		}
	int64_t began = now_us();
	for (int i = 0; i < n; i++)
		if (pthread_create(&all[i].thread, NULL, produce, &all[i])) {
			fprintf(stderr, "beanstalk_put: no thread\n");
			return EXIT_FAILURE;
		}
	nanosleep(&(struct timespec){ (int)strtol(argv[3], NULL, 10), 0 }, NULL);
	atomic_store(&over, true);
	size_t done = 0, failed = 0;
	for (int i = 0; i < n; i++) {
		pthread_join(all[i].thread, NULL);
		done += all[i].n;
		failed += all[i].n_failed;
		close(all[i].fd);
	}
	printf("{\"requests\": %zu, \"bad\": %zu, \"duration\": %lld}\n", done, failed,
		(long long)(now_us() - began));
	return EXIT_SUCCESS;
}
