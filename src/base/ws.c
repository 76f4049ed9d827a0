/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket between a socket and whole text messages.
 *
 * wslay does the framing and never sees the socket: what recv() gave is handed to it in chunks, and
 * every byte it wants to send is appended to one buffer. So a frame's header and payload, and any
 * number of frames, leave in one send(); written separately they would wait for each other's
 * acknowledgement, or cost a system call each.
 *
 * A message that comes is gathered here and not by wslay, which would keep it in pieces and copy it
 * together at its end: its frame says how long it is, so it is written to its place at once, and
 * whoever wants to keep it takes it without another copy.
 *
 * Life: ws_new, any number of ws_read, ws_send, ws_flush, at most one ws_close, ws_free. Once
 * ws_read has failed there is nothing more to read; what was queued (the close frame that says why)
 * can still be flushed. After ws_close no message is delivered any more, only the peer's close is
 * waited for.
 *
 * Limits: a message (max_message), its fragments (FRAGMENTS_MAX), control frames between two
 * messages (CONTROLS_MAX, because each ping is answered; of an end that takes messages), and what
 * waits to be written (max_out; control frames have a little room beyond it, or a full buffer could
 * not say why it closes).
 *
 * One thread at a time; the owner sees to that. */
#include "base/ws.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <wslay/wslay.h>

#include "base/buf.h"
#include "base/utf8.h"

enum {
	CHUNK = 64 * 1024,
	CHUNKS_PER_READ = 4,
	FRAGMENTS_MAX = 16 * 1024,
	CONTROLS_MAX = 1000,
	CONTROL_ROOM = 1024,
	FRAME_HEADER_MAX = 14,
	KEEP_TEXT = 64 * 1024,  /* likewise, of messages that come */
	KEEP_MAX = 1024 * 1024, /* a buffer that grew larger is given back once it is empty */
	MASKS = 256,            /* a getrandom() of more can be cut short by a signal */
};

struct ws {
	wslay_event_context_ptr event;
	int fd;
	int failed; /* negative errno of what ended the reading, beyond what wslay knows */
	bool closing;
	unsigned n_fragments; /* of the message that is being received */
	unsigned n_controls;  /* control frames since the last message */
	bool is_control;      /* the frame that is being received */
	char *text;           /* the message that is being received, NULL or text_room + 1 bytes */
	size_t text_len, text_room, max_text;
	const uint8_t *in; /* what wslay has not taken yet of the chunk at hand */
	size_t in_len;
	struct buf out; /* frames; the first `sent` bytes are gone already */
	size_t sent, max_out;
	uint8_t masks[MASKS]; /* random bytes, used from the end */
	size_t masks_left;
	ws_message_fn *message;
	void *owner;
};

static ssize_t take_input(
	wslay_event_context_ptr event, uint8_t *to, size_t len, int flags, void *arg)
{
	struct ws *w = arg;
	(void)flags;
	if (w->in_len == 0) {
		wslay_event_set_error(event, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (len > w->in_len)
		len = w->in_len;
	memcpy(to, w->in, len);
	w->in += len;
	w->in_len -= len;
	return (ssize_t)len;
}

static void forget_sent(struct ws *w)
{
	if (w->sent) {
		buf_drop(&w->out, w->sent);
		w->sent = 0;
	}
}

static ssize_t give_output(
	wslay_event_context_ptr event, const uint8_t *data, size_t len, int flags, void *arg)
{
	struct ws *w = arg;
	(void)flags;
	if (w->out.len + len > w->out.max)
		forget_sent(w);
	if (buf_add(&w->out, data, len)) {
		wslay_event_set_error(event, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	return (ssize_t)len;
}

/* A client's frames are masked with bytes its peer cannot guess. One system call serves many
 * frames. */
static int make_mask(wslay_event_context_ptr event, uint8_t *to, size_t len, void *arg)
{
	struct ws *w = arg;
	if (w->masks_left < len) {
		if (getrandom(w->masks, MASKS, 0) != MASKS) {
			wslay_event_set_error(event, WSLAY_ERR_CALLBACK_FAILURE);
			return -1;
		}
		w->masks_left = MASKS;
	}
	w->masks_left -= len;
	memcpy(to, w->masks + w->masks_left, len);
	return 0;
}

static void refuse(struct ws *w, int code, int error)
{
	w->failed = error;
	ws_close(w, code, "");
	wslay_event_shutdown_read(w->event);
}

/* A frame may say that it is long and never come: what is not written to costs nothing yet. */
static void text_reserve(struct ws *w, size_t len)
{
	if (len > w->max_text)
		len = w->max_text;
	if (w->text && len <= w->text_room)
		return;
	if (w->text && len < 2 * w->text_room) /* of many fragments */
		len = 2 * w->text_room < w->max_text ? 2 * w->text_room : w->max_text;
	w->text = xrealloc(w->text, len + 1);
	w->text_room = len;
}

static void text_drop(struct ws *w)
{
	w->text_len = 0;
	if (w->text_room <= KEEP_TEXT)
		return;
	free(TAKE_PTR(w->text));
	w->text_room = 0;
}

static void on_frame(wslay_event_context_ptr event,
	const struct wslay_event_on_frame_recv_start_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)event;
	w->is_control = wslay_is_ctrl_frame(a->opcode);
	if (w->is_control) {
		if (w->message && ++w->n_controls > CONTROLS_MAX && !w->failed)
			refuse(w, WSLAY_CODE_POLICY_VIOLATION, -EPROTO);
	} else if (++w->n_fragments > FRAGMENTS_MAX) {
		refuse(w, WSLAY_CODE_MESSAGE_TOO_BIG, -EMSGSIZE);
	} else if (w->message && a->payload_length < SIZE_MAX / 2) {
		text_reserve(w, w->text_len + (size_t)a->payload_length);
	}
}

static void on_chunk(wslay_event_context_ptr event,
	const struct wslay_event_on_frame_recv_chunk_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)event;
	if (w->is_control || !w->message || w->failed)
		return;
	if (a->data_length > w->max_text - w->text_len) {
		refuse(w, WSLAY_CODE_MESSAGE_TOO_BIG, -EMSGSIZE);
		return;
	}
	text_reserve(w, w->text_len + a->data_length);
	memcpy(w->text + w->text_len, a->data, a->data_length);
	w->text_len += a->data_length;
}

static void on_message(
	wslay_event_context_ptr event, const struct wslay_event_on_msg_recv_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)event;
	if (wslay_is_ctrl_frame(a->opcode))
		return;
	w->n_fragments = w->n_controls = 0;
	if (!w->message)
		return;
	if (a->opcode != WSLAY_TEXT_FRAME) {
		refuse(w, WSLAY_CODE_UNSUPPORTED_DATA, -EPROTO);
	} else if (!w->closing && !w->failed) {
		text_reserve(w, w->text_len);
		w->text[w->text_len] = '\0';
		w->message(w->owner, w->text, w->text_len);
	}
	text_drop(w);
}

char *ws_take_message(struct ws *w)
{
	w->text_room = 0;
	return TAKE_PTR(w->text);
}

struct ws *ws_new(int fd, bool is_server, size_t max_message, size_t max_out,
	ws_message_fn *message, void *owner)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = take_input,
		.send_callback = give_output,
		.genmask_callback = make_mask,
		.on_frame_recv_start_callback = on_frame,
		.on_frame_recv_chunk_callback = on_chunk,
		.on_msg_recv_callback = on_message,
	};
	struct ws *w = xcalloc(1, sizeof *w);
	w->fd = fd;
	w->max_out = max_out;
	w->message = message;
	w->owner = owner;
	buf_init(&w->out, max_out + CONTROL_ROOM);
	int r = is_server ? wslay_event_context_server_init(&w->event, &callbacks, w)
			  : wslay_event_context_client_init(&w->event, &callbacks, w);
	must(r == 0); /* it fails only when memory is out */
	wslay_event_config_set_max_recv_msg_length(w->event, max_message);
	wslay_event_config_set_no_buffering(w->event, 1);
	w->max_text = max_message;
	/* Fails on what is not TCP, where nothing waits anyway. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	return w;
}

void ws_free(struct ws *w)
{
	if (!w)
		return;
	wslay_event_context_free(w->event);
	buf_done(&w->out);
	free(w->text);
	free(w);
}

/* Moves what wslay has queued into the output buffer. */
static int collect(struct ws *w)
{
	if (wslay_event_send(w->event) == 0)
		return 0;
	w->failed = -ENOBUFS;
	wslay_event_shutdown_read(w->event);
	return -ENOBUFS;
}

int ws_feed(struct ws *w, const void *data, size_t len)
{
	w->in = data;
	w->in_len = len;
	int r = wslay_event_recv(w->event);
	w->in_len = 0;
	if (collect(w) || w->failed)
		return w->failed;
	if (r == WSLAY_ERR_NOMEM)
		return -ENOMEM;
	if (wslay_event_get_close_received(w->event))
		return -ESHUTDOWN;
	if (r || !wslay_event_get_read_enabled(w->event))
		return wslay_event_get_status_code_sent(w->event) == WSLAY_CODE_MESSAGE_TOO_BIG
			       ? -EMSGSIZE
			       : -EPROTO;
	return 0;
}

int ws_read(struct ws *w)
{
	char chunk[CHUNK];
	for (int i = 0; i < CHUNKS_PER_READ; i++) {
		ssize_t n = recv(w->fd, chunk, sizeof chunk, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		int r = ws_feed(w, chunk, (size_t)n);
		if (r)
			return r;
		if ((size_t)n < sizeof chunk)
			return 0;
	}
	return 0;
}

int ws_send(struct ws *w, const char *text, size_t len)
{
	if (w->closing)
		return -ESHUTDOWN;
	if (w->failed)
		return w->failed;
	if (ws_waiting(w) + len + FRAME_HEADER_MAX > w->max_out)
		return -ENOBUFS;
	struct wslay_event_msg m = { WSLAY_TEXT_FRAME, (const uint8_t *)text, len };
	int r = wslay_event_queue_msg(w->event, &m);
	if (r)
		return r == WSLAY_ERR_NOMEM ? -ENOMEM : -ESHUTDOWN;
	return collect(w);
}

void ws_close(struct ws *w, int code, const char *reason)
{
	enum { REASON_MAX = 123 }; /* what a control frame has room for */
	if (w->closing)
		return;
	size_t len = strlen(reason);
	if (len > REASON_MAX)
		len = utf8_whole(reason, REASON_MAX);
	w->closing = true;
	/* Refused when a close is queued already: an answer to the peer's, or wslay's own
	 * complaint. */
	(void)wslay_event_queue_close(w->event, (uint16_t)code, (const uint8_t *)reason, len);
	(void)collect(w);
}

int ws_flush(struct ws *w)
{
	while (w->sent < w->out.len) {
		ssize_t n = send(w->fd, w->out.data + w->sent, w->out.len - w->sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0) {
			/* A peer that is always behind costs what waits for it, not all it was
			 * sent. */
			if (w->sent > ws_waiting(w))
				forget_sent(w);
			return WS_E_PENDING;
		}
		w->sent += (size_t)n;
	}
	forget_sent(w);
	if (w->out.cap > KEEP_MAX)
		ws_shrink(w);
	return 0;
}

size_t ws_waiting(const struct ws *w)
{
	return w->out.len - w->sent;
}

void ws_shrink(struct ws *w)
{
	if (ws_waiting(w))
		return;
	buf_done(&w->out);
	w->sent = 0;
}

int ws_close_code(const struct ws *w)
{
	return wslay_event_get_close_received(w->event)
		       ? wslay_event_get_status_code_received(w->event)
		       : 0;
}

void ws_accept_key(const char *key, char ret[static WS_ACCEPT_TEXT])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	_cleanup_(freep) char *text = xasprintf("%s%s", key, guid);
	uint8_t digest[20];
	gnutls_datum_t encoded, raw = { digest, sizeof digest };
	must(gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), digest) == 0);
	must(gnutls_base64_encode2(&raw, &encoded) == 0);
	must(encoded.size == WS_ACCEPT_TEXT - 1);
	memcpy(ret, encoded.data, WS_ACCEPT_TEXT - 1);
	ret[WS_ACCEPT_TEXT - 1] = '\0';
	gnutls_free(encoded.data);
}
