/* SPDX-License-Identifier: Apache-2.0 */
/* A worker comes in: GET /v2/workers/connect becomes a WebSocket and leaves for the room of
 * workers.
 *
 * Nobody is upgraded before the room admitted the worker by its secret. */
#include "transport/http/websocket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static void arrival_release(struct arrival *a)
{
	websocket_close(a->fd, a->handle);
	free(a->worker);
	free(a->peer);
	free(a->extra);
	free(a);
}

static char *peer_text(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info ? info->client_addr : NULL;
	char host[INET6_ADDRSTRLEN] = "";
	if (sa && sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		return xasprintf("%s:%u", host, ntohs(in->sin_port));
	}
	if (sa && sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		return xasprintf("[%s]:%u", host, ntohs(in6->sin6_port));
	}
	return xstrdup("");
}

/* On libmicrohttpd's thread, once the 101 is written. */
static void upgraded(void *arg, struct MHD_Connection *conn, void *con_cls, const char *extra,
	size_t extra_len, int fd, struct MHD_UpgradeResponseHandle *handle)
{
	const struct worker_door *door = arg;
	struct request *rq = con_cls;
	struct arrival *a = xcalloc(1, sizeof *a);
	a->worker = TAKE_PTR(rq->admission.worker);
	a->peer = peer_text(conn);
	a->fd = fd;
	a->handle = handle;
	a->release = arrival_release;
	a->extra = websocket_take(fd, extra, extra_len);
	a->extra_len = extra_len;
	if (door->arrive(door->room, a) < 0)
		arrival_release(a);
}

static void admission_asked(struct request *rq)
{
	struct fault f;
	if (!rq->admission.is_admitted) {
		fault_set(&f, rq->admission.is_stopping ? FAULT_UNAVAILABLE : FAULT_UNAUTHORIZED,
			rq->admission.is_stopping ? "the gateway is stopping"
						  : "no worker of this name was given this secret");
		answer_fault(rq, &f);
		return;
	}
	websocket_accept(rq, upgraded, (void *)rq->http->door);
}

static void admission_answered(struct admission *a)
{
	request_resume(container_of(a, struct request, admission));
}

void worker_connect(struct request *rq)
{
	const char *worker = query_text(rq, "worker"),
		   *secret =
			   MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, "Authorization");
	struct fault f = { 0 };
	if (websocket_is_asked(rq, &f) &&
		(!worker || !secret || strncasecmp(secret, "Bearer ", 7) != 0))
		fault_set(&f, FAULT_UNAUTHORIZED,
			"expected the worker's id as ?worker= and its secret as Authorization: "
			"Bearer");
	if (f.code) {
		answer_fault(rq, &f);
		return;
	}
	rq->admission.worker = xstrdup(worker);
	rq->admission.secret = xstrdup(secret + 7);
	rq->admission.answered = admission_answered;
	rq->then = admission_asked;
	request_wait(rq);
	if (rq->http->door->admit(rq->http->door->room, &rq->admission) < 0) {
		rq->admission.is_stopping = true;
		request_resume(rq);
	}
}
