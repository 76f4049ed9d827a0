/* SPDX-License-Identifier: Apache-2.0 */
/* A client's bytes after the upgrade.
 *
 * They are fed to a server once in one piece and once byte by byte, since TCP may cut them
 * anywhere: both must deliver the same messages. (How and when it ends may differ: wslay checks the
 * text of a close frame piece by piece, and skips the first two bytes of each.) Every message is
 * sent back, so the output is used too; its limit is more than any input can cause. */
#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "base/ws.h"

enum { MESSAGE_MAX = 1024, OUT_MAX = 1024 * 1024, INPUT_MAX = 16 * 1024 };

struct peer {
	struct ws *ws;
	struct buf got;
};

static void on_message(void *owner, const char *text, size_t len)
{
	struct peer *p = owner;
	must(len <= MESSAGE_MAX && utf8_is_valid(text, len));
	must(buf_add(&p->got, text, len) == 0 && buf_add(&p->got, "\n", 1) == 0);
	must(ws_send(p->ws, text, len) == 0);
}

static void feed(struct peer *p, const uint8_t *data, size_t size, size_t piece)
{
	int fds[2], r = 0;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	buf_init(&p->got, OUT_MAX);
	p->ws = ws_new(fds[0], true, MESSAGE_MAX, OUT_MAX, on_message, p);
	for (size_t at = 0; r == 0 && at < size; at += piece)
		r = ws_feed(p->ws, data + at, size - at < piece ? size - at : piece);
	must(r <= 0 && ws_flush(p->ws) >= 0);
	ws_free(p->ws);
	close(fds[0]);
	close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer whole, bytes;
	if (size == 0 || size > INPUT_MAX)
		return 0;
	feed(&whole, data, size, size);
	feed(&bytes, data, size, 1);
	must(whole.got.len == bytes.got.len);
	must(!whole.got.len || memcmp(whole.got.data, bytes.got.data, whole.got.len) == 0);
	buf_done(&whole.got);
	buf_done(&bytes.got);
	return 0;
}
