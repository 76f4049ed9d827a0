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
 * When http.connections are open, the one that has idled longest makes place for the next,
 * whichever thread has it: all that could make place stand in one list, and the thread that has the
 * first of them is asked to cut it. If it takes up a request just then, another is asked to go. If
 * none idles, http.reserved-connections more are taken, and only workers,
 * health checks and the metrics are served there: a gateway that is full can still be seen to be,
 * and its workers come back.
 *
 * libmicrohttpd 0.9.75 has two states in which it neither reads nor answers, and asks to be called
 * again at once, for ever: a chunk size that has no end and fills the buffer, and more parameters
 * in a query than its memory has room for. From outside they look like this: the thread goes round,
 * no event comes, none of our callbacks is called, nobody's answer moves. Then who is in the middle
 * of a request and has bytes in the socket that are not read, is the one; and who cannot be told,
 * since all it sent fills the buffer exactly, costs nothing when the thread rests between its
 * turns, until its body's time is over. */
#include "transport/http/server/connection.h"

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
	IDLE_LOOK_MS = 5000, /* one that idles is looked at so often, or four times in a
				head-timeout */
	KEEPALIVE_S = 5,
	DISCARD_AT_END = 64, /* blocks of what a refused client still sends */
	BLOCK = 4096,
	REFUSAL_MAX = 2048,
	CLOCK_SLACK_MS = 20, /* the kernel counts in ticks */
	CUT_S = 1
};

void connection_counts_init(struct connection_counts *counts)
{
	must(pthread_mutex_init(&counts->lock, NULL) == 0);
	map_init(&counts->addresses);
	for (size_t i = 0; i < ARRAY_SIZE(counts->cuttable); i++)
		list_init(&counts->cuttable[i]);
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

/* IPv4 as it is, IPv6 by its network: a host there has 2^64 addresses. False: it has no limit. */
static bool address_key(const struct connection *c, struct address_bytes *ret)
{
	enum { NETWORK_BYTES = 8 };
	const struct http *http = c->server->http;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (!address_read(info ? info->client_addr : NULL, ret) ||
		networks_have(http->unlimited, http->n_unlimited, ret))
		return false;
	if (!address_is_v4(ret))
		memset(ret->b + NETWORK_BYTES, 0, sizeof ret->b - NETWORK_BYTES);
	return true;
}

static void address_take(struct connection *c, unsigned max)
{
	struct connection_counts *counts = &c->server->http->counts;
	struct address_bytes key;
	if (!max || !address_key(c, &key))
		return;
	pthread_mutex_lock(&counts->lock);
	struct map_node *found = map_find(&counts->addresses, &key, sizeof key);
	if (found) {
		c->address = container_of(found, struct address, node);
	} else {
		c->address = xcalloc(1, sizeof *c->address);
		c->address->key = key;
		map_add(&counts->addresses, &c->address->node, &c->address->key, sizeof key);
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

/* Who makes place: whoever idles, else who has connected and said nothing for a while. */
static const enum connection_phase cuttable[] = { CONNECTION_IDLE, CONNECTION_HEAD };
_Static_assert(ARRAY_SIZE(cuttable) == ARRAY_SIZE(((struct connection_counts *)0)->cuttable),
	"a list for each");

static struct list *cuttable_of(const struct connection *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(cuttable); i++)
		if (c->phase == cuttable[i])
			return &c->server->http->counts.cuttable[i];
	return NULL;
}

/* True: its place was given away. */
static bool connection_leave(struct connection *c)
{
	struct connection_counts *counts = &c->server->http->counts;
	bool was_given = false;
	list_remove(&c->node);
	list_remove(&c->look);
	if (!cuttable_of(c))
		return false;
	pthread_mutex_lock(&counts->lock);
	list_remove(&c->place);
	was_given = c->is_given;
	c->is_given = false;
	pthread_mutex_unlock(&counts->lock);
	return was_given;
}

static void connection_join(struct connection *c, enum connection_phase phase)
{
	struct connection_counts *counts = &c->server->http->counts;
	c->phase = phase;
	list_append(&c->server->phases[phase], &c->node);
	if (phase == CONNECTION_IDLE)
		list_append(&c->server->idle_looks, &c->look);
	struct list *places = cuttable_of(c);
	if (!places)
		return;
	pthread_mutex_lock(&counts->lock);
	list_append(places, &c->place);
	pthread_mutex_unlock(&counts->lock);
}

/* Asks the thread that has it to cut the one that is to make place. False: there is none. */
static bool make_place(struct http *http, int64_t now)
{
	struct connection_counts *counts = &http->counts;
	bool is_made = false;
	pthread_mutex_lock(&counts->lock);
	for (size_t i = 0; i < ARRAY_SIZE(cuttable) && !is_made; i++) {
		const struct list *first = counts->cuttable[i].next;
		struct connection *c = container_of(first, struct connection, place);
		int64_t before_ms = now - (cuttable[i] == CONNECTION_HEAD ? NEW_MS : 0);
		is_made = first != &counts->cuttable[i] && c->since_ms <= before_ms;
		if (!is_made)
			continue;
		list_remove(&c->place);
		list_append(&c->server->given, &c->place);
		c->is_given = true;
		server_wake(c->server);
	}
	pthread_mutex_unlock(&counts->lock);
	return is_made;
}

void connections_cut_given(struct server *server)
{
	struct connection_counts *counts = &server->http->counts;
	for (;;) {
		pthread_mutex_lock(&counts->lock);
		struct list *n = list_pop(&server->given);
		struct connection *c = n ? container_of(n, struct connection, place) : NULL;
		if (c)
			c->is_given = false;
		pthread_mutex_unlock(&counts->lock);
		if (!c)
			return;
		connection_cut(c);
	}
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
	list_init(&c->look);
	connection_join(c, CONNECTION_HEAD);
	unsigned n = atomic_fetch_add(&http->counts.n, 1) + 1;
	address_take(c, (unsigned)s->address_connections);
	if (n <= http->connections_max)
		return;
	server->now_ms = c->since_ms;
	c->is_beyond = !make_place(http, c->since_ms);
	if (c->is_beyond && n > http->connections_max + (unsigned)s->reserved_connections)
		connection_refuse(c, 503, "Service Unavailable",
			"all connections are taken (http.connections)");
}

void connection_end(struct connection *c)
{
	atomic_fetch_sub(&c->server->http->counts.n, 1);
	address_drop(c);
	connection_leave(c);
	free(c);
}

void connection_enter(struct connection *c, enum connection_phase phase)
{
	struct server *server = c->server;
	bool was_given = connection_leave(c);
	c->since_ms = c->progress_ms = c->looked_ms = server->now_ms;
	connection_join(c, phase);
	if (was_given && phase != CONNECTION_LEAVING)
		(void)make_place(server->http, server->now_ms);
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
	if (c->phase == CONNECTION_IDLE || c->phase == CONNECTION_HEAD)
		connection_enter(c, CONNECTION_LEAVING);
}

void connection_refuse(struct connection *c, unsigned status, const char *title, const char *detail)
{
	char body[REFUSAL_MAX / 2], text[REFUSAL_MAX], block[BLOCK];
	if (c->is_refused)
		return;
	struct request *rq = c->rq;
	if (rq && !rq->name[0])
		request_name(rq, NULL);
	const char *name = rq ? rq->name : "";
	int len = snprintf(body, sizeof body,
		"{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\"%s%s%s}",
		title, status, detail, rq ? ",\"requestId\":\"" : "", name, rq ? "\"" : "");
	must(len < (int)sizeof body);
	len = snprintf(text, sizeof text,
		"HTTP/1.1 %u %s\r\nConnection: close\r\n%s%s%s%sContent-Type: "
		"application/problem+json\r\nContent-Length: %d\r\n\r\n%s",
		status, title, status == 503 || status == 429 ? "Retry-After: 1\r\n" : "",
		rq ? "X-Request-Id: " : "", name, rq ? "\r\n" : "", len, body);
	must(len < (int)sizeof text);
	(void)!send(c->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (rq)
		log_debug("http: request %s is refused with %u: %s", name, status, detail);
	else
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

/* A head that has begun to come has its own limit from then on. */
static void look_at_idle(struct connection *c, int64_t now)
{
	struct tcp_counts tcp;
	c->looked_ms = now;
	list_remove(&c->look);
	list_append(&c->server->idle_looks, &c->look);
	tcp_counts_glance(c->fd, &tcp);
	if (tcp.has_ended)
		(void)shutdown(c->fd, SHUT_RD); /* as in sweep_end */
	if (tcp.received && now - tcp.quiet_ms > c->since_ms + CLOCK_SLACK_MS)
		connection_enter(c, CONNECTION_HEAD);
}

/* There may be thousands, and nothing happens to most: a few are looked at, for each of which the
 * system is called once. */
static void sweep_idle(struct server *server, int64_t now)
{
	const struct http_settings *s = &server->http->settings;
	int64_t quarter = s->head_timeout_ms / 4;
	int64_t old = now - (quarter < IDLE_LOOK_MS ? quarter : IDLE_LOOK_MS);
	list_each (n, &server->idle_looks) {
		struct connection *c = container_of(n, struct connection, look);
		if (c->looked_ms > old)
			break;
		look_at_idle(c, now);
	}
	list_each (n, &server->phases[CONNECTION_IDLE]) {
		struct connection *c = container_of(n, struct connection, node);
		if (now - c->since_ms <= s->idle_timeout_ms)
			break;
		look_at_idle(c, now);
		if (c->phase == CONNECTION_IDLE)
			connection_cut(c);
	}
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
 * which. The one thing that may be sent before the answer says nothing. A client of HTTP/1.0 does
 * not know it: there the kernel asks, and it takes a minute or two until a machine does not know
 * the connection any more. */
static void sweep_waiting(struct connection *c)
{
	static const char probe[] = "HTTP/1.1 100 Continue\r\n\r\n";
	short events;
	/* Nothing may be said in the middle of an answer, whose next piece is being read. */
	if (!c->rq || c->rq->is_answered || !has_ended(c, &events))
		return;
	if (events & (POLLHUP | POLLERR)) {
		if (request_abandon(c->rq)) {
			c->rq = NULL;
			http_resume(c->server->http, c->mhd);
		}
	} else if (!c->is_probed) {
		c->is_probed = true;
		if (c->rq->is_http_1_1)
			(void)!send(c->fd, probe, sizeof probe - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			tcp_keep_asking(c->fd, KEEPALIVE_S);
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
	sweep_idle(server, now);
	list_each (n, &phases[CONNECTION_LEAVING])
		sweep_end(container_of(n, struct connection, node));
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
