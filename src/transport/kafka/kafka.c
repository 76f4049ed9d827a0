/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka: the instance, which is one cluster.
 *
 * Requests are taken from the subscribe-topic, whose messages name their function, and from the
 * topics under functions-prefix, whose names do; by one consumer with one thread (consumer.c).
 * Everything that is told goes through one producer with one thread (outbox.c). Messages become
 * requests in request.c, events become letters in events.c. Neither thread touches a job, and the
 * core waits for neither. Without topics to take requests from there is no consumer; a gateway may
 * only publish. */
#include "transport/kafka/private.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "transport/reserved.h"

#define FIELD(m) offsetof(struct kafka_settings, m)

static const char *const unreadable[] = { "stop", "skip", NULL };

const struct conf_field kafka_conf[] = {
	{ "required", CONF_BOOL, FIELD(required), "false", .live = true,
		.help = "whether the gateway is not ready (/health/ready) while this transport is "
			"down" },
	{ "brokers", CONF_STR, FIELD(brokers), "localhost:9092",
		.help = "where the cluster is found: HOST:PORT, with commas between" },
	{ "group", CONF_STR, FIELD(group), "mist",
		.help = "the consumer group; gateways of one group share the requests" },
	{ "subscribe-topic", CONF_STR, FIELD(subscribe_topic), "",
		.help = "where requests come from that name their function; empty: none" },
	{ "publish-topic", CONF_STR, FIELD(publish_topic), "",
		.help = "where all events of all jobs go, and answers to requests that name no "
			"topic for theirs; empty: nowhere" },
	{ "functions-prefix", CONF_STR, FIELD(functions_prefix), "",
		.help = "a topic whose name is this and a function's takes requests to that "
			"function; empty: none does" },
	{ "dead-letter-topic", CONF_STR, FIELD(dead_letter_topic), "mist.dead-letter",
		.help = "where messages go that were refused; empty: nowhere" },
	{ "with-progress", CONF_BOOL, FIELD(with_progress), "false",
		.help = "whether publish-topic has the events progress, too; requests with events "
			"= all get them always" },
	{ "unreadable", CONF_ENUM, FIELD(unreadable), "stop", .choices = unreadable,
		.help = "what a batch does that cannot be unpacked, or whose checksum is wrong: "
			"stop its partition until it can be read, or be skipped, with a dead "
			"letter that has its place" },
	{ "devrun", CONF_BOOL, FIELD(devrun), "false",
		.help = "whether a request may name a file and a class in it in place of a "
			"registered "
			"function, and so run any code" },
	{ "in-flight", CONF_INT, FIELD(in_flight), "10000", .min = 1, .max = PLACES_MAX / 2,
		.unit = "messages",
		.help = "messages that may be taken and not committed; so many may come again "
			"after a crash" },
	{ "in-flight-bytes", CONF_SIZE, FIELD(in_flight_bytes), "64m", .min = 1024,
		.max = INT64_C(1) << 40, .unit = "bytes",
		.help = "what messages may hold in memory that are no jobs yet" },
	{ "stalled-after", CONF_DURATION, FIELD(stalled_after_ms), "1 minute", .min = 1000,
		.max = INT64_MAX,
		.help = "a partition with messages of which for this time none becomes a job is "
			"told by /health/ready and in the metrics" },
	{ "buffer", CONF_INT, FIELD(buffer), "10000", .min = 1, .max = 10000000, .unit = "events",
		.help = "events that may wait for the brokers; more are dropped and counted, but "
			"outcomes never" },
	{ "buffer-bytes", CONF_SIZE, FIELD(buffer_bytes), "64m", .min = 65536,
		.max = INT64_C(1) << 40, .unit = "bytes",
		.help = "what they may hold in memory; more are dropped, but outcomes never" },
	{ "outbox-bytes", CONF_SIZE, FIELD(outbox_bytes), "64m", .min = 65536,
		.max = INT64_C(1) << 40, .unit = "bytes",
		.help = "what outcomes that the brokers do not have yet may hold in memory; "
			"further ones wait in the store" },
	{ "password-file", CONF_PATH, FIELD(password_file), "",
		.help = "its first line is the password, sasl.password among the options" },
	{ "options", CONF_MAP, FIELD(options), NULL,
		.help = "options of librdkafka for consumer and producer: security.protocol, "
			"sasl.*, ssl.*, message.max.bytes" },
	{ "consumer", CONF_MAP, FIELD(consumer), NULL, .help = "more for the consumer only" },
	{ "producer", CONF_MAP, FIELD(producer), NULL, .help = "more for the producer only" },
	{ 0 },
};

static bool starts_with(const char *text, const char *prefix)
{
	return *prefix && strncmp(text, prefix, strlen(prefix)) == 0;
}

static int check_topics(const struct kafka_settings *s, struct fault *f)
{
	const struct {
		const char *name, *topic;
	} topics[] = { { "subscribe-topic", s->subscribe_topic },
		{ "publish-topic", s->publish_topic }, { "functions-prefix", s->functions_prefix },
		{ "dead-letter-topic", s->dead_letter_topic } };
	for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
		const char *topic = topics[i].topic;
		if (*topic && !topic_is_good(topic))
			return fault_set(f, FAULT_BAD_REQUEST,
				"%s: expected at most 249 letters, digits, '.', '_' and '-', got "
				"\"%.*s\"",
				topics[i].name, utf8_cut(topic, 64), topic);
		if (topic != s->functions_prefix && starts_with(topic, s->functions_prefix))
			return fault_set(f, FAULT_BAD_REQUEST,
				"%s: %s would be a function's topic, by functions-prefix",
				topics[i].name, topic);
	}
	if (*s->dead_letter_topic && (strcmp(s->dead_letter_topic, s->subscribe_topic) == 0 ||
					     strcmp(s->dead_letter_topic, s->publish_topic) == 0))
		return fault_set(f, FAULT_BAD_REQUEST,
			"dead-letter-topic: it must be another than subscribe-topic and "
			"publish-topic");
	if (!*s->brokers || !*s->group)
		return fault_set(f, FAULT_BAD_REQUEST, "%s: it must not be empty",
			*s->brokers ? "group" : "brokers");
	return 0;
}

/* What the registry allocates: the rest is left, not freed, if a thread does not come back from
 * librdkafka. */
struct instance {
	struct kafka *kafka;
};

static struct kafka *kafka_of(void *self)
{
	return ((struct instance *)self)->kafka;
}

/* By which requests come, and what no request came by. */
static void reserve_topics(const struct kafka *k)
{
	const struct kafka_settings *s = &k->settings;
	_cleanup_(freep) char *functions =
		*s->functions_prefix ? xasprintf("%s*", s->functions_prefix) : xstrdup("");
	reserved_add("kafka", k->env.self, functions);
	reserved_add("kafka", k->env.self, s->subscribe_topic);
	reserved_add("kafka", k->env.self, s->dead_letter_topic);
}

static int kafka_open(
	void *self, const void *settings, const struct transport_env *env, struct fault *f)
{
	struct kafka *k = xcalloc(1, sizeof *k);
	((struct instance *)self)->kafka = k;
	k->env = *env;
	k->env.name = k->name = xstrdup(env->name);
	conf_copy(kafka_conf, &k->settings, settings);
	const struct kafka_settings *s = &k->settings;
	rd_kafka_conf_t *unused;
	health_init(&k->health, k->name, s->brokers);
	int r = check_topics(s, f);
	reserve_topics(k);
	if (r == 0)
		r = conf_read_secret("password-file", s->password_file, &k->password, f);
	if (r == 0)
		r = outbox_open(&k->outbox, k, f);
	if (r == 0 && (*s->subscribe_topic || *s->functions_prefix))
		return consumer_open(&k->consumer, k, f);
	/* Its options are looked at all the same. */
	if (r == 0 && (r = client_conf(k, CLIENT_CONSUMER, &unused, f)) == 0)
		rd_kafka_conf_destroy(unused);
	return r;
}

static int kafka_start(void *self, struct fault *f)
{
	struct kafka *k = kafka_of(self);
	int r = outbox_start(k->outbox);
	if (r < 0)
		return fault_set(f, FAULT_INTERNAL, "a thread cannot be made: %s", strerror(-r));
	if (*k->settings.publish_topic) {
		events_watch_init(k);
		r = intake_watch(k->env.in, &k->watch);
		if (r < 0)
			return fault_set(f, FAULT_INTERNAL, "mist.mailbox is too small");
	}
	return k->consumer ? consumer_start(k->consumer, f) : 0;
}

static void kafka_publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	events_publish(kafka_of(self), to, ev);
}

static int kafka_restore(void *self, struct reply_to *to)
{
	struct kafka *k = kafka_of(self);
	struct fault f;
	_cleanup_(json_decrefp) json_t *reply = json_parse_kept(to->text, &f);
	const char *topic = json_string_of(reply, "topic");
	if (!topic || !topic_is_good(topic))
		return -EBADMSG;
	to->wants = wants_of(k, reply);
	return to->wants ? 0 : -EINVAL;
}

static void kafka_state(void *self, struct transport_state *ret)
{
	struct kafka *k = kafka_of(self);
	health_state(&k->health, ret);
	ret->accepted = k->n_accepted;
	ret->refused = k->n_refused;
	ret->skipped = k->n_skipped;
	for (size_t i = 0; i < _TRANSPORT_ERROR_MAX; i++)
		ret->errors[i] = k->n_errors[i];
	outbox_state(k->outbox, ret);
	if (k->consumer)
		consumer_state(k->consumer, ret);
}

static bool kafka_has_room(void *self)
{
	return outbox_takes_outcomes(kafka_of(self)->outbox);
}

static void kafka_metrics(void *self, struct exposition *e)
{
	struct kafka *k = kafka_of(self);
	if (k->consumer)
		lag_put(k->consumer, e);
}

static void kafka_stop(void *self)
{
	struct kafka *k = kafka_of(self);
	bool is_silent = !k->consumer || consumer_stop(k->consumer);
	k->is_left = !outbox_stop(k->outbox) || !is_silent;
	if (k->is_left)
		log_error("transport %s: librdkafka does not come back from a call; its thread is "
			  "left behind",
			k->name);
}

/* Letters point at the consumer's entries. */
static void kafka_close(void *self)
{
	struct kafka *k = kafka_of(self);
	if (!k)
		return;
	reserved_drop(k->env.self);
	if (k->is_left)
		return;
	outbox_close(k->outbox);
	consumer_close(k->consumer);
	health_done(&k->health);
	free(k->password);
	conf_done(kafka_conf, &k->settings);
	free(k->name);
	free(k);
}

const struct transport_ops kafka_transport = {
	.scheme = "kafka",
	.size = sizeof(struct instance),
	.conf = kafka_conf,
	.settings_size = sizeof(struct kafka_settings),
	.open = kafka_open,
	.start = kafka_start,
	.publish = kafka_publish,
	.restore = kafka_restore,
	.state = kafka_state,
	.metrics = kafka_metrics,
	.stop = kafka_stop,
	.close = kafka_close,
	.has_room = kafka_has_room,
};
