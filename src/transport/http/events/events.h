/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers over HTTP: streams of events and logs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct MHD_Response;
struct http;
struct request;
struct stream;

/* Takes one of the places of http.subscribers for the request, which gives it back when it is
 * freed, but where the subscriber that it becomes has taken it over (subscriber_take_over). On
 * libmicrohttpd's thread, once a request. False: there is none, and the request has been refused
 * with an answer. */
bool subscriber_reserve(struct request *rq);
void subscriber_take_over(struct request *rq); /* who takes it counts it out of n_subscribers */
void subscriber_unreserve(struct request *rq); /* does nothing where the request has no place */

/* What waits for all subscribers together has the limit of http.answers, too, apart from the
 * answers; little of one is not counted. Any thread. */
bool unread_has_room(struct http *http, size_t waiting, size_t len); /* for `len` bytes more */
void unread_charge(struct http *http, int64_t *charged, size_t waiting);

/* The answer of rq->stream, which it takes */
struct MHD_Response *stream_response(struct request *rq);
void stream_leave(struct stream *s); /* it is not to be answered */

/* A job's log, entries of rq->log_level and above, piece by piece; to where it is now, or
 * until the job ends. As plain text, or followed, for who accepts that, as Server-Sent Events. */
void log_stream(struct request *rq, bool is_followed);
