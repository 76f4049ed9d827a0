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

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"

enum {
	DISCARD_MAX = 1 << 30,
	CONNECTION_MEMORY = 16 * 1024,
	BACKLOG = 1024,
	DRAIN_MS = 2000,
	SWEEP_MS = 1000,
	TURN_MS = 1000
};

/* Whoever is connected. */
struct peer {
	struct list node;
	int fd;
};

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
	{ "ui", CONF_PATH, offsetof(struct http_settings, ui), "",
		.help = "folder of the web page, served under /ui/; empty: none" },
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

/* The first line of a request is there, its target still as it was sent (NULL: there is none). */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct http *http = cls;
	struct request *rq = xcalloc(1, sizeof *rq);
	rq->http = http;
	rq->conn = conn;
	rq->answer_fd = -1;
	rq->path = target_path(uri ? uri : "");
	buf_init(&rq->body, atomic_load_explicit(&http->body_max, memory_order_relaxed));
	return rq;
}

static void request_begin(struct request *rq, const char *method)
{
	struct fault f;
	rq->is_begun = true;
	rq->is_head = strcmp(method, "HEAD") == 0;
	if (!origin_check(rq))
		return;
	if (strcmp(method, "OPTIONS") == 0) {
		origin_preflight(rq);
		return;
	}
	rq->route = route_find(method, rq->path, &rq->id, &rq->allow);
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
	buf_done(&rq->ignored);
	upload_free(rq->upload);
	if (rq->stream)
		stream_leave(rq->stream);
	json_decref(rq->echo);
	json_decref(rq->cloud);
	json_decref(rq->cloud_headers);
	free(rq->location);
	free(rq->preference_applied);
	ask_done(&rq->ask);
	free(rq->admission.worker);
	free(rq->admission.secret);
	free(rq->answer);
	free(rq->path);
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
	cloud_headers(rq, response);
	if (rq->location)
		MHD_add_response_header(response, "Location", rq->location);
	if (rq->preference_applied)
		MHD_add_response_header(response, "Preference-Applied", rq->preference_applied);
	if (rq->ask.tag && rq->status < 400)
		MHD_add_response_header(response, "ETag", rq->ask.tag);
	if (rq->allow)
		MHD_add_response_header(response, "Allow", rq->allow);
	if (rq->ignored.len)
		MHD_add_response_header(response, "Mist-Ignored", rq->ignored.data);
	if (rq->retry_after_s) {
		snprintf(seconds, sizeof seconds, "%u", rq->retry_after_s);
		MHD_add_response_header(response, "Retry-After", seconds);
	}
	return response;
}

static enum MHD_Result request_send(struct request *rq)
{
	(void)fail_point(FAIL_HTTP_ANSWER);
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
	if (fail_point(FAIL_HTTP_BODY) < 0)
		return MHD_NO;
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
	(void)cls, (void)conn, (void)url, (void)version;
	if (!rq->is_begun) {
		request_begin(rq, method);
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

/* On libmicrohttpd's threads: before the first byte, and before the descriptor is closed. */
static void on_connection(void *cls, struct MHD_Connection *conn, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	struct http *http = cls;
	struct peer *peer = *context;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		(void)fail_point(FAIL_HTTP_ACCEPT);
		*context = peer = xcalloc(1, sizeof *peer);
		peer->fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)
				   ->connect_fd;
		pthread_mutex_lock(&http->lock);
		list_append(&http->peers, &peer->node);
		http->n_peers++;
		pthread_mutex_unlock(&http->lock);
		return;
	}
	pthread_mutex_lock(&http->lock);
	list_remove(&peer->node);
	http->n_peers--;
	pthread_mutex_unlock(&http->lock);
	free(peer);
}

/* libmicrohttpd waits for edges and takes a short read for all there is: when a client's end comes
 * together with its last bytes, in the middle of a request, it does not learn of it before
 * http.idle-timeout. To shut down the direction that is at its end already changes nothing for the
 * request and makes one more edge. */
static void sweep(struct http *http)
{
	size_t i = 0;
	pthread_mutex_lock(&http->lock);
	_cleanup_(freep) struct pollfd *ends = xcalloc(http->n_peers + 1, sizeof *ends);
	list_each (n, &http->peers)
		ends[i++] = (struct pollfd){ container_of(n, struct peer, node)->fd, POLLRDHUP, 0 };
	int left = poll(ends, i, 0);
	while (left > 0 && i-- > 0) {
		if (!ends[i].revents)
			continue;
		left--;
		(void)shutdown(ends[i].fd, SHUT_RD);
	}
	pthread_mutex_unlock(&http->lock);
}

static void on_sweep(struct timers *t, struct timer *timer)
{
	sweep(container_of(timer, struct http, sweep));
	timer_set(t, timer, SWEEP_MS);
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
	upload_forget_all(env->artifacts);
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

/* One of the threads, and its part of libmicrohttpd. */
struct server {
	struct http *http;
	struct MHD_Daemon *daemon;
	pthread_t thread;
	int wake_fd;
	_Atomic bool is_woken;
};

static void wake(struct server *server)
{
	const uint64_t one = 1;
	if (!atomic_exchange(&server->is_woken, true))
		must(write(server->wake_fd, &one, sizeof one) == sizeof one);
}

void http_resume(struct http *http, struct MHD_Connection *conn)
{
	const struct MHD_Daemon *daemon =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_DAEMON)->daemon;
	struct server *server = http->servers;
	while (server->daemon != daemon)
		server++;
	MHD_resume_connection(conn);
	wake(server);
}

/* libmicrohttpd takes 128 events at a time and, when exactly so many came, waits for more before it
 * looks at any: if it waited itself, who sent them might wait until somebody else wants something.
 * So it is called when there is something to do, and has its wait here. */
static void server_wait(struct server *server)
{
	struct pollfd fds[] = {
		{ MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, POLLIN,
			0 },
		{ server->wake_fd, POLLIN, 0 },
	};
	MHD_UNSIGNED_LONG_LONG left = TURN_MS;
	uint64_t count;
	MHD_get_timeout(server->daemon, &left);
	if (poll(fds, ARRAY_SIZE(fds), left < TURN_MS ? (int)left : TURN_MS) > 0 &&
		fds[1].revents) {
		(void)!read(server->wake_fd, &count, sizeof count);
		atomic_exchange(&server->is_woken, false);
	}
}

static void *serve(void *arg)
{
	struct server *server = arg;
	while (!atomic_load(&server->http->is_stopping)) {
		server_wait(server);
		MHD_run(server->daemon);
	}
	return NULL;
}

static struct MHD_Daemon *daemon_start(struct http *http)
{
	const struct http_settings *s = &http->settings;
	unsigned flags =
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;
	unsigned connections = (s->connections_max + s->threads - 1) / s->threads;
	int fd = fcntl(http->listen_fd, F_DUPFD_CLOEXEC, 0);
	struct MHD_Daemon *daemon =
		fd < 0 ? NULL
		       : MHD_start_daemon(flags, 0, NULL, NULL, on_access, http,
				 MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET,
				 fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
				 MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				 MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
				 MHD_OPTION_CONNECTION_LIMIT, connections,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				 MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds(s), MHD_OPTION_END);
	if (!daemon)
		closep(&fd);
	return daemon;
}

static void server_done(struct server *server)
{
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	closep(&server->wake_fd);
}

/* A positive errno. */
static int server_start(struct http *http)
{
	struct server *server = &http->servers[http->n_servers];
	server->http = http;
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->daemon = server->wake_fd < 0 ? NULL : daemon_start(http);
	int r = server->daemon ? pthread_create(&server->thread, NULL, serve, server) : EIO;
	if (r)
		server_done(server);
	else
		http->n_servers++;
	return r;
}

static void servers_stop(struct http *http)
{
	atomic_store(&http->is_stopping, true);
	for (size_t i = 0; i < http->n_servers; i++) {
		wake(&http->servers[i]);
		pthread_join(http->servers[i].thread, NULL);
	}
	for (size_t i = 0; i < http->n_servers; i++)
		server_done(&http->servers[i]);
	http->n_servers = 0;
	free(TAKE_PTR(http->servers));
	pthread_mutex_destroy(&http->lock);
}

static int http_start(void *self, struct fault *f)
{
	struct http *http = self;
	int r = 0;
	http->servers = xcalloc(http->settings.threads, sizeof *http->servers);
	must(pthread_mutex_init(&http->lock, NULL) == 0);
	list_init(&http->peers);
	for (int64_t i = 0; r == 0 && i < http->settings.threads; i++)
		r = server_start(http);
	if (r) {
		servers_stop(http);
		return fault_set(
			f, FAULT_INTERNAL, "the HTTP server did not start: %s", strerror(r));
	}
	close(TAKE_FD(http->listen_fd));
	http->sweep.fire = on_sweep;
	timer_set(http->env.timers, &http->sweep, SWEEP_MS);
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
	servers_stop(http);
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
