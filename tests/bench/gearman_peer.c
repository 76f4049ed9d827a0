/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the synchronous comparison: a worker and a client for gearmand, by its own
 * library.
 *
 *     gearman_peer worker PORT
 *     gearman_peer client PORT CONNECTIONS SECONDS
 *
 * The worker serves "noop" on one thread, as the C worker of Mist does. The client has one thread
 * and one connection for each of CONNECTIONS; each sends a foreground job with the payload the Mist
 * side posts, waits for its end, and begins again. It prints one line of JSON: jobs, failures, the
 * time it took, the median and the 99th percentile, in microseconds. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libgearman/gearman.h>

static const char payload[] = "{}";

enum { LATENCIES_MAX = 4 * 1000 * 1000, CONNECTIONS_MAX = 1024 };

struct connection {
	pthread_t thread;
	gearman_client_st client;
	uint32_t *latencies; /* us */
	size_t n, n_failed;
};

static atomic_bool over;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void *noop(gearman_job_st *job, void *arg, size_t *ret_len, gearman_return_t *ret)
{
	(void)job;
	(void)arg;
	*ret_len = 0;
	*ret = GEARMAN_SUCCESS;
	return NULL;
}

static int work(in_port_t port)
{
	gearman_worker_st worker;
	if (!gearman_worker_create(&worker) ||
		gearman_worker_add_server(&worker, "127.0.0.1", port) ||
		gearman_worker_add_function(&worker, "noop", 0, noop, NULL)) {
		fprintf(stderr, "gearman_peer: no worker: %s\n", gearman_worker_error(&worker));
		return EXIT_FAILURE;
	}
	gearman_return_t r;
	do
		r = gearman_worker_work(&worker);
	while (r == GEARMAN_SUCCESS);
	fprintf(stderr, "gearman_peer: %s\n", gearman_worker_error(&worker));
	return EXIT_FAILURE;
}

static void *call(void *arg)
{
	struct connection *c = arg;
	while (!atomic_load_explicit(&over, memory_order_relaxed) && c->n < LATENCIES_MAX) {
		size_t len;
		gearman_return_t r;
		int64_t began = now_us();
		free(gearman_client_do(
			&c->client, "noop", NULL, payload, sizeof payload - 1, &len, &r));
		if (r == GEARMAN_SUCCESS)
			c->latencies[c->n++] = (uint32_t)(now_us() - began);
		else
			c->n_failed++;
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void report(const struct connection *all, int n_all, int64_t took_us)
{
	size_t n = 0, n_failed = 0;
	for (int i = 0; i < n_all; i++) {
		n += all[i].n;
		n_failed += all[i].n_failed;
	}
	uint32_t *sorted = calloc(n + 1, sizeof *sorted);
	if (!sorted)
		abort();
	for (size_t i = 0, at = 0; i < (size_t)n_all; at += all[i++].n)
		memcpy(sorted + at, all[i].latencies, all[i].n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_value);
	printf("{\"requests\": %zu, \"bad\": %zu, \"duration\": %lld, \"p50\": %u, \"p99\": %u}\n",
		n, n_failed, (long long)took_us, sorted[n / 2], sorted[n - n / 100 - (n > 0)]);
	free(sorted);
}

static int ask(in_port_t port, int n, int seconds)
{
	static struct connection all[CONNECTIONS_MAX];
	for (int i = 0; i < n; i++) {
		struct connection *c = &all[i];
		c->latencies =
			malloc(LATENCIES_MAX * sizeof *c->latencies); /* touched as it fills */
		if (!c->latencies || !gearman_client_create(&c->client) ||
			gearman_client_add_server(&c->client, "127.0.0.1", port)) {
			fprintf(stderr, "gearman_peer: no client\n");
			return EXIT_FAILURE;
		}
	}
	int64_t began = now_us();
	for (int i = 0; i < n; i++)
		if (pthread_create(&all[i].thread, NULL, call, &all[i])) {
			fprintf(stderr, "gearman_peer: no thread\n");
			return EXIT_FAILURE;
		}
	nanosleep(&(struct timespec){ seconds, 0 }, NULL);
	atomic_store(&over, true);
	for (int i = 0; i < n; i++)
		pthread_join(all[i].thread, NULL);
	report(all, n, now_us() - began);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "worker") == 0)
		return work((in_port_t)strtol(argv[2], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "client") == 0 && (int)strtol(argv[3], NULL, 10) > 0 &&
		(int)strtol(argv[3], NULL, 10) <= CONNECTIONS_MAX)
		return ask((in_port_t)strtol(argv[2], NULL, 10), (int)strtol(argv[3], NULL, 10),
			(int)strtol(argv[4], NULL, 10));
	fprintf(stderr, "usage: gearman_peer worker PORT | client PORT CONNECTIONS SECONDS\n");
	return 2;
}
