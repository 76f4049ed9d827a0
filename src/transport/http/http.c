/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP adapter: a pool of libmicrohttpd threads on epoll, and the way of each request through
 * them.
 *
 * libmicrohttpd calls on_access for the head of a request, for each piece of its body and at its
 * end. Bodies are gathered up to a limit; what is over is read and thrown away, so that the client
 * gets to read the 413. At the end the route's handler runs. A request that waits for the core
 * costs no thread: its connection is suspended, and on_access is called once more after the resume.
 */
#include "transport/http/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"

enum { DISCARD_MAX = 1 << 30, CONNECTION_MEMORY = 16 * 1024, BACKLOG = 1024, DRAIN_MS = 2000 };

const struct conf_field http_conf[] = {
	{ "host", CONF_STR, offsetof(struct http_settings, host), "127.0.0.1",
		.help = "address to listen on; there is no authentication yet, so only this "
			"machine by default" },
	{ "port", CONF_INT, offsetof(struct http_settings, port), "2003", .min = 0, .max = 65535,
		.help = "port to listen on; 0: any free one" },
	{ "threads", CONF_INT, offsetof(struct http_settings, threads), "2", .min = 1, .max = 256,
		.help = "threads that read and answer requests" },
	{ "connections", CONF_INT, offsetof(struct http_settings, connections_max), "10000",
		.min = 1, .max = 1000000,
		.help = "connections open at once; more are not accepted" },
	{ "idle-timeout", CONF_DURATION, offsetof(struct http_settings, idle_timeout_ms),
		"10 minutes", .min = 1000, .max = INT64_MAX,
		.help = "a connection with nothing to do is closed after this time" },
	{ "artifact", CONF_SIZE, offsetof(struct http_settings, artifact_max), "250m", .min = 1024,
		.max = INT64_C(1) << 40, .unit = "bytes",
		.help = "largest artifact that can be uploaded" },
	{ "cors-origins", CONF_STR, offsetof(struct http_settings, cors_origins), "",
		.help = "origins whose pages may use the API, with commas between; *: all, as in "
			"Mist" },
	{ "ws-keepalive", CONF_DURATION, offsetof(struct http_settings, keepalive_ms), "1 minute",
		.min = 100, .max = INT64_MAX,
		.help = "subscribers that were told nothing for this time get a sign of life" },
	{ "subscriber-buffer", CONF_SIZE, offsetof(struct http_settings, subscriber_max), "1m",
		.min = 1024, .max = INT64_C(1) << 30, .unit = "bytes",
		.help = "what may wait for a subscriber that does not read; events beyond it are "
			"dropped and counted" },
	{ "body", CONF_SIZE, offsetof(struct http_settings, body_max), "8m", .min = 1024,
		.max = (int64_t)1 << 30, .unit = "bytes", .live = true,
		.help = "largest request body" },
	{ 0 },
};

static struct request *request_new(
	struct http *http, struct MHD_Connection *conn, const char *method, const char *path)
{
	struct request *rq = xcalloc(1, sizeof *rq);
	struct fault f;
	rq->http = http;
	rq->conn = conn;
	rq->answer_fd = -1;
	rq->is_head = strcmp(method, "HEAD") == 0;
	buf_init(&rq->body, atomic_load_explicit(&http->body_max, memory_order_relaxed));
	if (!origin_check(rq))
		return rq;
	if (strcmp(method, "OPTIONS") == 0) {
		origin_preflight(rq);
		return rq;
	}
	rq->route = route_find(method, path, &rq->id, &rq->allow);
	if (rq->route && rq->route->is_upload)
		upload_begin(rq);
	if (rq->route)
		return rq;
	if (rq->allow)
		fault_set(&f, FAULT_METHOD, "%.16s is not a method of this resource: expected %s",
			method, rq->allow);
	else
		fault_set(&f, FAULT_NOT_FOUND, "The requested resource could not be found.");
	answer_fault(rq, &f);
	return rq;
}

/* It has its answer, or gets it piece by piece for as long as it likes. */
static void request_settled(struct request *rq)
{
	if (rq->is_owed)
		atomic_fetch_sub(&rq->http->n_owed, 1);
	rq->is_owed = false;
}

static void request_free(struct request *rq)
{
	request_settled(rq);
	closep(&rq->answer_fd);
	buf_done(&rq->body);
	upload_free(rq->upload);
	if (rq->stream)
		stream_leave(rq->stream);
	json_decref(rq->echo);
	free(rq->location);
	free(rq->preference_applied);
	ask_done(&rq->ask);
	free(rq->admission.worker);
	free(rq->admission.secret);
	free(rq->answer);
	free(rq->id);
	free(rq);
}

static struct MHD_Response *response_of(struct request *rq)
{
	struct MHD_Response *response;
	char seconds[16];
	if (rq->upgrade)
		return rq->upgrade;
	if (rq->stream && !rq->answer)
		response = stream_response(rq);
	else if (rq->answer_fd >= 0)
		response = file_response(rq);
	else
		response = MHD_create_response_from_buffer(
			rq->answer_len, TAKE_PTR(rq->answer), MHD_RESPMEM_MUST_FREE);
	must(response);
	MHD_add_response_header(response, "Content-Type", rq->content_type);
	origin_headers(rq, response);
	if (rq->location)
		MHD_add_response_header(response, "Location", rq->location);
	if (rq->preference_applied)
		MHD_add_response_header(response, "Preference-Applied", rq->preference_applied);
	if (rq->allow)
		MHD_add_response_header(response, "Allow", rq->allow);
	if (rq->retry_after_s) {
		snprintf(seconds, sizeof seconds, "%u", rq->retry_after_s);
		MHD_add_response_header(response, "Retry-After", seconds);
	}
	return response;
}

static enum MHD_Result request_send(struct request *rq)
{
	bool is_lasting = rq->upgrade || (rq->stream && !rq->answer);
	struct MHD_Response *response = response_of(rq);
	rq->is_answered = true;
	if (is_lasting)
		request_settled(rq);
	enum MHD_Result r = MHD_queue_response(rq->conn, rq->status, response);
	MHD_destroy_response(response);
	return r;
}

static void too_large(struct request *rq)
{
	struct fault f;
	rq->is_body_too_large = true;
	if (rq->status)
		return;
	fault_set(&f, FAULT_TOO_LARGE, "the body is over http.body, %zu bytes", rq->body.max);
	answer_fault(rq, &f);
}

/* Head of a request. A client that waits for a 100 gets the refusal at once and sends nothing. */
static enum MHD_Result request_head(struct request *rq)
{
	const char *length =
		MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, "Content-Length");
	const char *expect = MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, "Expect");
	unsigned long long n = length ? strtoull(length, NULL, 10) : 0;
	if (n > rq->body.max && !rq->upload)
		too_large(rq);
	if (rq->is_body_too_large && (expect || n > DISCARD_MAX))
		return request_send(rq);
	return MHD_YES;
}

static enum MHD_Result request_body(struct request *rq, const char *data, size_t *len)
{
	if (rq->upload && !rq->status) {
		upload_data(rq, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (rq->status || buf_add(&rq->body, data, *len) == BUF_E_FULL) {
		too_large(rq);
		rq->n_discarded += *len;
	}
	*len = 0;
	return rq->n_discarded > DISCARD_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
	const char *method, const char *version, const char *data, size_t *len, void **con_cls)
{
	struct request *rq = *con_cls;
	(void)version;
	if (!rq) {
		*con_cls = rq = request_new(cls, conn, method, url);
		return request_head(rq);
	}
	if (rq->is_answered)
		return MHD_YES;
	if (*len)
		return request_body(rq, data, len);
	rq->is_waiting = false;
	if (!rq->is_handled && !rq->status) {
		rq->is_handled = true;
		rq->route->handle(rq);
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
	struct request *rq = *con_cls;
	(void)cls, (void)conn, (void)why;
	*con_cls = NULL;
	if (rq)
		request_free(rq);
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
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
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

static int http_open(
	void *self, const void *settings, const struct transport_env *env, struct fault *f)
{
	struct http *http = self;
	http->listen_fd = -1;
	conf_copy(http_conf, &http->settings, settings);
	http->env = *env;
	atomic_store(&http->body_max, http->settings.body_max);
	int fd = listen_on(http->settings.host, http->settings.port, f);
	if (fd < 0)
		return fd;
	http->listen_fd = fd;
	bool is_v6 = strchr(http->settings.host, ':');
	http->url = xasprintf("http://%s%s%s:%d", is_v6 ? "[" : "", http->settings.host,
		is_v6 ? "]" : "", bound_port(fd));
	return 0;
}

static void on_log(void *cls, const char *format, va_list args)
{
	struct buf line;
	(void)cls;
	buf_init(&line, 1024);
	buf_vprintf(&line, format, args);
	log_debug("http: %s", line.data ? line.data : "");
	buf_done(&line);
}

/* 0 is none to libmicrohttpd. */
static unsigned idle_seconds(const struct http_settings *s)
{
	int64_t seconds = s->idle_timeout_ms / 1000;
	return seconds > UINT_MAX / 1000 ? 0 : seconds;
}

static int http_start(void *self, struct fault *f)
{
	struct http *http = self;
	const struct http_settings *s = &http->settings;
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG |
			 MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;
	struct MHD_OptionItem pool = {
		s->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, s->threads, NULL
	};
	struct MHD_OptionItem options[] = { pool, { MHD_OPTION_END, 0, NULL } };
	http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_access, http,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, http->listen_fd,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)s->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds(s),
		MHD_OPTION_ARRAY, options, MHD_OPTION_END);
	if (!http->daemon)
		return fault_set(
			f, FAULT_INTERNAL, "the HTTP server did not start: %s", strerror(errno));
	http->listen_fd = -1; /* the daemon closes it */
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
	if (!http->daemon)
		return;
	drain(http);
	MHD_stop_daemon(http->daemon);
	http->daemon = NULL;
}

static void http_close(void *self)
{
	struct http *http = self;
	closep(&http->listen_fd);
	conf_done(http_conf, &http->settings);
	free(http->url);
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
	.reload = http_reload,
	.stop = http_stop,
	.close = http_close,
};
