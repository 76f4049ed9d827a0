/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a client of librdkafka: what Mist needs, what it finds better than the
 * library's default, then the settings `options` and `consumer` or `producer`, which go over the
 * latter but not over the former.
 *
 * A gateway is a static member of its group: after a restart it has the partitions that it had,
 * at once, and a rebalance comes only when it stays away. A rebalance is eager: everything is
 * committed and given away first, so that no message is taken twice. */
#include "transport/kafka/private.h"

#include <string.h>

#include "base/fail_point.h"
#include "base/log.h"

struct option {
	const char *name, *value;
};

static const struct option needed[][8] = {
	[CLIENT_CONSUMER] = { { "enable.auto.commit", "false" },
		{ "enable.auto.offset.store", "false" }, { "enable.partition.eof", "false" } },
	/* What is owed is never given up by time. */
	[CLIENT_PRODUCER] = { { "enable.idempotence", "true" }, { "message.timeout.ms", "0" },
		{ "delivery.report.only.error", "false" } },
};

static const struct option better[][8] = {
	[CLIENT_CONSUMER] = { { "auto.offset.reset", "earliest" },
		{ "session.timeout.ms", "10000" }, { "allow.auto.create.topics", "true" },
		{ "topic.metadata.refresh.interval.ms", "10000" },
		{ "reconnect.backoff.max.ms", "1000" } },
	/* The partition of a key as the Java client finds it. One request at a time: of several,
	 * the library mixes up the order when a broker ends between them. */
	[CLIENT_PRODUCER] = { { "partitioner", "murmur2_random" }, { "max.in.flight", "1" },
		{ "reconnect.backoff.max.ms", "1000" } },
};

/* Set from other settings, or by what is needed. */
static const char *const reserved[] = { "bootstrap.servers", "metadata.broker.list", "group.id",
	"group.instance.id", "enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store",
	"enable.partition.eof", "enable.idempotence", "message.timeout.ms", "delivery.timeout.ms",
	"delivery.report.only.error", NULL };

bool topic_is_good(const char *name)
{
	size_t n =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	return n && n <= 249 && !name[n] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)level;
	log_debug("%s: %s: %s", rd_kafka_name(rk), facility, text);
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, const char *from,
	struct fault *f)
{
	char why[400];
	if (rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK)
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST, "%s.%s: %s", from, name, why);
}

static int set_needed(rd_kafka_conf_t *conf, const struct option *options, struct fault *f)
{
	int r = 0;
	for (size_t i = 0; r == 0 && options[i].name; i++)
		r = set(conf, options[i].name, options[i].value, "kafka", f);
	return r;
}

static int set_given(rd_kafka_conf_t *conf, const struct kafka *k, json_t *given, const char *from,
	struct fault *f)
{
	const char *name;
	json_t *value;
	json_object_foreach (given, name, value) {
		/* Its members go on taking messages while the group is joined anew, and the
		 * commits of these are refused then. */
		if (strcmp(name, "partition.assignment.strategy") == 0 &&
			strstr(json_string_value(value), "cooperative"))
			return fault_set(f, FAULT_BAD_REQUEST,
				"%s.%s: expected range or roundrobin, got %s", from, name,
				json_string_value(value));
		if (k->password && strcmp(name, "sasl.password") == 0)
			return fault_set(f, FAULT_BAD_REQUEST,
				"password-file: not beside %s.%s: one of them must be left out",
				from, name);
		for (size_t i = 0; reserved[i]; i++)
			if (strcmp(reserved[i], name) == 0)
				return fault_set(f, FAULT_BAD_REQUEST,
					"%s.%s: it is set by Mist and cannot be changed", from,
					name);
		int r = set(conf, name, json_string_value(value), from, f);
		if (r < 0)
			return r;
	}
	return 0;
}

int client_conf(struct kafka *k, enum client_kind kind, rd_kafka_conf_t **ret, struct fault *f)
{
	const struct kafka_settings *s = &k->settings;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	_cleanup_(freep) char *id = xasprintf("mist-%s-%s", k->env.name, k->env.gateway);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_opaque(conf, k);
	int r = set(conf, "bootstrap.servers", s->brokers, "brokers", f);
	if (r == 0)
		r = set(conf, "client.id", id, "kafka", f);
	if (r == 0 && kind == CLIENT_CONSUMER)
		r = set(conf, "group.id", s->group, "group", f);
	if (r == 0 && kind == CLIENT_CONSUMER)
		r = set(conf, "group.instance.id", id, "kafka", f);
	if (r == 0)
		r = set_needed(conf, better[kind], f);
	if (r == 0)
		r = set_given(conf, k, s->options, "options", f);
	if (r == 0 && kind == CLIENT_CONSUMER)
		r = set_given(conf, k, s->consumer, "consumer", f);
	if (r == 0 && kind == CLIENT_PRODUCER)
		r = set_given(conf, k, s->producer, "producer", f);
	if (r == 0 && k->password)
		r = set(conf, "sasl.password", k->password, "password-file", f);
	if (r == 0)
		r = set_needed(conf, needed[kind], f);
	if (r < 0) {
		rd_kafka_conf_destroy(conf);
		return r;
	}
	*ret = conf;
	return 0;
}

int client_new(enum client_kind kind, rd_kafka_conf_t *conf, rd_kafka_t **ret, struct fault *f)
{
	char why[400];
	int r = fail_point(FAIL_KAFKA_CONNECT);
	if (r < 0) {
		rd_kafka_conf_destroy(conf);
		return fault_set(f, FAULT_UNAVAILABLE, "options: %s", strerror(-r));
	}
	*ret = rd_kafka_new(kind == CLIENT_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf,
		why, sizeof why);
	if (*ret)
		return 0;
	rd_kafka_conf_destroy(conf);
	return fault_set(f, FAULT_BAD_REQUEST, "options: %s", why);
}
