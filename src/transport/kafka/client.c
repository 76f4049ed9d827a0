/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a client of librdkafka: what Mist needs, what it finds better than the
 * library's default, then the settings `options` and `consumer` or `producer`, which go over the
 * latter but not over the former.
 *
 * A gateway is a static member of its group: after a restart it has the partitions that it had,
 * at once, and a rebalance comes only when it stays away. A rebalance is eager: everything is
 * committed and given away first, so that no message is taken twice.
 *
 * librdkafka waits without a limit for its own threads when a client is destroyed, and these may
 * never end: they do not when a topic that the client had messages of was deleted. So a client is
 * destroyed on a thread of its own, which is left alone when it takes too long. */
#include "transport/kafka/private.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "base/fail_point.h"
#include "base/log.h"

enum { END_MS = 3000 };

struct option {
	const char *name, *value;
};

static const struct option needed[][8] = {
	[CLIENT_CONSUMER] = { { "enable.auto.commit", "false" },
		{ "enable.auto.offset.store", "false" }, { "enable.partition.eof", "true" } },
	/* What is owed is never given up by time. */
	[CLIENT_PRODUCER] = { { "enable.idempotence", "true" }, { "message.timeout.ms", "0" },
		{ "delivery.report.only.error", "false" } },
};

static const struct option better[][8] = {
	[CLIENT_CONSUMER] = { { "auto.offset.reset", "earliest" },
		{ "session.timeout.ms", "10000" }, { "allow.auto.create.topics", "true" },
		{ "topic.metadata.refresh.interval.ms", "10000" },
		{ "reconnect.backoff.max.ms", "1000" }, { "check.crcs", "true" } },
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

/* What is left of a client may still use OpenSSL when the process exits, so OpenSSL must not tidy
 * up then. To be called before the library uses it. */
static void keep_openssl(void)
{
	enum { OPENSSL_INIT_NO_ATEXIT = 0x80000 };
	int (*init)(uint64_t options, const void *settings);
	void *found = dlsym(RTLD_DEFAULT, "OPENSSL_init_crypto");
	memcpy(&init, &found, sizeof init);
	if (init)
		init(OPENSSL_INIT_NO_ATEXIT, NULL);
}

int client_new(enum client_kind kind, rd_kafka_conf_t *conf, rd_kafka_t **ret, struct fault *f)
{
	char why[400];
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int r = fail_point(FAIL_KAFKA_CONNECT);
	if (r < 0) {
		rd_kafka_conf_destroy(conf);
		return fault_set(f, FAULT_UNAVAILABLE, "options: %s", strerror(-r));
	}
	pthread_once(&once, keep_openssl);
	*ret = rd_kafka_new(kind == CLIENT_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf,
		why, sizeof why);
	if (*ret)
		return 0;
	rd_kafka_conf_destroy(conf);
	return fault_set(f, FAULT_BAD_REQUEST, "options: %s", why);
}

static struct timespec in_ms(int ms)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += ms % 1000 * 1000000L;
	at.tv_sec += ms / 1000 + at.tv_nsec / 1000000000L;
	at.tv_nsec %= 1000000000L;
	return at;
}

struct ending {
	rd_kafka_t *rk;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_over, is_left; /* is_left: nobody waits, the thread frees this */
};

static void ending_free(struct ending *e)
{
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static void *destroy(void *arg)
{
	struct ending *e = arg;
	rd_kafka_destroy_flags(e->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	pthread_mutex_lock(&e->lock);
	e->is_over = true;
	bool is_left = e->is_left;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
	if (is_left)
		ending_free(e);
	return NULL;
}

void client_end(const struct kafka *k, enum client_kind kind, rd_kafka_t *rk)
{
	static const char *const names[] = { "consumer", "producer" };
	const struct timespec until = in_ms(END_MS);
	struct ending *e = xcalloc(1, sizeof *e);
	pthread_t thread;
	int r = 0;
	e->rk = rk;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	if ((r = pthread_create(&thread, NULL, destroy, e)) != 0) {
		log_error("transport %s: a %s is left as it is: a thread cannot be made: %s",
			k->env.name, names[kind], strerror(r));
		ending_free(e);
		return;
	}
	pthread_detach(thread);
	pthread_mutex_lock(&e->lock);
	while (!e->is_over && r == 0)
		r = pthread_cond_clockwait(&e->changed, &e->lock, CLOCK_MONOTONIC, &until);
	bool is_over = e->is_over;
	e->is_left = !is_over;
	pthread_mutex_unlock(&e->lock);
	if (is_over)
		ending_free(e);
	else
		log_warn("transport %s: librdkafka does not let go of a %s within %d s; it is left "
			 "behind with its threads",
			k->env.name, names[kind], END_MS / 1000);
}
