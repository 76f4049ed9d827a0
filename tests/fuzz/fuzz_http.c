/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP requests, from what libmicrohttpd hands over to the answer, with the core behind them.
 *
 * An input is a request: "METHOD TARGET", lines "Name: value" (a Host is added if there is none),
 * an empty line, the body; the next one comes behind a line "%%". The library is played here: its
 * part, bytes to lines, is not ours. In an upload each line of the body is a part, "KEY FILENAME
 * CONTENT". There is one thread, which is in turn that of HTTP, that of the core, and one of the
 * pool for queries. Requests that wait for the core get some turns of its loop, and are let go when
 * the gateway ends. Each request is answered once, with a status, and no answer that calls itself
 * JSON is anything else.
 */
#include "fuzz.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/log.h"
#include "hands.h"
#include "transport/http/request.h"
#include "transport/http/server/pool.h"
#include "transport/http/server/server.h"
#include "transport/registry.h"

enum { INPUT_MAX = 32 * 1024, FIELDS_MAX = 64, REQUESTS_MAX = 16, TURNS = 12 };

struct field {
	enum MHD_ValueKind kind;
	char *name, *value; /* value NULL: there is none */
	size_t name_len, value_len;
};

/* What the library calls a connection: one request, here. */
struct MHD_Connection {
	char *method, *target;
	struct field fields[FIELDS_MAX];
	int n_fields;
	void *context, *socket_context;
	int fds[2]; /* ours and the client's */
	_Atomic bool is_suspended;
	bool is_answered, is_done;
};

struct MHD_PostProcessor {
	MHD_PostDataIterator take;
	void *arg;
	struct buf body;
};

/* The daemon: what it was started with. */
static struct {
	MHD_AccessHandlerCallback access;
	void *arg;
	void *(*on_target)(void *cls, const char *uri, struct MHD_Connection *conn);
	MHD_RequestCompletedCallback completed;
	MHD_NotifyConnectionCallback notify;
	struct server *server;
	bool is_opening;
} daemon_of_play;

static void on_http_thread(void (*step)(void *arg), void *arg)
{
	struct beat *of_core = beat_of_thread;
	server_enter(daemon_of_play.server);
	step(arg);
	server_leave(daemon_of_play.server);
	beat_of_thread = of_core;
}

/* The thread of HTTP, which is this one. That which asks for the machine's name, while the
 * transport is opened, does not come to be. */
int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *arg), void *arg);
int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *arg), void *arg)
{
	(void)thread, (void)attributes, (void)run;
	if (daemon_of_play.is_opening)
		return EAGAIN;
	daemon_of_play.server = arg;
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_join(pthread_t thread, void **ret)
{
	(void)thread, (void)ret;
	return 0;
}

/* The pool for queries: what is posted is run a little later. */
static struct pool {
	struct list tasks;
} pool_of_play;

static void run_tasks(void)
{
	struct list *n;
	while ((n = list_pop(&pool_of_play.tasks))) {
		struct pool_task *t = container_of(n, struct pool_task, node);
		t->run(t);
	}
}

int __wrap_pool_start(struct pool **ret, unsigned threads, unsigned queue_max);
int __wrap_pool_start(struct pool **ret, unsigned threads, unsigned queue_max)
{
	must(threads && queue_max);
	list_init(&pool_of_play.tasks);
	*ret = &pool_of_play;
	return 0;
}

bool __wrap_pool_post(struct pool *p, struct pool_task *t);
bool __wrap_pool_post(struct pool *p, struct pool_task *t)
{
	list_append(&p->tasks, &t->node);
	return true;
}

void __wrap_pool_stop(struct pool *p);
void __wrap_pool_stop(struct pool *p)
{
	must(!p || p == &pool_of_play);
	if (p)
		run_tasks();
}

void __wrap_pool_free(struct pool *p);
void __wrap_pool_free(struct pool *p)
{
	(void)p;
}

struct MHD_Daemon *MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accept,
	void *accept_arg, MHD_AccessHandlerCallback access, void *arg, ...)
{
	va_list args;
	int option;
	(void)flags, (void)port, (void)accept, (void)accept_arg;
	daemon_of_play.access = access;
	daemon_of_play.arg = arg;
	va_start(args, arg);
	while ((option = va_arg(args, int)) != MHD_OPTION_END) {
		switch (option) {
		case MHD_OPTION_URI_LOG_CALLBACK:
			daemon_of_play.on_target = va_arg(
				args, void *(*)(void *, const char *, struct MHD_Connection *));
			(void)va_arg(args, void *);
			break;
		case MHD_OPTION_NOTIFY_COMPLETED:
			daemon_of_play.completed = va_arg(args, MHD_RequestCompletedCallback);
			(void)va_arg(args, void *);
			break;
		case MHD_OPTION_NOTIFY_CONNECTION:
			daemon_of_play.notify = va_arg(args, MHD_NotifyConnectionCallback);
			(void)va_arg(args, void *);
			break;
		case MHD_OPTION_EXTERNAL_LOGGER:
			(void)va_arg(args, void *);
			(void)va_arg(args, void *);
			break;
		case MHD_OPTION_LISTEN_SOCKET:
			close(va_arg(args, int));
			break;
		case MHD_OPTION_CONNECTION_MEMORY_LIMIT:
		case MHD_OPTION_CONNECTION_MEMORY_INCREMENT:
			(void)va_arg(args, size_t);
			break;
		default: /* a number */
			(void)va_arg(args, unsigned);
		}
	}
	va_end(args);
	return (struct MHD_Daemon *)(void *)&daemon_of_play;
}

void MHD_stop_daemon(struct MHD_Daemon *daemon)
{
	(void)daemon;
}

enum MHD_Result MHD_run(struct MHD_Daemon *daemon)
{
	(void)daemon;
	return MHD_YES;
}

enum MHD_Result MHD_set_connection_option(
	struct MHD_Connection *conn, enum MHD_CONNECTION_OPTION option, ...)
{
	(void)conn, (void)option;
	return MHD_YES;
}

enum MHD_Result MHD_get_timeout(struct MHD_Daemon *daemon, MHD_UNSIGNED_LONG_LONG *ret)
{
	(void)daemon, (void)ret;
	return MHD_NO;
}

const union MHD_DaemonInfo *MHD_get_daemon_info(
	struct MHD_Daemon *daemon, enum MHD_DaemonInfoType type, ...)
{
	static union MHD_DaemonInfo info;
	(void)daemon, (void)type;
	info.epoll_fd = -1;
	return &info;
}

const union MHD_ConnectionInfo *MHD_get_connection_info(
	struct MHD_Connection *conn, enum MHD_ConnectionInfoType type, ...)
{
	static _Thread_local union MHD_ConnectionInfo info;
	if (type == MHD_CONNECTION_INFO_DAEMON)
		info.daemon = (struct MHD_Daemon *)(void *)&daemon_of_play;
	else if (type == MHD_CONNECTION_INFO_CONNECTION_FD)
		info.connect_fd = conn->fds[0];
	else if (type == MHD_CONNECTION_INFO_SOCKET_CONTEXT)
		info.socket_context = conn->socket_context;
	else if (type == MHD_CONNECTION_INFO_CONNECTION_SUSPENDED)
		info.suspended = conn->is_suspended ? MHD_YES : MHD_NO;
	else
		return NULL;
	return &info;
}

void MHD_suspend_connection(struct MHD_Connection *conn)
{
	must(!conn->is_answered);
	conn->is_suspended = true;
}

void MHD_resume_connection(struct MHD_Connection *conn)
{
	must(conn->is_suspended);
	conn->is_suspended = false;
}

const char *MHD_lookup_connection_value(
	struct MHD_Connection *conn, enum MHD_ValueKind kind, const char *key)
{
	for (int i = 0; i < conn->n_fields; i++)
		if (conn->fields[i].kind == kind && strcasecmp(conn->fields[i].name, key) == 0)
			return conn->fields[i].value;
	return NULL;
}

int MHD_get_connection_values_n(
	struct MHD_Connection *conn, enum MHD_ValueKind kind, MHD_KeyValueIteratorN each, void *arg)
{
	int n = 0;
	for (int i = 0; i < conn->n_fields; i++) {
		const struct field *f = &conn->fields[i];
		if (!(f->kind & kind))
			continue;
		n++;
		if (each &&
			each(arg, f->kind, f->name, f->name_len, f->value, f->value_len) != MHD_YES)
			break;
	}
	return n;
}

int MHD_get_connection_values(
	struct MHD_Connection *conn, enum MHD_ValueKind kind, MHD_KeyValueIterator each, void *arg)
{
	int n = 0;
	for (int i = 0; i < conn->n_fields; i++) {
		const struct field *f = &conn->fields[i];
		if (!(f->kind & kind))
			continue;
		n++;
		if (each && each(arg, f->kind, f->name, f->value) != MHD_YES)
			break;
	}
	return n;
}

enum MHD_Result MHD_queue_response(
	struct MHD_Connection *conn, unsigned status, struct MHD_Response *response)
{
	must(!conn->is_answered && !conn->is_suspended && response);
	must(status >= 101 && status < 600);
	conn->is_answered = true;
	return MHD_YES;
}

struct MHD_PostProcessor *MHD_create_post_processor(
	struct MHD_Connection *conn, size_t size, MHD_PostDataIterator take, void *arg)
{
	(void)size;
	if (!MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Content-Type"))
		return NULL;
	struct MHD_PostProcessor *pp = xcalloc(1, sizeof *pp);
	pp->take = take;
	pp->arg = arg;
	buf_init(&pp->body, INPUT_MAX);
	return pp;
}

/* "KEY FILENAME CONTENT": in two pieces, after one that is empty. */
static void take_part(struct MHD_PostProcessor *pp, char *line, size_t len)
{
	char *name = memchr(line, ' ', len), *content;
	if (!name)
		return;
	*name++ = '\0';
	content = memchr(name, ' ', len - (size_t)(name - line));
	if (content)
		*content++ = '\0';
	size_t n = content ? len - (size_t)(content - line) : 0, half = n / 2;
	const char *file = *name ? name : NULL, *key = *line ? line : NULL;
	pp->take(
		pp->arg, MHD_POSTDATA_KIND, key, file, NULL, NULL, content ? content : "", 0, half);
	if (n > half)
		pp->take(pp->arg, MHD_POSTDATA_KIND, key, file, NULL, NULL, content + half, half,
			n - half);
}

enum MHD_Result MHD_post_process(struct MHD_PostProcessor *pp, const char *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		const char *newline = memchr(data + at, '\n', size - at);
		size_t len = newline ? (size_t)(newline - data) - at : size - at;
		_cleanup_(freep) char *line = xcalloc(1, len + 1);
		memcpy(line, data + at, len);
		take_part(pp, line, len);
		at += len + 1;
	}
	return MHD_YES;
}

enum MHD_Result MHD_destroy_post_processor(struct MHD_PostProcessor *pp)
{
	buf_done(&pp->body);
	free(pp);
	return MHD_YES;
}

struct play {
	uv_loop_t loop;
	struct store *store;
	struct core *core;
	struct transport *http;
	struct MHD_Connection requests[REQUESTS_MAX];
	size_t n_requests;
};

/* Name and value lie one behind the other, as in the library's memory. */
static void add_field(struct MHD_Connection *conn, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	if (conn->n_fields == FIELDS_MAX)
		return;
	struct field *f = &conn->fields[conn->n_fields++];
	name_len = strnlen(name, name_len);
	*f = (struct field){ kind, xcalloc(1, name_len + value_len + 2), NULL, name_len,
		value_len };
	memcpy(f->name, name, name_len);
	if (value) {
		f->value = f->name + name_len + 1;
		memcpy(f->value, value, value_len);
	}
}

/* The value stays its owner's. */
enum MHD_Result MHD_set_connection_value(
	struct MHD_Connection *conn, enum MHD_ValueKind kind, const char *name, const char *value)
{
	if (conn->n_fields == FIELDS_MAX)
		return MHD_NO;
	conn->fields[conn->n_fields++] = (struct field){ kind, xstrdup(name), (char *)value,
		strlen(name), value ? strlen(value) : 0 };
	return MHD_YES;
}

/* In place; the new length. */
static size_t decode(char *text, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		const char *high = i + 2 < len && text[i] == '%' && text[i + 1]
					   ? strchr(digits, text[i + 1] | 0x20)
					   : NULL;
		const char *low = high && text[i + 2] ? strchr(digits, text[i + 2] | 0x20) : NULL;
		if (low) {
			text[n++] = (char)((high - digits) << 4 | (low - digits));
			i += 2;
		} else {
			text[n++] = text[i] == '+' ? ' ' : text[i];
		}
	}
	return n;
}

static void read_query(struct MHD_Connection *conn)
{
	const char *query = strchr(conn->target, '?');
	_cleanup_(freep) char *rest = query ? xstrdup(query + 1) : NULL;
	for (char *at = rest, *word; at && (word = strsep(&at, "&"));) {
		char *value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		size_t name_len = decode(word, strlen(word));
		add_field(conn, MHD_GET_ARGUMENT_KIND, word, name_len, value,
			value ? decode(value, strlen(value)) : 0);
	}
}

static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));
	return newline ? newline : end;
}

/* Where the body begins. */
static const char *read_head(struct MHD_Connection *conn, const char *at, const char *end)
{
	const char *stop = line_end(at, end);
	_cleanup_(freep) char *line = strndup(at, (size_t)(stop - at));
	size_t method = strcspn(line, " ");
	conn->method = strndup(line, method);
	conn->target = xstrdup(line + method + (line[method] == ' '));
	read_query(conn);
	at = stop < end ? stop + 1 : end;
	while (at < end && *at != '\n') {
		stop = line_end(at, end);
		const char *colon = memchr(at, ':', (size_t)(stop - at));
		if (colon && colon > at) {
			const char *value = colon + 1 + (colon + 1 < stop && colon[1] == ' ');
			/* The library's headers have no NUL. */
			size_t len = strnlen(value, (size_t)(stop - value));
			add_field(conn, MHD_HEADER_KIND, at, (size_t)(colon - at), value, len);
		}
		at = stop < end ? stop + 1 : end;
	}
	if (!MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Host"))
		add_field(conn, MHD_HEADER_KIND, "Host", 4, "127.0.0.1", 9);
	return at < end ? at + 1 : end;
}

/* One call of the library's: with a piece of the body, or with none. */
struct piece {
	struct MHD_Connection *conn;
	const char *data;
	size_t len;
};

static void call(void *arg)
{
	const struct piece *piece = arg;
	struct MHD_Connection *conn = piece->conn;
	size_t left = piece->len;
	if (daemon_of_play.access(daemon_of_play.arg, conn, conn->target, conn->method, "HTTP/1.1",
		    piece->data, &left, &conn->context) == MHD_YES &&
		!conn->is_answered)
		return;
	conn->is_done = true;
	daemon_of_play.completed(NULL, conn, &conn->context, MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

static void step(struct MHD_Connection *conn, const char *data, size_t len)
{
	if (!conn->is_done && !conn->is_suspended)
		on_http_thread(call, &(struct piece){ conn, data, len });
}

static void begin(void *arg)
{
	struct MHD_Connection *conn = arg;
	daemon_of_play.notify(NULL, conn, &conn->socket_context, MHD_CONNECTION_NOTIFY_STARTED);
	conn->context = daemon_of_play.on_target(daemon_of_play.arg, conn->target, conn);
}

static void finish(void *arg)
{
	struct MHD_Connection *conn = arg;
	daemon_of_play.notify(NULL, conn, &conn->socket_context, MHD_CONNECTION_NOTIFY_CLOSED);
}

static void play_request(struct play *p, const char *at, const char *end)
{
	struct MHD_Connection *conn = &p->requests[p->n_requests++];
	const char *body = read_head(conn, at, end);
	size_t len = (size_t)(end - body), half = len / 2;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, conn->fds) == 0);
	on_http_thread(begin, conn);
	step(conn, NULL, 0);
	if (half)
		step(conn, body, half);
	if (len)
		step(conn, body + half, len - half);
	for (int i = 0; i < TURNS && !conn->is_done; i++) {
		step(conn, NULL, 0);
		run_tasks();
		hands_turn(&p->loop);
	}
}

static void free_request(struct MHD_Connection *conn)
{
	for (int k = 0; k < TURNS && !conn->is_done; k++) {
		run_tasks();
		step(conn, NULL, 0);
	}
	must(conn->is_done);
	on_http_thread(finish, conn);
	for (int i = 0; i < conn->n_fields; i++)
		free(conn->fields[i].name);
	free(conn->method);
	free(conn->target);
	close(conn->fds[0]);
	close(conn->fds[1]);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	(void)s, (void)type;
	return ftw->level ? remove(path) : 0;
}

static char directory[40];

static void leave(void)
{
	(void)rmdir(directory);
}

static void up(struct play *p)
{
	static const char *const sets[] = { "it.port=0", "it.threads=1", "it.body=4k",
		"it.artifact=2k" };
	static struct http_settings settings;
	struct fault f;
	if (!directory[0]) {
		snprintf(directory, sizeof directory, "%s/mist-fuzz-XXXXXX",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		must(mkdtemp(directory) && atexit(leave) == 0);
		const struct conf_section section = { "it", http_conf, sizeof settings, false, "" };
		struct conf *conf;
		must(conf_open(&conf, NULL, sets, ARRAY_SIZE(sets), &f) == 0);
		must(conf_read(conf, &section, NULL, &settings, &f) == 0);
		conf_free(conf);
	}
	must(uv_loop_init(&p->loop) == 0);
	must(store_open(&p->store, &store_mem, &(struct store_settings){ directory }, &f) == 0);
	p->core = core_new(&(struct core_parts){
		.loop = &p->loop, .store = p->store, .crew = &hands_crew, .mailbox_max = 1000 });
	hands = (struct hands){ .core = p->core };
	core_configure(p->core, catalog_of(2, 1), &limits);
	const struct transport_env env = { .name = "http",
		.gateway = "gateway",
		.in = core_intake(p->core, "http"),
		.loop = &p->loop,
		.timers = core_timers(p->core),
		.store = p->store,
		.artifacts = directory };
	daemon_of_play.is_opening = true;
	must(transport_open(&p->http, &http_transport, &settings, &env, &f) == 0);
	daemon_of_play.is_opening = false;
	core_set_doors(p->core, &p->http, 1);
	must(core_recover(p->core) == 0);
	must(p->http->ops->start(p->http->self, &f) == 0);
	core_start(p->core);
}

static void down(struct play *p)
{
	core_let_go(p->core);
	hands_turn(&p->loop);
	store_stop(p->store);
	core_close(p->core);
	works_finish(&p->loop);
	for (size_t i = 0; i < p->n_requests; i++)
		free_request(&p->requests[i]);
	p->http->ops->stop(p->http->self);
	transport_close(p->http);
	core_free(p->core);
	store_close(p->store);
	must(uv_loop_close(&p->loop) == 0);
	nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play *p;
	const char *at = (const char *)data, *end = at + size;
	if (size == 0 || size > INPUT_MAX)
		return 0;
	log_set_level(_LOG_LEVEL_MAX);
	p = xcalloc(1, sizeof *p);
	up(p);
	while (at < end && p->n_requests < REQUESTS_MAX) {
		const char *next = memmem(at, (size_t)(end - at), "\n%%\n", 4);
		play_request(p, at, next ? next : end);
		at = next ? next + 4 : end;
	}
	down(p);
	free(p);
	return 0;
}
