/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: the core puts what it and the transports know into a text under way; what the
 * kernel knows of the process is added on the HTTP thread, which may take its time. */
#include "transport/http/metrics/metrics.h"

#include <string.h>

#include "base/metrics/process.h"
#include "transport/http/request.h"
#include "transport/http/server/accept.h"
#include "transport/http/server/server.h"

enum { DURATION, CONNECTIONS, CONNECTIONS_LIMIT, WAITING, SUBSCRIBERS, BODIES, ANSWERS, UNREAD };

static const struct metric families[] = {
	[DURATION] = { METRIC_HISTOGRAM, "mist_http_request_duration_seconds",
		"Time from the first line of a request to the beginning of its answer." },
	[CONNECTIONS] = { METRIC_GAUGE, "mist_http_connections",
		"Open connections, those of workers and subscribers among them." },
	[CONNECTIONS_LIMIT] = { METRIC_GAUGE, "mist_http_connections_limit",
		"The setting http.connections, or what the process may have." },
	[WAITING] = { METRIC_GAUGE, "mist_http_requests_waiting",
		"Requests that wait for the core, such as those for a job's result." },
	[SUBSCRIBERS] = { METRIC_GAUGE, "mist_http_subscribers",
		"Clients that follow events or logs." },
	[BODIES] = { METRIC_GAUGE, "mist_http_request_bodies_bytes",
		"Memory for bodies of requests." },
	[ANSWERS] = { METRIC_GAUGE, "mist_http_response_bodies_bytes",
		"Memory for bodies of answers; small ones do not count." },
	[UNREAD] = { METRIC_GAUGE, "mist_http_subscriber_waiting_bytes",
		"Memory for events that wait for their subscribers; where they are few they do not "
		"count." },
};

void http_metrics_put(void *self, struct exposition *e)
{
	struct http *http = self;
	struct http_durations *threads[256];
	size_t n = 0;
	exposition_declare(e, families, ARRAY_SIZE(families));
	for (size_t i = 0; i < http->n_servers && n < ARRAY_SIZE(threads); i++)
		threads[n++] = http->servers[i].durations;
	durations_put(threads, n, &families[DURATION], e);
	const struct {
		int family;
		int64_t value;
	} rows[] = {
		{ CONNECTIONS, atomic_load(&http->counts.n) },
		{ CONNECTIONS_LIMIT, http->connections_max },
		{ WAITING, atomic_load(&http->n_owed) },
		{ SUBSCRIBERS, atomic_load(&http->n_subscribers) },
		{ BODIES, atomic_load(&http->bodies) },
		{ ANSWERS, atomic_load(&http->answers) },
		{ UNREAD, atomic_load(&http->unread) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		exposition_put(e, &families[rows[i].family], NO_LABELS, rows[i].value);
}

static void metrics_ready(struct request *rq)
{
	struct exposition *e = TAKE_PTR(rq->ask.exposition);
	process_metrics_put(e);
	char *text = exposition_take(e);
	if (rq->ask.fault.code) {
		free(text);
		answer_fault(rq, &rq->ask.fault);
		return;
	}
	answer_text(rq, 200, exposition_content_type(rq->exposition_format), text, strlen(text));
}

enum exposition_format exposition_of_accept(const char *accept)
{
	struct accept_wish open = accept_wish(accept, "application/openmetrics-text", "1.0.0"),
			   text = accept_wish(accept, "text/plain", "0.0.4");
	bool is_named = open.precision == ACCEPT_NAMED && open.q >= text.q;
	return open.q && (is_named || !text.q) && open.precision > ACCEPT_ANY
		       ? EXPOSITION_OPENMETRICS
		       : EXPOSITION_PROMETHEUS;
}

void metrics_show(struct request *rq)
{
	rq->uses_accept = true;
	rq->exposition_format = exposition_of_accept(header_text(rq, "Accept"));
	rq->ask.kind = ASK_METRICS;
	rq->ask.exposition = exposition_new(rq->exposition_format, EXPOSITION_MAX);
	request_ask(rq, metrics_ready);
}
