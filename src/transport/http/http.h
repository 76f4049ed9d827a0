/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP adapter (libmicrohttpd). */
#pragma once

#include "core/worker_door.h"
#include "mist/transport.h"

struct http_settings {
	char *host, *hosts, *cors_origins, *ui, *unlimited_addresses;
	int64_t port, threads, connections, reserved_connections, address_connections;
	int64_t head_timeout_ms, body_timeout_ms, send_timeout_ms, idle_timeout_ms;
	int64_t body_max, bodies_max, answers_max, artifact_max, deployment_max, uploads_max;
	int64_t query_threads, queries_max;
	int64_t keepalive_ms, subscriber_max, subscribers_max;
};

extern const struct conf_field http_conf[];
extern const struct transport_ops http_transport;

/* What the table of settings cannot say. A negative number: the fault names the setting. */
int http_check_settings(const struct http_settings *s, struct fault *f);

/* Between open and start: who takes workers' connections. Borrowed. */
void http_set_worker_door(struct transport *t, const struct worker_door *door);

/* After open: "http://127.0.0.1:2003". Borrowed. */
const char *http_url(const struct transport *t);
