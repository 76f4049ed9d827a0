/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request, from its first line to its answer.
 *
 * A handler runs on a thread of libmicrohttpd when the whole body is there. It either answers
 * (answer_*) or makes the request wait for the core (request_ask, request_wait): then the
 * connection is suspended, the core's thread fills in the answer or the ask, resumes it, and
 * `then`, if it is set, runs on the HTTP thread again. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/metrics/exposition.h"
#include "core/worker_door.h"
#include "mist/store.h"
#include "mist/transport.h"
#include "transport/http/http.h"
#include "transport/http/server/connection.h"
#include "transport/http/server/hosts.h"
#include "transport/http/workers/output.h"

#define TEXT_PLAIN "text/plain; charset=UTF-8"

struct pages;
struct request;
struct stream;
struct upload;

typedef void handler_fn(struct request *rq);

enum method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_DELETE, _METHOD_MAX };

struct route {
	enum method method;
	const char *path; /* "{id}" stands for one segment, "{path}" for all the rest, or nothing */
	handler_fn *handle;
	/* The parameters of its query, with spaces between; "*" behind one: it may come more than
	 * once. All others are refused, save those of `ignored`, which older clients send: they are
	 * taken and named in the answer's header Mist-Ignored. "*" alone: all are taken. */
	const char *query, *ignored;
	bool is_upload; /* the body goes through upload_data as it comes in */
	bool is_vital;  /* served when all connections are taken, too */
};

extern const struct route routes[]; /* ended by { 0 } */
extern const char *const method_names[_METHOD_MAX];

struct http {
	struct http_settings settings;
	struct transport_env env;
	const struct worker_door *door;
	struct server *servers; /* server.c */
	size_t n_servers;
	_Atomic bool is_stopping;
	int listen_fd;
	char *url;
	struct hosts *hosts;
	struct connection_counts counts;
	struct network *unlimited; /* http.unlimited-addresses */
	size_t n_unlimited;
	unsigned connections_max; /* of the setting and of the descriptors there are */
	_Atomic int64_t body_max; /* live */
	_Atomic int64_t bodies;   /* bytes of request bodies in memory, over all connections */
	_Atomic int64_t answers;  /* the same of answers */
	_Atomic int64_t unread;   /* the same of events that wait for their subscribers */
	struct pool *pool;        /* reads history and output, hashes and syncs files */
	struct followers followers;
	_Atomic unsigned n_uploads;
	char names[12]; /* what the ids of requests that bring none begin with */
	_Atomic uint64_t n_named;
	_Atomic unsigned n_subscribers;
	struct log_limit unpolled; /* core's thread: connections that the kernel has no place for */
	_Atomic unsigned n_owed;   /* requests that waited for the core and are not answered */
	pthread_mutex_t lock;
	struct list abandoned; /* requests without a caller, until the core is done with them */
};

/* Whose is a request that waits? */
enum request_wait {
	REQUEST_RUNS,     /* it does not wait */
	REQUEST_WAITS,    /* it answers or asks the core; its connection is suspended */
	REQUEST_ABANDONED /* the caller has gone: request_resume frees it */
};

struct request {
	struct http *http;
	struct MHD_Connection *conn;
	struct connection *connection;
	const struct route *route;
	int64_t began_us; /* monotonic: its first line was there */
	_Atomic int wait; /* enum request_wait */
	struct list abandoned;
	char name[REQUEST_NAME_MAX + 1]; /* its id, in X-Request-Id, problems and the log */
	char *path;                      /* owned; NULL: the target is none */
	char *authority;                 /* of a target that names one; owned */
	char *id;                        /* what "{id}" or "{path}" stood for; owned */
	struct buf body;
	int64_t body_charged, answer_charged; /* of http->bodies and http->answers */
	bool is_begun, is_handled, is_answered, is_http_1_1;
	bool is_closing;               /* the connection ends with the answer */
	bool is_told;                  /* it was answered before its body came: request_tell */
	bool is_head, uses_accept;     /* the method is HEAD; the answer depends on Accept */
	bool with_logs, with_progress; /* of a subscriber */
	enum log_line_level log_level; /* the same; 0: all */
	bool is_owed, is_subscriber;   /* counted in http->n_owed, in http->n_subscribers */
	bool is_waiting; /* suspended by the handler that runs: the answer is the core's now */
	size_t n_discarded;
	handler_fn *then;
	handler_fn *work; /* on the pool */
	struct pool_task task;
	struct upload *upload;
	bool is_forced;              /* the parameter `force` of an upload */
	int hashed_fd, hash;         /* artifact_sha */
	int64_t limit, offset, tail; /* of what is read on the pool */
	struct pages *pages;         /* of a list, until they are the response's */
	struct stream *stream;       /* of events, until it is the response's */
	struct follower *follower;   /* of what a worker prints; the same */
	json_t *cloud;               /* it came as a CloudEvent: message_print's `reply`; */
	json_t *cloud_headers;       /* the attributes of the answer, NULL: none */
	json_t *deployed;            /* of a deployment: what becomes of its artifacts */
	char *problem_errors;        /* JSON for the problem's `errors`; owned, NULL: none */
	char *echo; /* the first generation's answer repeats its request: JSON, one of the bodies */
	struct ask ask;
	enum exposition_format exposition_format; /* of metrics_show */
	struct admission admission;

	unsigned status;
	const char *title, *content_type;
	char *answer; /* owned until it is sent */
	size_t answer_len;
	char answer_offset[24]; /* where in the whole it begins, for Mist-Offset; "": not told */
	int answer_fd;          /* ≥ 0: the body is this file */
	const char *allow;
	char *location; /* owned */
	/* The job that it made, "" so far: a refusal after that names it, and does not invite to
	 * run it a second time. */
	char job[UUID_TEXT];
	char *preference_applied; /* owned */
	char *ignored;            /* request_ignore(); owned */
	const char *cors_origin;  /* an origin whose pages may read the answer; borrowed */
	unsigned retry_after_s;
	struct MHD_Response *upgrade;
};

/* Finds the route; NULL with *ret_allow the methods of the path, or with *ret_allow NULL. *ret_id
 * is owned by the caller. */
const struct route *route_find(
	const char *method, const char *path, char **ret_id, const char **ret_allow);

/* The body is taken. Callable on either thread, once a request. */
void answer_text(
	struct request *rq, unsigned status, const char *content_type, char *text, size_t len);
void answer_json(struct request *rq, unsigned status, json_t *json); /* takes the reference */
void answer_fault(struct request *rq, const struct fault *f);
void answer_fd(struct request *rq, const char *content_type, int fd);
void request_name(struct request *rq, const char *given); /* its id: that, or one of ours */

/* A query parameter or a member of the body was taken and has no effect: the answer says so in its
 * header Mist-Ignored, a list of base/ignored.h, together with what the core ignored of a job's
 * request or an edit. On the thread that may answer; before the answer is sent. */
void request_ignore(struct request *rq, const char *name);

/* Suspends the connection: whatever is posted after it may resume it at once. */
void request_wait(struct request *rq);
/* Who was waited for is done with it, and does not touch it again: any thread, once a wait. */
void request_resume(struct request *rq);
/* HTTP thread: the caller has gone. True: the request waits and goes on alone, until request_resume
 * frees it. */
bool request_abandon(struct request *rq);
/* The core does not take the question, -EAGAIN or -ESHUTDOWN: the answer that says so. */
void request_refused(struct request *rq, int r);
/* HTTP thread, in a handler: `work` runs on the query pool, and answers or sets `then`. Its caller
 * may be gone, and with it the connection: it reads what is in the request only. */
void request_work(struct request *rq, handler_fn *work);
void answer_busy(struct request *rq); /* the pool takes no more */

/* Bytes of answers in memory: *charged, so far, becomes `now`. Any thread. */
void answers_charge(struct http *http, int64_t *charged, int64_t now);
bool answers_have_room(struct http *http);

/* list.c: the answer of rq->pages, which it takes */
struct MHD_Response *pages_response(struct request *rq);
void pages_leave(struct pages *p); /* it is not to be answered */

/* What a content reader of libmicrohttpd returns so that the answer is cut off: the chunks end
 * without the last one, and the connection with them. */
ssize_t answer_cut(struct MHD_Connection *conn);

/* http.c */
void request_free(struct request *rq);
void request_settled(
	struct request *rq); /* it has its answer, or takes it for as long as it likes */
/* server.c: MHD_resume_connection, and its thread looks. */
void http_resume(struct http *http, struct MHD_Connection *conn);

/* Puts a question and continues with `then`; the ask is filled in except for its kind (and job,
 * wait_ms, name). */
void request_ask(struct request *rq, handler_fn *then);

/* One question whose answer is the whole answer; `name` is the path's id. */
void request_view(struct request *rq, enum ask_kind kind);
void answer_asked(struct request *rq, const char *content_type);
void answer_asked_json(struct request *rq);

/* file.c: the answer of rq->answer_fd, which it takes; sets the status. */
struct MHD_Response *file_response(struct request *rq);

/* jobs.c: the row of job rq->ask.job; NULL: there is an answer that says why not. The caller's. */
struct job_row *read_row(struct request *rq);

/* artifacts.c: a body that goes to the disk. They set an answer when it is refused. */
void upload_begin(struct request *rq);
void upload_data(struct request *rq, const char *data, size_t len);
void upload_free(struct request *rq);
size_t upload_bytes(const struct request *rq); /* of it, in memory; 0: there is none */
void upload_forget_all(const char *folder);    /* what a gateway that was killed left half done */

/* origin.c: is it for this gateway, and does no page of another origin (CORS) send it? `host` is
 * who it says it is for, NULL: it does not. False: the request is refused, with an answer. */
bool origin_check(struct request *rq, const char *host, size_t host_len);
void origin_headers(struct request *rq, struct MHD_Response *response);
handler_fn origin_preflight;

const char *header_text(struct request *rq, const char *name); /* NULL: not there */

/* Query parameters. 0, or negative with the fault set and naming the parameter. */
const char *query_text(struct request *rq, const char *name); /* NULL: not there */
int query_bool(struct request *rq, const char *name, bool *ret, struct fault *f);
int query_int(struct request *rq, const char *name, int64_t min, int64_t max, int64_t *ret,
	struct fault *f);
int query_duration(struct request *rq, const char *name, int64_t *ret_ms, struct fault *f);
int query_level(struct request *rq, const char *name, enum log_line_level *ret, struct fault *f);

/* The handlers, by noun. */
handler_fn job_submit, job_submit_event, job_submit_route, job_submit_path, job_devrun, job_show,
	job_cancel, job_list, job_logs;
handler_fn function_list, function_show, function_create, function_update, function_delete;
handler_fn context_list, context_show, context_create, context_update, context_delete;
handler_fn artifact_list, artifact_upload, artifact_get, artifact_sha, artifact_delete;
handler_fn artifact_worker_jar, deployment_make;
handler_fn worker_list, worker_show, worker_stop, worker_output, worker_connect;
handler_fn events_stream, events_websocket;
handler_fn unreadable_list, unreadable_show, unreadable_drop;
handler_fn root_show, ui_redirect, ui_show;
handler_fn status_show, metrics_show, openapi_show, health_live, health_ready;

/* transport_ops.publish */
void http_publish(void *self, const struct reply_to *to, const struct job_event *ev);
