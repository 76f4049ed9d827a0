/* SPDX-License-Identifier: Apache-2.0 */
/* Of this folder: the other gateways that share the requests, and their sessions. Under mqtt's
 * lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "transport/mqtt/paho.h"

struct mqtt;

enum { PEERS_MAX = 64 };
struct peer {
	char *topic, *gateway, *client; /* owned */
	int receivers;
	bool is_online, is_named_otherwise; /* its sessions have names that are not used here */
	bool is_unsure;      /* the broker has kept that it is online, it has not said so itself */
	bool is_away_for_us; /* it went while we listened; else it may be gone for good */
	int64_t away_since_ms, unsure_since_ms;
	int n_taken; /* of its sessions, while it is away */
};

/* What this one asks the others, and they it. */
struct questions {
	char own[UUID_TEXT]; /* the last of them, */
	bool has_come_back;  /* in that of the control link's connections */
	uint64_t came_in;
	int64_t answered_ms, answer_at_ms; /* monotonic; 0: nobody has asked */
	bool are_peers_too_many;           /* and that was told */
};

char *peers_client_id(const char *gateway, const char *transport);
char *peers_status(const struct mqtt *m, const char *status); /* what this one says of itself */
/* The same, online: to have the others say so, or because another has asked. */
char *peers_question(struct mqtt *m);
char *peers_answer(const struct mqtt *m);
void peers_heard(struct mqtt *m, const char *topic, const MQTTAsync_message *message);
bool peers_is_any_online(const struct mqtt *m);
int64_t peers_due(const struct mqtt *m);        /* when the next session may be taken over */
char *peers_next_session(struct mqtt *m);       /* the name of one that is due; NULL: none is */
void peers_begin_anew(struct mqtt *m);          /* they are heard of once more */
int64_t peers_answer_due(const struct mqtt *m); /* when it has to say again that it is online */
void peers_free(struct mqtt *m);
