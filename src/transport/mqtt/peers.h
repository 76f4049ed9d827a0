/* SPDX-License-Identifier: Apache-2.0 */
/* Of this folder: the other gateways that share the requests, and their sessions. Under mqtt's
 * lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "transport/mqtt/paho.h"

struct mqtt;

enum { PEERS_MAX = 64 };
struct peer {
	char *topic, *gateway, *client; /* owned */
	int receivers;
	bool is_online, is_named_otherwise; /* its sessions have names that are not used here */
	int64_t away_since_ms;
	int n_taken; /* of its sessions, while it is away */
};

char *peers_client_id(const char *gateway, const char *transport);
char *peers_status(const struct mqtt *m, const char *status); /* what this one says of itself */
void peers_heard(struct mqtt *m, const char *topic, const MQTTAsync_message *message);
bool peers_is_any_online(const struct mqtt *m);
int64_t peers_due(const struct mqtt *m);  /* when the next session may be taken over */
char *peers_next_session(struct mqtt *m); /* the name of one that is due; NULL: none is */
void peers_begin_anew(struct mqtt *m);    /* they are heard of once more */
void peers_free(struct mqtt *m);
