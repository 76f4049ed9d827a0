/* SPDX-License-Identifier: Apache-2.0 */
/* Dialling the gateway.
 *
 * The gateway leaves a file with its address and the worker's secret, and rewrites it when it comes
 * back on another port; so the file is read before every attempt. Then: resolve, connect, ask for
 * the upgrade (RFC 6455, 4.1), check the answer. All of it within OPEN_MS, on a non-blocking socket
 * and poll(), because a gateway that has stopped in the middle must look like one that is away.
 * What the gateway answers is foreign text: its head is bounded, and only its first line is ever
 * shown. */
#include "runner/c/link.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/ws.h"

enum {
	OPEN_MS = 10 * 1000,
	FILE_MAX = 1024 * 1024,
	HEAD_MAX = 16 * 1024,
	GRACE_MAX_S = 366 * 24 * 3600, /* longer is for ever, and fits what we count in */
	CAPACITY_MAX = 1000000,
	KEY_TEXT = 25,
};

static int read_text(const char *path, struct buf *ret, struct fault *f)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	char chunk[4096];
	size_t n;
	if (!file)
		return fault_set(f, FAULT_UNAVAILABLE, "%s: %s", path, strerror(errno));
	while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
		if (buf_add(ret, chunk, n))
			return fault_set(
				f, FAULT_TOO_LARGE, "%s: more than %d bytes", path, FILE_MAX);
	if (ferror(file))
		return fault_set(f, FAULT_UNAVAILABLE, "%s: cannot be read", path);
	return 0;
}

/* ws://host:port/path; an IPv6 address stands in brackets. */
static int split_url(const char *url, struct link_file *ret, struct fault *f)
{
	static const char scheme[] = "ws://";
	if (strncmp(url, scheme, strlen(scheme)) != 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"url: expected ws://host:port/path, got \"%.100s\"", url);
	const char *host = url + strlen(scheme);
	const char *path = host + strcspn(host, "/");
	bool bracketed = *host == '[';
	const char *end = bracketed ? memchr(host, ']', (size_t)(path - host))
				    : memchr(host, ':', (size_t)(path - host));
	const char *colon = bracketed && end ? end + 1 : end;
	if (!end || end == host || *colon != ':' || colon + 1 == path)
		return fault_set(f, FAULT_BAD_REQUEST,
			"url: expected ws://host:port/path, got \"%.100s\"", url);
	host += bracketed;
	ret->host = strndup(host, (size_t)(end - host));
	ret->port = strndup(colon + 1, (size_t)(path - colon - 1));
	ret->path = xstrdup(*path ? path : "/");
	must(ret->host && ret->port);
	return 0;
}

/* These go into an HTTP head as they are. */
static bool is_plain(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static int take_members(const json_t *o, struct link_file *ret, struct fault *f)
{
	const char *url = json_string_of(o, "url");
	const char *worker = json_string_of(o, "worker");
	const char *secret = json_string_of(o, "secret");
	const json_t *grace = json_object_get(o, "grace");
	const json_t *capacity = json_object_get(o, "capacity");
	if (!url || !worker || !secret)
		return fault_set(f, FAULT_BAD_REQUEST, "url, worker and secret must be strings");
	if (!is_plain(url) || !is_plain(worker) || !is_plain(secret) || strpbrk(worker, "&#?%+"))
		return fault_set(
			f, FAULT_BAD_REQUEST, "url, worker and secret must be of plain characters");
	double grace_s = json_is_number(grace) ? json_number_value(grace) : -1;
	if (grace_s < 0)
		return fault_set(f, FAULT_BAD_REQUEST, "grace must be a number of seconds");
	if (grace_s > GRACE_MAX_S)
		grace_s = GRACE_MAX_S;
	json_int_t jobs = capacity ? json_integer_value(capacity) : 1;
	if (jobs < 1 || jobs > CAPACITY_MAX)
		return fault_set(f, FAULT_BAD_REQUEST, "capacity must be an integer from 1 to %d",
			CAPACITY_MAX);
	int r = split_url(url, ret, f);
	if (r)
		return r;
	ret->worker = xstrdup(worker);
	ret->secret = xstrdup(secret);
	ret->grace_ms = (int64_t)(grace_s * 1000);
	ret->capacity = (int)jobs;
	return 0;
}

int link_read(struct link_file *ret, struct fault *f)
{
	const char *path = getenv("MIST_WORKER_FILE");
	if (!path || !*path)
		return fault_set(f, FAULT_UNAVAILABLE,
			"MIST_WORKER_FILE is not set: this program is started by a Mist gateway");
	_cleanup_(buf_done) struct buf text;
	buf_init(&text, FILE_MAX);
	int r = read_text(path, &text, f);
	if (r)
		return r;
	_cleanup_(json_decrefp) json_t *o = json_parse(text.data ? text.data : "", text.len, 16, f);
	if (!o)
		return fault_prefix(f, "%s", path);
	struct link_file file = { 0 };
	r = take_members(o, &file, f);
	if (r) {
		link_file_done(&file);
		return fault_prefix(f, "%s", path);
	}
	*ret = file;
	return 0;
}

void link_file_done(struct link_file *file)
{
	free(file->host);
	free(file->port);
	free(file->path);
	free(file->worker);
	free(file->secret);
	*file = (struct link_file){ 0 };
}

/* 0 when the socket is ready, -ETIMEDOUT when the deadline is over. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
	for (;;) {
		int64_t left = deadline_ms - clock_mono_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		int n = poll(&(struct pollfd){ fd, events, 0 }, 1, (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int connect_one(const struct addrinfo *a, int64_t deadline_ms, int *ret_fd)
{
	_cleanup_(closep) int fd =
		socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		int r = wait_for(fd, POLLOUT, deadline_ms);
		if (r)
			return r;
		int error = 0;
		socklen_t len = sizeof error;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			return -errno;
		if (error)
			return -error;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int dial(const struct link_file *file, int64_t deadline_ms, int *ret_fd, struct fault *f)
{
	struct addrinfo *all, hints = { .ai_socktype = SOCK_STREAM };
	int r = getaddrinfo(file->host, file->port, &hints, &all);
	if (r)
		return fault_set(
			f, FAULT_UNAVAILABLE, "%s:%s: %s", file->host, file->port, gai_strerror(r));
	r = -ENOENT;
	for (const struct addrinfo *a = all; a && r; a = a->ai_next)
		r = connect_one(a, deadline_ms, ret_fd);
	freeaddrinfo(all);
	if (r)
		return fault_set(
			f, FAULT_UNAVAILABLE, "%s:%s: %s", file->host, file->port, strerror(-r));
	return 0;
}

/* The base64 form of 16 random bytes: of the 22nd character only two bits count. */
static void make_key(char ret[static KEY_TEXT])
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char random[22];
	must(getrandom(random, sizeof random, 0) == sizeof random); /* short ones always succeed */
	for (int i = 0; i < 21; i++)
		ret[i] = digits[random[i] & 63];
	ret[21] = digits[(random[21] & 3) << 4];
	memcpy(ret + 22, "==", 3);
}

static int send_all(int fd, const char *data, size_t len, int64_t deadline_ms)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0) {
			int r = wait_for(fd, POLLOUT, deadline_ms);
			if (r)
				return r;
			continue;
		}
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int ask(int fd, const struct link_file *file, const char *key, int64_t deadline_ms)
{
	bool is_v6 = strchr(file->host, ':');
	_cleanup_(freep) char *request = xasprintf(
		"GET %s%cworker=%s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUpgrade: "
		"websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nAuthorization: Bearer "
		"%s\r\n\r\n",
		file->path, strchr(file->path, '?') ? '&' : '?', file->worker, is_v6 ? "[" : "",
		file->host, is_v6 ? "]" : "", file->port, key, file->secret);
	return send_all(fd, request, strlen(request), deadline_ms);
}

/* Reads to the empty line; *ret_len is where the head ends. */
static int read_head(int fd, struct buf *in, size_t *ret_len, int64_t deadline_ms)
{
	char chunk[4096];
	for (;;) {
		ssize_t n = recv(fd, chunk, sizeof chunk, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0) {
			int r = errno == EAGAIN || errno == EINTR
					? wait_for(fd, POLLIN, deadline_ms)
					: -errno;
			if (r)
				return r;
			continue;
		}
		if (buf_add(in, chunk, (size_t)n))
			return -EMSGSIZE;
		const char *end = memmem(in->data, in->len, "\r\n\r\n", 4);
		if (end) {
			*ret_len = (size_t)(end - in->data) + 4;
			return 0;
		}
	}
}

/* Whether the head has a line `name: value`, both in any case of letters unless `exact`. */
static bool has_header(const char *head, const char *name, const char *value, bool exact)
{
	size_t name_len = strlen(name), value_len = strlen(value);
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
			continue;
		const char *v = line + name_len + 1;
		v += strspn(v, " \t");
		size_t len = strcspn(v, "\r");
		while (len && (v[len - 1] == ' ' || v[len - 1] == '\t'))
			len--;
		if (len == value_len &&
			(exact ? strncmp(v, value, len) : strncasecmp(v, value, len)) == 0)
			return true;
	}
	return false;
}

static int check_head(const char *head, const char *key, struct fault *f)
{
	char accept[WS_ACCEPT_TEXT];
	int status = 0;
	if (sscanf(head, "HTTP/1.1 %3d", &status) == 1 && status == 401) {
		fault_set(f, FAULT_UNAUTHORIZED, "refused: %.*s", (int)strcspn(head, "\r"), head);
		return LINK_E_REFUSED;
	}
	if (status != 101)
		return fault_set(f, FAULT_UNAVAILABLE, "not an upgrade: %.*s",
			(int)strcspn(head, "\r"), head);
	ws_accept_key(key, accept);
	if (!has_header(head, "Upgrade", "websocket", false) ||
		!has_header(head, "Sec-WebSocket-Accept", accept, true))
		return fault_set(f, FAULT_UNAVAILABLE, "the answer is no upgrade to a WebSocket");
	return 0;
}

int link_open(const struct link_file *file, int *ret_fd, struct buf *rest, struct fault *f)
{
	int64_t deadline_ms = clock_mono_ms() + OPEN_MS;
	_cleanup_(closep) int fd = -1;
	char key[KEY_TEXT];
	size_t head_len = 0;
	int r = dial(file, deadline_ms, &fd, f);
	if (r)
		return r;
	make_key(key);
	buf_init(rest, HEAD_MAX);
	r = ask(fd, file, key, deadline_ms);
	if (r == 0)
		r = read_head(fd, rest, &head_len, deadline_ms);
	if (r) {
		buf_done(rest);
		return fault_set(
			f, FAULT_UNAVAILABLE, "%s:%s: %s", file->host, file->port, strerror(-r));
	}
	rest->data[head_len - 2] = '\0'; /* the head as a text; what follows it is kept */
	r = check_head(rest->data, key, f);
	if (r) {
		buf_done(rest);
		return r;
	}
	buf_drop(rest, head_len);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
