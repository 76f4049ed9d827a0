/* SPDX-License-Identifier: Apache-2.0 */
/* Events become letters: those of jobs that came from here go where the reply object says; when
 * there is a publish-topic, everything of all jobs goes there, too.
 *
 * A job whose answers go to the publish-topic is watched like all others, only its outcome is told
 * as an answer is, because it is owed: so nothing is told twice. Answers are keyed as the request
 * was, and with them all that is told of such a job, so that it stays in order; what else goes to
 * the publish-topic is keyed by the job. Core's thread. */
#include "transport/kafka/private.h"

#include <gnutls/gnutls.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "transport/reserved.h"

#define ALL_EVENTS (((1u << _EVENT_MAX) - 1) | WANTS_ACCEPTED)

void reply_set_bytes(json_t *reply, const char *name, const void *data, size_t len)
{
	const gnutls_datum_t in = { (unsigned char *)data, (unsigned)len };
	gnutls_datum_t out;
	if (len == 0) {
		json_object_set_new(reply, name, json_string(""));
		return;
	}
	must(gnutls_base64_encode2(&in, &out) == 0);
	json_object_set_new(reply, name, json_stringn((char *)out.data, out.size));
	gnutls_free(out.data);
}

/* The caller frees it; NULL: it is not there. */
static char *reply_bytes(const json_t *reply, const char *name, size_t *ret_len)
{
	const char *text = json_string_of(reply, name);
	gnutls_datum_t out;
	*ret_len = 0;
	if (!text)
		return NULL;
	const gnutls_datum_t in = { (unsigned char *)text, (unsigned)strlen(text) };
	if (in.size == 0 || gnutls_base64_decode2(&in, &out) < 0)
		return xcalloc(1, 1);
	char *bytes = xcalloc(1, out.size + 1);
	memcpy(bytes, out.data, out.size);
	*ret_len = out.size;
	gnutls_free(out.data);
	return bytes;
}

uint32_t wants_of(const struct kafka *k, const json_t *reply)
{
	const char *topic = json_string_of(reply, "topic");
	if (!topic)
		return 0;
	if (*k->settings.publish_topic && strcmp(topic, k->settings.publish_topic) == 0)
		return EVENTS_FINAL | WANTS_SHARED;
	if (json_is_true(json_object_get(reply, "all")))
		return ALL_EVENTS & ~(EVENT_BIT(EVENT_REFUSED));
	return EVENTS_FINAL;
}

static void set_key(struct letter *l, const char *text)
{
	l->key = xstrdup(text);
	l->key_len = strlen(text);
}

/* Takes the payload; adds what every event has. */
static void fill(struct letter *l, struct message_out *out)
{
	l->payload_len = out->payload.len;
	l->payload = buf_take(&out->payload);
	letter_add_header(l, "content-type", out->content_type);
	letter_add_header(l, "event", out->event);
	letter_add_header(l, "event-id", out->id[0] ? out->id : NULL);
	letter_add_header(l, "job-id", out->job[0] ? out->job : NULL);
	letter_add_header(l, "traceparent", out->trace);
	letter_add_header(l, "mist-ignored", out->ignored);
	for (size_t i = 0; i < out->n_attributes; i++) {
		char name[64];
		snprintf(name, sizeof name, "ce_%s", out->attributes[i].name);
		letter_add_header(l, name, out->attributes[i].value);
	}
}

/* The answer's own: to whom it is. */
static void address(struct letter *l, const json_t *reply, const char *job)
{
	size_t len;
	_cleanup_(freep) char *correlation = reply_bytes(reply, "correlation", &len);
	if (correlation)
		rd_kafka_header_add(l->headers, "correlation-id", -1, correlation, (ssize_t)len);
	letter_add_header(l, "externalId", json_string_of(reply, "externalId"));
	l->key = reply_bytes(reply, "key", &l->key_len);
	if (!l->key && job[0])
		set_key(l, job);
}

static struct letter *answer(enum letter_kind kind, const json_t *reply, const struct job_event *ev)
{
	struct message_out out;
	struct letter *l = letter_new(kind, json_string_of(reply, "topic"));
	message_print(reply, ev, &out);
	fill(l, &out);
	address(l, reply, out.job);
	message_out_done(&out);
	return l;
}

struct letter *events_refusal(const json_t *reply, const struct fault *f)
{
	const struct job_event ev = { .kind = EVENT_REFUSED, .fault = f, .at_ms = clock_wall_ms() };
	return json_string_of(reply, "topic") ? answer(LETTER_ANSWER, reply, &ev) : NULL;
}

/* An answer that cannot go anywhere is not owed for ever. Requests are refused for such a topic, so
 * it was kept under other settings. */
static void leave_untold(struct kafka *k, const struct reply_to *to, const struct job_event *ev,
	const struct fault *f)
{
	char id[UUID_TEXT];
	uuid_format(&ev->job->id, id);
	log_warn("transport %s: the outcome of job %s is told to nobody: %s", k->env.name, id,
		f->text);
	outbox_give_up(k->outbox);
	if (to->is_owed)
		intake_delivered(k->env.in, &ev->job->id, 1);
}

void events_publish(struct kafka *k, const struct reply_to *to, const struct job_event *ev)
{
	bool is_final = EVENT_BIT(ev->kind) & EVENTS_FINAL;
	if (ev->kind == EVENT_REFUSED || ev->kind == EVENT_ACCEPTED)
		consumer_answered(to->live, ev->kind == EVENT_REFUSED ? ev->fault : NULL);
	/* The second request with one key, or from one place, is told of a job that has begun. */
	bool is_quiet = ev->kind == EVENT_ACCEPTED &&
			(!(to->wants & WANTS_ACCEPTED) || ev->job->state != JOB_INITIALIZED);
	if (ev->kind == EVENT_REFUSED || is_quiet)
		return;
	struct fault f;
	_cleanup_(json_decrefp) json_t *reply = to->text ? json_parse_kept(to->text, &f) : NULL;
	const char *topic = json_string_of(reply, "topic");
	if (!topic || events_check_topic(k, topic, &f) < 0) {
		if (topic && is_final)
			leave_untold(k, to, ev, &f);
		return;
	}
	if (!is_final && !outbox_has_room(k->outbox))
		return;
	struct letter *l = answer(is_final ? LETTER_OWED : LETTER_EVENT, reply, ev);
	l->job = ev->job->id;
	l->at_ms = ev->at_ms;
	if (is_final)
		outbox_send_owed(k->outbox, l, to->text);
	else
		outbox_send(k->outbox, l);
}

int events_check_topic(const struct kafka *k, const char *topic, struct fault *f)
{
	if (!topic_is_good(topic))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the header reply-topic: expected the name of a topic, got \"%.*s\"",
			utf8_cut(topic, 64), topic);
	if (*k->settings.publish_topic && strcmp(topic, k->settings.publish_topic) == 0)
		return 0;
	if (strncmp(topic, "__", 2) == 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"the header reply-topic: %s is one of the brokers' own, and no answer is "
			"sent there",
			topic);
	if (reserved_has("kafka", topic))
		return fault_set(f, FAULT_BAD_REQUEST,
			"the header reply-topic: %s is one by which Mist takes requests or puts "
			"refused ones away, and no answer is sent there",
			topic);
	return 0;
}

static void watch_begun(struct watch *w)
{
	(void)w;
}

/* As the outcome is, which comes after it. */
static void set_shared_key(struct letter *l, const struct reply_to *to)
{
	if (!to->text || !strstr(to->text, "\"key\""))
		return;
	struct fault f;
	_cleanup_(json_decrefp) json_t *reply = json_parse_kept(to->text, &f);
	l->key = reply_bytes(reply, "key", &l->key_len);
}

static bool watch_event(struct watch *w, const struct watch_event *ev)
{
	struct kafka *k = container_of(w, struct kafka, watch);
	bool is_shared = ev->origin == k->env.self && ev->to->wants & WANTS_SHARED;
	if (ev->is_logs ? !ev->len : is_shared && ev->rank == EVENT_RANK_FINAL)
		return true;
	if (!outbox_has_room(k->outbox))
		return false;
	struct message_out out;
	struct letter *l = letter_new(LETTER_EVENT, k->settings.publish_topic);
	message_print_watched(ev, &out);
	fill(l, &out);
	l->job = *ev->job;
	if (is_shared)
		set_shared_key(l, ev->to);
	if (!l->key)
		set_key(l, out.job);
	message_out_done(&out);
	outbox_send(k->outbox, l);
	return true;
}

static void watch_flush(struct watch *w)
{
	(void)w;
}

static void watch_ended(struct watch *w)
{
	(void)w;
}

void events_watch_init(struct kafka *k)
{
	k->watch = (struct watch){ .with_logs = true,
		.with_progress = k->settings.with_progress,
		.begun = watch_begun,
		.event = watch_event,
		.flush = watch_flush,
		.ended = watch_ended };
}
