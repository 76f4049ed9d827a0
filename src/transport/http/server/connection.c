/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, and the time that each may take.
 *
 * A connection goes round: its head comes, its body comes, it waits for its answer and reads it, it
 * idles. Each of these has a limit, and libmicrohttpd has only one for all (no byte either way for
 * http.idle-timeout). So every connection stands in a list by its phase, and the sweep looks at
 * them: a head has http.head-timeout; a body must come, with BODY_RATE on the average; somebody has
 * to read the answer; who idles too long goes. Who waits for an answer and has gone is told to go
 * at once, its request goes on without it (request_abandon).
 *
 * When http.connections are open, the one that has idled longest makes place for the next. If none
 * idles, http.reserved-connections more are taken, and only workers, health checks and the metrics
 * are served there: a gateway that is full can still be seen to be, and its workers come back.
 *
 * libmicrohttpd 0.9.75 has two states in which it neither reads nor answers, and asks to be called
 * again at once, for ever: a chunk size that has no end and fills the buffer, and more parameters
 * in a query than its memory has room for. From outside they look like this: the thread goes round,
 * no event comes, none of our callbacks is called, nobody's answer moves. Then who is in the middle
 * of a request and has bytes in the socket that are not read, is the one; and who cannot be told,
 * since all it sent fills the buffer exactly, costs nothing when the thread rests between its
 * turns, until its body's time is over. */
#include "transport/http/server/connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/http/request.h"
#include "transport/http/server/server.h"
#include "transport/http/server/tcp.h"

enum {
	BODY_RATE = 500,     /* bytes a second */
	NEW_MS = 1000,       /* so long nobody makes place who has said nothing yet */
	DISCARD_AT_END = 64, /* blocks of what a refused client still sends */
	BLOCK = 4096,
	REFUSAL_MAX = 1024,
	CLOCK_SLACK_MS = 20, /* the kernel counts in ticks */
	CUT_S = 1
};

void connection_counts_init(struct connection_counts *counts)
{
	must(pthread_mutex_init(&counts->lock, NULL) == 0);
	map_init(&counts->addresses);
	atomic_store(&counts->n, 0);
}

void connection_counts_done(struct connection_counts *counts)
{
	must(counts->addresses.count == 0);
	map_done(&counts->addresses);
	pthread_mutex_destroy(&counts->lock);
}

struct connection *connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* IPv4 as it is, IPv6 by its network: a host there has 2^64 addresses. False: it is of this
 * machine, whose workers and proxies have no limit of their own. */
static bool address_key(struct MHD_Connection *mhd, unsigned char ret[static 16])
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info ? info->client_addr : NULL;
	memset(ret, 0, 16);
	if (sa && sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
		memcpy(ret, &in->sin_addr, sizeof in->sin_addr);
		return ret[0] != 127;
	}
	if (sa && sa->sa_family == AF_INET6) {
		const struct in6_addr *in6 =
			&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
		if (IN6_IS_ADDR_LOOPBACK(in6))
			return false;
		if (IN6_IS_ADDR_V4MAPPED(in6)) {
			memcpy(ret, in6->s6_addr + 12, 4);
			return ret[0] != 127;
		}
		memcpy(ret, in6, 8);
		return true;
	}
	return false;
}

static void address_take(struct connection *c, unsigned max)
{
	struct connection_counts *counts = &c->server->http->counts;
	unsigned char key[16];
	if (!max || !address_key(c->mhd, key))
		return;
	pthread_mutex_lock(&counts->lock);
	struct map_node *found = map_find(&counts->addresses, key, sizeof key);
	if (found) {
		c->address = container_of(found, struct address, node);
	} else {
		c->address = xcalloc(1, sizeof *c->address);
		memcpy(c->address->key, key, sizeof key);
		map_add(&counts->addresses, &c->address->node, c->address->key, sizeof key);
	}
	c->is_beyond_address = ++c->address->count > max;
	pthread_mutex_unlock(&counts->lock);
}

static void address_drop(struct connection *c)
{
	struct connection_counts *counts = &c->server->http->counts;
	if (!c->address)
		return;
	pthread_mutex_lock(&counts->lock);
	if (--c->address->count == 0) {
		map_remove(&counts->addresses, &c->address->node);
		free(c->address);
	}
	pthread_mutex_unlock(&counts->lock);
}

/* Whoever idles longest, or has connected and said nothing for a while, makes place. */
static bool make_place(struct server *server)
{
	static const enum connection_phase phases[] = { CONNECTION_IDLE, CONNECTION_HEAD };
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		list_each (n, &server->phases[phases[i]]) {
			struct connection *c = container_of(n, struct connection, node);
			if (c->phase == CONNECTION_HEAD && server->now_ms - c->since_ms < NEW_MS)
				break;
			if (c->is_refused)
				continue;
			connection_cut(c);
			return true;
		}
	}
	return false;
}

void connection_begin(struct server *server, struct MHD_Connection *mhd, void **context)
{
	struct http *http = server->http;
	const struct http_settings *s = &http->settings;
	struct connection *c = xcalloc(1, sizeof *c);
	*context = c;
	c->server = server;
	c->mhd = mhd;
	c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	c->since_ms = clock_mono_ms();
	list_append(&server->phases[CONNECTION_HEAD], &c->node);
	unsigned n = atomic_fetch_add(&http->counts.n, 1) + 1;
	address_take(c, (unsigned)s->address_connections);
	if (n <= http->connections_max)
		return;
	server->now_ms = c->since_ms;
	c->is_beyond = !make_place(server);
	if (c->is_beyond && n > http->connections_max + (unsigned)s->reserved_connections)
		connection_refuse(c, 503, "Service Unavailable",
			"all connections are taken (http.connections)");
}

void connection_end(struct connection *c)
{
	atomic_fetch_sub(&c->server->http->counts.n, 1);
	address_drop(c);
	list_remove(&c->node);
	free(c);
}

void connection_enter(struct connection *c, enum connection_phase phase)
{
	struct server *server = c->server;
	list_remove(&c->node);
	list_append(&server->phases[phase], &c->node);
	c->phase = phase;
	c->since_ms = c->progress_ms = server->now_ms;
	c->progress = 0;
	c->unread = 0;
	c->is_probed = false;
}

void connection_cut(struct connection *c)
{
	c->is_refused = true;
	shutdown(c->fd, SHUT_RDWR);
	/* A connection that libmicrohttpd does not read learns of it by its own limit. */
	MHD_set_connection_option(c->mhd, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)CUT_S);
}

void connection_refuse(struct connection *c, unsigned status, const char *title, const char *detail)
{
	char body[REFUSAL_MAX / 2], text[REFUSAL_MAX], block[BLOCK];
	if (c->is_refused)
		return;
	int len = snprintf(body, sizeof body,
		"{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\"}",
		title, status, detail);
	must(len < (int)sizeof body);
	len = snprintf(text, sizeof text,
		"HTTP/1.1 %u %s\r\nConnection: close\r\n%sContent-Type: "
		"application/problem+json\r\nContent-Length: %d\r\n\r\n%s",
		status, title, status == 503 || status == 429 ? "Retry-After: 1\r\n" : "", len,
		body);
	must(len < (int)sizeof text);
	(void)!send(c->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	log_debug("http: refused with %u: %s", status, detail);
	/* Bytes that are not read when a socket is closed take the answer with them. */
	for (int i = 0; i < DISCARD_AT_END && recv(c->fd, block, sizeof block, MSG_DONTWAIT) > 0;
		i++)
		;
	connection_cut(c);
}

static bool has_ended(const struct connection *c, short *ret_events)
{
	struct pollfd p = { c->fd, POLLRDHUP, 0 };
	*ret_events = poll(&p, 1, 0) > 0 ? p.revents : 0;
	return *ret_events != 0;
}

static bool is_suspended(const struct connection *c)
{
	return MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CONNECTION_SUSPENDED)->suspended;
}

/* libmicrohttpd waits for edges and takes a short read for all there is: when a client's end comes
 * together with its last bytes, in the middle of a request, it does not learn of it. To shut down
 * the direction that is at its end already changes nothing and makes one more edge. */
static void sweep_end(struct connection *c)
{
	short events;
	if (has_ended(c, &events))
		(void)shutdown(c->fd, SHUT_RD);
}

static void sweep_head(struct connection *c, int64_t now)
{
	const struct http_settings *s = &c->server->http->settings;
	struct tcp_counts tcp;
	sweep_end(c);
	if (now - c->since_ms <= s->head_timeout_ms || c->is_refused)
		return;
	tcp_counts_read(c->fd, &tcp);
	if (tcp.received)
		connection_refuse(c, 408, "Request Timeout",
			"the head of the request did not come in time (http.head-timeout)");
	else
		connection_cut(c);
}

static void sweep_idle(struct connection *c, int64_t now)
{
	const struct http_settings *s = &c->server->http->settings;
	struct tcp_counts tcp;
	sweep_end(c);
	tcp_counts_read(c->fd, &tcp);
	if (tcp.received && now - tcp.quiet_ms > c->since_ms + CLOCK_SLACK_MS)
		connection_enter(c, CONNECTION_HEAD);
	else if (now - c->since_ms > s->idle_timeout_ms)
		connection_cut(c);
}

static void sweep_body(struct connection *c, int64_t now)
{
	const struct http_settings *s = &c->server->http->settings;
	int64_t age = now - c->since_ms - s->body_timeout_ms;
	sweep_end(c);
	if (c->is_refused)
		return;
	if (c->rq && c->rq->is_told) {
		if (now - c->since_ms > s->body_timeout_ms)
			connection_cut(c);
		return;
	}
	if (now - c->progress_ms > s->body_timeout_ms ||
		(age > 0 && (int64_t)c->progress / BODY_RATE < age / 1000))
		connection_refuse(c, 408, "Request Timeout",
			"the body of the request did not come in time (http.body-timeout)");
}

/* Who has shut down its half may still want the answer, or may have gone: to send something tells
 * which. The one thing that may be sent before the answer says nothing. */
static void sweep_waiting(struct connection *c)
{
	static const char probe[] = "HTTP/1.1 100 Continue\r\n\r\n";
	short events;
	/* Nothing may be said in the middle of an answer, whose next piece is being read. */
	if (!c->rq || c->rq->is_answered || !has_ended(c, &events))
		return;
	if ((events & (POLLHUP | POLLERR)) || !c->rq->is_http_1_1) {
		if (request_abandon(c->rq)) {
			c->rq = NULL;
			http_resume(c->server->http, c->mhd);
		}
	} else if (!c->is_probed) {
		c->is_probed = true;
		(void)!send(c->fd, probe, sizeof probe - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

static void sweep_answer(struct connection *c, int64_t now)
{
	const struct http_settings *s = &c->server->http->settings;
	struct tcp_counts tcp;
	if (is_suspended(c)) {
		c->progress_ms = now;
		if (c->phase == CONNECTION_ANSWER)
			sweep_waiting(c);
		return;
	}
	tcp_counts_read(c->fd, &tcp);
	if (tcp.acked != c->progress || !tcp.unacked)
		c->progress_ms = now;
	c->progress = tcp.acked;
	if (now - c->progress_ms > s->send_timeout_ms && !c->is_refused)
		connection_cut(c);
}

void connections_sweep(struct server *server, int64_t now)
{
	struct list *phases = server->phases;
	server->swept_ms = now;
	/* Who goes from idle to head is seen once more: no harm. */
	list_each (n, &phases[CONNECTION_IDLE])
		sweep_idle(container_of(n, struct connection, node), now);
	list_each (n, &phases[CONNECTION_HEAD])
		sweep_head(container_of(n, struct connection, node), now);
	list_each (n, &phases[CONNECTION_BODY])
		sweep_body(container_of(n, struct connection, node), now);
	list_each (n, &phases[CONNECTION_ANSWER])
		sweep_answer(container_of(n, struct connection, node), now);
	list_each (n, &phases[CONNECTION_LASTING])
		if (container_of(n, struct connection, node)->rq)
			sweep_answer(container_of(n, struct connection, node), now);
}

static bool is_being_written(struct list *phase)
{
	bool is_any = false;
	list_each (n, phase) {
		struct connection *c = container_of(n, struct connection, node);
		struct tcp_counts tcp;
		if (!c->rq || is_suspended(c))
			continue;
		tcp_counts_read(c->fd, &tcp);
		is_any |= tcp.acked + tcp.unacked != c->written;
		c->written = tcp.acked + tcp.unacked;
	}
	return is_any;
}

static void find_stuck(struct list *phase)
{
	list_each (n, phase) {
		struct connection *c = container_of(n, struct connection, node);
		struct tcp_counts tcp;
		short events;
		if (!c->rq || c->is_refused)
			continue;
		tcp_counts_read(c->fd, &tcp);
		if (!tcp.unread && has_ended(c, &events))
			tcp.unread = -1;
		bool is_stuck = tcp.unread && tcp.unread == c->unread;
		c->unread = tcp.unread;
		if (is_stuck && c->rq->is_told) /* there is nothing more to be said */
			connection_cut(c);
		else if (is_stuck)
			connection_refuse(c, 400, "Bad Request",
				c->phase == CONNECTION_BODY
					? "the size of a chunk of the body has no end"
					: "the head of the request is too long");
	}
}

bool connections_are_busy(struct server *server)
{
	struct list *phases = server->phases;
	bool is_busy = is_being_written(&phases[CONNECTION_ANSWER]);
	is_busy |= is_being_written(&phases[CONNECTION_LASTING]);
	if (is_busy)
		return true;
	find_stuck(&phases[CONNECTION_HEAD]);
	find_stuck(&phases[CONNECTION_BODY]);
	return false;
}
