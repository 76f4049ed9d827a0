/* SPDX-License-Identifier: Apache-2.0 */
/* One WebSocket connection (RFC 6455, framing by wslay) on a connected non-blocking socket: text
 * messages in and out. The owner's loop says when the socket can be read or written. Not
 * thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

enum {
	WS_E_PENDING = 1
}; /* ws_flush: the socket is full, some bytes wait; call again when it is writable */

enum {
	WS_CLOSE_NORMAL = 1000,
	WS_CLOSE_PROTOCOL = 1002,
	WS_CLOSE_VERSION = 4001,
};

struct ws;

/* A whole text message, valid during the call; the callback may send and close, and must not free
 * the ws. */
typedef void ws_message_fn(void *owner, const char *text, size_t len);

/* From within the callback: the message is the caller's now, NUL-terminated. To be freed. */
char *ws_take_message(struct ws *w);

/* The socket stays the caller's. Without `message` what the peer sends, be it text or not, is
 * thrown away. max_message bounds what is taken in (a longer message closes with 1009), max_out
 * what may wait to be written. Sets TCP_NODELAY. */
struct ws *ws_new(int fd, bool is_server, size_t max_message, size_t max_out,
	ws_message_fn *message, void *owner);
void ws_free(struct ws *w);
DEFINE_CLEANUP(struct ws *, ws_free)

/* Bytes that were read from the socket before the ws was made. */
int ws_feed(struct ws *w, const void *data, size_t len);

/* Reads what is there (at most some hundred KB a call, so that others get their turn) and delivers
 * messages. 0, or a negative errno when the connection is over: -ECONNRESET (end of file or reset),
 * -EPROTO (the peer broke RFC 6455, sent a binary message, or a thousand control frames in a row),
 * -EMSGSIZE, -ESHUTDOWN (a close was received). Answers to pings and closes are queued: call
 * ws_flush afterwards. */
int ws_read(struct ws *w);

/* Queues one text message; copies it. -ENOBUFS when max_out would be crossed, -ESHUTDOWN after
 * ws_close. */
int ws_send(struct ws *w, const char *text, size_t len);

/* Queues a close frame; later messages are refused. */
void ws_close(struct ws *w, int code, const char *reason);

/* Writes what is queued, in as few system calls as the socket takes. 0, WS_E_PENDING, or a negative
 * errno. */
int ws_flush(struct ws *w);

/* Bytes that are queued and not yet written. */
size_t ws_waiting(const struct ws *w);

/* Gives the memory of the queue back if nothing waits in it: for connections that are many and
 * mostly idle. */
void ws_shrink(struct ws *w);

/* The code and reason of the close frame the peer sent; 0 when it sent none. */
int ws_close_code(const struct ws *w);

/* The value of Sec-WebSocket-Accept for the client's Sec-WebSocket-Key (RFC 6455, 4.2.2). */
enum { WS_ACCEPT_TEXT = 29 };
void ws_accept_key(const char *key, char ret[static WS_ACCEPT_TEXT]);
