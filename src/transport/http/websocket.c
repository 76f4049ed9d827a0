/* SPDX-License-Identifier: Apache-2.0 */
/* The upgrade, for workers and for subscribers. After it the socket belongs to whoever asked;
 * libmicrohttpd only keeps the handle through which it is closed. */
#include "transport/http/websocket.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/ws.h"

static const char *header(struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (const char *p = list; p && *p; p += strcspn(p, ",")) {
		p += strspn(p, ", \t");
		if (strncasecmp(p, word, len) == 0 && strcspn(p, ", \t") == len)
			return true;
	}
	return false;
}

bool websocket_is_asked(struct request *rq, struct fault *f)
{
	const char *key = header(rq, "Sec-WebSocket-Key"),
		   *version = header(rq, "Sec-WebSocket-Version");
	if (!rq->is_head && rq->is_http_1_1 && has_word(header(rq, "Upgrade"), "websocket") &&
		has_word(header(rq, "Connection"), "upgrade") && key && strlen(key) == 24 &&
		version && strcmp(version, "13") == 0)
		return true;
	fault_set(f, FAULT_BAD_REQUEST,
		"expected a WebSocket upgrade (RFC 6455, version 13) over HTTP/1.1");
	return false;
}

void websocket_accept(struct request *rq, MHD_UpgradeHandler upgraded, void *arg)
{
	char accept[WS_ACCEPT_TEXT];
	struct fault f;
	ws_accept_key(header(rq, "Sec-WebSocket-Key"), accept);
	rq->upgrade = MHD_create_response_for_upgrade(upgraded, arg);
	if (!rq->upgrade) {
		fault_set(&f, FAULT_UNAVAILABLE, "there is no memory for one more connection");
		answer_fault(rq, &f);
		return;
	}
	MHD_add_response_header(rq->upgrade, "Upgrade", "websocket");
	MHD_add_response_header(rq->upgrade, "Sec-WebSocket-Accept", accept);
	rq->status = MHD_HTTP_SWITCHING_PROTOCOLS;
}

char *websocket_take(int fd, const char *extra, size_t extra_len)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (!extra_len)
		return NULL;
	char *copy = xcalloc(1, extra_len);
	memcpy(copy, extra, extra_len);
	return copy;
}

/* libmicrohttpd closes the socket when it comes round to it; the peer shall know at once. */
void websocket_close(int fd, struct MHD_UpgradeResponseHandle *handle)
{
	shutdown(fd, SHUT_RDWR);
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}
