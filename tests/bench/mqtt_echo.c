/* SPDX-License-Identifier: Apache-2.0 */
/* What the MQTT adapter is measured against: paho's asynchronous client, and nothing behind it.
 *
 *     mqtt_echo PORT TOPIC CONNECTIONS
 *
 * Takes messages of TOPIC with QoS 1 and publishes their payload to their response topic with QoS
 * 1. With one connection, as paho's own examples have it, an acknowledgement and the message behind
 * it wait for each other in the kernel, 40 ms, when there is little to do; with two it receives on
 * one and sends on the other. Runs until it is ended; says "ready" when it is subscribed. */
#include <MQTTAsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static MQTTAsync receiver, sender;
static const char *topic;

static int arrived(void *context, char *name, int len, MQTTAsync_message *m)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	char to[256] = "";
	(void)context, (void)len;
	for (int i = 0; i < m->properties.count; i++) {
		const MQTTProperty *p = &m->properties.array[i];
		if (p->identifier == MQTTPROPERTY_CODE_RESPONSE_TOPIC)
			snprintf(to, sizeof to, "%.*s", p->value.data.len, p->value.data.data);
	}
	if (*to)
		MQTTAsync_send(sender, to, m->payloadlen, m->payload, 1, 0, &options);
	MQTTAsync_freeMessage(&m);
	MQTTAsync_free(name);
	return 1;
}

static void lost(void *context, char *cause)
{
	(void)context, (void)cause;
	fprintf(stderr, "mqtt_echo: the connection was lost\n");
	_exit(1);
}

static void failed(void *context, MQTTAsync_failureData5 *data)
{
	(void)context;
	fprintf(stderr, "mqtt_echo: %s (%d)\n", data->message ? data->message : "", data->code);
	_exit(1);
}

static void subscribed(void *context, MQTTAsync_successData5 *data)
{
	(void)context, (void)data;
	puts("ready");
	fflush(stdout);
}

static void receiver_connected(void *context, MQTTAsync_successData5 *data)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	(void)context, (void)data;
	options.onSuccess5 = subscribed;
	options.onFailure5 = failed;
	MQTTAsync_subscribe(receiver, topic, 1, &options);
}

static void sender_connected(void *context, MQTTAsync_successData5 *data)
{
	(void)context, (void)data;
}

static MQTTAsync make(const char *url, const char *id)
{
	MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
	MQTTAsync client;
	options.maxBufferedMessages = 65535;
	if (MQTTAsync_createWithOptions(
		    &client, url, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &options) ||
		MQTTAsync_setCallbacks(client, NULL, lost, arrived, NULL))
		exit(1);
	return client;
}

static void connect_to(MQTTAsync client, MQTTAsync_onSuccess5 *done)
{
	MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
	options.onSuccess5 = done;
	options.onFailure5 = failed;
	if (MQTTAsync_connect(client, &options))
		exit(1);
}

int main(int argc, char **argv)
{
	char url[64], id[32], out[64];
	if (argc != 4)
		return 2;
	snprintf(id, sizeof id, "echo-%d", (int)getpid());
	snprintf(out, sizeof out, "%s-out", id);
	snprintf(url, sizeof url, "tcp://127.0.0.1:%s", argv[1]);
	topic = argv[2];
	receiver = sender = make(url, id);
	if (strcmp(argv[3], "2") == 0) {
		sender = make(url, out);
		connect_to(sender, sender_connected);
	}
	connect_to(receiver, receiver_connected);
	for (;;)
		pause();
}
