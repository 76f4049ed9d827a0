/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway of one connection, for tests of a worker: it takes the worker's dialling on a loopback
 * socket of its own, answers the upgrade as told, and says and expects frames. Everything is done
 * by the test's thread and waits at most DEADLINE_MS; what does not come is a failure of the test.
 * Frames of the worker are checked against the book as they come. */
#include "gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "frame.h"
#include "unit.h"

enum { DEADLINE_MS = 30 * 1000 };

int gate_listen(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(fd >= 0);
	check_int(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	check_int(listen(fd, 8), 0);
	return fd;
}

void gate_write_file(struct gate *g, double grace)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;
	check_int(getsockname(g->listener, (struct sockaddr *)&a, &len), 0);
	FILE *f = fopen(g->file, "we");
	check(f);
	fprintf(f,
		"{\"url\": \"ws://127.0.0.1:%d/v2/workers/connect\", \"worker\": \"w_1\", "
		"\"secret\": \"s3cret\","
		"\"grace\": %g, \"capacity\": %d}",
		ntohs(a.sin_port), grace, GATE_CAPACITY);
	check_int(fclose(f), 0);
}

void gate_hang_up(struct gate *g)
{
	ws_free(g->ws);
	g->ws = NULL;
	if (g->fd >= 0)
		close(g->fd);
	g->fd = -1;
	json_array_clear(g->frames);
}

void gate_init(struct gate *g)
{
	*g = (struct gate){
		.fd = -1, .frame_max = GATE_FRAME_MAX, .file = "/tmp/mist-gate-XXXXXX"
	};
	g->frames = json_array();
	g->listener = gate_listen();
	int fd = mkstemp(g->file);
	check(fd >= 0);
	close(fd);
	gate_write_file(g, 30);
	setenv("MIST_WORKER_FILE", g->file, 1);
}

void gate_done(struct gate *g)
{
	gate_hang_up(g);
	if (g->listener >= 0)
		close(g->listener);
	json_decref(g->frames);
	unlink(g->file);
}

static void wait_readable(int fd, int64_t until)
{
	int64_t left = until - clock_mono_ms();
	if (left <= 0 || poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, (int)left) != 1)
		fail_msg("nothing came in %d ms", DEADLINE_MS);
}

static void on_message(void *owner, const char *text, size_t len)
{
	struct gate *g = owner;
	struct fault f = { 0 };
	enum frame_type type;
	json_t *frame;
	if (len > (size_t)g->frame_max)
		fail_msg("a frame of %zu bytes, %d are allowed", len, g->frame_max);
	if (frame_parse(text, len, FRAME_FROM_WORKER, &type, &frame, &f))
		fail_msg("the worker said %.*s: %s", (int)len, text, f.text);
	json_array_append_new(g->frames, frame);
}

void gate_answer(struct gate *g, const char *text)
{
	check_int(send(g->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Takes the worker's next connection and returns the head of its request. */
const char *gate_take(struct gate *g)
{
	static char head[4096];
	size_t len = 0;
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	gate_hang_up(g);
	wait_readable(g->listener, until);
	g->fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);
	check(g->fd >= 0);
	do {
		wait_readable(g->fd, until);
		ssize_t n = recv(g->fd, head + len, sizeof head - 1 - len, 0);
		check(n > 0);
		len += (size_t)n;
		head[len] = '\0';
	} while (!strstr(head, "\r\n\r\n"));
	return head;
}

void gate_upgrade(struct gate *g)
{
	char key[64], accept[WS_ACCEPT_TEXT];
	const char *head = gate_take(g);
	check_int(sscanf(strstr(head, "Sec-WebSocket-Key: "), "Sec-WebSocket-Key: %63s", key), 1);
	ws_accept_key(key, accept);
	_cleanup_(freep) char *text =
		xasprintf("HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n"
			  "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			accept);
	gate_answer(g, text);
	g->ws = ws_new(g->fd, true, 2 * GATE_FRAME_MAX, 2 * GATE_FRAME_MAX, on_message, g);
}

void gate_say(struct gate *g, const char *format, ...)
{
	_cleanup_(buf_done) struct buf b;
	va_list args;
	buf_init(&b, GATE_FRAME_MAX);
	va_start(args, format);
	check_int(buf_vprintf(&b, format, args), 0);
	va_end(args);
	check_int(ws_send(g->ws, b.data, b.len), 0);
	check_int(ws_flush(g->ws), 0);
}

/* The next frame, which must be of this type; valid until the next call. */
const json_t *gate_expect(struct gate *g, const char *type)
{
	static json_t *frame;
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	while (json_array_size(g->frames) == 0) {
		wait_readable(g->fd, until);
		int r = ws_read(g->ws);
		if (r && json_array_size(g->frames) == 0)
			fail_msg("expected %s, but the connection ended: %s", type, strerror(-r));
	}
	json_decref(frame);
	frame = json_incref(json_array_get(g->frames, 0));
	json_array_remove(g->frames, 0);
	if (strcmp(json_string_of(frame, "type"), type) != 0)
		fail_msg("expected %s, got %s", type, json_string_of(frame, "type"));
	return frame;
}

/* Reads until the worker closes and returns the code. */
int gate_expect_close(struct gate *g)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	while (ws_close_code(g->ws) == 0) { /* unless it came together with the last frame */
		wait_readable(g->fd, until);
		int r = ws_read(g->ws);
		check(r == 0 || r == -ESHUTDOWN);
	}
	(void)ws_flush(g->ws);
	return ws_close_code(g->ws);
}

void gate_welcome(struct gate *g, const char *forget)
{
	gate_say(g,
		"{\"type\":\"welcome\",\"protocol\":1,\"heartbeat\":10,\"maxFrame\":%d,\"forget\":["
		"%s]}",
		g->frame_max, forget);
}

void gate_open(struct gate *g)
{
	gate_upgrade(g);
	gate_expect(g, "hello");
	gate_welcome(g, "");
}
