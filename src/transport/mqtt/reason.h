/* SPDX-License-Identifier: Apache-2.0 */
/* Of this folder: the reason codes of MQTT, in words. */
#pragma once

#include "mist/transport.h"
#include "transport/mqtt/paho.h"

/* This code and all that are larger refuse something. MQTT 3.1.1 knows no other in a SUBACK. */
enum { CODE_REFUSED = 0x80 };

struct mqtt_reason {
	int code;
	const char *name, *remedy; /* as the specification has it; what people can do, or "" */
	int64_t pause_ms;          /* before the next connection, at least, */
	bool grows;                /* and twice as long each time */
	bool is_again;             /* what was published may be taken at another time */
	enum transport_error kind;
};
/* Never NULL. Also of the codes of MQTT 3.1.1, which are below 6. */
const struct mqtt_reason *mqtt_reason(int code);
/* One sentence, with what the broker says in the properties, which may be NULL. */
void mqtt_reason_print(char *ret, size_t size, int code, const MQTTProperties *said);
