/* SPDX-License-Identifier: Apache-2.0 */
/* The forms a request may have in a message, and the forms of what is told about it. */
#include "unit.h"

#include <string.h>

#include "base/cleanup.h"
#include "domain/function.h"
#include "transport/message.h"

#define ID    "0190c0de-0000-7000-8000-000000000000"
#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/* Properties, two texts each, ended by NULL. */
static const char *property(void *arg, const char *name)
{
	for (const char *const *p = arg; p && *p; p += 2)
		if (strcmp(p[0], name) == 0)
			return p[1];
	return NULL;
}

struct sample {
	const char *payload, *function, *content_type, *cloud;
	const char *const *properties;
	bool has_reply_address;
	const char *devrun_setting;
};

static int read_sample(const struct sample *s, struct message_request *ret, struct fault *f)
{
	const struct message m = { .payload = s->payload,
		.len = strlen(s->payload),
		.content_type = s->content_type,
		.function = s->function,
		.property = property,
		.arg = (void *)s->properties,
		.has_reply_address = s->has_reply_address,
		.devrun_setting = s->devrun_setting,
		.cloud = s->cloud };
	return message_read(&m, ret, f);
}

static void every_form_of_mist_is_a_request(void **state)
{
	static const struct {
		const char *payload, *function, *path, *context, *external_id, *parameters;
		bool has_echo;
	} samples[] = {
		{ "{\"functionId\":\"f\"}", "f", NULL, NULL, NULL, "{}", false },
		{ "{\"functionId\":\"f\",\"parameters\":{\"n\":1},\"externalId\":\"x\",\"more\":1,"
		  "\"runSettings\":{\"contextId\":\"c\",\"mode\":\"shared\"}}",
			"f", NULL, "c", "x", "{\"n\":1}", false },
		{ "{\"endpointId\":\"f\",\"parameters\":null}", "f", NULL, NULL, NULL, "{}",
			false },
		{ "{\"route\":\"f?serve\",\"parameters\":{}}", "f", NULL, NULL, NULL, "{}", true },
		{ "{\"jobId\":\"f\",\"action\":\"execute\",\"parameters\":{}}", "f", NULL, NULL,
			NULL, "{}", true },
		{ "{\"fakeName\":\"f\",\"path\":\"p.py\",\"className\":\"m\",\"context\":\"c\"}",
			"f", "p.py", "c", NULL, "{}", false },
		{ "{\"path\":\"p.py\",\"className\":\"m\",\"namespace\":\"c\",\"parameters\":{},"
		  "\"externalId\":\"x\"}",
			"m", "p.py", "c", "x", "{}", true },
		{ "{\"jarPath\":\"p.jar\",\"className\":\"m\",\"name\":\"c\",\"external_id\":\"x\","
		  "\"parameters\":{}}",
			"m", "p.jar", "c", "x", "{}", true },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f;
		const struct sample s = { .payload = samples[i].payload };
		assert_int_equal(read_sample(&s, &r, &f), 0);
		assert_int_equal(r.kind, MESSAGE_JOB);
		assert_string_equal(r.job->function, samples[i].function);
		assert_string_equal(
			r.job->path ? r.job->path : "", samples[i].path ? samples[i].path : "");
		assert_string_equal(r.job->context ? r.job->context : "",
			samples[i].context ? samples[i].context : "");
		assert_string_equal(r.job->external_id ? r.job->external_id : "",
			samples[i].external_id ? samples[i].external_id : "");
		assert_string_equal(r.job->parameters, samples[i].parameters);
		assert_int_equal(!!json_object_get(r.reply, "echo"), samples[i].has_echo);
		message_request_done(&r);
	}
}

static void bad_messages_are_refused_with_the_senders_id(void **state)
{
	static const char *const by_x[] = { "externalId", "x", NULL };
	static const char *const bad_key[] = { "idempotency-key", "kafka:a:b:c:0:1@2", NULL };
	static const char *const bad_priority[] = { "priority", "high", NULL };
	static const char *const bad_timeout[] = { "startTimeout", "soon", NULL };
	static const char *const bad_events[] = { "events", "some", NULL };
	static const struct {
		struct sample s;
		const char *says, *external_id;
	} samples[] = {
		{ { "" }, "the message is no JSON", NULL },
		{ { "[]", .properties = by_x }, "expected a JSON object, got an array", "x" },
		{ { "{\"a\":1}" }, "functionId: must be given", NULL },
		{ { "{\"functionId\":1,\"externalId\":\"y\"}" }, "functionId: expected a string",
			"y" },
		{ { "{\"functionId\":\"../f\"}" }, "the name of the function: expected", NULL },
		{ { "{\"functionId\":\"f\",\"parameters\":[]}" },
			"parameters: expected an object, got an array", NULL },
		{ { "3", .function = "f" }, "the arguments of the function, got an integer", NULL },
		{ { "{", .function = "f" },
			"the request's body, the arguments of the function, is no JSON object: ",
			NULL },
		{ { "{", .function = "f", .content_type = "application/cloudevents+json" },
			"the message is no JSON: ", NULL },
		{ { "{\"specversion\":\"1.0\",\"data\":{},\"data_base64\":\"e30=\"}",
			  .function = "f", .content_type = "application/cloudevents+json" },
			"data_base64: a CloudEvent has it or data, not both", NULL },
		{ { "{\"specversion\":\"1.0\",\"data_base64\":{}}", .function = "f",
			  .content_type = "application/cloudevents+json" },
			"data_base64: expected a string, got an object", NULL },
		{ { "{\"specversion\":\"1.0\",\"data_base64\":\"\"}", .function = "f",
			  .content_type = "application/cloudevents+json" },
			"data_base64: expected JSON in base64", NULL },
		{ { "{\"specversion\":\"1.0\",\"data_base64\":\"e30\"}", .function = "f",
			  .content_type = "application/cloudevents+json" },
			"data_base64: expected JSON in base64", NULL },
		{ { "{\"specversion\":\"1.0\",\"data_base64\":\"ew==\"}", .function = "f",
			  .content_type = "application/cloudevents+json" },
			"data_base64 is no JSON: ", NULL },
		{ { "{\"specversion\":\"1.0\",\"data_base64\":\"W10=\"}", .function = "f",
			  .content_type = "application/cloudevents+json" },
			"the arguments of the function, got an array", NULL },
		{ { "{}", .function = "f", .properties = bad_priority },
			"priority: expected an integer", NULL },
		{ { "{}", .function = "f", .properties = bad_timeout },
			"startTimeout: expected a duration", NULL },
		{ { "{}", .function = "f", .properties = bad_events }, "events: expected", NULL },
		{ { "{\"cancel\":\"x\"}" }, "cancel: expected the id of a job", NULL },
		{ { "{\"cancel\":\"" ID "\",\"reason\":\"\"}" },
			"reason: a message that cancels a job has only the member cancel", NULL },
		{ { "{\"functionId\":\"f\",\"runSettings\":\"s\"}" },
			"runSettings: expected an object, got a string", NULL },
		{ { "{\"endpointId\":\"f\",\"runSettings\":[],\"externalId\":\"x\"}" },
			"runSettings: expected an object, got an array", "x" },
		{ { "{\"functionId\":\"f\",\"runSettings\":{\"contextId\":7}}" },
			"runSettings: contextId: expected a string, got an integer", NULL },
		{ { "{\"functionId\":\"f\",\"functionId\":\"g\"}" }, "stands twice", NULL },
		{ { "{\"n\":1,\"n\":2}", .function = "f" }, "stands twice", NULL },
		{ { "{}", .content_type = "application/cloudevents+json" },
			"specversion: expected \"1.0\"", NULL },
		{ { "{\"specversion\":\"1.0\",\"data\":{}}", .function = "f",
			  .content_type = "application/cloudevents+json" },
			"id: a CloudEvent must have id, source and type", NULL },
		{ { "{}", .function = "f", .properties = bad_key },
			"idempotency-key: one that begins with kafka:", NULL },
		/* What is like an event of Mist's own is none of them. */
		{ { "{\"event\":\"click\",\"user\":1}" }, "functionId: must be given", NULL },
		{ { "{\"event\":\"started\",\"id\":1}" }, "functionId: must be given", NULL },
		{ { "{\"success\":1,\"payload\":1,\"errors\":1}" }, "functionId: must be given",
			NULL },
		{ { "{\"error\":\"x\",\"id\":\"1\"}" }, "functionId: must be given", NULL },
		{ { "{\"id\":\"" ID "\",\"event\":\"started\"}", .has_reply_address = true },
			"functionId: must be given", NULL },
		{ { "{\"fakeName\":\"f\",\"path\":\"p.py\",\"className\":\"m\",\"context\":\"c\"}",
			  .devrun_setting = "transports.a.devrun" },
			"is not taken by this transport unless transports.a.devrun is true", NULL },
		{ { "{\"jarPath\":\"p.jar\",\"className\":\"m\",\"name\":\"c\"}",
			  .devrun_setting = "transports.a.devrun" },
			"is not taken by this transport unless transports.a.devrun is true", NULL },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f;
		assert_true(read_sample(&samples[i].s, &r, &f) < 0);
		assert_int_equal(f.code, FAULT_BAD_REQUEST);
		if (!strstr(f.text, samples[i].says))
			fail_msg("%s: %s", samples[i].s.payload, f.text);
		const char *id = samples[i].external_id;
		assert_string_equal(r.external_id ? r.external_id : "", id ? id : "");
		message_request_done(&r);
	}
}

static void mists_own_events_are_noise(void **state)
{
	static const char *const samples[] = { "{\"id\":\"" ID
					       "\",\"time\":1,\"event\":\"started\"}",
		"{\"externalId\":\"x\",\"time\":1,\"error\":\"no\",\"event\":\"failed\"}",
		"{\"success\":true,\"payload\":{},\"errors\":[],\"request\":{}}",
		"{\"id\":\"" ID "\",\"error\":\"too large\"}", "{\"error\":\"too large\"}" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f;
		assert_int_equal(read_sample(&(struct sample){ samples[i] }, &r, &f), 0);
		assert_int_equal(r.kind, MESSAGE_NOISE);
		message_request_done(&r);
	}
}

static void a_request_may_have_members_that_events_have(void **state)
{
	static const struct {
		const char *payload;
		enum message_kind kind;
	} samples[] = {
		{ "{\"functionId\":\"f\",\"event\":\"hello\"}", MESSAGE_JOB },
		{ "{\"route\":\"f\",\"success\":1,\"payload\":1,\"errors\":1}", MESSAGE_JOB },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f;
		assert_int_equal(read_sample(&(struct sample){ samples[i].payload }, &r, &f), 0);
		assert_int_equal(r.kind, samples[i].kind);
		message_request_done(&r);
	}
}

static void attributes_of_cloud_events_are_what_they_should_be(void **state)
{
	static const struct {
		const char *member, *says; /* says NULL: it is good */
	} samples[] = {
		{ "\"time\":\"2018-04-05T17:31:00Z\"", NULL },
		{ "\"time\":\"2024-02-29t23:59:60.123456789+05:30\"", NULL },
		{ "\"time\":null", NULL },
		{ "\"time\":5", "time: expected a string, got an integer" },
		{ "\"time\":\"\"", "time: expected a time" },
		{ "\"time\":\"yesterday\"", "time: expected a time" },
		{ "\"time\":\"2018-04-05\"", "time: expected a time" },
		{ "\"time\":\"2018-04-05T17:31:00\"", "time: expected a time" },
		{ "\"time\":\"2018-04-31T17:31:00Z\"", "time: expected a time" },
		{ "\"time\":\"2018-04-05T24:31:00Z\"", "time: expected a time" },
		{ "\"time\":\"2018-04-05T17:31:00.Z\"", "time: expected a time" },
		{ "\"time\":\"2018-04-05T17:31:00Z \"", "time: expected a time" },
		{ "\"datacontenttype\":\"application/json\"", NULL },
		{ "\"datacontenttype\":\"Application/JSON; charset=utf-8\"", NULL },
		{ "\"datacontenttype\":\"application/vnd.x+json\"", NULL },
		{ "\"datacontenttype\":7", "datacontenttype: expected a string" },
		{ "\"datacontenttype\":\"text/plain\"",
			"datacontenttype: expected application/json" },
		{ "\"datacontenttype\":\"application/jsonx\"", "datacontenttype: expected" },
		{ "\"datacontenttype\":\"+json\"", "datacontenttype: expected" },
		{ "\"subject\":5", "subject: expected a string, got an integer" },
		{ "\"dataschema\":{}", "dataschema: expected a string, got an object" },
		{ "\"anything\":{\"else\":[1]}", NULL },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f = { 0 };
		_cleanup_(freep) char *payload = xasprintf(
			"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"t\","
			"%s,\"data\":{}}",
			samples[i].member);
		const struct sample s = { payload, .function = "f",
			.content_type = "application/cloudevents+json ; charset=utf-8" };
		int result = read_sample(&s, &r, &f);
		message_request_done(&r);
		if (samples[i].says ? result == 0 || !strstr(f.text, samples[i].says) : result < 0)
			fail_msg("%s: %d %s", samples[i].member, result, f.text);
	}
}

static void binary_attributes_are_checked_as_well(void **state)
{
	static const char *const wrong_time[] = { "specversion", "1.0", "id", "1", "source", "/a",
		"type", "t", "time", "5", NULL };
	static const char *const right[] = { "specversion", "1.0", "id", "1", "source", "/a",
		"type", "t", "time", "2018-04-05T17:31:00Z", NULL };
	static const struct {
		const char *type;
		const char *const *properties;
		const char *says;
	} samples[] = { { NULL, right, NULL }, { "application/json", right, NULL },
		{ "text/plain", right, "datacontenttype: expected application/json" },
		{ NULL, wrong_time, "time: expected a time" } };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f = { 0 };
		const struct sample s = { "{}", "f", samples[i].type, "", samples[i].properties };
		int result = read_sample(&s, &r, &f);
		message_request_done(&r);
		if (samples[i].says ? result == 0 || !strstr(f.text, samples[i].says) : result < 0)
			fail_msg("%zu: %d %s", i, result, f.text);
	}
}

static void another_type_of_content_is_no_cloud_event(void **state)
{
	static const char *const types[] = { "application/cloudevents+jsonx",
		"application/cloudevents+json.x", "application/cloudevents" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct message_request r;
		struct fault f;
		const struct sample s = { "{\"specversion\":\"1.0\"}", "f", types[i] };
		assert_int_equal(read_sample(&s, &r, &f), 0);
		assert_string_equal(r.job->parameters, s.payload);
		message_request_done(&r);
	}
}

static void members_without_effect_are_named(void **state)
{
	static const struct {
		const char *payload, *function, *content_type, *ignored;
	} samples[] = {
		{ "{\"functionId\":\"f\"}", NULL, NULL, "" },
		{ "{\"functionId\":\"f\",\"parameters\":{\"x\":1},\"externalId\":\"e\","
		  "\"runSettings\":{\"contextId\":\"c\"}}",
			NULL, NULL, "" },
		{ "{\"functionId\":\"f\",\"more\":null,\"runSettings\":{\"mode\":\"shared\","
		  "\"workerId\":1}}",
			NULL, NULL, "more, runSettings.mode, runSettings.workerId" },
		{ "{\"jobId\":\"f\",\"action\":\"execute\",\"parameters\":{}}", NULL, NULL,
			"action" },
		{ "{\"fakeName\":\"f\",\"path\":\"p.py\",\"className\":\"m\",\"context\":\"c\","
		  "\"workerId\":\"w\",\"runSettings\":{}}",
			NULL, NULL, "workerId, runSettings" },
		{ "{\"x\":1,\"runSettings\":2}", "f", NULL, "" },
		{ "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/s\",\"type\":\"t\","
		  "\"extension\":1,\"data\":{\"functionId\":\"f\",\"odd\":1}}",
			NULL, "application/cloudevents+json", "odd" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f;
		const struct sample s = { .payload = samples[i].payload,
			.function = samples[i].function,
			.content_type = samples[i].content_type };
		if (read_sample(&s, &r, &f) < 0)
			fail_msg("%s: %s", samples[i].payload, f.text);
		assert_string_equal(r.job->ignored ? r.job->ignored : "", samples[i].ignored);
		const char *kept = json_string_value(json_object_get(r.reply, "ignored"));
		assert_string_equal(kept ? kept : "", samples[i].ignored);
		message_request_done(&r);
	}
}

static struct job *finished_job(void)
{
	const struct function_settings settings = {
		.path = (char *)"p", .class_name = (char *)"c", .context = (char *)"d"
	};
	struct job *j = job_new();
	assert_true(uuid_parse(ID, &j->id));
	j->function = function_new("f", &settings, "/p");
	j->context = xstrdup("d");
	j->parameters = xstrdup("{}");
	j->source = xstrdup("s");
	j->trace = xstrdup(TRACE);
	j->ended_ms = 1;
	return j;
}

/* How it reads where it comes back, on a function's own topic or another. `cloud`: what stands
 * before attributes. */
static enum message_kind read_back(
	const struct message_out *out, const char *cloud, const char *function)
{
	const char *properties[2 * ARRAY_SIZE(out->attributes) + 1] = { NULL };
	char names[ARRAY_SIZE(out->attributes)][32];
	struct message_request r;
	struct fault f;
	for (size_t i = 0; i < out->n_attributes; i++) {
		snprintf(names[i], sizeof names[i], "%s%s", cloud, out->attributes[i].name);
		properties[2 * i] = names[i];
		properties[2 * i + 1] = out->attributes[i].value;
	}
	const struct sample s = { out->payload.data, function, out->content_type, cloud,
		properties };
	if (read_sample(&s, &r, &f) < 0)
		fail_msg("%s: %s", out->payload.data, f.text);
	enum message_kind kind = r.kind;
	message_request_done(&r);
	return kind;
}

static void what_is_told_is_noise_when_it_comes_back(void **state)
{
	static const char *const replies[] = { "{}", "{\"form\":\"structured\"}",
		"{\"form\":\"binary\"}", "{\"echo\":{\"route\":\"f\"}}" };
	_cleanup_(job_unrefp) struct job *j = finished_job();
	struct fault why;
	(void)state;
	fault_set(&why, FAULT_NOT_FOUND, "there is no function g");
	const struct job_event events[] = {
		{ .kind = EVENT_FINISHED, .job = j, .at_ms = 1, .result = "42", .result_len = 2 },
		{ .kind = EVENT_REFUSED, .fault = &why, .at_ms = 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		_cleanup_(json_decrefp) json_t *reply = json_loads(replies[i], 0, NULL);
		for (size_t n = 0; n < ARRAY_SIZE(events); n++) {
			struct message_out out;
			message_print(reply, &events[n], &out);
			assert_int_equal(read_back(&out, "", NULL), MESSAGE_NOISE);
			assert_int_equal(read_back(&out, "ce_", NULL), MESSAGE_NOISE);
			/* Somebody sent it there. */
			assert_int_equal(read_back(&out, "ce_", "f"), MESSAGE_JOB);
			message_out_done(&out);
		}
	}
}

/* What the transport found is kept with the reply, what the core found with the job. */
static void answers_name_what_was_ignored(void **state)
{
	_cleanup_(json_decrefp) json_t *reply = json_loads("{\"ignored\":\"mode, more\"}", 0, NULL);
	_cleanup_(job_unrefp) struct job *j = finished_job();
	struct message_out out;
	struct fault why;
	(void)state;
	fault_set(&why, FAULT_NOT_FOUND, "there is no function g");
	const struct job_event refused = { .kind = EVENT_REFUSED, .fault = &why, .at_ms = 1 };
	const struct job_event ended = {
		.kind = EVENT_FINISHED, .job = j, .at_ms = 1, .result = "42", .result_len = 2
	};
	message_print(reply, &refused, &out);
	assert_string_equal(out.ignored, "mode, more");
	message_out_done(&out);
	message_print(NULL, &ended, &out);
	assert_null(out.ignored);
	message_out_done(&out);
	j->ignored = xstrdup("more, strat");
	message_print(reply, &ended, &out);
	assert_string_equal(out.ignored, "mode, more, strat");
	message_out_done(&out);
}

static void refusals_of_one_moment_have_ids_of_their_own(void **state)
{
	struct fault why;
	struct message_out outs[2];
	struct uuid id;
	(void)state;
	fault_set(&why, FAULT_NOT_FOUND, "there is no function g");
	const struct job_event ev = { .kind = EVENT_REFUSED, .fault = &why, .at_ms = 1 };
	for (size_t i = 0; i < ARRAY_SIZE(outs); i++) {
		message_print(NULL, &ev, &outs[i]);
		assert_int_equal(strncmp(outs[i].id, "refused:00000000-0001-7", 23), 0);
		assert_true(uuid_parse(outs[i].id + strlen("refused:"), &id));
		message_out_done(&outs[i]);
	}
	assert_string_not_equal(outs[0].id, outs[1].id);
}

static void properties_go_over_the_payload(void **state)
{
	static const char *const properties[] = { "context", "p", "priority", "-7", "startTimeout",
		"5s", "performTimeout", "Inf", "traceparent", TRACE, "idempotency-key", "k",
		"events", "all", "externalId", "x", NULL };
	struct message_request r;
	struct fault f;
	(void)state;
	const struct sample s = { "{\"n\": 1.50}", .function = "f", .properties = properties };
	assert_int_equal(read_sample(&s, &r, &f), 0);
	assert_string_equal(r.job->function, "f");
	assert_string_equal(r.job->context, "p");
	assert_string_equal(r.job->external_id, "x");
	assert_string_equal(r.job->trace, TRACE);
	assert_string_equal(r.job->idempotency_key, "k");
	assert_int_equal(strlen(r.job->idempotency_digest), 64);
	assert_int_equal(r.job->priority, -7);
	assert_int_equal(r.job->start_timeout_ms, 5000);
	assert_true(r.wants_all);
	message_request_done(&r);
}

static void the_senders_id_of_a_property_goes_over_the_payloads(void **state)
{
	static const char *const properties[] = { "externalId", "property", NULL };
	struct message_request r;
	struct fault f;
	(void)state;
	const struct sample s = { "{\"functionId\":\"f\",\"externalId\":\"payload\"}",
		.properties = properties };
	assert_int_equal(read_sample(&s, &r, &f), 0);
	assert_string_equal(r.job->external_id, "property");
	assert_string_equal(r.external_id, "property");
	message_request_done(&r);
}

static void a_cancel_names_its_job(void **state)
{
	struct message_request r;
	struct fault f;
	char id[UUID_TEXT];
	(void)state;
	assert_int_equal(read_sample(&(struct sample){ "{\"cancel\":\"" ID "\"}" }, &r, &f), 0);
	assert_int_equal(r.kind, MESSAGE_CANCEL);
	uuid_format(&r.cancel, id);
	assert_string_equal(id, ID);
	message_request_done(&r);
}

/* The same request as one object and with its attributes beside it. */
static void cloud_events_are_requests(void **state)
{
	static const char *const beside[] = { "ce_specversion", "1.0", "ce_id", "7", "ce_source",
		"/s", "ce_type", "t", "ce_subject", "f", NULL };
	const struct sample samples[] = {
		{ "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/s\",\"type\":\"t\","
		  "\"subject\":\"f\",\"data\":{\"n\":1}}",
			.content_type = "application/cloudevents+json; charset=UTF-8" },
		{ "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/s\",\"type\":\"t\","
		  "\"subject\":\"f\",\"data\":null,\"data_base64\":\"eyJuIjoxfQ==\"}",
			.content_type = "application/cloudevents+json" },
		{ "{\"n\":1}", .cloud = "ce_", .properties = beside },
	};
	static const char *const modes[] = { "structured", "structured", "binary" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct message_request r;
		struct fault f;
		assert_int_equal(read_sample(&samples[i], &r, &f), 0);
		assert_string_equal(r.job->function, "f");
		assert_string_equal(r.job->parameters, "{\"n\":1}");
		assert_string_equal(r.job->idempotency_key, "/s 7");
		assert_string_equal(json_string_of(r.reply, "form"), modes[i]);
		message_request_done(&r);
	}
}

static void expect_told(
	const char *reply, const struct job_event *ev, const char *payload, size_t n_attributes)
{
	_cleanup_(json_decrefp) json_t *json = json_loads(reply, 0, NULL);
	struct message_out out;
	assert_non_null(json);
	message_print(json, ev, &out);
	assert_string_equal(out.payload.data, payload);
	assert_int_equal(out.n_attributes, n_attributes);
	message_out_done(&out);
}

static void outcomes_are_told_in_the_form_of_the_request(void **state)
{
	_cleanup_(job_unrefp) struct job *j = finished_job();
	(void)state;
	const struct job_event ev = {
		.kind = EVENT_FINISHED, .job = j, .at_ms = 1, .result = "42", .result_len = 2
	};
#define FINISHED "{\"id\":\"" ID "\",\"time\":1,\"result\":42,\"event\":\"finished\"}"
	expect_told("{}", &ev, FINISHED, 0);
	expect_told("{\"form\":\"binary\"}", &ev, FINISHED, 6);
	expect_told("{\"form\":\"structured\"}", &ev,
		"{\"specversion\":\"1.0\",\"id\":\"" ID ":finished\",\"source\":\"/mist\","
		"\"type\":\"io.mist.job.finished\",\"subject\":\"" ID "\",\"traceparent\":\"" TRACE
		"\",\"time\":\"1970-01-01T00:00:00.001Z\",\"datacontenttype\":\"application/json\","
		"\"data\":" FINISHED "}",
		0);
	expect_told("{\"echo\":{\"route\":\"f\"}}", &ev,
		"{\"success\":true,\"payload\":42,\"errors\":[],\"request\":{\"route\":\"f\"}}", 0);

	struct fault f;
	fault_set(&f, FAULT_NOT_FOUND, "there is no function \"g\"");
	const struct job_event refusal = { .kind = EVENT_REFUSED, .fault = &f, .at_ms = 1 };
	expect_told("{\"externalId\":\"x\"}", &refusal,
		"{\"externalId\":\"x\",\"time\":1,\"error\":\"there is no function "
		"\\\"g\\\"\",\"event\":\"failed\"}",
		0);
	expect_told("{\"echo\":{}}", &refusal,
		"{\"success\":false,\"payload\":{},\"errors\":[\"there is no function "
		"\\\"g\\\"\"],\"request\":{}}",
		0);
}

static void a_trace_has_ids(void **state)
{
	(void)state;
	assert_true(trace_is_good(TRACE));
	assert_true(trace_is_good("00-00000000000000000000000000000001-0000000000000001-00"));
	assert_false(trace_is_good("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
	assert_false(trace_is_good("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"));
	assert_false(trace_is_good("00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
	assert_false(trace_is_good("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
	assert_false(trace_is_good(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trace_has_ids),
		cmocka_unit_test(every_form_of_mist_is_a_request),
		cmocka_unit_test(bad_messages_are_refused_with_the_senders_id),
		cmocka_unit_test(members_without_effect_are_named),
		cmocka_unit_test(answers_name_what_was_ignored),
		cmocka_unit_test(mists_own_events_are_noise),
		cmocka_unit_test(attributes_of_cloud_events_are_what_they_should_be),
		cmocka_unit_test(binary_attributes_are_checked_as_well),
		cmocka_unit_test(another_type_of_content_is_no_cloud_event),
		cmocka_unit_test(a_request_may_have_members_that_events_have),
		cmocka_unit_test(what_is_told_is_noise_when_it_comes_back),
		cmocka_unit_test(refusals_of_one_moment_have_ids_of_their_own),
		cmocka_unit_test(properties_go_over_the_payload),
		cmocka_unit_test(the_senders_id_of_a_property_goes_over_the_payloads),
		cmocka_unit_test(a_cancel_names_its_job),
		cmocka_unit_test(cloud_events_are_requests),
		cmocka_unit_test(outcomes_are_told_in_the_form_of_the_request),
	};
	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
