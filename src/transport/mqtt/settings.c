/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of one MQTT broker. */
#include "transport/mqtt/mqtt.h"

#define AT(m) offsetof(struct mqtt_settings, m)

static const char *const versions[] = { "auto", "5", "3.1.1", NULL };
static const char *const events[] = { "none", "final", "all", NULL };

const struct conf_field mqtt_conf[] = {
	{ "required", CONF_BOOL, AT(required), "false", .live = true,
		.help = "whether the gateway is not ready (/health/ready) while this transport is "
			"down" },
	{ "url", CONF_STR, AT(url), "tcp://localhost:1883",
		.help = "the broker; ssl:// is with TLS" },
	{ "version", CONF_ENUM, AT(version), "auto", .choices = versions,
		.help = "of the protocol; auto is 5, and 3.1.1 with a broker that knows no other" },
	{ "client-id", CONF_STR, AT(client_id), "",
		.help = "the beginning of the names of its connections, unlike any other client's; "
			"empty: made from the id of the gateway" },
	{ "user", CONF_STR, AT(user), "", .help = "empty: none" },
	{ "password", CONF_STR, AT(password), "", .help = "empty: none" },
	{ "password-file", CONF_PATH, AT(password_file), "",
		.help = "its first line is the password" },
	{ "tls-ca", CONF_PATH, AT(tls_ca), "",
		.help = "certificates (PEM) that the broker's is checked against; empty: those of "
			"the system" },
	{ "tls-certificate", CONF_PATH, AT(tls_certificate), "",
		.help = "our own certificate (PEM); empty: none" },
	{ "tls-key", CONF_PATH, AT(tls_key), "",
		.help = "its key (PEM); empty: it is in the same file" },
	{ "tls-verify", CONF_BOOL, AT(tls_verify), "true",
		.help = "whether the broker's certificate, and the name in it, must be right" },
	{ "prefix", CONF_STR, AT(prefix), "mist",
		.help = "what the topics begin with: PREFIX/functions/NAME/jobs takes requests, "
			"PREFIX/jobs/ID/cancel cancels, PREFIX/jobs/ID/events and "
			"PREFIX/jobs/ID/logs tell, PREFIX/status and PREFIX/status/GATEWAY say "
			"whether it is online" },
	{ "subscribe-topic", CONF_STR, AT(subscribe_topic), "",
		.help = "requests that name their function themselves are taken from it; empty: "
			"none" },
	{ "publish-topic", CONF_STR, AT(publish_topic), "",
		.help = "all events of all jobs are told on it; empty: nowhere" },
	{ "share", CONF_STR, AT(share), "mist",
		.help = "the gateways of one name share the requests, which needs MQTT 5; what the "
			"broker gave to one that is away waits for it; empty: each gateway gets "
			"all" },
	{ "receivers", CONF_INT, AT(receivers), "8", .min = 1, .max = 8, .unit = "connections",
		.help = "on which requests come in; each takes one at a time and acknowledges it "
			"when it is on the disk; without share, and in MQTT 3.1.1, it is one" },
	{ "session-expiry", CONF_DURATION, AT(session_expiry_ms), "24h", .min = 1000,
		.max = INT64_C(4294967000000),
		.help = "how long the broker keeps requests while the gateway is away" },
	{ "take-over", CONF_DURATION, AT(take_over_ms), "1 minute", .min = 1000, .max = INT64_MAX,
		.help = "a gateway of the same share that is away for this long is taken for gone: "
			"another one takes the requests that wait in its sessions; Inf: never" },
	{ "keep-alive", CONF_DURATION, AT(keep_alive_ms), "30s", .min = 1000, .max = 65535000,
		.help = "a connection that is silent for this long is tested" },
	{ "message", CONF_SIZE, AT(payload_max), "8m", .min = 1024, .max = 1 << 28, .unit = "bytes",
		.help = "largest request" },
	{ "devrun", CONF_BOOL, AT(devrun), "false",
		.help = "whether a request may name a file and a class in it in place of a "
			"registered "
			"function, and so run any code" },
	{ "events", CONF_ENUM, AT(events), "all", .choices = events, .live = true,
		.help = "what is told of every job, however it came, on PREFIX/jobs/ID/events; its "
			"logs with all" },
	{ "with-progress", CONF_BOOL, AT(with_progress), "false",
		.help = "whether that has the events progress, too, and publish-topic; requests "
			"with events = all get them always" },
	{ "buffer", CONF_INT, AT(buffer), "10000", .min = 16, .max = 10000000, .unit = "events",
		.live = true,
		.help = "events that wait for a slow broker; more are dropped, but for the "
			"outcomes of requests that came through it" },
	{ "buffer-bytes", CONF_SIZE, AT(buffer_bytes), "64m", .min = 65536, .max = INT64_C(1) << 40,
		.unit = "bytes", .live = true,
		.help = "what they may hold in memory; more are dropped, with the same exception" },
	{ "outbox-bytes", CONF_SIZE, AT(outbox_bytes), "64m", .min = 65536, .max = INT64_C(1) << 40,
		.unit = "bytes", .live = true,
		.help = "what outcomes that the broker does not have yet may hold in memory; "
			"further ones wait in the store" },
	{ 0 },
};
