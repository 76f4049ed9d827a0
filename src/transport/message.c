/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in messages.
 *
 * When the topic names the function, the payload is the object of its arguments. Else the payload
 * says what is meant, in one of the forms that Mist had over the years; they are told apart by
 * their members, in the order in which Mist tried them. A CloudEvent wraps either: its data is the
 * arguments when the topic or its `subject` names the function. All forms become the same
 * job_request. What Mist itself tells comes back where a topic is used both ways, and is known by
 * its members, or by source and type of the CloudEvent. */
#include "transport/message.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/ignored.h"
#include "base/utf8.h"

enum { DEPTH_MAX = 64, TEXT_MAX = 1024, KEY_MAX = 255, DIGEST_BYTES = 32 };

/* What the keys begin with that adapters make of positions in a log. */
#define LOG_POSITION "kafka:"
#define CLOUD_JSON   "application/cloudevents+json"

const struct run_form run_form_dev = { "fakeName", "path", "className", "context", "externalId" };
const struct run_form run_form_path = { NULL, "path", "className", "namespace", "externalId",
	.is_old = true };

static const struct run_form by_function = { "functionId", .external_id = "externalId",
	.has_settings = true };
static const struct run_form by_endpoint = { "endpointId", .external_id = "externalId",
	.has_settings = true };
static const struct run_form by_route = { "route", .external_id = "externalId", .is_old = true };
static const struct run_form by_job = { "jobId", .external_id = "externalId", .is_old = true };
static const struct run_form by_jar = { NULL, "jarPath", "className", "name", "external_id",
	.is_old = true };
static const struct run_form by_py = { NULL, "pyPath", "className", "name", "external_id",
	.is_old = true };

/* In the order in which Mist tried them. */
static const struct run_form *const forms[] = { &run_form_dev, &by_function, &by_endpoint,
	&by_route, &by_job, &run_form_path, &by_jar, &by_py };

static const char *const properties[] = { "externalId", "context", "priority", "startTimeout",
	"performTimeout", "idempotency-key", "events" };
static const char *const attributes[] = { "specversion", "id", "source", "type", "subject", "time",
	"datacontenttype", "dataschema" };

static bool is_among(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

bool message_reads(const char *name, const char *cloud)
{
	return is_among(properties, ARRAY_SIZE(properties), name) ||
	       (cloud && strncmp(name, cloud, strlen(cloud)) == 0 &&
		       is_among(attributes, ARRAY_SIZE(attributes), name + strlen(cloud)));
}

static const char *property(const struct message *m, const char *name)
{
	return m->property ? m->property(m->arg, name) : NULL;
}

char *request_digest(const struct job_request *job)
{
	/* However the arguments are written. */
	_cleanup_(freep) char *arguments =
		json_dumps(job->arguments, JSON_COMPACT | JSON_SORT_KEYS);
	const char *const parts[] = { job->function, job->context ? job->context : "", arguments };
	unsigned char digest[DIGEST_BYTES];
	char *text = xcalloc(1, 2 * sizeof digest + 1);
	gnutls_hash_hd_t hash;
	must(gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		gnutls_hash(hash, parts[i], strlen(parts[i]) + 1);
	gnutls_hash_deinit(hash, digest);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

bool trace_is_good(const char *text)
{
	static const char form[] = "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
	if (!text || strlen(text) != strlen(form))
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'h' ? !strchr("0123456789abcdef", text[i]) : form[i] != text[i])
			return false;
	/* Of zeroes alone a trace and a span have no id (W3C Trace Context, 3.2.2). */
	return strspn(text + 3, "0") < 32 && strspn(text + 36, "0") < 16;
}

/* A member that is text; absent and null are the same. */
static int read_text(
	const json_t *object, const char *name, bool is_required, char **ret, struct fault *f)
{
	const json_t *value = json_object_get(object, name);
	if (!is_required && (!value || json_is_null(value)))
		return 0;
	if (!json_is_string(value))
		return fault_set(f, FAULT_BAD_REQUEST, "%s: expected a string, got %s", name,
			json_kind(value));
	if (json_string_length(value) > TEXT_MAX)
		return fault_set(
			f, FAULT_BAD_REQUEST, "%s: expected at most %d bytes", name, TEXT_MAX);
	free(*ret);
	*ret = xstrdup(json_string_value(value));
	return 0;
}

static const struct run_form *form_of(const json_t *body)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const char *mark = forms[i]->function ? forms[i]->function : forms[i]->path;
		if (json_object_get(body, mark))
			return forms[i];
	}
	return NULL;
}

/* "name?serve" is the function's name and what to do with it; there is one thing to do. */
static void cut_action(char *route)
{
	char *mark = strrchr(route, '?');
	if (mark && (strcmp(mark, "?serve") == 0 || strcmp(mark, "?train") == 0))
		*mark = '\0';
}

/* The rest of the message is let go before the job leaves, so the job alone holds them then. */
static int take_arguments(struct job_request *job, json_t *arguments, struct fault *f)
{
	if (arguments && !json_is_null(arguments) && !json_is_object(arguments))
		return fault_set(f, FAULT_BAD_REQUEST, "parameters: expected an object, got %s",
			json_kind(arguments));
	bool is_given = json_is_object(arguments);
	job->parameters = is_given ? json_text(arguments) : xstrdup("{}");
	job->arguments = is_given ? json_incref(arguments) : json_object();
	return 0;
}

/* The payload is the arguments: they stay as they were written. */
static void keep_arguments(struct job_request *job, json_t *body, const struct message *m)
{
	job->parameters = strndup(m->payload, m->len);
	job->arguments = json_incref(body);
}

/* What Mist's clients of some version send and we have no use for. */
static void note_ignored(const struct run_form *form, const json_t *body, struct job_request *job)
{
	const char *known[8] = { "parameters" };
	const char *const members[] = { form->function, form->path, form->class_name, form->context,
		form->external_id };
	size_t n = 1;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i])
			known[n++] = members[i];
	if (form->has_settings)
		known[n++] = "runSettings";
	ignored_add_members(&job->ignored, body, NULL, known);
}

int run_form_read(
	const struct run_form *form, const json_t *body, struct job_request *job, struct fault *f)
{
	int r = read_text(body, form->external_id, false, &job->external_id, f);
	if (r == 0 && form->function)
		r = read_text(body, form->function, true, &job->function, f);
	if (r == 0 && form->path)
		r = read_text(body, form->path, true, &job->path, f);
	if (r == 0 && form->class_name)
		r = read_text(body, form->class_name, true, &job->class_name, f);
	if (r == 0 && form->context)
		r = read_text(body, form->context, !form->is_old, &job->context, f);
	if (r == 0)
		r = take_arguments(job, json_object_get(body, "parameters"), f);
	if (r == 0 && !job->function)
		job->function = xstrdup(job->class_name);
	if (r == 0)
		note_ignored(form, body, job);
	return r;
}

/* Of the settings that Mist had over the years only the context is left. */
static int read_settings(const json_t *settings, struct job_request *job, struct fault *f)
{
	static const char *const known[] = { "contextId", NULL };
	if (!settings || json_is_null(settings))
		return 0;
	if (!json_is_object(settings))
		return fault_set(f, FAULT_BAD_REQUEST, "runSettings: expected an object, got %s",
			json_kind(settings));
	ignored_add_members(&job->ignored, settings, "runSettings", known);
	int r = read_text(settings, "contextId", false, &job->context, f);
	return r < 0 ? fault_prefix(f, "runSettings") : 0;
}

/* Mist's forms. */
static int read_form(const json_t *body, struct message_request *ret, struct fault *f)
{
	const struct run_form *form = form_of(body);
	if (!form)
		return fault_set(f, FAULT_BAD_REQUEST,
			"functionId: must be given: the message does not say which function is to "
			"run");
	int r = run_form_read(form, body, ret->job, f);
	if (ret->job->external_id && !ret->external_id)
		ret->external_id = xstrdup(ret->job->external_id);
	if (r == 0 && form->has_settings)
		r = read_settings(json_object_get(body, "runSettings"), ret->job, f);
	if (r < 0)
		return r;
	cut_action(ret->job->function);
	ret->job->makes_context = form->is_old;
	if (form->is_old)
		json_object_set_new(ret->reply, "echo", json_deep_copy(body));
	return 0;
}

static bool is_id(const json_t *body)
{
	const char *id = json_string_of(body, "id");
	struct uuid ignored;
	return id && uuid_parse(id, &ignored);
}

static bool is_event_name(const char *name)
{
	for (int kind = 0; kind < _EVENT_MAX; kind++)
		if (strcmp(event_name(kind), name) == 0)
			return true;
	return strcmp(name, "logs") == 0;
}

/* True: it is what Mist itself says on topics like this one: an event of a job, a refusal, an
 * answer of the first generation, message_too_large's sentence. Others send things with members of
 * these names, too, and a request may have them: so it must be whole. */
static bool is_noise(const struct message *m, const json_t *body)
{
	const char *event = json_string_of(body, "event"), *error = json_string_of(body, "error");
	if (form_of(body) || json_object_get(body, "cancel") || m->has_reply_address)
		return false;
	bool is_sentence = error && (json_object_size(body) == 1 ||
					    (json_object_size(body) == 2 && is_id(body)));
	bool is_answer = json_is_boolean(json_object_get(body, "success")) &&
			 json_object_get(body, "payload") &&
			 json_is_array(json_object_get(body, "errors"));
	bool is_event = event && is_event_name(event) && (is_id(body) || error);
	return is_sentence || is_answer || is_event;
}

static bool is_own_event(const char *source, const char *type)
{
	return source && type && strcmp(source, MESSAGE_SOURCE) == 0 &&
	       strncmp(type, MESSAGE_TYPE, strlen(MESSAGE_TYPE)) == 0;
}

static int read_cancel(const json_t *body, struct message_request *ret, struct fault *f)
{
	const char *id = json_string_of(body, "cancel"), *name;
	json_t *value;
	if (!id || !uuid_parse(id, &ret->cancel))
		return fault_set(f, FAULT_BAD_REQUEST, "cancel: expected the id of a job");
	json_object_foreach ((json_t *)body, name, value)
		if (strcmp(name, "cancel") != 0)
			return fault_set(f, FAULT_BAD_REQUEST,
				"%.*s: a message that cancels a job has only the member cancel",
				utf8_cut(name, 64), name);
	ret->kind = MESSAGE_CANCEL;
	return 0;
}

/* What the message is about, by its body and the function that is known otherwise, or NULL. */
static int read_body(const struct message *m, json_t *body, const char *function,
	struct message_request *ret, struct fault *f)
{
	if (!json_is_object(body))
		return fault_set(f, FAULT_BAD_REQUEST,
			function ? "the request's body: expected a JSON object with the arguments "
				   "of the function, got %s"
				 : "the message: expected a JSON object, got %s",
			json_kind(body));
	if (function) {
		ret->job->function = xstrdup(function);
		return take_arguments(ret->job, body, f);
	}
	if (is_noise(m, body)) {
		ret->kind = MESSAGE_NOISE;
		return 0;
	}
	if (json_object_get(body, "cancel"))
		return read_cancel(body, ret, f);
	return read_form(body, ret, f);
}

/* Attributes that every CloudEvent has; two of them are its idempotency key. */
static int take_attributes(struct job_request *job, const char *const values[3], struct fault *f)
{
	static const char *const names[] = { "id", "source", "type" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!values[i] || !*values[i])
			return fault_set(f, FAULT_BAD_REQUEST,
				"%s: a CloudEvent must have id, source and type, and none of them "
				"empty",
				names[i]);
	if (!job)
		return 0;
	job->idempotency_key = xasprintf("%s %s", values[1], values[0]);
	if (strlen(job->idempotency_key) > KEY_MAX)
		return fault_set(f, FAULT_BAD_REQUEST,
			"id: source and id of a CloudEvent must be at most %d bytes together",
			KEY_MAX);
	return 0;
}

static int read_digits(const char **text, int n)
{
	int value = 0;
	for (; n > 0; n--, (*text)++) {
		if (**text < '0' || **text > '9')
			return -1;
		value = value * 10 + (**text - '0');
	}
	return value;
}

/* Of RFC 3339: "2018-04-05T17:31:00.5Z", "…+02:00". */
static bool is_time(const char *t)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	static const struct {
		int digits, min, max;
		const char *behind;
	} parts[] = { { 4, 0, 9999, "-" }, { 2, 1, 12, "-" }, { 2, 1, 31, "Tt" }, { 2, 0, 23, ":" },
		{ 2, 0, 59, ":" }, { 2, 0, 60, NULL } };
	int values[ARRAY_SIZE(parts)];
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		values[i] = read_digits(&t, parts[i].digits);
		if (values[i] < parts[i].min || values[i] > parts[i].max)
			return false;
		if (parts[i].behind && (!*t || !strchr(parts[i].behind, *t++)))
			return false;
	}
	if (values[2] > days[values[1] - 1])
		return false;
	if (*t == '.') {
		size_t n = strspn(++t, "0123456789");
		if (!n)
			return false;
		t += n;
	}
	if (*t == 'Z' || *t == 'z')
		return !t[1];
	if (*t != '+' && *t != '-')
		return false;
	t++;
	int hours = read_digits(&t, 2);
	if (hours < 0 || hours > 23 || *t++ != ':')
		return false;
	int minutes = read_digits(&t, 2);
	return minutes >= 0 && minutes <= 59 && !*t;
}

static const char *skip_blank(const char *t)
{
	return t + strspn(t, " \t");
}

/* A media type is this one, whatever its parameters are. */
static bool is_media_type(const char *text, const char *type)
{
	text = skip_blank(text);
	size_t n = strlen(type);
	if (strncasecmp(text, type, n) != 0)
		return false;
	text = skip_blank(text + n);
	return !*text || *text == ';';
}

/* "application/json", "…/…+json" */
static bool is_json_type(const char *text)
{
	static const char suffix[] = "+json";
	text = skip_blank(text);
	size_t n = strcspn(text, "; \t"), k = strlen(suffix);
	return is_media_type(text, "application/json") || is_media_type(text, "text/json") ||
	       (n > k && memchr(text, '/', n) && strncasecmp(text + n - k, suffix, k) == 0 &&
		       is_media_type(text + n - k, suffix));
}

/* What an event says of itself; NULL: nothing. */
static int check_attributes(const char *time, const char *type, struct fault *f)
{
	if (time && !is_time(time))
		return fault_set(f, FAULT_BAD_REQUEST,
			"time: expected a time such as 2018-04-05T17:31:00Z, got \"%.*s\"",
			utf8_cut(time, 64), time);
	if (type && !is_json_type(type))
		return fault_set(f, FAULT_BAD_REQUEST,
			"datacontenttype: expected application/json, or a type that ends with "
			"+json, got \"%.*s\"",
			utf8_cut(type, 64), type);
	return 0;
}

/* Those that have a meaning are strings; extension attributes are anything. */
static int check_kinds(const json_t *event, struct fault *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		const json_t *value = json_object_get(event, attributes[i]);
		if (value && !json_is_null(value) && !json_is_string(value))
			return fault_set(f, FAULT_BAD_REQUEST, "%s: expected a string, got %s",
				attributes[i], json_kind(value));
	}
	return check_attributes(
		json_string_of(event, "time"), json_string_of(event, "datacontenttype"), f);
}

static int check_version(const char *version, struct fault *f)
{
	if (version && strcmp(version, "1.0") == 0)
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST, "specversion: expected \"1.0\", got \"%.*s\"",
		version ? utf8_cut(version, 16) : 0, version ? version : "");
}

/* Of an event in one object: `data`, or JSON that is in `data_base64`. The caller lets it go; NULL:
 * it has none. */
static int read_data(const json_t *event, json_t **ret, struct fault *f)
{
	json_t *data = json_object_get(event, "data");
	const json_t *coded = json_object_get(event, "data_base64");
	gnutls_datum_t bytes;
	if (!coded || json_is_null(coded)) {
		*ret = json_incref(data);
		return 0;
	}
	if (data && !json_is_null(data))
		return fault_set(
			f, FAULT_BAD_REQUEST, "data_base64: a CloudEvent has it or data, not both");
	if (!json_is_string(coded))
		return fault_set(f, FAULT_BAD_REQUEST, "data_base64: expected a string, got %s",
			json_kind(coded));
	const gnutls_datum_t text = { (unsigned char *)json_string_value(coded),
		(unsigned)json_string_length(coded) };
	if (text.size == 0 || gnutls_base64_decode2(&text, &bytes) < 0)
		return fault_set(f, FAULT_BAD_REQUEST, "data_base64: expected JSON in base64");
	*ret = json_parse((const char *)bytes.data, bytes.size, DEPTH_MAX, f);
	gnutls_free(bytes.data);
	return *ret ? 0 : fault_prefix(f, "data_base64 is no JSON");
}

static int read_structured(
	const json_t *event, const struct message *m, struct message_request *ret, struct fault *f)
{
	const char *subject = json_string_of(event, "subject");
	const char *trace = json_string_of(event, "traceparent");
	const char *source = json_string_of(event, "source"), *type = json_string_of(event, "type");
	_cleanup_(json_decrefp) json_t *data = NULL;
	if (!json_is_object(event))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the message: expected a CloudEvent, a JSON object, got %s",
			json_kind(event));
	if (!m->function && !m->has_reply_address && is_own_event(source, type)) {
		ret->kind = MESSAGE_NOISE;
		return 0;
	}
	json_object_set_new(ret->reply, "form", json_string("structured"));
	int r = check_kinds(event, f);
	if (r == 0)
		r = check_version(json_string_of(event, "specversion"), f);
	if (r == 0)
		r = read_data(event, &data, f);
	if (r == 0)
		r = read_body(m, data, m->function ? m->function : subject, ret, f);
	if (r == 0)
		r = take_attributes(ret->job,
			(const char *const[]){ json_string_of(event, "id"), source, type }, f);
	if (r == 0 && trace_is_good(trace))
		ret->job->trace = xstrdup(trace);
	return r;
}

static const char *cloud_property(const struct message *m, const char *attribute)
{
	char name[64];
	snprintf(name, sizeof name, "%s%s", m->cloud, attribute);
	return property(m, name);
}

/* What stands in properties goes over what the payload says. */
static int take_text(
	const struct message *m, const char *name, char **to, size_t max, struct fault *f)
{
	const char *text = property(m, name);
	if (!text)
		return 0;
	if (!*text || strlen(text) > max || !utf8_is_valid(text, strlen(text)))
		return fault_set(
			f, FAULT_BAD_REQUEST, "%s: expected 1 to %zu bytes of UTF-8", name, max);
	free(*to);
	*to = xstrdup(text);
	return 0;
}

static int take_duration(const struct message *m, const char *name, int64_t *to, struct fault *f)
{
	const char *text = property(m, name);
	if (!text || duration_parse(text, to) == 0)
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST,
		"%s: expected a duration such as 10s, 5 minutes or Inf, got \"%.*s\"", name,
		utf8_cut(text, 64), text);
}

static int take_priority(const struct message *m, int *to, struct fault *f)
{
	const char *text = property(m, "priority");
	char *end;
	if (!text)
		return 0;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < -JOB_PRIORITY_MAX || n > JOB_PRIORITY_MAX)
		return fault_set(f, FAULT_BAD_REQUEST,
			"priority: expected an integer from %d to %d, got \"%.*s\"",
			-JOB_PRIORITY_MAX, JOB_PRIORITY_MAX, utf8_cut(text, 64), text);
	*to = (int)n;
	return 0;
}

static int take_events(const struct message *m, struct message_request *ret, struct fault *f)
{
	const char *text = property(m, "events");
	if (text && strcmp(text, "all") != 0 && strcmp(text, "final") != 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"events: expected \"all\" or \"final\", got \"%.*s\"", utf8_cut(text, 64),
			text);
	ret->wants_all = text && strcmp(text, "all") == 0;
	return 0;
}

static int take_properties(const struct message *m, struct message_request *ret, struct fault *f)
{
	struct job_request *job = ret->job;
	const char *trace = property(m, "traceparent");
	int r = take_text(m, "context", &job->context, TEXT_MAX, f);
	if (r == 0)
		r = take_text(m, "idempotency-key", &job->idempotency_key, KEY_MAX, f);
	if (r == 0)
		r = take_duration(m, "startTimeout", &job->start_timeout_ms, f);
	if (r == 0)
		r = take_duration(m, "performTimeout", &job->perform_timeout_ms, f);
	if (r == 0)
		r = take_priority(m, &job->priority, f);
	if (r == 0)
		r = take_events(m, ret, f);
	if (r == 0 && trace_is_good(trace)) {
		free(job->trace);
		job->trace = xstrdup(trace);
	}
	return r;
}

bool message_key_is_reserved(const char *idempotency_key)
{
	return strncmp(idempotency_key, LOG_POSITION, strlen(LOG_POSITION)) == 0;
}

bool message_is_cloud_type(const char *content_type)
{
	return content_type && is_media_type(content_type, CLOUD_JSON);
}

static bool is_structured(const struct message *m)
{
	return message_is_cloud_type(m->content_type);
}

/* Binary mode: the payload is the data, the attributes are properties. */
static int read_plain(json_t *body, const struct message *m, const char *version,
	struct message_request *ret, struct fault *f)
{
	const char *subject = version ? cloud_property(m, "subject") : NULL;
	int r = version ? check_version(version, f) : 0;
	if (version && !m->function && !m->has_reply_address &&
		is_own_event(cloud_property(m, "source"), cloud_property(m, "type"))) {
		ret->kind = MESSAGE_NOISE;
		return 0;
	}
	if (version)
		json_object_set_new(ret->reply, "form", json_string("binary"));
	const char *function = m->function ? m->function : subject;
	if (r == 0 && version)
		r = check_attributes(cloud_property(m, "time"),
			m->content_type ? m->content_type : cloud_property(m, "datacontenttype"),
			f);
	if (r == 0 && function && json_is_object(body)) {
		ret->job->function = xstrdup(function);
		keep_arguments(ret->job, body, m);
	} else if (r == 0) {
		r = read_body(m, body, function, ret, f);
	}
	if (r == 0 && version)
		r = take_attributes(ret->job,
			(const char *const[]){ cloud_property(m, "id"), cloud_property(m, "source"),
				cloud_property(m, "type") },
			f);
	return r;
}

static int read_all(const struct message *m, struct message_request *ret, struct fault *f)
{
	const char *version = m->cloud ? cloud_property(m, "specversion") : NULL;
	int r = take_text(m, "externalId", &ret->external_id, TEXT_MAX, f);
	if (r < 0)
		return r;
	_cleanup_(json_decrefp) json_t *body =
		json_parse(m->payload ? m->payload : "", m->len, DEPTH_MAX, f);
	if (!body)
		return fault_prefix(f,
			m->function && !is_structured(m)
				? "the request's body, the arguments of the function, is no JSON "
				  "object"
				: "the message is no JSON");
	r = is_structured(m) ? read_structured(body, m, ret, f)
			     : read_plain(body, m, version, ret, f);
	if (r < 0 || ret->kind != MESSAGE_JOB)
		return r;
	if (ret->external_id) {
		free(ret->job->external_id);
		ret->job->external_id = xstrdup(ret->external_id);
	}
	if (!name_is_good(ret->job->function))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the name of the function: expected 1 to 128 letters, digits, '.', '_' and "
			"'-', not a dot first, got \"%.*s\"",
			utf8_cut(ret->job->function, 64), ret->job->function);
	if (ret->job->path && m->devrun_setting)
		return fault_set(f, FAULT_BAD_REQUEST,
			"path: a request that names a file and a class in place of a registered "
			"function is not taken by this transport unless %s is true",
			m->devrun_setting);
	r = take_properties(m, ret, f);
	if (r == 0 && ret->job->idempotency_key &&
		message_key_is_reserved(ret->job->idempotency_key))
		r = fault_set(f, FAULT_BAD_REQUEST,
			"idempotency-key: one that begins with " LOG_POSITION
			" is for positions in a log");
	if (r == 0 && ret->job->idempotency_key)
		ret->job->idempotency_digest = request_digest(ret->job);
	return r;
}

int message_read(const struct message *m, struct message_request *ret, struct fault *f)
{
	*ret = (struct message_request){ .job = job_request_new(), .reply = json_object() };
	int r = read_all(m, ret, f);
	if (ret->external_id)
		json_object_set_new(ret->reply, "externalId", json_string(ret->external_id));
	if (ret->job->ignored) /* the reply is kept with the job: told also after a restart */
		json_object_set_new(ret->reply, "ignored", json_string(ret->job->ignored));
	return r;
}

void message_request_done(struct message_request *r)
{
	job_request_free(r->job);
	free(r->external_id);
	json_decref(r->reply);
	*r = (struct message_request){ 0 };
}
