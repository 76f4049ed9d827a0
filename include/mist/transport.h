/* SPDX-License-Identifier: Apache-2.0 */
/* The seam of the transports. An adapter turns what arrives into a `job_request` and tells events
 * to whoever sent it; it knows nothing of workers or queues, and other adapters nothing of it.
 * `src/transport/loopback` is the smallest one.
 *
 * Order of calls on one instance: open, start, (publish …), stop, close. `publish` and the answers
 * of an `ask` come on the core's thread. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/metrics/exposition.h"
#include "base/timers.h"
#include "base/uuid.h"
#include "domain/event.h"
#include "domain/log_line.h"
#include "mist/request.h"
#include "mist/transport_state.h"

struct intake;
struct store;
struct transport;

/* A question to the core, answered on its thread. */
enum ask_kind {
	/* JSON text: Mist's [Function], Function `name`. One that does not load has a member
	 * `error`, or is left out (mist.broken-functions). */
	ASK_FUNCTIONS,
	ASK_FUNCTION,
	ASK_CONTEXTS,
	ASK_CONTEXT,
	/* Kept in the store before they are answered. `body` is Mist's Function (config) object,
	 * `name` its name; the answer is the Function, or with `force`, which checks nothing, the
	 * config. Faults: BAD_REQUEST (it exists; it does not; it cannot be loaded), NOT_FOUND
	 * (deletes), CONFLICT (it is configured). */
	ASK_FUNCTION_CREATE,
	ASK_FUNCTION_UPDATE,
	ASK_FUNCTION_DELETE,
	/* `body` is Mist's Context object; create is also update. */
	ASK_CONTEXT_CREATE,
	ASK_CONTEXT_UPDATE,
	ASK_CONTEXT_DELETE,
	/* `body` is {"contexts": [Context], "functions": [Function (config)]}, what there is to be,
	 * with the artifacts `staged`; all of it is checked, then all of it takes effect, or with
	 * `is_dry_run` nothing. The answer: {"contexts","functions"}, [{"name","action","before",
	 * "after"}]. With a fault it may be [{"kind","name","error"}]. */
	ASK_DEPLOY,
	ASK_ARTIFACT_DELETE, /* of that `name`; fault CONFLICT: functions or jobs use it, and
				`force` is not set */
	ASK_WORKERS,
	ASK_WORKER,
	ASK_WORKER_STOP, /* ends worker `name` at once; its jobs fail or are retried */
	ASK_STATUS,      /* JSON text: what the core knows of itself */
	ASK_METRICS,     /* puts what there is into `exposition`; NULL: Prometheus' text */
	ASK_READY,       /* fault: why not. JSON text in both cases: the transports, a list */
	ASK_SETTLE,      /* answered when what happened before it can be read from the store */
	ASK_WAIT,        /* job `job`: answered when it has ended or `wait_ms` are over, readably */
	/* As ASK_SETTLE. JSON text: what the core knows of job `job` that has not ended,
	 * {"waiting":{"reason","detail"}} for a worker, or {"progress":{"time","value"?,"note"?}};
	 * NULL: nothing. */
	ASK_JOB_LIVE,
	ASK_CANCEL, /* the same, and it is told to end; NOT_FOUND: it is not live, or has ended */
	ASK_UNREADABLE_DROP, /* the unreadable row `number` of the store, 0: all, is forgotten */
};

/* A file that is to become an artifact: whole, on the disk, on the file system of the artifacts,
 * and nobody else's until the ask is answered. */
struct staged_artifact {
	char *name, *path; /* owned */
};

struct ask {
	struct mail mail;
	enum ask_kind kind;
	char *name;   /* owned */
	json_t *body; /* owned; nobody else holds a part of it */
	bool force;
	struct staged_artifact *staged; /* owned */
	size_t n_staged;
	bool is_dry_run;
	/* Of an edit: lists of entity tags, owned; NULL: none. The fault is PRECONDITION. */
	char *if_match, *if_none_match;
	struct uuid job;
	int64_t wait_ms, number;
	struct exposition *exposition;   /* of base/metrics; owned */
	void (*answered)(struct ask *a); /* core's thread, once; the ask is the asker's again */
	void *owner;
	struct fault fault; /* code FAULT_NONE: it went well */
	char *text;         /* the answer, owned */
	char *tag;          /* of the one function or context that it shows, owned; or NULL */
	char *ignored; /* of an edit: a list of base/ignored.h, owned: members without effect */
	/* The core's: */
	json_t *json;
	struct list waiting;
	struct timer timer;
	struct intake *in;
};

/* As intake_submit: -EAGAIN and -ESHUTDOWN leave the ask with the caller, unanswered. */
int intake_ask(struct intake *in, struct ask *a);
void ask_done(struct ask *a);                       /* frees what it owns */
bool intake_core_is_stuck(const struct intake *in); /* any thread: nothing is answered now */

/* One event as subscribers get it; borrowed for the time of the call. */
struct watch_event {
	const char *name; /* the wire word */
	int rank;         /* event_rank; 0 for logs and progress */
	bool is_logs, is_progress;
	const struct uuid *job;
	const struct transport *door;   /* where the job's own events go; NULL: nowhere, as logs */
	const struct transport *origin; /* where it came from; `to` is its. With logs, too */
	const struct reply_to *to;
	int64_t log_bytes; /* logs: the length of the job's log with them */
	const char *id;    /* event_id(); NULL with logs */
	const char *text;  /* Mist's event JSON, one line */
	size_t len;
	const char *lines; /* logs: as they stand in the file */
	size_t lines_len;
};

/* Somebody who listens to what happens to all jobs, or to one. Its calls come on the core's
 * thread. */
struct watch {
	struct mail mail;
	bool is_of_job;                /* of `job` only, which need not be there */
	bool with_logs, with_progress; /* these events, too */
	bool begins_log; /* the job has a log from here on, be it only the gateway's own lines */
	/* Entries of it and above, 0: all. Of those below comes an event with nothing in it. */
	enum log_line_level log_level;
	struct uuid job;
	/* From here on events come. Of a job that is alive `rank` and `log_bytes` are where it
	 * stands: all before is past, all after comes. Else they are EVENT_RANK_FINAL and -1. */
	void (*begun)(struct watch *w);
	int rank;
	int64_t log_bytes;
	const char *worker; /* it is on, or NULL; good during `begun` */
	/* Copies what it keeps; neither blocks nor unwatches at once. False: it was dropped, which
	 * the metrics count. */
	bool (*event)(struct watch *w, const struct watch_event *ev);
	void (*flush)(struct watch *w); /* after one or more events, before the core sleeps */
	/* Once: after intake_unwatch, or because the gateway stops, then perhaps without `begun`.
	 * The watch is its owner's again. */
	void (*ended)(struct watch *w);
	/* The core's: */
	struct mail leave;
	struct list node, dirty;
	_Atomic int state;
};

/* Any thread. 0: the watch is the core's until `ended`. -EAGAIN, -ESHUTDOWN as above. */
int intake_watch(struct intake *in, struct watch *w);
/* Any thread, at most once. 0: `ended` comes, or came. -ESHUTDOWN: it will not, the watch is the
 * caller's. */
int intake_unwatch(struct intake *in, struct watch *w);

struct transport_env {
	const char *name;    /* of the instance, in mist.conf; lives as long as it */
	const char *gateway; /* a name for this gateway that stays, unlike any other's */
	struct intake *in;
	uv_loop_t *loop;       /* the core's, for use on its thread */
	struct timers *timers; /* the same */
	struct store *store;   /* for reading only */
	const char *artifacts; /* the folder of the repository; lives as long as the instance */
	struct transport *self;
	const char *directory; /* the gateway's own, of its data; as `artifacts` */
};

struct transport_ops {
	const char *scheme;            /* "http"; its `type` in mist.conf */
	size_t size;                   /* of the instance; the registry allocates and zeroes it */
	const struct conf_field *conf; /* the adapter's settings, ended by { 0 } */
	size_t settings_size;

	/* Core's thread, no traffic yet: take ports, check settings. The settings are copied by
	 * whoever needs them longer. The fault is the sentence that ends the start. */
	int (*open)(
		void *self, const void *settings, const struct transport_env *env, struct fault *f);
	/* From here on the adapter may submit and ask from its own threads. */
	int (*start)(void *self, struct fault *f);
	/* Core's thread; must not block; copies what it keeps. Only for events that `to` wants.
	 * After a final event `to` is not used again. */
	void (*publish)(void *self, const struct reply_to *to, const struct job_event *ev);
	/* Core's thread, after a restart: `to->text` is of a job of before; fills in the rest. A
	 * negative return, or NULL: nobody can be told. -EBADMSG: it is no text of this adapter. */
	int (*restore)(void *self, struct reply_to *to);
	/* Core's thread. May be NULL: it is never down. */
	void (*state)(void *self, struct transport_state *ret);
	/* Core's thread: declares and puts metrics of its own, which every instance of the adapter
	 * declares alike. May be NULL. */
	void (*metrics)(void *self, struct exposition *e);
	/* Core's thread: settings marked live have new values. May be NULL. */
	void (*reload)(void *self, const void *settings);
	/* Waits until the adapter is silent: nothing is submitted or asked after it returns. */
	void (*stop)(void *self);
	/* Frees; accepts an instance whose open() failed half-way. */
	void (*close)(void *self);
	/* Core's thread; must not block: whether one more outcome that is owed may be published.
	 * Those for which it does not stay in the store, and the core asks again, at the latest a
	 * tenth of a second later. May be NULL: there is always room. */
	bool (*has_room)(void *self);
};

/* One instance of an adapter. */
struct transport {
	char *name;
	const struct transport_ops *ops;
	void *self;
	bool is_required; /* the gateway is not ready while it is down. Core's thread */
};

/* A shared object that `transports = ( { type = "plugin"; path = "..."; } )` names exports this as
 * `mist_transport_plugin`. open() gets the group's `settings` as a `const json_t *`, an object of
 * strings; `conf` and `settings_size` are not used. The version is counted up when this header
 * changes so that an older plugin would be misunderstood. */
enum { TRANSPORT_VERSION = 3 };
struct transport_plugin {
	unsigned version; /* TRANSPORT_VERSION */
	const struct transport_ops *ops;
};
