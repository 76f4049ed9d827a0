/* SPDX-License-Identifier: Apache-2.0 */
/* A histogram for each route and class of status, in a table for each HTTP thread: nobody else
 * writes there, so counting costs no lock, and there are as many labels as there are routes,
 * whatever clients ask for. What is no route is one more row, "other". */
#include "transport/http/metrics/metrics.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "transport/http/request.h"
#include "transport/http/server/server.h"

enum { CLASSES = 5, ROUTES_MAX = 128 };

static const char *const class_names[CLASSES] = { "1xx", "2xx", "3xx", "4xx", "5xx" };

struct http_durations {
	struct histogram cells[ROUTES_MAX][CLASSES];
};

static size_t count_routes(void)
{
	size_t n = 0;
	while (routes[n].path)
		n++;
	must(n < ROUTES_MAX);
	return n;
}

struct http_durations *durations_new(void)
{
	return xcalloc(1, sizeof(struct http_durations));
}

void durations_free(struct http_durations *d)
{
	free(d);
}

void durations_observe(const struct request *rq)
{
	struct http_durations *d = rq->connection->server->durations;
	size_t row = rq->route ? (size_t)(rq->route - routes) : count_routes();
	unsigned class = rq->status / 100;
	if (class < 1 || class > CLASSES)
		return;
	histogram_observe(
		&d->cells[row][class - 1], &histogram_call_bounds, clock_mono_us() - rq->began_us);
}

void durations_put(struct http_durations *const *threads, size_t n, const struct metric *m,
	struct exposition *e)
{
	size_t n_routes = count_routes();
	for (size_t row = 0; row <= n_routes; row++) {
		bool is_route = row < n_routes;
		for (size_t k = 0; k < CLASSES; k++) {
			struct histogram sum = { 0 };
			for (size_t i = 0; i < n; i++)
				histogram_merge(&sum, &threads[i]->cells[row][k]);
			const char *const labels[] = { "method",
				is_route ? method_names[routes[row].method] : "other", "route",
				is_route ? routes[row].path : "other", "status", class_names[k],
				NULL };
			if (histogram_count(&sum))
				exposition_put_histogram(
					e, m, labels, &sum, &histogram_call_bounds);
		}
	}
}
