/* SPDX-License-Identifier: Apache-2.0 */
/* What a Kafka message asks for, and the record that it leaves in the dead-letter topic when it is
 * refused.
 *
 * The payload's forms are transport/message.c's; here are the headers. A header is bytes: those
 * that are read as text must be UTF-8 without NUL, or the message is refused; correlation-id may be
 * anything. A header that is read and stands twice is refused: two readers would believe two
 * values. Other headers are anybody's. Where the answer goes is put in the reply object, which is
 * kept with the job: topic, key and correlation id. */
#include "transport/kafka/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

#define CLOUD "ce_"

static const void *header(rd_kafka_headers_t *list, const char *name, size_t *ret_len)
{
	const void *value = NULL;
	*ret_len = 0;
	if (!list || rd_kafka_header_get_last(list, name, &value, ret_len))
		return NULL;
	return value;
}

static bool is_text(const char *value, size_t len)
{
	return utf8_is_valid(value, len) && !memchr(value, '\0', len);
}

/* The library ends every value with a NUL of its own. */
static const char *text_header(void *arg, const char *name)
{
	size_t len;
	const char *value = header(arg, name, &len);
	return value && is_text(value, len) ? value : NULL;
}

static bool is_read_as_text(const char *name)
{
	return message_reads(name, CLOUD) || strcmp(name, "content-type") == 0 ||
	       strcmp(name, "reply-topic") == 0;
}

static bool is_repeated(rd_kafka_headers_t *list, const char *name)
{
	const void *value;
	size_t len;
	return list && !rd_kafka_header_get(list, 1, name, &value, &len);
}

static int check_headers(rd_kafka_headers_t *list, struct fault *f)
{
	const char *name;
	const void *value;
	size_t len;
	for (size_t i = 0; list && !rd_kafka_header_get_all(list, i, &name, &value, &len); i++) {
		bool is_text_header = is_read_as_text(name);
		if ((is_text_header || strcmp(name, "correlation-id") == 0) &&
			is_repeated(list, name))
			return fault_set(f, FAULT_BAD_REQUEST,
				"the header %s: expected once, it stands twice", name);
		if (!is_text_header)
			continue;
		if (!value)
			return fault_set(f, FAULT_BAD_REQUEST,
				"the header %s: expected a text, got null", name);
		if (!is_text(value, len))
			return fault_set(
				f, FAULT_BAD_REQUEST, "the header %s: expected UTF-8", name);
	}
	return 0;
}

/* Where the answer goes. */
static int read_reply(struct kafka *k, const rd_kafka_message_t *msg, rd_kafka_headers_t *list,
	struct request *ret, struct fault *f)
{
	const char *named =
		is_repeated(list, "reply-topic") ? NULL : text_header(list, "reply-topic");
	const char *topic = named ? named : k->settings.publish_topic;
	json_t *reply = ret->read.reply;
	size_t len;
	int r = 0;
	if (named)
		r = events_check_topic(k, named, f);
	if (r < 0)
		topic = k->settings.publish_topic;
	if (!*topic)
		return r;
	ret->has_reply = true;
	json_object_set_new(reply, "topic", json_string(topic));
	if (msg->key)
		reply_set_bytes(reply, "key", msg->key, msg->key_len);
	const void *correlation = header(list, "correlation-id", &len);
	if (correlation)
		reply_set_bytes(reply, "correlation", correlation, len);
	return r;
}

/* Its key and correlation id go with the answer, so they count like the payload. */
static size_t message_size(const rd_kafka_message_t *msg, rd_kafka_headers_t *list)
{
	const char *name;
	const void *value;
	size_t len, size = msg->len + msg->key_len;
	for (size_t i = 0; list && !rd_kafka_header_get_all(list, i, &name, &value, &len); i++)
		size += strlen(name) + len;
	return size;
}

static int read_message(struct kafka *k, const rd_kafka_message_t *msg, const char *function,
	rd_kafka_headers_t *list, struct request *ret, struct fault *f)
{
	char devrun[160];
	size_t ignored;
	sentence_print(
		devrun, sizeof devrun, "transports.%.*s.devrun", utf8_cut(k->name, 128), k->name);
	const struct message m = { .payload = msg->payload,
		.len = msg->len,
		.content_type = text_header(list, "content-type"),
		.function = function,
		.property = text_header,
		.arg = list,
		.has_reply_address = header(list, "reply-topic", &ignored),
		.devrun_setting = k->settings.devrun ? NULL : devrun,
		.cloud = CLOUD };
	size_t size = message_size(msg, list);
	if (size > k->message_max)
		return fault_set(f, FAULT_TOO_LARGE,
			"the message has %zu bytes with its key and headers, more than "
			"options.message.max.bytes, %zu",
			size, k->message_max);
	return message_read(&m, &ret->read, f);
}

/* A place in the log. With the time and the content, since a topic that is made anew has the same
 * offsets, and may have the same times. Earlier versions wrote it without the content. */
static void set_place(const struct kafka *k, const rd_kafka_message_t *msg, struct job_request *job)
{
	job->former_key = xasprintf("kafka:%s:%s:%s:%d:%lld@%lld", k->env.name, k->settings.group,
		rd_kafka_topic_name(msg->rkt), (int)msg->partition, (long long)msg->offset,
		(long long)rd_kafka_message_timestamp(msg, NULL));
	job->idempotency_key = xasprintf("%s#%" PRIx64, job->former_key, record_hash(msg));
}

int request_read(struct kafka *k, const rd_kafka_message_t *msg, const char *function,
	struct request *ret, struct fault *f)
{
	rd_kafka_headers_t *list = NULL;
	struct fault reply_fault;
	*ret = (struct request){ 0 };
	if (rd_kafka_message_headers(msg, &list))
		list = NULL;
	int r = read_message(k, msg, function, list, ret, f);
	if (!ret->read.reply)
		ret->read.reply = json_object();
	int reply_r = read_reply(k, msg, list, ret, &reply_fault);
	if (reply_r < 0 || check_headers(list, &reply_fault) < 0) {
		*f = reply_fault;
		r = -1;
	}
	struct job_request *job = ret->read.job;
	if (r < 0 || ret->read.kind != MESSAGE_JOB)
		return r;
	if (ret->read.wants_all)
		json_object_set_new(ret->read.reply, "all", json_true());
	if (!job->idempotency_key)
		set_place(k, msg, job);
	return 0;
}

void request_done(struct request *rq)
{
	message_request_done(&rq->read);
}

static void add_number(struct letter *l, const char *name, long long n)
{
	char text[32];
	snprintf(text, sizeof text, "%lld", n);
	letter_add_header(l, name, text);
}

static char *copy(const void *bytes, size_t len)
{
	char *text = xcalloc(1, len + 1);
	memcpy(text, bytes, len);
	return text;
}

/* Where what is in the letter came from. */
static void add_source(struct letter *l, const char *topic, int32_t partition, int64_t offset)
{
	letter_add_header(l, "source-topic", topic);
	add_number(l, "source-partition", partition);
	add_number(l, "source-offset", offset);
}

struct letter *request_dead_letter_of_offsets(struct kafka *k, const char *topic, int32_t partition,
	int64_t first, int64_t last, const struct fault *f)
{
	if (!*k->settings.dead_letter_topic)
		return NULL;
	struct letter *l = letter_new(LETTER_DEAD, k->settings.dead_letter_topic);
	letter_add_header(l, "reason", f->text);
	add_source(l, topic, partition, first);
	add_number(l, "source-last-offset", last);
	return l;
}

struct letter *request_dead_letter(
	struct kafka *k, const rd_kafka_message_t *msg, const struct fault *f)
{
	rd_kafka_headers_t *list = NULL;
	if (!*k->settings.dead_letter_topic)
		return NULL;
	struct letter *l = letter_new(LETTER_DEAD, k->settings.dead_letter_topic);
	if (!rd_kafka_message_headers(msg, &list)) {
		rd_kafka_headers_destroy(l->headers);
		l->headers = rd_kafka_headers_copy(list);
	}
	if (msg->key) {
		l->key = copy(msg->key, msg->key_len);
		l->key_len = msg->key_len;
	}
	if (msg->payload) {
		l->payload = copy(msg->payload, msg->len);
		l->payload_len = msg->len;
	}
	letter_add_header(l, "reason", f->text);
	add_source(l, rd_kafka_topic_name(msg->rkt), msg->partition, msg->offset);
	return l;
}
