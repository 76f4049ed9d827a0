/* SPDX-License-Identifier: Apache-2.0 */
/* Why a broker refuses something, or ends a connection: the reason codes of MQTT 5 in words, with
 * what people can do about each, and what Mist does.
 *
 * One table for CONNACK, DISCONNECT, SUBACK and PUBACK, since a code means the same in each. The
 * five codes of a CONNACK in MQTT 3.1.1 stand for five of these. Codes that the broker answers by
 * mistake (of packets that Mist never sends) and codes that a later version may add are told as
 * they are, and treated as passing.
 *
 * Of what a broker says beside the code, Reason String and Server Reference are told. Of the other
 * properties link.c obeys those that limit Mist. The rest has nothing to obey: Mist uses no topic
 * aliases and no subscription identifiers, asks for no response information, and knows no enhanced
 * authentication; User Property is for people who read the broker's documentation. */
#include "transport/mqtt/reason.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

enum { SOON_MS = 100, LATER_MS = 5000, LONG_MS = 60000, TEXT_MAX = 96 };

#define CONNECTION     TRANSPORT_ERROR_CONNECTION
#define AUTHENTICATION TRANSPORT_ERROR_AUTHENTICATION
#define AUTHORIZATION  TRANSPORT_ERROR_AUTHORIZATION
#define TOPIC          TRANSPORT_ERROR_TOPIC
#define PROTOCOL       TRANSPORT_ERROR_PROTOCOL

static const struct mqtt_reason reasons[] = {
	{ 0x00, "Normal disconnection", "", SOON_MS, false, false, CONNECTION },
	{ 0x80, "Unspecified error", "its log may say more", LATER_MS, false, true, CONNECTION },
	{ 0x81, "Malformed packet", "its log may say more", LATER_MS, false, false, PROTOCOL },
	{ 0x82, "Protocol error", "its log may say more", LATER_MS, false, false, PROTOCOL },
	{ 0x83, "Implementation specific error", "its log may say more", LATER_MS, false, true,
		CONNECTION },
	{ 0x84, "Unsupported protocol version", "set version to auto, or to one that it knows",
		LATER_MS, false, false, PROTOCOL },
	{ 0x85, "Client identifier not valid", "set client-id to a name that it takes", LATER_MS,
		false, false, AUTHENTICATION },
	{ 0x86, "Bad user name or password", "check user, and password or password-file", LATER_MS,
		false, false, AUTHENTICATION },
	{ 0x87, "Not authorized", "its user needs the right to do this (the broker's ACL)",
		LATER_MS, false, false, AUTHORIZATION },
	{ 0x88, "Server unavailable", "it is tried again", SOON_MS, false, false, CONNECTION },
	{ 0x89, "Server busy", "it is tried again, at growing pauses", LATER_MS, true, false,
		CONNECTION },
	{ 0x8a, "Banned", "whoever administers the broker has shut this client out", LONG_MS, false,
		false, AUTHORIZATION },
	{ 0x8b, "Server shutting down", "it is tried again", SOON_MS, false, false, CONNECTION },
	{ 0x8c, "Bad authentication method",
		"let it take user and password or a certificate: Mist knows no enhanced "
		"authentication",
		LATER_MS, false, false, AUTHENTICATION },
	{ 0x8d, "Keep alive timeout", "a shorter keep-alive may help", SOON_MS, false, false,
		CONNECTION },
	{ 0x8e, "Session taken over",
		"another client has the same id: each gateway needs a client-id of its own",
		LATER_MS, true, false, CONNECTION },
	{ 0x8f, "Topic filter invalid", "check prefix, subscribe-topic and share", LATER_MS, false,
		false, TOPIC },
	{ 0x90, "Topic name invalid", "check prefix and publish-topic", LATER_MS, false, false,
		TOPIC },
	{ 0x91, "Packet identifier in use", "it is tried again", SOON_MS, false, true, PROTOCOL },
	{ 0x92, "Packet identifier not found", "it is tried again", SOON_MS, false, true,
		PROTOCOL },
	{ 0x93, "Receive Maximum exceeded", "it is tried again", SOON_MS, false, true, PROTOCOL },
	{ 0x94, "Topic Alias invalid", "Mist uses none: the broker is mistaken", LATER_MS, false,
		false, PROTOCOL },
	{ 0x95, "Packet too large", "let it take larger packets", SOON_MS, false, false, TOPIC },
	{ 0x96, "Message rate too high", "let it take more messages in a second from this client",
		LATER_MS, true, true, CONNECTION },
	{ 0x97, "Quota exceeded", "raise the broker's quota for this client", LATER_MS, true, true,
		AUTHORIZATION },
	{ 0x98, "Administrative action", "whoever administers the broker has ended it", LATER_MS,
		false, false, CONNECTION },
	{ 0x99, "Payload format invalid", "the broker takes no such payloads", LATER_MS, false,
		false, TOPIC },
	{ 0x9a, "Retain not supported", "let it keep retained messages", LATER_MS, false, false,
		PROTOCOL },
	{ 0x9b, "QoS not supported",
		"it takes QoS 0 only, and would lose requests and answers: it has to allow QoS 1 "
		"(max_qos of mosquitto)",
		LATER_MS, false, false, PROTOCOL },
	{ 0x9c, "Use another server", "set url to the server to be used for now", LONG_MS, false,
		false, CONNECTION },
	{ 0x9d, "Server moved", "set url to the server that is in its place", LONG_MS, false, false,
		CONNECTION },
	{ 0x9e, "Shared subscriptions not supported",
		"let it have them, or set share to \"\" if there is one gateway only", LATER_MS,
		false, false, PROTOCOL },
	{ 0x9f, "Connection rate exceeded", "it is tried again, at growing pauses", LATER_MS, true,
		false, CONNECTION },
	{ 0xa0, "Maximum connect time", "it is made again", SOON_MS, false, false, CONNECTION },
	{ 0xa1, "Subscription identifiers not supported", "Mist uses none: the broker is mistaken",
		LATER_MS, false, false, PROTOCOL },
	{ 0xa2, "Wildcard subscriptions not supported",
		"let it have them: Mist needs them to take requests for any function", LATER_MS,
		false, false, PROTOCOL },
};

const struct mqtt_reason *mqtt_reason(int code)
{
	static const struct mqtt_reason lost = { -1, "the connection was lost", "", SOON_MS, false,
		true, CONNECTION };
	static const struct mqtt_reason unknown = { 0xff, "a reason that is not known", "",
		LATER_MS, false, true, PROTOCOL };
	static const int old[] = { 0, 0x84, 0x85, 0x88, 0x86, 0x87 };
	if (code > 0 && code < (int)ARRAY_SIZE(old))
		code = old[code];
	if (code < 0)
		return &lost;
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].code == code)
			return &reasons[i];
	return &unknown;
}

static const MQTTLenString *text_property(
	const MQTTProperties *said, enum MQTTPropertyCodes identifier)
{
	for (int i = 0; said && i < said->count; i++)
		if (said->array[i].identifier == identifier)
			return &said->array[i].value.data;
	return NULL;
}

static size_t print_text(char *ret, size_t size, const char *before, const MQTTLenString *text)
{
	if (!text || text->len <= 0)
		return 0;
	_cleanup_(freep) char *copy = xcalloc(1, (size_t)text->len + 1);
	memcpy(copy, text->data, (size_t)text->len);
	utf8_clean(copy, (size_t)text->len);
	return sentence_print(ret, size, "%s\"%.*s\"", before, utf8_cut(copy, TEXT_MAX), copy);
}

void mqtt_reason_print(char *ret, size_t size, int code, const MQTTProperties *said)
{
	const struct mqtt_reason *r = mqtt_reason(code);
	size_t n = sentence_print(ret, size, "%s (%d)", r->name, code);
	n += print_text(ret + n, size - n, ", the broker says ",
		text_property(said, MQTTPROPERTY_CODE_REASON_STRING));
	n += print_text(ret + n, size - n, ", it names the server ",
		text_property(said, MQTTPROPERTY_CODE_SERVER_REFERENCE));
	if (r->remedy[0])
		sentence_print(ret + n, size - n, "; %s", r->remedy);
}
