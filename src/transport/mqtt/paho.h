/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of paho that are used, of one copy of the library. */
#pragma once

#include <MQTTAsync.h>

#include "base/fault.h"

struct paho {
	struct paho *next;
	int fd;
	void *library;
	int (*create)(
		MQTTAsync *, const char *, const char *, int, void *, MQTTAsync_createOptions *);
	void (*destroy)(MQTTAsync *);
	int (*set_callbacks)(MQTTAsync, void *, MQTTAsync_connectionLost *,
		MQTTAsync_messageArrived *, MQTTAsync_deliveryComplete *);
	int (*set_disconnected)(MQTTAsync, void *, MQTTAsync_disconnected *);
	int (*connect)(MQTTAsync, const MQTTAsync_connectOptions *);
	int (*disconnect)(MQTTAsync, const MQTTAsync_disconnectOptions *);
	int (*subscribe)(MQTTAsync, const char *, int, MQTTAsync_responseOptions *);
	int (*unsubscribe)(MQTTAsync, const char *, MQTTAsync_responseOptions *);
	int (*send)(
		MQTTAsync, const char *, int, const void *, int, int, MQTTAsync_responseOptions *);
	void (*free_message)(MQTTAsync_message **);
	void (*free)(void *);
	int (*properties_add)(MQTTProperties *, const MQTTProperty *);
	void (*properties_free)(MQTTProperties *);
};

/* A copy of the library that nobody else has. It stays loaded: its threads run to the end. NULL:
 * the fault says why. */
struct paho *paho_load(struct fault *f);
