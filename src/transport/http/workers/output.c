/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v2/api/workers/{id}/output: what a worker prints, while it lives and, if it ended badly, as
 * long as that is kept (workers.outputs).
 *
 * It stands in two files of the data directory, `logs/worker-ID.log` and, older, the same with
 * `.1`, which are read as one text (base/disk/rolling.h): the worker writes to the first, and when
 * that becomes large its newer half is moved to the second (worker/leavings.c). Offsets count what
 * it ever printed, so that they mean the same after that; the answer tells its own in Mist-Offset.
 *
 * Nothing of this is read on the HTTP threads, which a disk that hangs must not hold up: a piece is
 * read on the pool. A follower has what was read last; when its reader has all of that it asks for
 * more, and sleeps. All that ask are looked after by one task of the pool. Who sleeps without
 * anything new asks again with each sweep of its thread. The core is not asked: whether the worker
 * lives is told by its directory, which is removed after all that it printed has been collected. */
#include "transport/http/workers/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/disk/rolling.h"
#include "transport/http/events/events.h"
#include "transport/http/request.h"
#include "transport/http/server/server.h"

enum {
	LIMIT_DEFAULT = 1 << 20,
	LIMIT_MAX = 16 << 20,
	TAIL_MAX = 1000000,
	BLOCK = 16 * 1024,
	PIECE = 2 * BLOCK, /* what waits for a follower that does not read */
	LOCKED_MAX = 20,   /* looks in a row at what somebody has locked */
	TRIES_MAX = 50,
	TRY_MS = 2,
};

/* Whose turn it is to touch what is read and from where. */
enum follower_state {
	FOLLOWER_WANTS, /* nobody's: it asks, or will */
	FOLLOWER_ASKS,  /* the pool's */
	FOLLOWER_HAS    /* its HTTP thread's */
};

struct follower {
	struct sleeper sleeper;
	struct list asking; /* in http->followers */
	struct http *http;
	struct server *server; /* that its connection is of */
	unsigned n_refs;       /* of its response, and while it asks; under the lock of followers */
	int socket;            /* libmicrohttpd's */
	_Atomic int state;     /* enum follower_state */
	struct rolling output;
	int64_t at;
	unsigned n_locked;
	char *directory;
	char *piece; /* of `len` bytes, `given` of which are sent */
	size_t len, given;
	bool is_over;
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

/* Not while it is being moved, if that does not take long. */
static int output_open(const struct request *rq, struct rolling *ret)
{
	const struct timespec pause = { 0, TRY_MS * 1000000 };
	_cleanup_(freep) char *path = path_of_output(rq);
	int r = rolling_open(path, ret);
	for (int i = 0; r == 0 && i < TRIES_MAX && rolling_lock(ret) == -EAGAIN; i++)
		nanosleep(&pause, NULL);
	if (r == 0)
		rolling_look(ret);
	return r;
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
	const struct request *rq, const struct rolling *o, int64_t *ret_from, size_t *ret_len)
{
	int64_t size = o->end, tail = rq->tail;
	int64_t from = rq->offset >= 0 ? rq->offset : size - rq->limit;
	from = from < o->begin[0] ? o->begin[0] : from > size ? size : from;
	size_t len = (size_t)(size - from < rq->limit ? size - from : rq->limit);
	char *text = xcalloc(1, len + 1);
	size_t n = rolling_read(o, from, text, len), skipped = 0;
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

static void tell_offset(struct request *rq, int64_t offset)
{
	snprintf(rq->answer_offset, sizeof rq->answer_offset, "%lld", (long long)offset);
}

static void output_read(struct request *rq)
{
	struct rolling o;
	int64_t from;
	size_t len;
	if (output_open(rq, &o) < 0) {
		answer_missing(rq);
		return;
	}
	char *text = read_asked(rq, &o, &from, &len);
	rolling_close(&o); /* and its lock */
	tell_offset(rq, from);
	answer_text(rq, 200, TEXT_PLAIN, text, len);
}

static void follow_read(struct request *rq)
{
	struct rolling o;
	int64_t from = rq->offset;
	size_t len;
	if (output_open(rq, &o) < 0) {
		answer_missing(rq);
		return;
	}
	if (from < 0)
		free(read_asked(rq, &o, &from, &len));
	from = from < o.begin[0] ? o.begin[0] : from > o.end ? o.end : from;
	rolling_unlock(&o);
	struct follower *f = rq->follower = xcalloc(1, sizeof *f);
	list_init(&f->sleeper.node);
	list_init(&f->asking);
	f->n_refs = 1;
	f->http = rq->http;
	f->output = o;
	f->at = from;
	f->directory = xasprintf("%s/workers/%s", rq->http->env.directory, rq->id);
	subscriber_take_over(rq);
	tell_offset(rq, from);
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
	else if (subscriber_reserve(rq))
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

static void follower_free(struct follower *f)
{
	rolling_close(&f->output);
	free(f->piece);
	free(f->directory);
	free(f);
}

static void follower_unref(struct followers *all, struct follower *f)
{
	pthread_mutex_lock(&all->lock);
	bool is_last = --f->n_refs == 0;
	pthread_mutex_unlock(&all->lock);
	if (is_last)
		follower_free(f);
}

/* Pool: the next piece, if there is one. What was dropped before it could be read is passed over.
 * False: it must not be looked at just now. */
static bool follower_look(struct follower *f)
{
	bool is_over = access(f->directory, F_OK) < 0; /* before its last words are read */
	bool is_locked = rolling_lock(&f->output) == 0;
	if (!is_locked && ++f->n_locked < LOCKED_MAX)
		return false;
	f->n_locked = 0;
	if (!is_locked) /* a function may hold that lock for ever */
		rolling_look(&f->output);
	const struct rolling *o = &f->output;
	if (f->at < o->begin[0])
		f->at = o->begin[0];
	else if (f->at > o->end) /* nothing tells any more where it stands */
		f->at = o->begin[1];
	size_t len = (size_t)(o->end - f->at < PIECE ? o->end - f->at : PIECE);
	f->piece = len ? xcalloc(1, len) : NULL;
	f->len = len ? rolling_read(o, f->at, f->piece, len) : 0;
	f->given = 0;
	f->at += (int64_t)f->len;
	rolling_unlock(&f->output);
	f->is_over = is_over && f->len == 0;
	if (f->len == 0)
		free(TAKE_PTR(f->piece));
	return f->len || f->is_over;
}

static void list_move(struct list *from, struct list *to)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	list_init(from);
}

/* Pool. */
static void followers_look(struct pool_task *task)
{
	struct followers *all = container_of(task, struct followers, task);
	struct list asked, refused, *n;
	pthread_mutex_lock(&all->lock);
	list_move(&all->asking, &asked);
	pthread_mutex_unlock(&all->lock);
	while ((n = list_pop(&asked))) {
		struct follower *f = container_of(n, struct follower, asking);
		bool has = follower_look(f);
		atomic_store(&f->state, has ? FOLLOWER_HAS : FOLLOWER_WANTS);
		if (has)
			sleeper_wake(f->server, &f->sleeper);
		follower_unref(all, f);
	}
	/* Those who have asked since then, behind what others want of the pool. */
	pthread_mutex_lock(&all->lock);
	all->is_posted = !list_empty(&all->asking) && pool_post(all->pool, &all->task);
	list_init(&refused);
	if (!all->is_posted)
		list_move(&all->asking, &refused);
	pthread_mutex_unlock(&all->lock);
	while ((n = list_pop(&refused))) {
		struct follower *f = container_of(n, struct follower, asking);
		atomic_store(&f->state, FOLLOWER_WANTS);
		follower_unref(all, f);
	}
}

/* Where the pool takes nothing now it is asked with the next sweep. */
static void follower_ask(struct follower *f)
{
	struct followers *all = &f->http->followers;
	pthread_mutex_lock(&all->lock);
	if (!all->is_posted)
		all->is_posted = pool_post(all->pool = f->http->pool, &all->task);
	if (all->is_posted) {
		atomic_store(&f->state, FOLLOWER_ASKS);
		f->n_refs++;
		list_append(&all->asking, &f->asking);
	}
	pthread_mutex_unlock(&all->lock);
}

void followers_init(struct followers *all)
{
	must(pthread_mutex_init(&all->lock, NULL) == 0);
	list_init(&all->asking);
	all->task.run = followers_look;
}

void followers_done(struct followers *all)
{
	pthread_mutex_destroy(&all->lock);
}

static ssize_t follower_read(void *cls, uint64_t pos, char *to, size_t max)
{
	struct follower *f = cls;
	(void)pos;
	if (atomic_load(&f->http->is_stopping) || has_hung_up(f->socket))
		return answer_cut(f->sleeper.conn);
	if (atomic_load(&f->state) == FOLLOWER_HAS) {
		if (f->is_over)
			return MHD_CONTENT_READER_END_OF_STREAM;
		size_t n = f->len - f->given < max ? f->len - f->given : max;
		memcpy(to, f->piece + f->given, n);
		f->given += n;
		if (f->given == f->len) {
			free(TAKE_PTR(f->piece));
			atomic_store(&f->state, FOLLOWER_WANTS);
			follower_ask(f);
		}
		return (ssize_t)n;
	}
	if (atomic_load(&f->state) == FOLLOWER_WANTS)
		follower_ask(f);
	server_sleep(&f->sleeper);
	return 0;
}

void follower_leave(struct follower *f)
{
	list_remove(&f->sleeper.node);
	atomic_fetch_sub(&f->http->n_subscribers, 1);
	follower_unref(&f->http->followers, f);
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
	f->server = rq->connection->server;
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
