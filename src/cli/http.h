/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the gateway. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "cli/cli.h"

struct http;

/* One part of a form, a file or a text. */
struct http_part {
	const char *name;
	const char *file, *filename; /* what is sent, and under which name; NULL: `text` is */
	const char *text, *type;
};

struct http_call {
	const char *method;            /* NULL: GET */
	const char *path;              /* from the first slash, with its query */
	const char *body;              /* JSON, or NULL */
	const struct http_part *parts; /* of a form; NULL: the body is none */
	size_t n_parts;
	FILE *to;        /* takes the body of a good answer, in place of the reply's */
	int64_t from;    /* > 0: bytes from here on */
	const char *key; /* Idempotency-Key, or NULL */
	size_t max;      /* bytes of an answer, more is none; 0: very many */
	bool is_patient; /* the answer may take as long as a job takes. To a form it may take an
			  * hour: functions are loaded before it */
	bool makes_job;  /* once it is sent, an interrupt waits some seconds for the answer, which
			  * names  the job */
	bool is_watched; /* the caller tells of an interrupt */
};

struct http_reply {
	long status;
	struct buf body;
	char *job;              /* that the answer's Location names, or NULL */
	int64_t retry_after_ms; /* 0: it does not say */
};

int http_open(struct cli *cli); /* 0, or an exit status */
void http_close(struct cli *cli);

/* 0: there is an answer, whatever it says. Else the reason was told, and an exit status comes. The
 * reply is the caller's to free (http_reply_done) in any case. */
int http_ask(struct cli *cli, const struct http_call *call, struct http_reply *ret);
void http_reply_done(struct http_reply *reply);

/* The exit status that the answer stands for: 0 if it is a good one (2xx). */
int http_code(const struct http_reply *reply);
/* The same, and tells what the gateway said if it is none. */
int http_judge(const struct http_reply *reply);
/* The problem document (RFC 9457) that the answer is, the caller's; NULL: it is none. */
json_t *http_problem(const struct http_reply *reply, struct fault *f);

/* http_judge; who names a job that there is not is told which was probably meant. */
int http_conclude(struct cli *cli, const struct http_call *call, const struct http_reply *reply);
/* http_ask and http_conclude. */
int http_do(struct cli *cli, const struct http_call *call, struct http_reply *ret);

/* The body as JSON, the caller's; NULL: it is none, which was told. */
json_t *http_json(const struct http_reply *reply);

/* GET and http_json. 0 with *ret, or an exit status. */
int http_get_json(struct cli *cli, const char *path, json_t **ret);

/* "/v2/api/functions/a%20b/jobs" of ("functions", "a b", "jobs"); name and tail may be NULL. The
 * caller frees it. */
char *path_of(const char *noun, const char *name, const char *tail);

/* Adds a query parameter, if it has a value. Takes the path, gives it back longer. */
char *path_query(char *path, const char *name, const char *value);
