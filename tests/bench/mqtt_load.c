/* SPDX-License-Identifier: Apache-2.0 */
/* Requesters of the MQTT benchmark.
 *
 *     mqtt_load PORT TOPIC BODY REQUESTERS SECONDS
 *
 * One thread and one connection for each requester: it publishes BODY to TOPIC with QoS 1 and a
 * response topic of its own, waits for the answer, acknowledges it, and begins again. The few
 * packets of MQTT 5 that this takes are made by hand, so that the requesters cost next to nothing.
 * Prints one line of JSON: round trips, failures, times in microseconds. */
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

enum { REQUESTERS_MAX = 256, PACKET_MAX = 65536, TIMES_MAX = 1 << 20, TIMEOUT_S = 20 };
enum { CONNECT = 0x10, PUBLISH = 0x30, PUBACK = 0x40, SUBSCRIBE = 0x82, QOS_1 = 2 };

struct requester {
	pthread_t thread;
	int fd, number;
	size_t n;
	bool has_failed;
	uint32_t *times_us;
};

static atomic_bool over;
static const char *request_topic, *request_body;
static int port;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static unsigned char *put_16(unsigned char *p, size_t n)
{
	*p++ = (unsigned char)(n >> 8);
	*p++ = (unsigned char)n;
	return p;
}

static unsigned char *put_text(unsigned char *p, const char *text)
{
	size_t n = strlen(text);
	p = put_16(p, n);
	memcpy(p, text, n);
	return p + n;
}

static bool send_packet(int fd, unsigned char type, const unsigned char *body, size_t len)
{
	unsigned char packet[PACKET_MAX + 8];
	size_t n = 0, rest = len;
	packet[n++] = type;
	do {
		packet[n++] = (unsigned char)(rest % 128 | (rest >= 128 ? 128 : 0));
		rest /= 128;
	} while (rest);
	memcpy(packet + n, body, len);
	return send(fd, packet, n + len, MSG_NOSIGNAL) == (ssize_t)(n + len);
}

static bool read_all(int fd, unsigned char *to, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, to, len, 0);
		if (n <= 0)
			return false;
		to += n;
		len -= (size_t)n;
	}
	return true;
}

/* The type of the next packet; 0: there is none. */
static unsigned char read_packet(int fd, unsigned char *body, size_t *len)
{
	unsigned char type, byte;
	unsigned shift = 0;
	*len = 0;
	if (!read_all(fd, &type, 1))
		return 0;
	do {
		if (!read_all(fd, &byte, 1))
			return 0;
		*len |= (size_t)(byte & 127) << shift;
		shift += 7;
	} while (byte & 128);
	return *len <= PACKET_MAX && read_all(fd, body, *len) ? type : 0;
}

static bool begin(struct requester *r, const char *answers)
{
	static const unsigned char connect_head[] = { 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0 };
	const struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval timeout = { .tv_sec = TIMEOUT_S };
	unsigned char body[PACKET_MAX], *p = body;
	size_t len;
	int one = 1;
	r->fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	if (connect(r->fd, (const struct sockaddr *)&at, sizeof at) < 0)
		return false;
	memcpy(p, connect_head, sizeof connect_head);
	p = put_text(p + sizeof connect_head, answers);
	if (!send_packet(r->fd, CONNECT, body, (size_t)(p - body)) ||
		!read_packet(r->fd, body, &len) || len < 2 || body[1] != 0)
		return false;
	p = put_16(body, 1);
	*p++ = 0;
	p = put_text(p, answers);
	*p++ = 1;
	return send_packet(r->fd, SUBSCRIBE, body, (size_t)(p - body)) &&
	       read_packet(r->fd, body, &len) && body[len - 1] == 1;
}

/* What it sends, and where in it the packet's number stands. */
static size_t make_request(unsigned char *body, const char *answers, size_t *number_at)
{
	enum { RESPONSE_TOPIC = 8 };
	unsigned char *p = put_text(body, request_topic);
	*number_at = (size_t)(p - body);
	p += 2;
	*p++ = (unsigned char)(strlen(answers) + 3);
	*p++ = RESPONSE_TOPIC;
	p = put_text(p, answers);
	memcpy(p, request_body, strlen(request_body));
	return (size_t)(p - body) + strlen(request_body);
}

/* Until the answer is there and acknowledged. */
static bool wait_for_answer(int fd)
{
	unsigned char body[PACKET_MAX];
	size_t len;
	for (;;) {
		unsigned char type = read_packet(fd, body, &len);
		if (type == 0 || (type == PUBACK && len > 2 && body[2] >= 0x80))
			return false;
		if ((type & 0xf0) != PUBLISH)
			continue;
		size_t topic = (size_t)body[0] << 8 | body[1];
		return send_packet(fd, PUBACK, body + 2 + topic, 2);
	}
}

static void *request(void *arg)
{
	struct requester *r = arg;
	unsigned char body[PACKET_MAX];
	char answers[64];
	size_t number_at;
	snprintf(answers, sizeof answers, "load/%d/%d", (int)getpid(), r->number);
	size_t len = make_request(body, answers, &number_at);
	while (!atomic_load_explicit(&over, memory_order_relaxed) && r->n < TIMES_MAX) {
		int64_t began = now_us();
		put_16(body + number_at, r->n % 65535 + 1);
		if (!send_packet(r->fd, PUBLISH | QOS_1, body, len) || !wait_for_answer(r->fd)) {
			r->has_failed = true;
			break;
		}
		r->times_us[r->n++] = (uint32_t)(now_us() - began);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void report(const struct requester *all, int n_requesters, int64_t duration)
{
	size_t n = 0, bad = 0, at = 0;
	for (int i = 0; i < n_requesters; i++) {
		n += all[i].n;
		bad += all[i].has_failed;
	}
	uint32_t *times = calloc(n + 1, sizeof *times);
	for (int i = 0; times && i < n_requesters; i++) {
		memcpy(times + at, all[i].times_us, all[i].n * sizeof *times);
		at += all[i].n;
	}
	if (!times)
		exit(1);
	qsort(times, n, sizeof *times, compare);
	printf("{\"requests\": %zu, \"bad\": %zu, \"duration\": %lld, \"p50\": %u, \"p99\": %u}\n",
		n, bad, (long long)duration, times[n / 2], times[n * 99 / 100]);
	free(times);
}

int main(int argc, char **argv)
{
	static struct requester all[REQUESTERS_MAX];
	int n = argc == 6 ? (int)strtol(argv[4], NULL, 10) : 0;
	if (n < 1 || n > REQUESTERS_MAX || strlen(argv[2]) + strlen(argv[3]) > PACKET_MAX / 2) {
		fprintf(stderr, "usage: mqtt_load PORT TOPIC BODY REQUESTERS SECONDS\n");
		return 2;
	}
	port = (int)strtol(argv[1], NULL, 10);
	request_topic = argv[2];
	request_body = argv[3];
	for (int i = 0; i < n; i++) {
		char answers[64];
		all[i].number = i;
		all[i].times_us = malloc(TIMES_MAX * sizeof *all[i].times_us);
		snprintf(answers, sizeof answers, "load/%d/%d", (int)getpid(), i);
		if (!all[i].times_us || !begin(&all[i], answers)) {
			fprintf(stderr, "mqtt_load: requester %d cannot connect\n", i);
			return 1;
		}
	}
	int64_t began = now_us();
	for (int i = 0; i < n; i++)
		pthread_create(&all[i].thread, NULL, request, &all[i]);
	const struct timespec time = { .tv_sec = strtol(argv[5], NULL, 10) };
	nanosleep(&time, NULL);
	atomic_store(&over, true);
	for (int i = 0; i < n; i++)
		pthread_join(all[i].thread, NULL);
	report(all, n, now_us() - began);
	return 0;
}
