/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and contexts over HTTP: shown, made, changed, deleted. Shapes are Mist's; every one is
 * a question to the core.
 *
 * Where Mist lets the name in the body and the name in the path differ, they have to agree here. */
#include "transport/http/request.h"

#include <string.h>

enum { BODY_DEPTH_MAX = 16 };

void function_list(struct request *rq)
{
	request_view(rq, ASK_FUNCTIONS);
}

void function_show(struct request *rq)
{
	request_view(rq, ASK_FUNCTION);
}

void context_list(struct request *rq)
{
	request_view(rq, ASK_CONTEXTS);
}

void context_show(struct request *rq)
{
	request_view(rq, ASK_CONTEXT);
}

/* The body and the name in it; a name in the path must be the same. */
static int read_body(struct request *rq, struct fault *f)
{
	rq->ask.body =
		json_parse(rq->body.data ? rq->body.data : "", rq->body.len, BODY_DEPTH_MAX, f);
	if (!rq->ask.body)
		return fault_prefix(f, "The request content was malformed");
	if (!json_is_object(rq->ask.body))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the request's body: expected a JSON object, got %s",
			json_kind(rq->ask.body));
	const json_t *name = json_object_get(rq->ask.body, "name");
	if (!json_is_string(name))
		return fault_set(
			f, FAULT_BAD_REQUEST, "name: expected a string, got %s", json_kind(name));
	if (rq->id && strcmp(rq->id, json_string_value(name)) != 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"name: the path says \"%.64s\", the body \"%.64s\"", rq->id,
			json_string_value(name));
	rq->ask.name = xstrdup(json_string_value(name));
	return 0;
}

static void edit(struct request *rq, enum ask_kind kind)
{
	struct fault f = { 0 };
	if (read_body(rq, &f) < 0 || query_bool(rq, "force", &rq->ask.force, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	rq->ask.kind = kind;
	request_ask(rq, answer_asked_json);
}

void function_create(struct request *rq)
{
	edit(rq, ASK_FUNCTION_CREATE);
}

void function_update(struct request *rq)
{
	edit(rq, ASK_FUNCTION_UPDATE);
}

void function_delete(struct request *rq)
{
	request_view(rq, ASK_FUNCTION_DELETE);
}

void context_create(struct request *rq)
{
	edit(rq, ASK_CONTEXT_CREATE);
}

void context_update(struct request *rq)
{
	edit(rq, ASK_CONTEXT_UPDATE);
}

void context_delete(struct request *rq)
{
	request_view(rq, ASK_CONTEXT_DELETE);
}
