/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP threads. Each runs libmicrohttpd's loop by hand: waits for what it waits for, calls it,
 * and looks after the connections in between.
 *
 * The wait is ours for two reasons. libmicrohttpd takes 128 events at a time and, when exactly so
 * many came, waits for more before it looks at any: if it waited itself, who sent them might wait
 * until somebody else wants something. And it can ask to be called again at once for ever
 * (connection.c): a thread that has gone round in vain for IN_VAIN_MAX turns rests REST_MS between
 * the next ones, unless an event comes. */
#include "transport/http/server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "transport/http/metrics/metrics.h"
#include "transport/http/request.h"

enum {
	CONNECTION_MEMORY = 16 * 1024,
	TURN_MS = 1000,
	SWEEP_MS = 500,
	IN_VAIN_MAX = 16,
	REST_MS = 10,
	IDLE_MORE_S = 60,
	SPARE = 64 /* connections that are on their way out */
};

static _Thread_local struct server *this_server; /* of the thread that runs */

void server_wake(struct server *server)
{
	const uint64_t one = 1;
	if (!atomic_exchange(&server->is_woken, true))
		must(write(server->wake_fd, &one, sizeof one) == sizeof one);
}

void http_resume(struct http *http, struct MHD_Connection *conn)
{
	struct server *server = connection_of(conn)->server;
	(void)http;
	MHD_resume_connection(conn);
	server_wake(server);
}

struct server *server_called(void)
{
	this_server->n_calls++;
	return this_server;
}

void server_sleep(struct sleeper *s)
{
	list_append(&this_server->sleepers, &s->node);
	MHD_suspend_connection(s->conn);
}

void sleeper_wake(struct server *server, struct sleeper *s)
{
	atomic_store(&s->is_ready, true);
	atomic_store(&server->has_ready, true);
	server_wake(server);
}

static void wake_ready(struct server *server)
{
	if (!atomic_exchange(&server->has_ready, false))
		return;
	list_each (n, &server->sleepers) {
		struct sleeper *s = container_of(n, struct sleeper, node);
		if (atomic_exchange(&s->is_ready, false)) {
			list_remove(&s->node);
			MHD_resume_connection(s->conn);
		}
	}
}

static void wake_sleepers(struct server *server)
{
	struct list *n;
	while ((n = list_pop(&server->sleepers)))
		MHD_resume_connection(container_of(n, struct sleeper, node)->conn);
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	struct server *server = server_called();
	(void)cls;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		(void)fail_point(FAIL_HTTP_ACCEPT);
		connection_begin(server, conn, context);
	} else {
		connection_end(*context);
	}
}

static int turn_ms(struct server *server)
{
	MHD_UNSIGNED_LONG_LONG left = TURN_MS;
	MHD_get_timeout(server->daemon, &left);
	if (left == 0 && server->n_in_vain >= IN_VAIN_MAX) {
		if (!connections_are_busy(server))
			return REST_MS;
		server->n_in_vain = 0;
	}
	return left < SWEEP_MS ? (int)left : SWEEP_MS;
}

static void server_turn(struct server *server)
{
	struct pollfd fds[] = {
		{ MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, POLLIN,
			0 },
		{ server->wake_fd, POLLIN, 0 },
	};
	uint64_t count;
	unsigned n_calls = server->n_calls;
	beat_rest();
	int n = poll(fds, ARRAY_SIZE(fds), turn_ms(server));
	beat_doing("its connections");
	if (n > 0 && fds[1].revents) {
		(void)!read(server->wake_fd, &count, sizeof count);
		atomic_exchange(&server->is_woken, false);
	}
	server->now_ms = clock_mono_ms();
	connections_cut_given(server);
	bool is_sweep = server->now_ms - server->swept_ms >= SWEEP_MS;
	if (is_sweep)
		wake_sleepers(server);
	wake_ready(server);
	MHD_run(server->daemon);
	server->n_in_vain = n > 0 || server->n_calls != n_calls ? 0 : server->n_in_vain + 1;
	if (is_sweep)
		connections_sweep(server, server->now_ms);
}

void server_enter(struct server *server)
{
	this_server = server;
	server->now_ms = clock_mono_ms();
	beat_watch(&server->beat, server->name);
}

void server_leave(struct server *server)
{
	beat_unwatch(&server->beat);
	this_server = NULL;
}

static void *serve(void *arg)
{
	struct server *server = arg;
	server_enter(server);
	server->swept_ms = server->now_ms;
	while (!atomic_load(&server->http->is_stopping))
		server_turn(server);
	wake_sleepers(server); /* libmicrohttpd does not end with one */
	server_leave(server);
	return NULL;
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

/* The sweep is who closes what idles; libmicrohttpd's own limit comes behind it. 0 is none. */
static unsigned idle_seconds(const struct http_settings *s)
{
	int64_t seconds = s->idle_timeout_ms / 1000 + IDLE_MORE_S;
	return seconds > UINT_MAX / 1000 ? 0 : (unsigned)seconds;
}

static struct MHD_Daemon *daemon_start(struct http *http, const struct server_callbacks *callbacks)
{
	const struct http_settings *s = &http->settings;
	unsigned flags =
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;
	unsigned connections = http->connections_max + (unsigned)s->reserved_connections + SPARE;
	int fd = fcntl(http->listen_fd, F_DUPFD_CLOEXEC, 0);
	struct MHD_Daemon *daemon =
		fd < 0 ? NULL
		       : MHD_start_daemon(flags, 0, NULL, NULL, callbacks->access, http,
				 MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET,
				 fd, MHD_OPTION_URI_LOG_CALLBACK, callbacks->target, http,
				 MHD_OPTION_NOTIFY_COMPLETED, callbacks->completed, NULL,
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
	this_server = server;
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	this_server = NULL;
	closep(&server->wake_fd);
	durations_free(TAKE_PTR(server->durations));
}

static int server_start(struct http *http, const struct server_callbacks *callbacks)
{
	struct server *server = &http->servers[http->n_servers];
	server->http = http;
	snprintf(server->name, sizeof server->name, "HTTP thread %zu", http->n_servers + 1);
	for (size_t i = 0; i < ARRAY_SIZE(server->phases); i++)
		list_init(&server->phases[i]);
	list_init(&server->idle_looks);
	list_init(&server->sleepers);
	list_init(&server->given);
	server->durations = durations_new();
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->daemon = server->wake_fd < 0 ? NULL : daemon_start(http, callbacks);
	int r = server->daemon ? pthread_create(&server->thread, NULL, serve, server) : EIO;
	if (r)
		server_done(server);
	else
		http->n_servers++;
	return r;
}

void servers_stop(struct http *http)
{
	atomic_store(&http->is_stopping, true);
	for (size_t i = 0; i < http->n_servers; i++) {
		server_wake(&http->servers[i]);
		pthread_join(http->servers[i].thread, NULL);
	}
	for (size_t i = 0; i < http->n_servers; i++)
		server_done(&http->servers[i]);
	http->n_servers = 0;
	free(TAKE_PTR(http->servers));
	connection_counts_done(&http->counts);
}

int servers_start(struct http *http, const struct server_callbacks *callbacks)
{
	int r = 0;
	connection_counts_init(&http->counts);
	http->servers = xcalloc(http->settings.threads, sizeof *http->servers);
	for (int64_t i = 0; r == 0 && i < http->settings.threads; i++)
		r = server_start(http, callbacks);
	if (r)
		servers_stop(http);
	return r;
}
