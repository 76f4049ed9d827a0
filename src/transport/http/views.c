/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, over HTTP: functions, contexts, workers, status, health, metrics. Each is one
 * question to the core. */
#include "transport/http/request.h"

#include <string.h>

static void answer_asked(struct request *rq, const char *content_type)
{
	char *text = TAKE_PTR(rq->ask.text);
	if (rq->ask.fault.code)
		answer_fault(rq, &rq->ask.fault);
	else
		answer_text(rq, 200, content_type, text, strlen(text));
}

static void ask_answered_json(struct request *rq)
{
	answer_asked(rq, "application/json");
}

static void view(struct request *rq, enum ask_kind kind)
{
	rq->ask.kind = kind;
	rq->ask.name = rq->id ? xstrdup(rq->id) : NULL;
	request_ask(rq, ask_answered_json);
}

void function_list(struct request *rq)
{
	view(rq, ASK_FUNCTIONS);
}

void function_show(struct request *rq)
{
	view(rq, ASK_FUNCTION);
}

void context_list(struct request *rq)
{
	view(rq, ASK_CONTEXTS);
}

void context_show(struct request *rq)
{
	view(rq, ASK_CONTEXT);
}

void worker_list(struct request *rq)
{
	view(rq, ASK_WORKERS);
}

void worker_show(struct request *rq)
{
	view(rq, ASK_WORKER);
}

void status_show(struct request *rq)
{
	view(rq, ASK_STATUS);
}

static void ask_answered_empty(struct request *rq)
{
	if (rq->ask.fault.code)
		answer_fault(rq, &rq->ask.fault);
	else
		answer_text(rq, 200, "text/plain; charset=UTF-8", xstrdup(""), 0);
}

/* Mist answers 400 for a worker it does not know. */
static void worker_stopped(struct request *rq)
{
	if (rq->ask.fault.code == FAULT_NOT_FOUND)
		fault_set(&rq->ask.fault, FAULT_BAD_REQUEST, "Unknown worker %.128s", rq->id);
	ask_answered_empty(rq);
}

void worker_stop(struct request *rq)
{
	rq->ask.kind = ASK_WORKER_STOP;
	rq->ask.name = xstrdup(rq->id);
	request_ask(rq, worker_stopped);
}

static void metrics_ready(struct request *rq)
{
	answer_asked(rq, "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

void metrics_show(struct request *rq)
{
	rq->ask.kind = ASK_METRICS;
	request_ask(rq, metrics_ready);
}

/* Alive means that this thread answers. */
void health_live(struct request *rq)
{
	answer_json(rq, 200, json_pack("{s:s}", "status", "live"));
}

static void health_asked(struct request *rq)
{
	if (rq->ask.fault.code)
		answer_fault(rq, &rq->ask.fault);
	else
		answer_json(rq, 200, json_pack("{s:s}", "status", "ready"));
}

void health_ready(struct request *rq)
{
	rq->ask.kind = ASK_READY;
	request_ask(rq, health_asked);
}
