/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and contexts over HTTP: shown, made, changed, deleted. Shapes are Mist's; every one is
 * a question to the core.
 *
 * Where Mist lets the name in the body and the name in the path differ, they have to agree here.
 *
 * Each has an entity tag (RFC 9110, section 8.8.3). The conditions of an edit are looked at by the
 * core, in the step that edits; those of a GET here, when the answer is there. */
#include "transport/http/request.h"

#include <string.h>

#include "domain/tag.h"

enum { BODY_DEPTH_MAX = 16 };

static void shown(struct request *rq)
{
	const char *tag = rq->ask.tag, *if_match = header_text(rq, "If-Match");
	if (tag && if_match && !tag_is_listed(if_match, tag, TAG_SETTINGS))
		fault_set(&rq->ask.fault, FAULT_PRECONDITION,
			"If-Match: %.128s was changed since it was read", rq->id);
	if (!rq->ask.fault.code && tag_is_listed(header_text(rq, "If-None-Match"), tag, TAG_WHOLE))
		answer_text(rq, 304, "application/json", xstrdup(""), 0);
	else
		answer_asked_json(rq);
}

static void show(struct request *rq, enum ask_kind kind)
{
	rq->ask.kind = kind;
	rq->ask.name = xstrdup(rq->id);
	request_ask(rq, shown);
}

static void take_conditions(struct request *rq)
{
	const char *if_match = header_text(rq, "If-Match"),
		   *if_none_match = header_text(rq, "If-None-Match");
	rq->ask.if_match = if_match ? xstrdup(if_match) : NULL;
	rq->ask.if_none_match = if_none_match ? xstrdup(if_none_match) : NULL;
}

void function_list(struct request *rq)
{
	request_view(rq, ASK_FUNCTIONS);
}

void function_show(struct request *rq)
{
	show(rq, ASK_FUNCTION);
}

void context_list(struct request *rq)
{
	request_view(rq, ASK_CONTEXTS);
}

void context_show(struct request *rq)
{
	show(rq, ASK_CONTEXT);
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
	/* Elsewhere it is taken and does nothing, as in Mist. */
	bool has_force = kind == ASK_FUNCTION_CREATE;
	if (read_body(rq, &f) < 0 ||
		(has_force && query_bool(rq, "force", &rq->ask.force, &f) < 0)) {
		answer_fault(rq, &f);
		return;
	}
	take_conditions(rq);
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
	take_conditions(rq);
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
	take_conditions(rq);
	request_view(rq, ASK_CONTEXT_DELETE);
}
