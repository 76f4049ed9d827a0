/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the comparison of Kafka: what librdkafka does with nobody behind it.
 *
 *     kafka_loop fill BROKERS TOPIC N PAYLOAD REPLY-TOPIC
 *     kafka_loop loop BROKERS TOPIC N REPLY-TOPIC
 *
 * `fill` produces N messages with a key and a header reply-topic. `loop` consumes N messages from
 * the beginning of TOPIC and produces each to REPLY-TOPIC, by the idempotent producer and with its
 * key; it prints one line of JSON: messages, failures, and the microseconds from the first message
 * to the last delivery report. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static size_t n_told, n_failed;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *arg)
{
	(void)rk, (void)arg;
	n_told++;
	n_failed += msg->err != 0;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char why[256];
	if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) {
		fprintf(stderr, "%s\n", why);
		exit(EXIT_FAILURE);
	}
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *brokers)
{
	char why[256], group[64];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", brokers);
	if (type == RD_KAFKA_CONSUMER) {
		snprintf(group, sizeof group, "loop-%lld", (long long)now_us());
		set(conf, "group.id", group);
		set(conf, "auto.offset.reset", "earliest");
	} else {
		set(conf, "enable.idempotence", "true");
		rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	}
	rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
	if (!rk) {
		fprintf(stderr, "%s\n", why);
		exit(EXIT_FAILURE);
	}
	return rk;
}

static void produce(rd_kafka_t *rk, const char *topic, const void *key, size_t key_len,
	const void *payload, size_t len, const char *reply_topic)
{
	rd_kafka_resp_err_t err;
	do {
		rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
		if (reply_topic)
			rd_kafka_header_add(headers, "reply-topic", -1, reply_topic, -1);
		err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, key_len),
			RD_KAFKA_V_VALUE((void *)payload, len),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
			RD_KAFKA_V_END);
		if (err)
			rd_kafka_headers_destroy(headers);
		rd_kafka_poll(rk, err ? 10 : 0);
	} while (err == RD_KAFKA_RESP_ERR__QUEUE_FULL);
	n_failed += err != 0;
}

static void fill(char **argv, size_t n)
{
	rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, argv[2]);
	for (size_t i = 0; i < n; i++) {
		char key[32];
		int len = snprintf(key, sizeof key, "%zu", i);
		produce(producer, argv[3], key, (size_t)len, argv[5], strlen(argv[5]), argv[6]);
	}
	while (n_told < n)
		rd_kafka_poll(producer, 100);
	rd_kafka_destroy(producer);
}

static void loop(char **argv, size_t n)
{
	rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, argv[2]);
	rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, argv[2]);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	int64_t began = 0;
	rd_kafka_poll_set_consumer(consumer);
	rd_kafka_topic_partition_list_add(topics, argv[3], RD_KAFKA_PARTITION_UA);
	rd_kafka_subscribe(consumer, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	for (size_t i = 0; i < n;) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(consumer, 1000);
		if (msg && !msg->err) {
			began = began ? began : now_us();
			produce(producer, argv[5], msg->key, msg->key_len, msg->payload, msg->len,
				NULL);
			i++;
		}
		if (msg)
			rd_kafka_message_destroy(msg);
	}
	while (n_told < n)
		rd_kafka_poll(producer, 100);
	printf("{\"requests\":%zu,\"bad\":%zu,\"duration\":%lld}\n", n, n_failed,
		(long long)(now_us() - began));
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	rd_kafka_destroy(producer);
}

int main(int argc, char **argv)
{
	bool is_fill = argc == 7 && strcmp(argv[1], "fill") == 0;
	if (!is_fill && (argc != 6 || strcmp(argv[1], "loop") != 0)) {
		fputs("usage: kafka_loop fill BROKERS TOPIC N PAYLOAD REPLY-TOPIC\n"
		      "       kafka_loop loop BROKERS TOPIC N REPLY-TOPIC\n",
			stderr);
		return 2;
	}
	size_t n = strtoul(argv[4], NULL, 10);
	if (is_fill)
		fill(argv, n);
	else
		loop(argv, n);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
