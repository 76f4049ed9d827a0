/* SPDX-License-Identifier: Apache-2.0 */
/* CloudEvents 1.0 over HTTP (its HTTP protocol binding): a request whose body is an event, or whose
 * headers are its attributes, and an answer of the same kind. Source and id are its idempotency
 * key, so an event that is delivered twice runs once. */
#include "transport/http/cloud.h"

#include <stdio.h>
#include <string.h>

#include "transport/message.h"

static const char *header(struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

bool cloud_is_asked(struct request *rq)
{
	return message_is_cloud_type(header(rq, "Content-Type")) || header(rq, "ce-specversion");
}

/* Only the attributes: what else a job needs is in the query, as for other requests. */
static const char *attribute(void *arg, const char *name)
{
	return strncmp(name, "ce-", 3) == 0 || strcmp(name, "traceparent") == 0 ? header(arg, name)
										: NULL;
}

int cloud_read(struct request *rq, struct job_request **ret, struct fault *f)
{
	struct message_request read;
	const struct message m = { .payload = rq->body.data,
		.len = rq->body.len,
		.content_type = header(rq, "Content-Type"),
		.function = rq->id,
		.property = attribute,
		.arg = rq,
		.cloud = "ce-" };
	int r = message_read(&m, &read, f);
	if (r == 0 && read.kind != MESSAGE_JOB)
		r = fault_set(f, FAULT_BAD_REQUEST, "data: expected a request to run a function");
	if (r == 0) {
		*ret = TAKE_PTR(read.job);
		rq->cloud = json_incref(read.reply);
	}
	message_request_done(&read);
	return r;
}

void cloud_answer(struct request *rq, unsigned status, const struct job_event *ev)
{
	struct message_out out;
	message_print(rq->cloud, ev, &out);
	for (size_t i = 0; i < out.n_attributes; i++) {
		_cleanup_(freep) char *name = xasprintf("ce-%s", out.attributes[i].name);
		if (!rq->cloud_headers)
			rq->cloud_headers = json_object();
		json_object_set_new(rq->cloud_headers, name, json_string(out.attributes[i].value));
	}
	size_t len = out.payload.len;
	answer_text(rq, status, out.content_type, buf_take(&out.payload), len);
	message_out_done(&out);
}

void cloud_headers(struct request *rq, struct MHD_Response *response)
{
	const char *name;
	json_t *value;
	json_object_foreach (rq->cloud_headers, name, value)
		MHD_add_response_header(response, name, json_string_value(value));
}
