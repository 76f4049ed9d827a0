/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka: one instance is one cluster. */
#pragma once

#include "mist/transport.h"

enum kafka_unreadable { UNREADABLE_STOPS, UNREADABLE_IS_SKIPPED };

struct kafka_settings {
	char *brokers, *group, *password_file;
	char *subscribe_topic, *publish_topic, *functions_prefix, *dead_letter_topic; /* "": none */
	bool required, devrun, with_progress;
	int unreadable; /* enum kafka_unreadable */
	int64_t stalled_after_ms, in_flight, in_flight_bytes, buffer, buffer_bytes, outbox_bytes;
	json_t *options, *consumer, *producer;
};

extern const struct transport_ops kafka_transport;
extern const struct conf_field kafka_conf[];
