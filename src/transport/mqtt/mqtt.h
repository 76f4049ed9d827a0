/* SPDX-License-Identifier: Apache-2.0 */
/* The adapter of MQTT brokers: one instance for each. */
#pragma once

#include "mist/transport.h"

enum mqtt_version { MQTT_AUTO, MQTT_5, MQTT_311 };
enum mqtt_events { MQTT_EVENTS_NONE, MQTT_EVENTS_FINAL, MQTT_EVENTS_ALL };

struct mqtt_settings {
	char *url, *client_id, *prefix, *subscribe_topic, *publish_topic, *share;
	char *user, *password, *password_file;
	char *tls_ca, *tls_certificate, *tls_key;
	bool required, tls_verify;
	int version;
	int events;
	int64_t receivers, buffer, buffer_bytes, outbox_bytes, payload_max;
	bool devrun, with_progress;
	int64_t session_expiry_ms, take_over_ms, keep_alive_ms;
};

extern const struct conf_field mqtt_conf[]; /* settings.c */
extern const struct transport_ops mqtt_transport;
