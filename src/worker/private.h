/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the room of workers share. */
#pragma once

#include "base/log.h"
#include "base/ws.h"
#include "worker/room.h"

struct session;
struct command;

struct room {
	uv_loop_t *loop;
	struct core *core;
	char *directory; /* <data>/workers */
	char *logs;      /* <data>/logs */
	char *url;
	struct room_settings settings;
	struct list members, sessions, dirty; /* dirty: sessions with something to write */
	struct worker_door door;
	bool is_closing;
	char *boot; /* which run of the machine this is: pids of another say nothing */
	struct timer tick;
	bool is_rotating; /* what workers print is being looked at, on another thread */
	struct log_limit protocol_errors, refusals;
};

/* One worker process: w->process. It lives from launch (or scan) until the process is gone and the
 * core has forgotten the worker. */
struct member {
	struct room *room;
	struct worker *worker; /* NULL once the core has forgotten it */
	struct list node;
	struct session *session;                /* NULL while it is not connected */
	char *id, *secret, *directory, *output; /* output: path of what it prints */
	char *spawn_error;
	bool is_hindered;          /* it does not start by a fault of the gateway's own machine */
	char *gone_why;            /* its process is gone, and what it said last is being read */
	char *lost_why;            /* the same of what it printed last */
	char **args, **env;        /* what is to be started, NULL-ended; until it is */
	int out;                   /* the open output, until it is started; -1: none */
	struct file_work *writing; /* its files, on another thread; NULL: they are not */
	unsigned n_refs; /* the member itself, its handle, and what other threads do for it */
	enum { CLEAR_NOT, CLEAR_ALL, CLEAR_BUT_OUTPUT } clears; /* when they are written */
	bool is_preparing;                                      /* there is no process yet */
	bool is_late;     /* they should be, and the core was told that it did not start */
	char *runtime;    /* of its context, by name */
	bool is_unwanted; /* it was killed meanwhile */
	bool is_gone;     /* its process ended, and the end of its output is being read */
	bool is_freed;
	uv_process_t process;
	bool is_child;   /* of this gateway process; else `pid` was found by record */
	bool is_running; /* as far as we know */
	bool has_been_ready, is_describer;
	int pid;
	long long born; /* start time of the pid, in ticks: a pid alone is used again */
	struct timer
		deadline; /* start timeout, reconnect grace or kill grace: what `overdue` says */
	void (*overdue)(struct member *m);
	struct timer watch;  /* of a process that is no child of ours */
	unsigned n_mistakes; /* protocol errors since it last ended a job or described one */
};

/* room.c */
void room_tick_soon(struct room *r);
char *output_path(const struct room *r, const char *id); /* of what a worker prints */

/* member.c */
struct member *member_new(struct room *r, struct worker *w);
void member_free(struct member *m);
void member_gone(struct member *m, const char *why); /* the process is no more */
void member_kill(struct member *m);
bool member_is_ending(const struct member *m); /* it was killed and is not gone yet */
void member_drains(struct member *m); /* it was told to end by itself: it has the reconnect grace */
void member_expect_back(struct member *m); /* it lost its connection: it has the reconnect grace */
void member_await_ready(struct member *m); /* it has the start timeout */
void member_ready(struct member *m);
/* Makes the command, the directory, its files and the open output of one that is to be started, on
 * another thread, and then calls `written`: 0, or a negative errno and the path that it is of,
 * which is borrowed; or, path NULL, of the command, and m->spawn_error says why. Not if it was
 * freed meanwhile. */
void member_prepare(struct member *m, const struct runtime_settings *runtime,
	void (*written)(struct member *m, const char *path, int status));
/* Why no worker of that runtime is started now: an earlier one still waits for a disk. NULL: one
 * may be; else the caller's. */
char *member_why_not(const struct room *r, const char *runtime);
/* Its record again, now that there is a pid. */
void member_record(
	struct member *m, void (*written)(struct member *m, const char *path, int status));
int member_rewrite_url(struct member *m);
/* What one of its files holds; NULL: it is none of ours. A new reference. */
json_t *member_read_json(const char *directory, const char *name);
/* Ends what may live of its processes and removes its files, later. */
void member_clear(struct member *m, bool keep_output);

/* process.c */
/* What is to be started, in three steps: a copy of all that says so; what is in files is looked up,
 * on another thread, which may wait for a disk; m->args and m->env. Negative: why there is none.
 * The last one frees it. */
struct command *command_new(const struct member *m, const struct runtime_settings *runtime);
int command_make(struct command *c);
int command_end(struct command *c, struct member *m, struct fault *f);
/* That, with m->out. Negative: why not; m->is_hindered says whose fault it is. */
int process_spawn(struct member *m, struct fault *f);
/* Is that errno of a start, > 0, a fault of the machine that the gateway runs on, which passes? */
bool is_of_machine(int error);
void process_forget_command(struct member *m);
void process_signal(const struct member *m, int signal);

/* session.c */
void session_begin(struct room *r, struct member *m, struct arrival *a);
void session_end(struct session *s); /* closes; the member learns nothing */
/* Takes in what the socket still holds. False: that is not done; member_gone is called again. */
bool session_drain_input(struct session *s);
void session_send(struct session *s, json_t *frame); /* takes the reference */
void session_send_text(struct session *s, const char *text, size_t len);
void session_flush(struct session *s);
void session_flush_dirty(struct list *dirty); /* a node of room->dirty */
