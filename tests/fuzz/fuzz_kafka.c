/* SPDX-License-Identifier: Apache-2.0 */
/* A Kafka record, from its bytes to the records that answer it, and those that are produced after a
 * restart, by what was kept of it.
 *
 * An input begins with the topic; lines "k BYTES" (the key) and "h NAME=VALUE" (a header, "h NAME"
 * for one that is null) follow, an empty line, and the payload. With the topic "!kept" the payload
 * is what a row has of the record instead. The library's view of a record is played here, because a
 * record of its own cannot be made without a broker; its headers are real. What is produced goes to
 * produceva below, where it is looked at. */
#include "fuzz.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/log.h"
#include "messages.h"
#include "transport/kafka/private.h"

enum { INPUT_MAX = 64 * 1024, INPUTS_OF_AN_OUTBOX = 4096 };

/* The record that is read, as the library tells it. */
static struct {
	rd_kafka_headers_t *headers;
	const char *topic;
} record;

rd_kafka_resp_err_t rd_kafka_message_headers(
	const rd_kafka_message_t *msg, rd_kafka_headers_t **ret)
{
	(void)msg;
	*ret = record.headers;
	return record.headers ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__NOENT;
}

const char *rd_kafka_topic_name(const rd_kafka_topic_t *topic)
{
	(void)topic;
	return record.topic;
}

int64_t rd_kafka_message_timestamp(const rd_kafka_message_t *msg, rd_kafka_timestamp_type_t *type)
{
	(void)msg, (void)type;
	return 1700000000000;
}

static void check_letter(const struct letter *l, bool is_json)
{
	const char *name;
	const void *value;
	size_t len;
	must(topic_is_good(l->topic));
	if (is_json)
		must_be_json(l->payload, l->payload_len);
	for (size_t i = 0;
		l->headers && !rd_kafka_header_get_all(l->headers, i, &name, &value, &len); i++)
		must(name[0] || !is_json);
}

rd_kafka_error_t *rd_kafka_produceva(rd_kafka_t *rk, const rd_kafka_vu_t *parts, size_t n)
{
	struct letter *l = NULL;
	rd_kafka_headers_t *headers = NULL;
	(void)rk;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].vtype == RD_KAFKA_VTYPE_OPAQUE)
			l = parts[i].u.ptr;
		if (parts[i].vtype == RD_KAFKA_VTYPE_HEADERS)
			headers = parts[i].u.headers;
	}
	must(l && headers);
	l->headers = headers;
	check_letter(l, true);
	letter_free(l);
	return NULL;
}

static struct kafka *instance(void)
{
	static const char *const sets[] = { "it.brokers=127.0.0.1:1", "it.subscribe-topic=in",
		"it.publish-topic=out", "it.functions-prefix=f.", "it.dead-letter-topic=dead",
		"it.buffer=10000000" };
	static struct kafka k;
	static char name[] = "fuzz";
	struct fault f;
	if (k.env.name)
		return &k;
	settings_read(kafka_conf, sizeof k.settings, sets, ARRAY_SIZE(sets), &k.settings);
	k.env.name = "fuzz";
	k.name = name;
	k.env.gateway = "gateway";
	k.env.in = intake_of_nobody();
	health_init(&k.health, k.env.name, k.settings.brokers);
	must(outbox_open(&k.outbox, &k, &f) == 0);
	k.message_max = 32 * 1024;
	return &k;
}

/* No report of a delivery ever comes, so what is owed would be kept for ever. */
static void renew_outbox(struct kafka *k)
{
	static unsigned n;
	struct fault f;
	if (++n % INPUTS_OF_AN_OUTBOX)
		return;
	outbox_close(k->outbox);
	must(outbox_open(&k->outbox, k, &f) == 0);
}

static void tell(void *arg, const struct job_event *ev)
{
	struct reply_to *to = arg;
	if (ev->kind != EVENT_REFUSED && ev->kind != EVENT_ACCEPTED &&
		to->wants & EVENT_BIT(ev->kind))
		events_publish(instance(), to, ev);
}

/* As after a restart. */
static void tell_restored(struct kafka *k, const char *text)
{
	const struct fault f = { FAULT_TOO_MANY, "not now" };
	_cleanup_(job_unrefp) struct job *j = job_example();
	_cleanup_(freep) char *copy = xstrdup(text);
	struct reply_to to = { .text = copy };
	if (kafka_transport.restore(&k, &to) < 0) /* an instance is a pointer to it */
		return;
	each_event(j, &f, tell, &to);
	to.wants = ~0u;
	each_event(j, &f, tell, &to);
}

static void play(struct kafka *k, const rd_kafka_message_t *msg)
{
	struct request rq;
	struct fault f = { 0 };
	size_t prefix = strlen(k->settings.functions_prefix);
	const char *function = strncmp(record.topic, k->settings.functions_prefix, prefix) == 0
				       ? record.topic + prefix
				       : NULL;
	int r = request_read(k, msg, function, &rq, &f);
	must(r == 0 || (f.code != FAULT_NONE && utf8_is_valid(f.text, strlen(f.text))));
	if (r == 0 && rq.read.kind == MESSAGE_JOB) {
		const struct job_request *job = rq.read.job;
		must(job->function && job->idempotency_key && json_is_object(job->arguments));
		must_be_json(job->parameters, strlen(job->parameters));
	}
	if (r < 0) {
		struct letter *l = request_dead_letter(k, msg, &f);
		check_letter(l, false);
		letter_free(l);
	}
	if (rq.has_reply) {
		struct letter *l = events_refusal(
			rq.read.reply, r < 0 ? &f : &(struct fault){ FAULT_TOO_MANY, "no" });
		if (l)
			check_letter(l, true);
		letter_free(l);
		_cleanup_(freep) char *text = json_text(rq.read.reply);
		tell_restored(k, text);
	}
	request_done(&rq);
}

static void add_header(const char *line, size_t len)
{
	const char *equals = memchr(line, '=', len);
	size_t n = equals ? (size_t)(equals - line) : len;
	if (n == 0)
		return;
	if (!record.headers)
		record.headers = rd_kafka_headers_new(8);
	rd_kafka_header_add(record.headers, line, (ssize_t)n, equals ? equals + 1 : NULL,
		equals ? (ssize_t)(len - n - 1) : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kafka *k = instance();
	const char *at = (const char *)data, *end = at + size, *line;
	size_t len;
	rd_kafka_message_t msg = { .partition = 1, .offset = 7 };
	_cleanup_(freep) char *key = NULL;
	if (size == 0 || size > INPUT_MAX || !line_take(&at, end, &line, &len))
		return 0;
	log_set_level(_LOG_LEVEL_MAX);
	_cleanup_(freep) char *topic = strndup(line, len);
	record.headers = NULL;
	record.topic = topic;
	while (line_take(&at, end, &line, &len)) {
		if (len >= 2 && line[0] == 'k' && !key) {
			msg.key = key = bytes_copy(line + 2, len - 2);
			msg.key_len = len - 2;
		} else if (len >= 2 && line[0] == 'h') {
			add_header(line + 2, len - 2);
		}
	}
	_cleanup_(freep) char *payload = bytes_copy(at, (size_t)(end - at));
	msg.payload = payload;
	msg.len = (size_t)(end - at);
	if (strcmp(topic, "!kept") == 0) {
		_cleanup_(freep) char *text = strndup(at, (size_t)(end - at));
		tell_restored(k, text);
	} else {
		play(k, &msg);
	}
	if (record.headers)
		rd_kafka_headers_destroy(record.headers);
	renew_outbox(k);
	return 0;
}
