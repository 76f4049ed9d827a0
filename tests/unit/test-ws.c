/* SPDX-License-Identifier: Apache-2.0 */
/* base/ws: two ends on a socket pair, and where the other end must misbehave, raw bytes. */
#include "base/ws.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "unit.h"

enum { MESSAGE_MAX = 100 * 1000, OUT_MAX = 4 * 1000 * 1000, ROUNDS_MAX = 100 * 1000 };

struct end {
	int fd;
	struct ws *ws;
	struct buf last; /* the newest message */
	size_t n_messages, n_bytes;
	bool answers; /* sends each message back, from inside of the callback */
};

struct pair {
	struct end server, client;
};

static void take(void *owner, const char *text, size_t len)
{
	struct end *e = owner;
	buf_drop(&e->last, e->last.len);
	check_int(buf_add(&e->last, text, len), 0);
	e->n_messages++;
	e->n_bytes += len;
	if (e->answers)
		check_int(ws_send(e->ws, text, len), 0);
}

static void end_init(struct end *e, int fd, bool is_server)
{
	*e = (struct end){ .fd = fd };
	check_int(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	buf_init(&e->last, MESSAGE_MAX);
	e->ws = ws_new(fd, is_server, MESSAGE_MAX, OUT_MAX, take, e);
}

static void end_done(struct end *e)
{
	ws_free(e->ws);
	buf_done(&e->last);
	close(e->fd);
}

static int setup(void **state)
{
	struct pair *p = xcalloc(1, sizeof *p);
	int fds[2];
	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	end_init(&p->server, fds[0], true);
	end_init(&p->client, fds[1], false);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;
	end_done(&p->server);
	end_done(&p->client);
	free(p);
	return 0;
}

/* Flushes one end and reads the other until everything is over; the last answer of ws_read. */
static int move(struct end *from, struct end *to)
{
	for (int i = 0; i < ROUNDS_MAX; i++) {
		int left = ws_flush(from->ws);
		check(left == 0 || left == WS_E_PENDING);
		int r = ws_read(to->ws);
		if (r || left == 0)
			return r;
	}
	fail_msg("the bytes do not come to an end");
	return 0;
}

static void messages_cross_both_ways(void **state)
{
	struct pair *p = *state;
	check_int(ws_send(p->client.ws, "hello", 5), 0);
	check_int(move(&p->client, &p->server), 0);
	check_str(p->server.last.data, "hello");
	check_int(ws_send(p->server.ws, "\xc3\xa4!", 3), 0);
	check_int(move(&p->server, &p->client), 0);
	check_str(p->client.last.data, "\xc3\xa4!");
}

static void an_empty_message_is_a_message(void **state)
{
	struct pair *p = *state;
	check_int(ws_send(p->client.ws, "", 0), 0);
	check_int(move(&p->client, &p->server), 0);
	check_int(p->server.n_messages, 1);
	check_int(p->server.last.len, 0);
}

static void an_answer_may_be_sent_from_inside_of_a_message(void **state)
{
	struct pair *p = *state;
	p->server.answers = true;
	for (int i = 0; i < 3; i++)
		check_int(ws_send(p->client.ws, "again", 5), 0);
	check_int(move(&p->client, &p->server), 0);
	check_int(move(&p->server, &p->client), 0);
	check_int(p->client.n_messages, 3);
}

static void many_messages_leave_in_one_flush(void **state)
{
	struct pair *p = *state;
	char bytes[64 * 1024];
	size_t expected = 0;
	for (int i = 0; i < 1000; i++) {
		char text[16];
		int n = snprintf(text, sizeof text, "message %d", i);
		check_int(ws_send(p->server.ws, text, (size_t)n), 0);
		expected += (size_t)n + 2;
	}
	check_int(ws_flush(p->server.ws), 0);
	/* One read of the raw bytes has them all. */
	check_int(recv(p->client.fd, bytes, sizeof bytes, 0), expected);
	check_int(ws_feed(p->client.ws, bytes, expected), 0);
	check_int(p->client.n_messages, 1000);
	check_str(p->client.last.data, "message 999");
}

static void a_message_may_come_byte_by_byte(void **state)
{
	struct pair *p = *state;
	char bytes[400], text[300];
	memset(text, 'a', sizeof text);
	check_int(ws_send(p->client.ws, text, sizeof text), 0);
	check_int(ws_flush(p->client.ws), 0);
	ssize_t n = recv(p->server.fd, bytes, sizeof bytes, 0);
	check_int(n, sizeof text + 8);
	for (ssize_t i = 0; i < n; i++) {
		check_int(p->server.n_messages, 0);
		check_int(ws_feed(p->server.ws, bytes + i, 1), 0);
	}
	check_int(p->server.last.len, sizeof text);
	check_bytes(p->server.last.data, text, sizeof text);
}

static void a_message_may_come_in_fragments(void **state)
{
	struct pair *p = *state;
	/* A server's frames are not masked: "one", a ping in between, " two" */
	static const char bytes[] = "\x01\x03one\x89\x01p\x80\x04 two";
	check_int(ws_feed(p->client.ws, bytes, sizeof bytes - 1), 0);
	check_str(p->client.last.data, "one two");
	check_int(ws_flush(p->client.ws), 0);
	char pong[16];
	check_int(recv(p->server.fd, pong, sizeof pong, 0), 7);
	check_int((uint8_t)pong[0], 0x8a);
}

static void a_full_socket_is_pending_and_nothing_is_lost(void **state)
{
	struct pair *p = *state;
	_cleanup_(freep) char *text = xcalloc(1, MESSAGE_MAX);
	memset(text, 'b', MESSAGE_MAX);
	for (int i = 0; i < 30; i++)
		check_int(ws_send(p->client.ws, text, MESSAGE_MAX), 0);
	check_int(ws_flush(p->client.ws), WS_E_PENDING);
	check_int(move(&p->client, &p->server), 0);
	for (int i = 0; p->server.n_messages < 30 && i < ROUNDS_MAX; i++)
		check_int(ws_read(p->server.ws), 0);
	check_int(p->server.n_bytes, 30 * MESSAGE_MAX);
}

static void what_waits_to_be_written_is_bounded(void **state)
{
	struct pair *p = *state;
	_cleanup_(freep) char *text = xcalloc(1, OUT_MAX);
	memset(text, 'c', OUT_MAX);
	check_int(ws_send(p->client.ws, text, OUT_MAX), -ENOBUFS);
	check_int(ws_send(p->client.ws, text, OUT_MAX / 2), 0);
	check_int(ws_send(p->client.ws, text, OUT_MAX / 2), -ENOBUFS);
	check_int(ws_send(p->client.ws, "small", 5), 0);
}

static void a_message_over_the_limit_closes_with_1009(void **state)
{
	struct pair *p = *state;
	_cleanup_(freep) char *text = xcalloc(1, MESSAGE_MAX + 1);
	memset(text, 'd', MESSAGE_MAX + 1);
	check_int(ws_send(p->client.ws, text, MESSAGE_MAX + 1), 0);
	check_int(move(&p->client, &p->server), -EMSGSIZE);
	check_int(p->server.n_messages, 0);
	check_int(move(&p->server, &p->client), -ESHUTDOWN);
	check_int(ws_close_code(p->client.ws), 1009);
}

static void a_message_of_too_many_fragments_closes_with_1009(void **state)
{
	struct pair *p = *state;
	int r = ws_feed(p->client.ws, "\x01\x01-", 3);
	int n = 0;
	while (r == 0 && n++ < MESSAGE_MAX)
		r = ws_feed(p->client.ws, "\x00\x01-", 3);
	check_int(r, -EMSGSIZE);
	check(n < MESSAGE_MAX / 2);
	(void)ws_flush(p->client.ws);
	check_int(ws_read(p->server.ws), -ESHUTDOWN);
	check_int(ws_close_code(p->server.ws), 1009);
}

static void a_binary_message_closes_with_1003(void **state)
{
	struct pair *p = *state;
	static const char bytes[] = "\x82\x02hi\x81\x02no";
	check_int(ws_feed(p->client.ws, bytes, sizeof bytes - 1), -EPROTO);
	check_int(p->client.n_messages, 0);
	check_int(move(&p->client, &p->server), -ESHUTDOWN);
	check_int(ws_close_code(p->server.ws), 1003);
}

static void a_text_that_is_not_utf8_closes_with_1007(void **state)
{
	struct pair *p = *state;
	check_int(ws_send(p->client.ws, "\xff\xfe", 2), 0);
	check_int(move(&p->client, &p->server), -EPROTO);
	check_int(move(&p->server, &p->client), -ESHUTDOWN);
	check_int(ws_close_code(p->client.ws), 1007);
}

static void a_client_that_does_not_mask_is_refused_with_1002(void **state)
{
	struct pair *p = *state;
	check_int(ws_feed(p->server.ws, "\x81\x02hi", 4), -EPROTO);
	check_int(move(&p->server, &p->client), -ESHUTDOWN);
	check_int(ws_close_code(p->client.ws), 1002);
}

static void garbage_is_refused(void **state)
{
	struct pair *p = *state;
	check_int(ws_feed(p->server.ws, "GET / HTTP/1.1\r\n\r\n", 18), -EPROTO);
	check_int(p->server.n_messages, 0);
}

static void a_close_carries_its_code_and_ends_the_sending(void **state)
{
	struct pair *p = *state;
	check_int(ws_close_code(p->client.ws), 0);
	check_int(ws_send(p->server.ws, "last words", 10), 0);
	ws_close(p->server.ws, WS_CLOSE_VERSION, "another version");
	ws_close(p->server.ws, WS_CLOSE_NORMAL, "the first one counts");
	check_int(ws_send(p->server.ws, "more", 4), -ESHUTDOWN);
	check_int(move(&p->server, &p->client), -ESHUTDOWN);
	check_str(p->client.last.data, "last words");
	check_int(ws_close_code(p->client.ws), WS_CLOSE_VERSION);
	check_int(ws_send(p->client.ws, "late", 4), -ESHUTDOWN);
	check_int(move(&p->client, &p->server), -ESHUTDOWN);
	check_int(ws_close_code(p->server.ws), WS_CLOSE_VERSION);
}

static void nothing_is_delivered_after_our_close(void **state)
{
	struct pair *p = *state;
	check_int(ws_send(p->client.ws, "too late", 8), 0);
	ws_close(p->server.ws, WS_CLOSE_PROTOCOL, "");
	check_int(move(&p->client, &p->server), 0);
	check_int(p->server.n_messages, 0);
}

static void a_long_reason_is_cut_between_characters(void **state)
{
	struct pair *p = *state;
	char reason[201];
	for (size_t i = 0; i < 200; i += 2)
		memcpy(reason + i, "\xc3\xa4", 2);
	reason[200] = '\0';
	ws_close(p->server.ws, WS_CLOSE_PROTOCOL, reason);
	check_int(move(&p->server, &p->client), -ESHUTDOWN);
	check_int(ws_close_code(p->client.ws), WS_CLOSE_PROTOCOL);
}

static void the_end_of_the_stream_is_a_reset(void **state)
{
	struct pair *p = *state;
	check_int(ws_send(p->client.ws, "bye", 3), 0);
	check_int(ws_flush(p->client.ws), 0);
	check_int(shutdown(p->client.fd, SHUT_WR), 0);
	check_int(ws_read(p->server.ws), 0);
	check_str(p->server.last.data, "bye");
	check_int(ws_read(p->server.ws), -ECONNRESET);
}

static void a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
	struct pair *p = *state;
	check_int(shutdown(p->server.fd, SHUT_RDWR), 0);
	check_int(ws_send(p->client.ws, "anyone?", 7), 0);
	check_int(ws_flush(p->client.ws), -EPIPE);
}

static void the_accept_key_is_that_of_the_rfc(void **state)
{
	char accept[WS_ACCEPT_TEXT];
	(void)state;
	ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept);
	check_str(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(messages_cross_both_ways),
		ROW(an_empty_message_is_a_message),
		ROW(an_answer_may_be_sent_from_inside_of_a_message),
		ROW(many_messages_leave_in_one_flush),
		ROW(a_message_may_come_byte_by_byte),
		ROW(a_message_may_come_in_fragments),
		ROW(a_full_socket_is_pending_and_nothing_is_lost),
		ROW(what_waits_to_be_written_is_bounded),
		ROW(a_message_over_the_limit_closes_with_1009),
		ROW(a_message_of_too_many_fragments_closes_with_1009),
		ROW(a_binary_message_closes_with_1003),
		ROW(a_text_that_is_not_utf8_closes_with_1007),
		ROW(a_client_that_does_not_mask_is_refused_with_1002),
		ROW(garbage_is_refused),
		ROW(a_close_carries_its_code_and_ends_the_sending),
		ROW(nothing_is_delivered_after_our_close),
		ROW(a_long_reason_is_cut_between_characters),
		ROW(the_end_of_the_stream_is_a_reset),
		ROW(a_peer_that_is_gone_is_an_error_and_no_signal),
		cmocka_unit_test(the_accept_key_is_that_of_the_rfc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
