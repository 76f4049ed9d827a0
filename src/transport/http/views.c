/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, over HTTP: functions, contexts, workers, status, health. Each is one
 * question to the core. */
#include "transport/http/request.h"

#include <string.h>

void worker_list(struct request *rq)
{
	request_view(rq, ASK_WORKERS);
}

void worker_show(struct request *rq)
{
	request_view(rq, ASK_WORKER);
}

void status_show(struct request *rq)
{
	request_view(rq, ASK_STATUS);
}

static void ask_answered_empty(struct request *rq)
{
	if (rq->ask.fault.code)
		answer_fault(rq, &rq->ask.fault);
	else
		answer_text(rq, 200, TEXT_PLAIN, xstrdup(""), 0);
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

/* True: the core does not turn, which is the answer. */
static bool is_stuck(struct request *rq)
{
	if (!intake_core_is_stuck(rq->http->env.in))
		return false;
	fault_set(&rq->ask.fault, FAULT_UNAVAILABLE,
		"the core stands still for longer than mist.watchdog");
	answer_fault(rq, &rq->ask.fault);
	return true;
}

/* Alive means that this thread answers, and that the core turns. */
void health_live(struct request *rq)
{
	if (is_stuck(rq))
		return;
	answer_json(rq, 200, json_pack("{s:s}", "status", "live"));
}

/* The problem has a member more then, for which its text is opened. */
static void health_asked(struct request *rq)
{
	const char *transports = rq->ask.text;
	if (rq->ask.fault.code)
		answer_fault(rq, &rq->ask.fault);
	else
		answer_json(rq, 200, json_pack("{s:s}", "status", "ready"));
	if (!transports) /* nothing was asked */
		return;
	_cleanup_(freep) char *text = TAKE_PTR(rq->answer);
	rq->answer =
		xasprintf("%.*s,\"transports\":%s}", (int)rq->answer_len - 1, text, transports);
	rq->answer_len = strlen(rq->answer);
}

void health_ready(struct request *rq)
{
	if (is_stuck(rq))
		return;
	rq->ask.kind = ASK_READY;
	request_ask(rq, health_asked);
}
