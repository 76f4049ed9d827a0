/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's connections, from the first byte to its end: the session and the core behind it.
 *
 * An input is a script of lines. A line is a text frame of the current worker, in which $0 to $9
 * stand for the ids of the jobs, in the order of their making, and $d for the id of the newest
 * `describe`; a line that begins with '!' is something that happens:
 *
 *   !job         a job is submitted           !kill      the worker's process is gone
 *   !cancel N    job N is cancelled           !close     its connection breaks
 *   !worker N    the N-th worker is current   !connect   it connects, again perhaps
 *   !raw BYTES   as they are, on its socket   !hello     it says hello, as it should
 *   !ask         all that can be asked for    !stop      the gateway begins to stop
 *   !unpolled    it connects, and the kernel does not let us poll its socket
 *   !manual      first of all: the describer is played by the script, too
 *
 * Whatever happens, each frame that the gateway sends is one of the protocol, all answers are
 * JSON, and at the end nothing is left: the loop closes, no memory leaks. One thread, no clock:
 * the store's thread is not started, so jobs are those of callers who wait. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"
#include "frame.h"
#include "house.h"
#include "inline.h"
#include "worker/leavings.h"
#include "worker/private.h"

enum {
	INPUT_MAX = 64 * 1024,
	PEERS_MAX = 8,
	JOBS_MAX = 10,
	LINES_MAX = 48,
	FRAME_MAX = 16384,
	TURNS = 1,
	ASKS_MAX = 3
};

struct peer {
	char *id; /* of its worker */
	int fd;   /* -1: not connected */
	struct buf got;
	bool is_describer;
};

struct play {
	uv_loop_t loop;
	struct store *store;
	struct core *core;
	struct intake *in;
	struct transport door, *self;
	struct room *room;
	struct peer peers[PEERS_MAX];
	size_t n_peers, current, n_jobs;
	char jobs[JOBS_MAX][UUID_TEXT];
	char describe[UUID_TEXT];
	bool is_manual;
	unsigned n_asking, n_asked;
};

static struct play *playing; /* for the crew's calls, which know the room only */

static void launch(
	void *room, struct worker *w, const struct runtime_settings *runtime, bool is_describer)
{
	struct member *m = member_new(room, w);
	struct play *p = playing;
	(void)runtime;
	m->is_describer = is_describer;
	m->is_running = true;
	m->born = -1;
	m->secret = xstrdup("secret");
	member_await_ready(m);
	if (p->n_peers < PEERS_MAX)
		p->peers[p->n_peers++] = (struct peer){
			.id = xstrdup(w->id), .fd = -1, .is_describer = is_describer
		};
}

/* There are no processes, and no files: the search for what they left takes milliseconds. */
void __wrap_leavings_clear(uv_loop_t *loop, const struct leavings *l);
void __wrap_leavings_clear(uv_loop_t *loop, const struct leavings *l)
{
	must(loop && l->directory && l->logs);
}

static struct member *member_of(struct play *p, const struct peer *peer)
{
	struct worker *w = peer ? crew_find(p->core, peer->id) : NULL;
	return w ? w->process : NULL;
}

static struct peer *current(struct play *p)
{
	return p->current < p->n_peers ? &p->peers[p->current] : NULL;
}

static void write_bytes(struct peer *peer, const void *bytes, size_t len)
{
	if (peer && peer->fd >= 0)
		(void)!send(peer->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A text frame with a mask of zeros. */
static void write_frame(struct peer *peer, const char *text, size_t len)
{
	unsigned char head[14] = { 0x81 };
	size_t n = 2;
	if (len < 126) {
		head[1] = 0x80 | (unsigned char)len;
	} else {
		head[1] = 0x80 | 126;
		head[2] = (unsigned char)(len >> 8), head[3] = (unsigned char)len;
		n = 4;
	}
	write_bytes(peer, head, n + 4);
	write_bytes(peer, text, len);
}

static void say(struct peer *peer, const char *text)
{
	write_frame(peer, text, strlen(text));
}

static void released(struct arrival *a)
{
	close(a->fd);
	free(a->worker);
	free(a->peer);
	free(a->extra);
	free(a);
}

static void arrive(struct play *p, struct peer *peer, int fd)
{
	struct arrival *a = xcalloc(1, sizeof *a);
	a->worker = xstrdup(peer->id);
	a->peer = xstrdup("127.0.0.1:1");
	a->fd = fd;
	a->release = released;
	const struct worker_door *door = room_door(p->room);
	if (door->arrive(door->room, a) < 0)
		released(a);
}

static void connect_peer(struct play *p, struct peer *peer)
{
	int fds[2];
	if (!peer || !member_of(p, peer))
		return;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	closep(&peer->fd);
	buf_drop(&peer->got, peer->got.len);
	peer->fd = fds[1];
	arrive(p, peer, fds[0]);
}

/* As when epoll has no watch left: of this one it takes none either. */
static void connect_unpolled(struct play *p, struct peer *peer)
{
	if (!peer || !member_of(p, peer))
		return;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	must(fd >= 0);
	arrive(p, peer, fd);
}

/* What a frame of the gateway means to the play. */
static void take_frame(struct play *p, struct peer *peer, const char *text, size_t len)
{
	_cleanup_(json_decrefp) json_t *frame = NULL;
	enum frame_type type;
	struct fault f;
	must(frame_parse(text, len, FRAME_FROM_GATEWAY, &type, &frame, &f) == 0);
	if (type == FRAME_DESCRIBE) {
		snprintf(p->describe, sizeof p->describe, "%s", json_string_of(frame, "id"));
		if (peer->is_describer && !p->is_manual) {
			_cleanup_(freep) char *answer =
				xasprintf("{\"type\":\"described\",\"id\":\"%s\",\"signature\":{"
					  "\"lang\":\"c\","
					  "\"execute\":{},\"tags\":[]}}",
					p->describe);
			say(peer, answer);
		}
	}
}

/* Frames of a server have no mask. */
static void take_bytes(struct play *p, struct peer *peer)
{
	char bytes[8192];
	ssize_t n;
	if (!peer->got.max)
		buf_init(&peer->got, 1 << 24);
	while (peer->fd >= 0 && (n = recv(peer->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
		must(buf_add(&peer->got, bytes, (size_t)n) == 0);
	for (;;) {
		const unsigned char *b = (const unsigned char *)peer->got.data;
		size_t have = peer->got.len, head = 2, len = have >= 2 ? b[1] & 0x7f : 0;
		if (len == 126 && have >= 4) {
			head = 4;
			len = (size_t)b[2] << 8 | b[3];
		} else if (len >= 126) {
			return; /* it is larger than any frame that is expected here */
		}
		if (have < 2 || have < head + len)
			return;
		must((b[1] & 0x80) == 0);
		if ((b[0] & 0x0f) == 1)
			take_frame(p, peer, (const char *)b + head, len);
		buf_drop(&peer->got, head + len);
	}
}

/* The transport by which jobs come: it hears their ids. */
static void publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	struct play *p = playing;
	(void)self, (void)to;
	if (ev->kind == EVENT_ACCEPTED && p->n_jobs < JOBS_MAX)
		uuid_format(&ev->job->id, p->jobs[p->n_jobs++]);
	if (ev->result) {
		json_t *result = json_loadb(ev->result, ev->result_len, JSON_DECODE_ANY, NULL);
		must(result);
		json_decref(result);
	}
	must(!ev->error || utf8_is_valid(ev->error, strlen(ev->error)));
	if (ev->kind == EVENT_PROGRESS) {
		_cleanup_(freep) char *text = progress_text(ev->progress);
		_cleanup_(json_decrefp) json_t *progress = json_loads(text, 0, NULL);
		must(json_object_size(progress) >= 2);
	}
}

static void turn(struct play *p)
{
	for (int i = 0; i < TURNS; i++) {
		uv_run(&p->loop, UV_RUN_NOWAIT);
		works_deliver();
		for (size_t k = 0; k < p->n_peers; k++) {
			struct peer *peer = &p->peers[k];
			if (peer->is_describer && !p->is_manual && peer->fd < 0 &&
				member_of(p, peer)) {
				connect_peer(p, peer);
				say(peer, "{\"type\":\"hello\",\"protocol\":1,\"capacity\":1,"
					  "\"resumes\":[]}");
			}
			take_bytes(p, peer);
		}
	}
}

static void submit_job(struct play *p)
{
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = &p->door;
	rq->source = "Fuzz";
	rq->function = xstrdup("f");
	rq->arguments = json_object();
	rq->parameters = xstrdup("{}");
	rq->external_id = xstrdup("mine");
	rq->is_sync = true;
	rq->to.wants = ~0u;
	(void)intake_submit(p->in, &rq);
}

static void answered(struct ask *a)
{
	struct play *p = a->owner;
	p->n_asking--;
	if (a->text && a->kind != ASK_METRICS) {
		struct fault f;
		json_t *json = json_parse(a->text, strlen(a->text), 512, &f);
		must(json);
		json_decref(json);
	}
	ask_done(a);
	free(a);
}

static void ask(struct play *p, enum ask_kind kind, const char *job)
{
	struct ask *a = xcalloc(1, sizeof *a);
	*a = (struct ask){ .kind = kind, .wait_ms = 1000, .answered = answered, .owner = p };
	if (job && !uuid_parse(job, &a->job)) {
		free(a);
		return;
	}
	p->n_asking++;
	if (intake_ask(p->in, a) < 0)
		answered(a);
}

static void ask_all(struct play *p)
{
	static const enum ask_kind kinds[] = { ASK_FUNCTIONS, ASK_CONTEXTS, ASK_WORKERS, ASK_STATUS,
		ASK_METRICS, ASK_READY };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		ask(p, kinds[i], NULL);
}

static void stopped(void *owner)
{
	(void)owner;
}

static void happen(struct play *p, const char *line, size_t len)
{
	struct peer *peer = current(p);
	struct member *m = member_of(p, peer);
	unsigned digit = len && line[len - 1] >= '0' && line[len - 1] <= '9'
				 ? (unsigned)(line[len - 1] - '0')
				 : 0;
	if (strncmp(line, "!job", 4) == 0) {
		submit_job(p);
	} else if (strncmp(line, "!cancel", 7) == 0) {
		if (digit < p->n_jobs)
			ask(p, ASK_CANCEL, p->jobs[digit]);
	} else if (strncmp(line, "!worker", 7) == 0) {
		p->current = digit;
	} else if (strncmp(line, "!raw ", 5) == 0) {
		write_bytes(peer, line + 5, len - 5);
	} else if (strncmp(line, "!ask", 4) == 0) {
		if (p->n_asked++ < ASKS_MAX)
			ask_all(p);
	} else if (strncmp(line, "!kill", 5) == 0) {
		if (m)
			member_gone(m, "its process ended");
	} else if (strncmp(line, "!close", 6) == 0) {
		if (peer) {
			closep(&peer->fd);
			peer->fd = -1;
		}
	} else if (strncmp(line, "!connect", 8) == 0) {
		connect_peer(p, peer);
	} else if (strncmp(line, "!unpolled", 9) == 0) {
		connect_unpolled(p, peer);
	} else if (strncmp(line, "!hello", 6) == 0) {
		say(peer, "{\"type\":\"hello\",\"protocol\":1,\"capacity\":2,\"resumes\":[]}");
	} else if (strncmp(line, "!stop", 5) == 0) {
		core_stop(p->core, digit, 1000, stopped, p);
	}
}

/* The line with the ids in it. */
static void speak(struct play *p, const char *line, size_t len)
{
	struct buf out;
	buf_init(&out, FRAME_MAX);
	for (size_t i = 0; i < len; i++) {
		char next = i + 1 < len ? line[i + 1] : '\0';
		if (line[i] == '$' && next >= '0' && next <= '9' &&
			(size_t)(next - '0') < p->n_jobs) {
			(void)buf_puts(&out, p->jobs[next - '0']);
			i++;
		} else if (line[i] == '$' && next == 'd') {
			(void)buf_puts(&out, p->describe);
			i++;
		} else {
			(void)buf_add(&out, line + i, 1);
		}
	}
	write_frame(current(p), out.data ? out.data : "", out.len);
	buf_done(&out);
}

static const char *made;

static void remove_directory(void)
{
	(void)rmdir(made);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	(void)s, (void)type, (void)ftw;
	return remove(path);
}

/* Once; the folder of logs goes again at once, so that none is written. */
static const char *directory(void)
{
	static char path[40];
	static bool is_made;
	if (!is_made) {
		snprintf(path, sizeof path, "%s/mist-fuzz-XXXXXX",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		must(mkdtemp(path) && atexit(remove_directory) == 0);
		made = path;
	}
	is_made = true;
	return path;
}

static void up(struct play *p)
{
	static struct crew_ops crew;
	static const struct transport_ops ops = { .scheme = "fuzz", .publish = publish };
	const struct room_settings settings = { .heartbeat_ms = 5000,
		.gateway_grace_ms = 60000,
		.reconnect_grace_ms = 30000,
		.start_timeout_ms = 60000,
		.kill_grace_ms = 5000,
		.mute_ms = 60000,
		.frame_max = FRAME_MAX / 2,
		.mistakes_max = 10,
		.output_max = 1 << 20,
		.outputs_kept = 10,
		.pass_environment = (char *)"",
		.runner = (char *)"" };
	const struct store_settings ss = { .directory = directory() };
	struct fault f;
	_cleanup_(freep) char *logs = xasprintf("%s/logs", ss.directory);
	crew = room_crew;
	crew.launch = launch;
	playing = p;
	must(uv_loop_init(&p->loop) == 0);
	must(store_open(&p->store, &store_mem, &ss, &f) == 0);
	if (rmdir(logs) < 0)
		nftw(logs, remove_one, 4, FTW_DEPTH | FTW_PHYS);
	p->room = room_new(&p->loop, ss.directory);
	room_configure(p->room, &settings);
	p->core = core_new(&(struct core_parts){ .loop = &p->loop,
		.store = p->store,
		.crew = &crew,
		.crew_room = p->room,
		.mailbox_max = 1000 });
	core_configure(p->core, catalog_of(2, 1), &limits);
	p->in = core_intake(p->core, "fuzz");
	p->door = (struct transport){ .name = (char *)"fuzz", .ops = &ops, .self = p };
	p->self = &p->door;
	core_set_doors(p->core, &p->self, 1);
	room_attach(p->room, p->core, "ws://127.0.0.1:1/v2/workers/connect");
	must(core_recover(p->core) == 0);
	core_start(p->core);
}

/* As mistd/wiring.c takes a gateway down. */
static void down(struct play *p)
{
	core_let_go(p->core);
	room_close(p->room);
	store_stop(p->store);
	core_close(p->core);
	works_finish(&p->loop);
	must(p->n_asking == 0);
	core_free(p->core);
	room_free(p->room);
	store_close(p->store);
	must(uv_loop_close(&p->loop) == 0);
	for (size_t i = 0; i < p->n_peers; i++) {
		closep(&p->peers[i].fd);
		buf_done(&p->peers[i].got);
		free(p->peers[i].id);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play p = { .current = 1 };
	const char *at = (const char *)data, *end = at + size;
	if (size > INPUT_MAX)
		return 0;
	log_set_level(_LOG_LEVEL_MAX);
	p.is_manual = size >= 7 && memcmp(data, "!manual", 7) == 0;
	up(&p);
	for (int n = 0; at < end && n < LINES_MAX; n++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline ? newline : end) - at);
		_cleanup_(freep) char *line = strndup(at, len); /* a NUL is the line's end */
		if (line[0] == '!')
			happen(&p, line, strlen(line));
		else
			speak(&p, at, len);
		turn(&p);
		at += len + (newline != NULL);
	}
	turn(&p);
	down(&p);
	return 0;
}
