/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v2/api/workers/{id}/output: what a worker prints, while it lives and, if it ended badly, as
 * long as that is kept (workers.outputs).
 *
 * It stands in two files of the data directory, `logs/worker-ID.log` and, older, the same with
 * `.1`: the worker writes to the first, and when that becomes large its newer half is moved to the
 * second (worker/leavings.c). They are read as one text. A piece of it is read on the pool; who
 * follows it is looked after by the HTTP thread of its connection, which sleeps while there is
 * nothing new and is woken with the thread's next sweep. The core is not asked: whether the worker
 * lives is told by its directory, which is removed after all that it printed has been collected. */
#include "transport/http/workers/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "transport/http/events/events.h"
#include "transport/http/request.h"
#include "transport/http/server/server.h"

enum {
	LIMIT_DEFAULT = 1 << 20,
	LIMIT_MAX = 16 << 20,
	TAIL_MAX = 1000000,
	BLOCK = 16 * 1024,
};

/* Both files, the older one first; fd -1: it is not there. */
struct output {
	int fd[2];
	int64_t size[2];
	struct stat older; /* which file the older one was; zeroes: none */
};

struct follower {
	struct sleeper sleeper;
	struct http *http;
	int socket; /* libmicrohttpd's */
	struct output output;
	int64_t at[2];
	char *older_path, *directory;
};

static char *path_of_output(const struct request *rq)
{
	return xasprintf("%s/logs/worker-%s.log", rq->http->env.directory, rq->id);
}

/* Ids of workers, and so names of files. */
static bool is_worker_id(const char *id)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return *id && strlen(id) < 1000 && id[strspn(id, allowed)] == '\0';
}

/* A regular file, or -1. */
static int open_file(const char *path, int64_t *ret_size, struct stat *ret)
{
	struct stat st;
	_cleanup_(closep) int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	*ret_size = st.st_size;
	*ret = st;
	return TAKE_FD(fd);
}

static void output_close(struct output *o)
{
	closep(&o->fd[0]);
	closep(&o->fd[1]);
	o->fd[0] = o->fd[1] = -1;
}

/* The newer file first: what is moved in between is then missing from it and read from the other.
 */
static int output_open_both(const struct request *rq, struct output *ret)
{
	_cleanup_(freep) char *path = path_of_output(rq), *older = xasprintf("%s.1", path);
	struct stat st;
	*ret = (struct output){ .fd = { -1, -1 } };
	ret->fd[1] = open_file(path, &ret->size[1], &st);
	if (ret->fd[1] < 0)
		return -ENOENT;
	ret->fd[0] = open_file(older, &ret->size[0], &ret->older);
	if (fstat(ret->fd[1], &st) == 0)
		ret->size[1] = st.st_size;
	return 0;
}

/* As much as there is. */
static size_t read_piece(const struct output *o, int64_t from, char *to, size_t len)
{
	size_t n = 0;
	while (n < len) {
		bool is_newer = from >= o->size[0];
		int64_t at = is_newer ? from - o->size[0] : from;
		size_t most = len - n;
		if (!is_newer && (int64_t)most > o->size[0] - at)
			most = (size_t)(o->size[0] - at);
		ssize_t r = pread(o->fd[is_newer], to + n, most, at);
		if (r <= 0)
			break;
		n += (size_t)r;
		from += r;
	}
	return n;
}

/* Where the last `n_lines` lines begin; the end of the last may be missing. */
static size_t last_lines(const char *text, size_t len, int64_t n_lines)
{
	size_t at = len && text[len - 1] == '\n' ? len - 1 : len;
	if (n_lines == 0)
		return len;
	for (; at > 0; at--)
		if (text[at - 1] == '\n' && --n_lines == 0)
			break;
	return at;
}

/* What is asked for, of what is there now, and where it begins; the caller's. */
static char *read_asked(
	const struct request *rq, const struct output *o, int64_t *ret_from, size_t *ret_len)
{
	int64_t size = o->size[0] + o->size[1], tail = rq->tail;
	int64_t from = rq->offset >= 0 ? rq->offset : size - rq->limit;
	from = from < 0 ? 0 : from > size ? size : from;
	size_t len = (size_t)(size - from < rq->limit ? size - from : rq->limit);
	char *text = xcalloc(1, len + 1);
	size_t n = read_piece(o, from, text, len), skipped = 0;
	if (rq->offset < 0 && from > 0) { /* whole lines */
		const char *end = memchr(text, '\n', n);
		skipped = end ? (size_t)(end + 1 - text) : 0;
	}
	if (tail >= 0)
		skipped += last_lines(text + skipped, n - skipped, tail);
	memmove(text, text + skipped, n - skipped);
	text[n - skipped] = '\0';
	*ret_from = from + (int64_t)skipped;
	*ret_len = n - skipped;
	return text;
}

static void answer_missing(struct request *rq)
{
	struct fault f;
	fault_set(&f, FAULT_NOT_FOUND,
		"there is no output of a worker %.128s: it never was, or ended in order and left "
		"none",
		rq->id);
	answer_fault(rq, &f);
}

static void output_read(struct request *rq)
{
	struct output o;
	int64_t from;
	size_t len;
	if (output_open_both(rq, &o) < 0) {
		answer_missing(rq);
		return;
	}
	char *text = read_asked(rq, &o, &from, &len);
	output_close(&o);
	answer_text(rq, 200, TEXT_PLAIN, text, len);
}

static void follow_read(struct request *rq)
{
	struct output o;
	int64_t from = rq->offset;
	size_t len;
	if (output_open_both(rq, &o) < 0) {
		answer_missing(rq);
		return;
	}
	if (from < 0)
		free(read_asked(rq, &o, &from, &len));
	if (from > o.size[0] + o.size[1]) /* some was cut since it was known */
		from = o.size[0] + o.size[1];
	struct follower *f = rq->follower = xcalloc(1, sizeof *f);
	_cleanup_(freep) char *path = path_of_output(rq);
	list_init(&f->sleeper.node);
	f->http = rq->http;
	f->output = o;
	f->at[0] = from < o.size[0] ? from : o.size[0];
	f->at[1] = from - f->at[0];
	f->older_path = xasprintf("%s.1", path);
	f->directory = xasprintf("%s/workers/%s", rq->http->env.directory, rq->id);
	atomic_fetch_add(&rq->http->n_subscribers, 1);
	rq->status = 200;
	rq->content_type = TEXT_PLAIN;
}

void worker_output(struct request *rq)
{
	bool is_followed = false;
	struct fault f;
	rq->limit = LIMIT_DEFAULT;
	rq->offset = rq->tail = -1;
	if (query_bool(rq, "follow", &is_followed, &f) < 0 ||
		query_int(rq, "limit", 1, LIMIT_MAX, &rq->limit, &f) < 0 ||
		query_int(rq, "offset", 0, INT64_MAX, &rq->offset, &f) < 0 ||
		query_int(rq, "tail", 0, TAIL_MAX, &rq->tail, &f) < 0)
		;
	else if (rq->offset >= 0 && rq->tail >= 0)
		fault_set(&f, FAULT_BAD_REQUEST,
			"query parameter tail: expected it without offset, which says where to "
			"begin");
	else if (!is_worker_id(rq->id))
		return answer_missing(rq);
	else if (!is_followed)
		return request_work(rq, output_read);
	else if (subscriber_is_welcome(rq))
		return request_work(rq, follow_read);
	else
		return;
	answer_fault(rq, &f);
}

static bool has_hung_up(int fd)
{
	struct pollfd p = { fd, POLLRDHUP, 0 };
	return poll(&p, 1, 0) > 0;
}

/* The number of a file that was removed is given to the next. */
static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The newer half of what was the newer file is the older one now, or is lost, and the newer begins
 * anew. What was printed since the last look and moved is passed over: how much that is nobody can
 * tell. False: it is being moved, and must not be looked at. */
static bool look_for_move(struct follower *f)
{
	struct stat st;
	if (flock(f->output.fd[1], LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return false;
	if (lstat(f->older_path, &st) == 0 && !is_same_file(&st, &f->output.older)) {
		f->output.older = st;
		f->at[1] = 0;
	} else if (fstat(f->output.fd[1], &st) == 0 && st.st_size < f->at[1]) {
		f->at[1] = 0;
	}
	(void)flock(f->output.fd[1], LOCK_UN);
	return true;
}

static ssize_t follower_read(void *cls, uint64_t pos, char *to, size_t max)
{
	struct follower *f = cls;
	(void)pos;
	if (atomic_load(&f->http->is_stopping) || has_hung_up(f->socket))
		return answer_cut(f->sleeper.conn);
	bool is_over = access(f->directory, F_OK) < 0; /* before its last words are read */
	if (f->at[0] < f->output.size[0]) {
		int64_t left = f->output.size[0] - f->at[0];
		ssize_t n = pread(
			f->output.fd[0], to, (int64_t)max < left ? max : (size_t)left, f->at[0]);
		f->at[0] = n > 0 ? f->at[0] + n : f->output.size[0];
		if (n > 0)
			return n;
	}
	bool may_look = look_for_move(f);
	ssize_t n = may_look ? pread(f->output.fd[1], to, max, f->at[1]) : 0;
	if (n > 0) {
		f->at[1] += n;
		return n;
	}
	if (is_over && may_look)
		return MHD_CONTENT_READER_END_OF_STREAM;
	server_sleep(&f->sleeper);
	return 0;
}

void follower_leave(struct follower *f)
{
	list_remove(&f->sleeper.node);
	atomic_fetch_sub(&f->http->n_subscribers, 1);
	output_close(&f->output);
	free(f->older_path);
	free(f->directory);
	free(f);
}

static void follower_left(void *cls)
{
	follower_leave(cls);
}

struct MHD_Response *follower_response(struct request *rq)
{
	struct follower *f = rq->follower;
	struct MHD_Response *response;
	f->sleeper.conn = rq->conn;
	f->socket = rq->connection->fd;
	if (rq->is_head) /* as of streams (events.c) */
		response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	else
		response = MHD_create_response_from_callback(
			MHD_SIZE_UNKNOWN, BLOCK, follower_read, f, follower_left);
	if (!response)
		return NULL;
	if (!rq->is_head)
		rq->follower = NULL;
	MHD_add_response_header(response, "Cache-Control", "no-cache, no-transform");
	MHD_add_response_header(response, "X-Accel-Buffering", "no");
	return response;
}
