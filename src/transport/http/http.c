/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP adapter: threads that run libmicrohttpd on epoll, and the way of each request through
 * them.
 *
 * libmicrohttpd calls on_target for the first line of a request, then on_access for its head, for
 * each piece of its body and at its end. Bodies are gathered up to a limit; what is over is read
 * and thrown away, so that the client gets to read the 413. At the end the route's handler runs. A
 * request that waits for the core costs no thread: its connection is suspended, and on_access is
 * called once more after the resume. */
#include "transport/http/request.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <netdb.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/ignored.h"
#include "base/log.h"
#include "base/text/plural.h"
#include "transport/http/cloud.h"
#include "transport/http/events/events.h"
#include "transport/http/metrics/metrics.h"
#include "transport/http/server/head.h"
#include "transport/http/server/server.h"
#include "transport/http/server/tcp.h"
#include "transport/http/target.h"
#include "transport/http/workers/output.h"

enum {
	DISCARD_MAX = 1 << 30,
	BACKLOG = 1024,
	DRAIN_MS = 2000,
	DESCRIPTORS_KEPT = 256, /* for all that is no connection */
	PARAMETERS_MAX = 64,
	PARAMETER_COST = 72,    /* in libmicrohttpd's memory of the connection, */
	TARGET_MAX = 12 * 1024, /* of which a target may take so much */
	HEAD_MAX = 13824, /* and all of a head, so that there is room for the head of the answer */
	TELL_MAX = 1024,
	ANSWER_SMALL = 16 * 1024
};

const struct conf_field http_conf[] = {
	{ "host", CONF_STR, offsetof(struct http_settings, host), "127.0.0.1",
		.help = "address to listen on; there is no authentication yet, so only this "
			"machine by default" },
	{ "port", CONF_INT, offsetof(struct http_settings, port), "2003", .min = 0, .max = 65535,
		.help = "port to listen on; 0: any free one" },
	{ "hosts", CONF_STR, offsetof(struct http_settings, hosts), "",
		.help = "more names by which this gateway may be called, with commas between; "
			"*.b: all names below b; *: every name. Addresses in digits, localhost and "
			"the machine's own names always may" },
	{ "threads", CONF_INT, offsetof(struct http_settings, threads), "2", .min = 1, .max = 256,
		.help = "threads that read and answer requests" },
	{ "connections", CONF_INT, offsetof(struct http_settings, connections), "10000", .min = 1,
		.max = 1000000,
		.help = "connections open at once; for one more, the one that idles longest is "
			"closed" },
	{ "reserved-connections", CONF_INT, offsetof(struct http_settings, reserved_connections),
		"100", .min = 1, .max = 100000,
		.help = "connections beyond these, for workers, /health, /metrics and "
			"/v2/api/status only, when none of the others idles" },
	{ "connections-per-address", CONF_INT, offsetof(struct http_settings, address_connections),
		"1000", .min = 0, .max = 1000000,
		.help = "connections of one client address (IPv6: of one /64 network); 0: no "
			"limit" },
	{ "unlimited-addresses", CONF_STR, offsetof(struct http_settings, unlimited_addresses),
		"127.0.0.0/8 ::1",
		.help = "addresses and networks to which that limit does not apply: this "
			"machine's, with its workers, and those of proxies, behind whom there are "
			"many clients" },
	{ "head-timeout", CONF_DURATION, offsetof(struct http_settings, head_timeout_ms),
		"10 seconds", .min = 100, .max = INT64_MAX,
		.help = "the head of a request has to come within this time" },
	{ "body-timeout", CONF_DURATION, offsetof(struct http_settings, body_timeout_ms),
		"20 seconds", .min = 100, .max = INT64_MAX,
		.help = "a request of whose body nothing comes for this time is refused; after it, "
			"also one whose body comes slower than 500 bytes a second" },
	{ "send-timeout", CONF_DURATION, offsetof(struct http_settings, send_timeout_ms),
		"1 minute", .min = 100, .max = INT64_MAX,
		.help = "a client that takes nothing of its answer for this time is cut off" },
	{ "idle-timeout", CONF_DURATION, offsetof(struct http_settings, idle_timeout_ms),
		"10 minutes", .min = 1000, .max = INT64_MAX,
		.help = "a connection with nothing to do is closed after this time" },
	{ "query-threads", CONF_INT, offsetof(struct http_settings, query_threads), "2", .min = 1,
		.max = 64,
		.help = "threads that read the history and hash files, beside those that read and "
			"answer requests" },
	{ "queries", CONF_INT, offsetof(struct http_settings, queries_max), "1000", .min = 1,
		.max = 1000000, .help = "requests that may wait for these" },
	{ "artifact", CONF_SIZE, offsetof(struct http_settings, artifact_max), "250m", .min = 1024,
		.max = INT64_C(1) << 40, .unit = "bytes",
		.help = "largest artifact that can be uploaded" },
	{ "deployment", CONF_SIZE, offsetof(struct http_settings, deployment_max), "1g",
		.min = 1024, .max = INT64_C(1) << 40, .unit = "bytes",
		.help = "all artifacts of one deployment together" },
	{ "uploads", CONF_INT, offsetof(struct http_settings, uploads_max), "16", .min = 1,
		.max = 10000, .help = "artifacts that can be uploaded at once" },
	{ "cors-origins", CONF_STR, offsetof(struct http_settings, cors_origins), "",
		.help = "origins whose pages may use the API, with commas between; *: all, as in "
			"Mist" },
	{ "ui", CONF_PATH, offsetof(struct http_settings, ui), "",
		.help = "folder of the web page, served under /ui/; empty: none" },
	{ "ws-keepalive", CONF_DURATION, offsetof(struct http_settings, keepalive_ms), "15 seconds",
		.min = 100, .max = INT64_MAX,
		.help = "subscribers that were told nothing for this time get a sign of life; less "
			"than the patience of what lies between, as 60 s of nginx" },
	{ "subscribers", CONF_INT, offsetof(struct http_settings, subscribers_max), "10000",
		.min = 1, .max = 1000000,
		.help = "subscribers to events and followers of logs at once" },
	{ "subscriber-buffer", CONF_SIZE, offsetof(struct http_settings, subscriber_max), "1m",
		.min = 1024, .max = INT64_C(1) << 30, .unit = "bytes",
		.help = "what may wait for a subscriber that does not read; events beyond it are "
			"dropped and counted" },
	{ "body", CONF_SIZE, offsetof(struct http_settings, body_max), "8m", .min = 1024,
		.max = (int64_t)1 << 30, .unit = "bytes", .live = true,
		.help = "largest request body" },
	{ "bodies", CONF_SIZE, offsetof(struct http_settings, bodies_max), "64m", .min = 1024,
		.max = (int64_t)1 << 40, .unit = "bytes",
		.help = "all request bodies that are in memory at once" },
	{ "answers", CONF_SIZE, offsetof(struct http_settings, answers_max), "256m",
		.min = 64 * 1024, .max = (int64_t)1 << 40, .unit = "bytes",
		.help = "all answers that are in memory at once, and as much for events that wait "
			"for "
			"subscribers; small ones are not counted" },
	{ 0 },
};

/* The first line of a request is there, its target still as it was sent (NULL: there is none). More
 * parameters than libmicrohttpd has memory for would hold it up for ever (connection.c). */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct http *http = cls;
	struct request *rq = xcalloc(1, sizeof *rq);
	struct connection *c = rq->connection = connection_of(conn);
	const char *authority;
	size_t len, n = target_count_parameters(uri ? uri : "");
	server_called();
	rq->http = http;
	rq->conn = conn;
	rq->began_us = clock_mono_us();
	rq->answer_fd = rq->hashed_fd = -1;
	buf_init(&rq->body, atomic_load_explicit(&http->body_max, memory_order_relaxed));
	const char *path = uri ? target_split(uri, &authority, &len) : NULL;
	if (path) {
		rq->path = target_path(*path == '/' || *path == '*' ? path : "/");
		rq->authority = authority ? strndup(authority, len) : NULL;
	}
	if (c->phase != CONNECTION_HEAD)
		connection_enter(c, CONNECTION_HEAD);
	c->rq = rq;
	if (n > PARAMETERS_MAX)
		connection_refuse(c, 400, "Bad Request", "the query has more than 64 parameters");
	else if (uri && strlen(uri) + n * PARAMETER_COST > TARGET_MAX)
		connection_refuse(c, 414, "URI Too Long",
			"path and query are longer than a request may have them, 12 kB");
	return rq;
}

/* libmicrohttpd closes a connection without an answer when the answer's head has no room beside
 * that of the request, perhaps after the request was served. */
static bool head_has_room(struct request *rq)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(rq->conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	int n = MHD_get_connection_values(rq->conn,
		(enum MHD_ValueKind)(MHD_HEADER_KIND | MHD_COOKIE_KIND | MHD_GET_ARGUMENT_KIND),
		NULL, NULL);
	return (info ? info->header_size : 0) + (size_t)n * PARAMETER_COST <= HEAD_MAX;
}

/* Who it is for, from where, and whether there is a connection for it. False: it has its answer. */
static bool request_is_welcome(struct request *rq, const char *version)
{
	struct connection *c = rq->connection;
	struct head head;
	struct fault f = { 0 };
	rq->is_closing = true;
	if (head_read(&head, rq->conn, version) < 0) {
		answer_fault(rq, &head.fault);
		return false;
	}
	rq->is_http_1_1 = head.is_http_1_1;
	if (!rq->path) {
		fault_set(&f, FAULT_BAD_REQUEST,
			"the request's target: expected a path, or an address that begins with "
			"http:// (RFC 9112, section 3.2)");
		answer_fault(rq, &f);
		return false;
	}
	if (c->is_beyond_address) {
		fault_set(&f, FAULT_TOO_MANY,
			"too many connections from one address (http.connections-per-address)");
		answer_fault(rq, &f);
		return false;
	}
	rq->is_closing = c->is_beyond;
	return origin_check(rq, head.host, head.host_len);
}

static void request_begin(struct request *rq, const char *method, const char *version)
{
	struct fault f = { 0 };
	rq->is_begun = true;
	rq->is_head = strcmp(method, "HEAD") == 0;
	request_name(rq, header_text(rq, "X-Request-Id"));
	if (!request_is_welcome(rq, version))
		return;
	if (strcmp(method, "OPTIONS") == 0) {
		origin_preflight(rq);
		return;
	}
	rq->route = route_find(method, rq->path, &rq->id, &rq->allow);
	if (rq->connection->is_beyond && !(rq->route && rq->route->is_vital)) {
		fault_set(&f, FAULT_UNAVAILABLE, "all connections are taken (http.connections)");
		answer_fault(rq, &f);
		return;
	}
	if (rq->route && target_check_query(rq, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	if (rq->route && rq->route->is_upload)
		upload_begin(rq);
	if (rq->route)
		return;
	if (rq->allow)
		fault_set(&f, FAULT_METHOD, "%.16s is not a method of this resource: expected %s",
			method, rq->allow);
	else
		fault_set(&f, FAULT_NOT_FOUND, "The requested resource could not be found.");
	answer_fault(rq, &f);
}

void request_settled(struct request *rq)
{
	if (rq->is_owed)
		atomic_fetch_sub(&rq->http->n_owed, 1);
	rq->is_owed = false;
}

/* The body takes memory, or not any more. */
static void body_charge(struct request *rq)
{
	int64_t now =
		(int64_t)(rq->body.cap + upload_bytes(rq) + (rq->echo ? strlen(rq->echo) : 0));
	atomic_fetch_add(&rq->http->bodies, now - rq->body_charged);
	rq->body_charged = now;
}

void request_free(struct request *rq)
{
	request_settled(rq);
	closep(&rq->answer_fd);
	buf_done(&rq->body);
	upload_free(rq);
	free(TAKE_PTR(rq->echo));
	body_charge(rq);
	answers_charge(rq->http, &rq->answer_charged, 0);
	free(rq->ignored);
	if (rq->pages)
		pages_leave(rq->pages);
	closep(&rq->hashed_fd);
	if (rq->stream)
		stream_leave(rq->stream);
	if (rq->follower)
		follower_leave(rq->follower);
	subscriber_unreserve(rq);
	json_decref(rq->deployed);
	free(rq->problem_errors);
	json_decref(rq->cloud);
	json_decref(rq->cloud_headers);
	free(rq->location);
	free(rq->preference_applied);
	ask_done(&rq->ask);
	free(rq->admission.worker);
	free(rq->admission.secret);
	free(rq->answer);
	free(rq->authority);
	free(rq->path);
	free(rq->id);
	free(rq);
}

/* What the core ignored is in the ask of an edit, and in the request since the job's event. */
static void say_ignored(struct request *rq, struct MHD_Response *response)
{
	ignored_add_all(&rq->ignored, rq->ask.ignored);
	if (!rq->ignored)
		return;
	MHD_add_response_header(response, "Mist-Ignored", rq->ignored);
	log_debug(
		"http: request %s to %s said without effect: %s", rq->name, rq->path, rq->ignored);
}

static struct MHD_Response *response_of(struct request *rq)
{
	struct MHD_Response *response;
	char seconds[16];
	if (rq->upgrade) {
		MHD_add_response_header(rq->upgrade, "X-Request-Id", rq->name);
		return rq->upgrade;
	}
	if (rq->stream && !rq->answer)
		response = stream_response(rq);
	else if (rq->follower && !rq->answer)
		response = follower_response(rq);
	else if (rq->pages && !rq->answer)
		response = pages_response(rq);
	else if (rq->answer_fd >= 0)
		response = file_response(rq);
	else
		response = MHD_create_response_from_buffer(
			rq->answer_len, rq->answer, MHD_RESPMEM_MUST_FREE);
	if (!response)
		return NULL;
	rq->answer = NULL; /* it is the response's now, if it was used */
	MHD_add_response_header(response, "Content-Type", rq->content_type);
	MHD_add_response_header(response, "X-Request-Id", rq->name);
	origin_headers(rq, response);
	cloud_headers(rq, response);
	if (rq->location)
		MHD_add_response_header(response, "Location", rq->location);
	if (rq->preference_applied && rq->status < 400)
		MHD_add_response_header(response, "Preference-Applied", rq->preference_applied);
	if (rq->ask.tag && rq->status < 400)
		MHD_add_response_header(response, "ETag", rq->ask.tag);
	if (rq->answer_offset[0] && rq->status < 400)
		MHD_add_response_header(response, "Mist-Offset", rq->answer_offset);
	if (rq->uses_accept)
		MHD_add_response_header(response, "Vary", "Accept");
	if (rq->allow)
		MHD_add_response_header(response, "Allow", rq->allow);
	if (rq->is_closing)
		MHD_add_response_header(response, "Connection", "close");
	say_ignored(rq, response);
	if (rq->retry_after_s) {
		snprintf(seconds, sizeof seconds, "%u", rq->retry_after_s);
		MHD_add_response_header(response, "Retry-After", seconds);
	}
	return response;
}

/* A large answer is there until its reader has it. */
static void charge_answer(struct request *rq)
{
	struct fault f;
	if (!rq->answer || rq->answer_len < ANSWER_SMALL)
		return;
	if (answers_have_room(rq->http)) {
		answers_charge(rq->http, &rq->answer_charged, (int64_t)rq->answer_len);
		return;
	}
	free(TAKE_PTR(rq->answer));
	fault_set(&f, FAULT_UNAVAILABLE, "too many bytes wait for their readers (http.answers)%s",
		rq->job[0] ? "; the job was done, and its outcome can be read from it" : "");
	answer_fault(rq, &f);
}

static enum MHD_Result request_send(struct request *rq)
{
	(void)fail_point(FAIL_HTTP_ANSWER);
	bool is_lasting = rq->upgrade || ((rq->stream || rq->follower) && !rq->answer);
	charge_answer(rq);
	struct MHD_Response *response = response_of(rq);
	rq->is_answered = true;
	durations_observe(rq);
	if (is_lasting)
		request_settled(rq);
	connection_enter(rq->connection, is_lasting ? CONNECTION_LASTING : CONNECTION_ANSWER);
	enum MHD_Result r = response ? MHD_queue_response(rq->conn, rq->status, response) : MHD_NO;
	if (response)
		MHD_destroy_response(response);
	if (r != MHD_YES)
		connection_refuse(rq->connection, 500, "Internal Server Error",
			"the answer could not be given");
	return r;
}

/* The refusal goes out before the body has come, which libmicrohttpd cannot do and go on reading. A
 * client that writes without reading gets to see it since the rest of the body is still taken, for
 * a while, and thrown away. The connection ends behind it. */
static void request_tell(struct request *rq)
{
	char head[TELL_MAX];
	if (rq->is_told)
		return;
	rq->is_told = true;
	int len = snprintf(head, sizeof head,
		"HTTP/1.1 %u %s\r\nConnection: close\r\nX-Request-Id: %s\r\n%s%s%s%sContent-Type: "
		"%s\r\nContent-Length: "
		"%zu\r\n\r\n",
		rq->status, rq->title, rq->name, rq->retry_after_s ? "Retry-After: 1\r\n" : "",
		rq->cors_origin ? "Access-Control-Allow-Origin: " : "",
		rq->cors_origin ? rq->cors_origin : "", rq->cors_origin ? "\r\n" : "",
		rq->content_type, rq->answer_len);
	if (len < (int)sizeof head) {
		(void)!send(rq->connection->fd, head, len, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);
		(void)!send(rq->connection->fd, rq->answer, rq->answer_len,
			MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	durations_observe(rq);
	request_settled(rq);
	buf_done(&rq->body);
	body_charge(rq);
	connection_enter(rq->connection, CONNECTION_BODY); /* its time begins anew */
}

static void refuse_body(struct request *rq, enum fault_code code, const char *limit, int64_t max)
{
	struct fault f;
	if (rq->status)
		return;
	if (code == FAULT_TOO_LARGE)
		fault_set(&f, code, "the body is over %s, %lld bytes", limit, (long long)max);
	else
		fault_set(&f, code, "the requests under way are over %s, %lld bytes", limit,
			(long long)max);
	answer_fault(rq, &f);
}

/* Head of a request. A client that waits for a 100 gets a refusal at once and sends nothing; so
 * does one that has announced more than it is let send. */
static enum MHD_Result request_head(struct request *rq)
{
	const char *length = header_text(rq, "Content-Length"), *expect = header_text(rq, "Expect");
	unsigned long long n = length ? strtoull(length, NULL, 10) : 0;
	bool has_body = n || header_text(rq, "Transfer-Encoding");
	if (!rq->upload && n > rq->body.max)
		refuse_body(rq, FAULT_TOO_LARGE, "http.body", (int64_t)rq->body.max);
	if (rq->status && (rq->is_closing || (has_body && expect) || n > DISCARD_MAX)) {
		rq->is_closing = true;
		return request_send(rq);
	}
	if (rq->status == 413)
		request_tell(rq);
	if (!rq->is_told)
		connection_enter(rq->connection, CONNECTION_BODY);
	return MHD_YES;
}

static enum MHD_Result request_body(struct request *rq, const char *data, size_t len)
{
	struct http *http = rq->http;
	struct connection *c = rq->connection;
	if (fail_point(FAIL_HTTP_BODY) < 0)
		return MHD_NO;
	c->progress += len;
	c->progress_ms = c->server->now_ms;
	if (rq->status) {
		rq->n_discarded += len;
	} else {
		if (rq->upload)
			upload_data(rq, data, len);
		else if (buf_add(&rq->body, data, len) == BUF_E_FULL)
			refuse_body(rq, FAULT_TOO_LARGE, "http.body", (int64_t)rq->body.max);
		body_charge(rq);
		if (rq->body_charged && atomic_load(&http->bodies) > http->settings.bodies_max)
			refuse_body(
				rq, FAULT_UNAVAILABLE, "http.bodies", http->settings.bodies_max);
	}
	if (rq->status && !rq->n_discarded)
		request_tell(rq);
	return rq->n_discarded > DISCARD_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
	const char *method, const char *version, const char *data, size_t *len, void **con_cls)
{
	struct connection *c = connection_of(conn);
	struct request *rq = c->rq;
	(void)cls, (void)url, (void)con_cls;
	server_called();
	if (!rq || c->is_refused) /* its caller has gone, or is to go */
		return MHD_NO;
	if (!rq->is_begun && !head_has_room(rq)) {
		connection_refuse(c, 431, "Request Header Fields Too Large",
			"the head of the request is longer than 13.5 kB");
		return MHD_NO;
	}
	if (!rq->is_begun) {
		request_begin(rq, method, version);
		return request_head(rq);
	}
	if (rq->is_answered)
		return MHD_YES;
	if (*len) {
		size_t n = *len;
		*len = 0;
		return request_body(rq, data, n);
	}
	if (rq->is_told)
		return MHD_NO;
	if (c->phase != CONNECTION_ANSWER)
		connection_enter(c, CONNECTION_ANSWER);
	rq->is_waiting = false;
	if (!rq->is_handled && !rq->status) {
		rq->is_handled = true;
		rq->route->handle(rq);
		body_charge(rq);
	} else if (rq->then && !rq->status) {
		handler_fn *then = TAKE_PTR(rq->then);
		then(rq);
	}
	/* While it waits, the status may be written by the core at this very moment. */
	return !rq->is_waiting && rq->status ? request_send(rq) : MHD_YES;
}

static void on_completed(
	void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct connection *c = connection_of(conn);
	struct request *rq = TAKE_PTR(c->rq);
	(void)cls, (void)why;
	server_called();
	*con_cls = NULL;
	if (rq)
		request_free(rq);
	connection_enter(c, CONNECTION_IDLE);
}

static int listen_on(const char *host, int port, struct fault *f)
{
	struct addrinfo *list = NULL;
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	char service[16];
	snprintf(service, sizeof service, "%d", port);
	int r = getaddrinfo(host, service, &hints, &list);
	if (r)
		return fault_set(f, FAULT_BAD_REQUEST, "http.host %s: %s", host, gai_strerror(r));
	int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0) { /* else these would set errno anew */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
		tcp_limit_segments(fd);
	}
	r = fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) || listen(fd, BACKLOG) ? errno : 0;
	freeaddrinfo(list);
	if (!r)
		return fd;
	closep(&fd);
	return fault_set(f, FAULT_UNAVAILABLE, "cannot listen on %s:%d: %s", host, port,
		r == EADDRINUSE ? "the port is in use by another program" : strerror(r));
}

static int bound_port(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;
	char port[16] = "0";
	getsockname(fd, (struct sockaddr *)&sa, &len);
	getnameinfo((struct sockaddr *)&sa, len, NULL, 0, port, sizeof port, NI_NUMERICSERV);
	return (int)strtol(port, NULL, 10);
}

/* Of the descriptors that the process may have, some are for other things. */
static unsigned connections_max(const struct http_settings *s)
{
	int64_t wanted = s->connections, rest = s->reserved_connections + DESCRIPTORS_KEPT;
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
		wanted + rest <= (int64_t)limit.rlim_cur)
		return (unsigned)wanted;
	int64_t left = (int64_t)limit.rlim_cur - rest;
	if (left < 1)
		left = 1;
	log_warn("http.connections is %lld, but this process may have %lld descriptors (ulimit "
		 "-n): %lld connection%s",
		(long long)wanted, (long long)limit.rlim_cur, (long long)left,
		plural((uint64_t)left));
	return (unsigned)left;
}

static int read_unlimited(
	const struct http_settings *s, struct network **ret, size_t *ret_n, struct fault *f)
{
	int r = networks_read(s->unlimited_addresses, ret, ret_n, f);
	return r < 0 ? fault_prefix(f, "http.unlimited-addresses") : 0;
}

int http_check_settings(const struct http_settings *s, struct fault *f)
{
	_cleanup_(freep) struct network *networks = NULL;
	size_t n;
	return read_unlimited(s, &networks, &n, f);
}

static int http_open(
	void *self, const void *settings, const struct transport_env *env, struct fault *f)
{
	struct http *http = self;
	http->listen_fd = -1;
	conf_copy(http_conf, &http->settings, settings);
	http->env = *env;
	must(pthread_mutex_init(&http->lock, NULL) == 0);
	list_init(&http->abandoned);
	followers_init(&http->followers);
	atomic_store(&http->body_max, http->settings.body_max);
	upload_forget_all(env->artifacts);
	int r = read_unlimited(&http->settings, &http->unlimited, &http->n_unlimited, f);
	if (r < 0)
		return r;
	int fd = listen_on(http->settings.host, http->settings.port, f);
	if (fd < 0)
		return fd;
	http->listen_fd = fd;
	bool is_v6 = strchr(http->settings.host, ':');
	http->connections_max = connections_max(&http->settings);
	http->hosts = hosts_new(http->settings.host, http->settings.hosts);
	unsigned char random[4];
	must(gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random) == 0);
	snprintf(http->names, sizeof http->names, "%02x%02x%02x%02x", random[0], random[1],
		random[2], random[3]);
	http->url = xasprintf("http://%s%s%s:%d", is_v6 ? "[" : "", http->settings.host,
		is_v6 ? "]" : "", bound_port(fd));
	return 0;
}

static int http_start(void *self, struct fault *f)
{
	static const struct server_callbacks callbacks = {
		.access = on_access, .completed = on_completed, .target = on_target
	};
	struct http *http = self;
	int r = pool_start(&http->pool, (unsigned)http->settings.query_threads,
		(unsigned)http->settings.queries_max);
	if (r == 0)
		r = servers_start(http, &callbacks);
	if (r) {
		pool_free(TAKE_PTR(http->pool));
		return fault_set(
			f, FAULT_INTERNAL, "the HTTP server did not start: %s", strerror(r));
	}
	close(TAKE_FD(http->listen_fd));
	return 0;
}

static void http_reload(void *self, const void *settings)
{
	struct http *http = self;
	const struct http_settings *s = settings;
	atomic_store(&http->body_max, s->body_max);
}

/* libmicrohttpd's end cuts off answers that are still on their way to its threads. */
static void drain(struct http *http)
{
	const struct timespec pause = { 0, 1000000 };
	int64_t until = clock_mono_ms() + DRAIN_MS;
	while (atomic_load(&http->n_owed) && clock_mono_ms() < until)
		nanosleep(&pause, NULL);
}

static void http_stop(void *self)
{
	struct http *http = self;
	if (!http->servers)
		return;
	drain(http);
	pool_stop(http->pool); /* the HTTP threads still post to it */
	servers_stop(http);
	pool_free(TAKE_PTR(http->pool));
}

static void http_close(void *self)
{
	struct http *http = self;
	if (http->abandoned.next) {
		for (struct list *n; (n = list_pop(&http->abandoned));)
			request_free(container_of(n, struct request, abandoned));
		followers_done(&http->followers);
		pthread_mutex_destroy(&http->lock);
	}
	hosts_free(http->hosts);
	closep(&http->listen_fd);
	conf_done(http_conf, &http->settings);
	free(http->url);
	free(http->unlimited);
}

void http_set_worker_door(struct transport *t, const struct worker_door *door)
{
	((struct http *)t->self)->door = door;
}

const char *http_url(const struct transport *t)
{
	return ((const struct http *)t->self)->url;
}

const struct transport_ops http_transport = {
	.scheme = "http",
	.size = sizeof(struct http),
	.conf = http_conf,
	.settings_size = sizeof(struct http_settings),
	.open = http_open,
	.start = http_start,
	.publish = http_publish,
	.metrics = http_metrics_put,
	.reload = http_reload,
	.stop = http_stop,
	.close = http_close,
};
