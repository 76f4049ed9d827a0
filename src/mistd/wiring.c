/* SPDX-License-Identifier: Apache-2.0 */
/* Wiring: what is opened in which order, and closed in which.
 *
 * Up: data directory (locked: one gateway a directory) → store → room of workers → core →
 * transports, HTTP's port first → the workers that an earlier gateway left → recovery → traffic.
 * Nothing answers before recovery is done.
 *
 * Down: the core lets go of whoever waits, connections to workers close, the store writes what is
 * left, the last letters are delivered, and only then the transports' threads end: no thread ever
 * finds something freed that it may still ask for. */
#include "mistd/wiring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/disk/folder_watch.h"
#include "base/log.h"
#include "base/uuid.h"
#include "mistd/deadline.h"
#include "mistd/plugin.h"
#include "mistd/watchdog.h"
#include "transport/registry.h"

enum { STOP_GRACE_MS = 10000, LOCK_WAIT_MS = 1000 };

/* Of the data directory. What no job can do without is first; artifacts may be on a file system
 * that is read-only on purpose. */
static const char *const folders[] = { "logs", "workers", "artifacts", NULL };
static const char *const watched_folders[] = { "logs", "workers", NULL };

struct gateway {
	uv_loop_t *loop;
	int lock_fd, directory_fd;
	struct store *store;
	struct room *room;
	struct core *core;
	struct transport *http;
	struct transport **doors; /* the first is HTTP */
	size_t n_doors, n_serving;
	char id[UUID_TEXT];
	char *artifacts, *directory;
	struct watchdog *watchdog;
	struct folder_watch *folders;
	int64_t watchdog_ms, stop_grace_ms;
	bool watchdog_exits;
};

static int make_directory(const char *path, struct fault *f)
{
	_cleanup_(freep) char *copy = xstrdup(path);
	for (char *p = copy + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char kept = *p;
		*p = '\0';
		if (mkdir(copy, 0750) < 0 && errno != EEXIST && errno != EISDIR)
			return fault_set(f, FAULT_UNAVAILABLE,
				"the data directory %s cannot be made: %s", path, strerror(errno));
		if (!kept)
			return 0;
		*p = kept;
	}
}

/* A gateway that was killed while it started a worker leaves the lock with that child until its
 * exec. */
static int lock(int fd)
{
	const struct timespec pause = { 0, 10 * 1000000 };
	int64_t until = clock_mono_ms() + LOCK_WAIT_MS;
	int r;
	while ((r = flock(fd, LOCK_EX | LOCK_NB)) < 0 && clock_mono_ms() < until)
		nanosleep(&pause, NULL);
	return r;
}

static int is_in_use(const char *directory, struct fault *f)
{
	return fault_set(f, FAULT_UNAVAILABLE, "the data directory %s is in use by another mistd",
		directory);
}

/* Somebody may have taken the lock file for what a crash left, and removed it. -1 and no fault:
 * this file system has no locks for directories. */
static int lock_directory(const char *directory, struct fault *f)
{
	_cleanup_(closep) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->code = 0;
	if (fd >= 0 && lock(fd) == 0)
		return TAKE_FD(fd);
	if (fd >= 0 && errno == EWOULDBLOCK)
		is_in_use(directory, f);
	return -1;
}

int gateway_lock(const char *directory, bool makes, struct fault *f)
{
	_cleanup_(freep) char *path = xasprintf("%s/lock", directory);
	_cleanup_(closep) int fd =
		open(path, (makes ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NONBLOCK, 0640);
	/* Without the file there is no gateway: it makes it before all others. */
	bool locks_directory = fd < 0 && !makes && errno == ENOENT;
	if (locks_directory)
		fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Where there is no file of that name, it is the directory that does not take one. */
	struct stat st;
	int error = fd < 0 ? errno : 0;
	bool is_directory = locks_directory || (error && lstat(path, &st) < 0);
	const char *kind = is_directory ? "the data directory" : "the lock file",
		   *name = is_directory ? directory : path;
	if (error)
		return fault_set(f, FAULT_UNAVAILABLE, "%s %s cannot be %s: %s", kind, name,
			makes ? "written" : "read", strerror(error));
	if (lock(fd) < 0)
		return errno == EWOULDBLOCK
			       ? is_in_use(directory, f)
			       : fault_set(f, FAULT_UNAVAILABLE, "%s %s cannot be locked: %s", kind,
					 name, strerror(errno));
	return TAKE_FD(fd);
}

static int open_directories(struct gateway *g, const char *directory, struct fault *f)
{
	int r = make_directory(directory, f);
	if (r == 0)
		r = g->lock_fd = gateway_lock(directory, true, f);
	if (r > 0) {
		g->directory_fd = lock_directory(directory, f);
		r = g->directory_fd < 0 && f->code ? -1 : 0;
	}
	for (const char *const *name = folders; r == 0 && *name; name++) {
		_cleanup_(freep) char *path = xasprintf("%s/%s", directory, *name);
		r = make_directory(path, f);
	}
	return r;
}

/* A name for this gateway that outlives it: brokers know their clients by theirs. */
static int read_id(struct gateway *g, const char *directory, struct fault *f)
{
	_cleanup_(freep) char *path = xasprintf("%s/gateway-id", directory);
	struct stat st;
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return fault_set(f, FAULT_UNAVAILABLE,
			"%s is no file: the gateway keeps its id in one of that name", path);
	_cleanup_(fclosep) FILE *file = fopen(path, "r+e");
	struct uuid id;
	if (file && fread(g->id, 1, UUID_TEXT - 1, file) == UUID_TEXT - 1 && uuid_parse(g->id, &id))
		return 0;
	uuid_make(&id, clock_wall_ms());
	uuid_format(&id, g->id);
	if (!file)
		file = fopen(path, "we");
	if (!file || fseek(file, 0, SEEK_SET) || fputs(g->id, file) < 0 || fflush(file) ||
		fsync(fileno(file)))
		return fault_set(
			f, FAULT_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
	return 0;
}

static int open_door(struct gateway *g, const struct transport_setting *t,
	const struct transport_env *env, struct fault *f)
{
	const struct transport_ops *ops = t->ops;
	const void *settings = t->settings;
	struct transport_env own = *env;
	int r = 0;
	if (!ops) {
		const struct plugin_settings *plugin = settings;
		settings = plugin->settings;
		r = plugin_load(plugin->path, &ops, f);
	}
	own.name = t->name;
	own.in = core_intake(g->core, own.name);
	if (r == 0)
		r = transport_open(&g->doors[g->n_doors], ops, settings, &own, f);
	if (r < 0)
		return fault_prefix(f, "transports.%s", t->name);
	g->doors[g->n_doors++]->is_required = t->is_required;
	return 0;
}

static int open_doors(struct gateway *g, const struct settings *s, struct fault *f)
{
	const struct transport_env env = { .name = http_transport.scheme,
		.gateway = g->id,
		.in = core_intake(g->core, http_transport.scheme),
		.loop = g->loop,
		.timers = core_timers(g->core),
		.store = g->store,
		.artifacts = g->artifacts,
		.directory = g->directory };
	g->doors = xcalloc(1 + s->n_transports, sizeof *g->doors);
	int r = transport_open(&g->doors[0], &http_transport, &s->http, &env, f);
	if (r < 0)
		return r;
	g->http = g->doors[g->n_doors++];
	for (size_t i = 0; r == 0 && i < s->n_transports; i++)
		r = open_door(g, &s->transports[i], &env, f);
	core_set_doors(g->core, g->doors, g->n_doors);
	return r;
}

static int open_core(struct gateway *g, struct settings *s, struct fault *f)
{
	int watch = folder_watch_start(&g->folders, s->mist.data_directory, watched_folders);
	if (watch < 0)
		log_warn("nobody watches the folders of the data directory: the thread for it "
			 "cannot be started: %s",
			strerror(-watch));
	g->room = room_new(g->loop, s->mist.data_directory);
	room_configure(g->room, &s->room);
	g->core = core_new(&(struct core_parts){ .loop = g->loop,
		.store = g->store,
		.crew = &room_crew,
		.crew_room = g->room,
		.folders = g->folders,
		.mailbox_max = s->mist.mailbox_max });
	core_configure(g->core, TAKE_PTR(s->catalog), &s->limits);
	g->directory = xstrdup(s->mist.data_directory);
	g->artifacts = xasprintf("%s/artifacts", s->mist.data_directory);
	int r = open_doors(g, s, f);
	if (r < 0)
		return r;
	_cleanup_(freep) char *url =
		xasprintf("ws%s/v2/workers/connect", http_url(g->http) + strlen("http"));
	room_attach(g->room, g->core, url);
	core_set_address(g->core, http_url(g->http) + strlen("http://"));
	http_set_worker_door(g->http, room_door(g->room));
	return 0;
}

static int refuse_start(const char *what, int r, struct fault *f)
{
	return fault_set(f, FAULT_UNAVAILABLE, "%s cannot be read from the store: %s", what,
		r == -EUCLEAN ? "its database is damaged, and mistd --check-data tells more"
			      : strerror(-r));
}

static int serve(struct gateway *g, struct fault *f)
{
	int r = core_load(g->core);
	if (r < 0)
		return refuse_start("the functions and contexts", r, f);
	room_scan(g->room);
	r = core_recover(g->core);
	if (r < 0)
		return refuse_start("the jobs of before", r, f);
	for (; g->n_serving < g->n_doors; g->n_serving++) {
		struct transport *door = g->doors[g->n_serving];
		r = door->ops->start(door->self, f);
		if (r < 0)
			return r;
	}
	core_start(g->core);
	r = core_tell_owed(g->core);
	return r < 0 ? refuse_start("the outcomes that are owed", r, f) : 0;
}

int gateway_start(struct gateway **ret, uv_loop_t *loop, struct settings *s, struct fault *f)
{
	struct gateway *g = xcalloc(1, sizeof *g);
	_cleanup_(freep) char *artifacts = xasprintf("%s/artifacts", s->mist.data_directory);
	const struct store_settings ss = { .directory = s->mist.data_directory,
		.artifacts = artifacts };
	g->loop = loop;
	g->lock_fd = g->directory_fd = -1;
	g->watchdog_ms = s->mist.watchdog_ms;
	g->watchdog_exits = s->mist.watchdog_action == WATCHDOG_EXIT;
	g->stop_grace_ms = s->mist.stop_timeout_ms / 3 < STOP_GRACE_MS ? s->mist.stop_timeout_ms / 3
								       : STOP_GRACE_MS;
	log_set_level(s->mist.log_level);
	int r = open_directories(g, s->mist.data_directory, f);
	if (r == 0)
		r = read_id(g, s->mist.data_directory, f);
	if (r == 0)
		r = store_open(&g->store, &store_sqlite, &ss, f);
	if (r == 0 && (r = store_start(g->store)) < 0)
		fault_set(f, FAULT_INTERNAL, "the store's thread cannot be started: %s",
			strerror(-r));
	if (r == 0)
		r = open_core(g, s, f);
	if (r == 0)
		r = serve(g, f);
	if (r < 0) {
		gateway_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

const char *gateway_url(const struct gateway *g)
{
	return http_url(g->http);
}

/* Instances that are new, or no more, are for the next start. */
static void reload_door(struct gateway *g, const struct transport_setting *t)
{
	for (size_t i = 0; i < g->n_doors; i++) {
		struct transport *door = g->doors[i];
		if (strcmp(door->name, t->name) != 0)
			continue;
		door->is_required = t->is_required;
		if (door->ops == t->ops && t->ops->reload)
			door->ops->reload(door->self, t->settings);
	}
}

void gateway_reload(struct gateway *g, struct settings *s)
{
	log_set_level(s->mist.log_level);
	log_set_format(s->mist.log_format);
	room_configure(g->room, &s->room);
	g->http->ops->reload(g->http->self, &s->http);
	for (size_t i = 0; i < s->n_transports; i++)
		reload_door(g, &s->transports[i]);
	core_configure(g->core, TAKE_PTR(s->catalog), &s->limits);
}

static void stopped(void *owner)
{
	struct gateway *g = owner;
	uv_stop(g->loop);
}

void gateway_stop(struct gateway *g, bool and_workers)
{
	deadline_part("the workers, or the core,");
	core_stop(g->core, and_workers, g->stop_grace_ms, stopped, g);
}

void gateway_run(struct gateway *g)
{
	int r = watchdog_start(&g->watchdog, g->core, g->watchdog_ms, g->watchdog_exits);
	if (r < 0)
		log_warn("nobody watches the core: the thread for it cannot be started: %s",
			strerror(-r));
	deadline_store(g->store);
	uv_run(g->loop, UV_RUN_DEFAULT);
	watchdog_stop(g->watchdog);
}

void gateway_free(struct gateway *g)
{
	deadline_part("the core");
	if (g->core) {
		core_let_go(g->core);
		room_close(g->room);
	}
	deadline_part("the store");
	store_stop(g->store);
	deadline_store(NULL);
	deadline_part("the core");
	if (g->core) {
		core_close(g->core);
		uv_run(g->loop, UV_RUN_DEFAULT);
	}
	watchdog_free(g->watchdog);
	for (size_t i = 0; i < g->n_serving; i++) {
		deadline_part("transport %s", g->doors[i]->name);
		g->doors[i]->ops->stop(g->doors[i]->self);
	}
	for (size_t i = 0; i < g->n_doors; i++) {
		deadline_part("transport %s", g->doors[i]->name);
		transport_close(g->doors[i]);
	}
	deadline_part("the store");
	free(g->doors);
	core_free(g->core);
	folder_watch_stop(g->folders);
	room_free(g->room);
	store_close(g->store);
	closep(&g->lock_fd);
	closep(&g->directory_fd);
	free(g->artifacts);
	free(g->directory);
	free(g);
}
