/* SPDX-License-Identifier: Apache-2.0 */
/* Of this folder: what goes out. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "base/uuid.h"

struct link;
struct mqtt;

/* One attempt to send a letter; paho has its address until it calls back. Under mqtt's lock. */
struct flight {
	struct link *link;
	struct letter *letter; /* NULL: it was recalled, and the handle that had it is not used */
};

/* A message that is to go out. */
struct letter {
	struct list node;
	struct flight *flight; /* while it flies */
	uint64_t number;       /* in the order made */
	char *topic;
	struct buf payload;
	const char *content_type; /* static; NULL: none */
	struct buf correlation;
	bool has_correlation; /* it may be empty */
	struct buf pairs;     /* user properties: name NUL value NUL … */
	bool is_news;         /* of the second queue */
	bool is_kept;         /* there is always room for it, and it is sent until it has arrived */
	bool is_retained;
	bool is_quarantined; /* a connection may have broken because of it, or may yet: it flies
				alone */
	bool was_spared;     /* one broke, and it goes once more with the others all the same */
	bool is_accused; /* one broke while it flew alone; and the sender's connection then was */
	uint64_t sender_up; /* this one, or 0: it was not up */
	uint64_t topic_hash;
	unsigned n_refused;              /* for now, by the broker */
	int64_t later_ms, not_before_ms; /* the pause after the last time, and when it is over */
	bool is_short;                   /* it says that it was too large */
	bool is_owed;                    /* it is the outcome of `job` */
	struct uuid job;
	int64_t at_ms; /* of an outcome: when the job ended */
	/* Its payload is in the store only, and where it goes is kept for reading it again: the
	 * text, owned, or NULL and the hash, of the text in the job's row. */
	bool is_stored;
	char *reply;
	uint64_t reply_hash;
	size_t payload_len; /* that it had */
	size_t counted;     /* in mqtt's kept_bytes */
	bool *has_arrived;  /* somebody waits for that; under mqtt's lock */
};

/* outbox.c */
struct letter *mqtt_letter_new(const char *topic);
void mqtt_letter_pair(struct letter *l, const char *name, const char *value);
void mqtt_letter_free(struct letter *l);
/* Any thread. Takes it. */
void mqtt_outbox_add(struct mqtt *m, struct letter *l);
/* The same of an outcome that is owed, told by that text of a reply_to: it may be left in the
 * store. */
void mqtt_outbox_add_owed(struct mqtt *m, struct letter *l, const char *reply);
bool mqtt_outbox_takes_outcomes(struct mqtt *m); /* any thread: there is room for one more */
void mqtt_outbox_add_locked(struct mqtt *m, struct letter *l);
/* The adapter's thread, holding the lock, which it lets go in between. */
void mqtt_outbox_send(struct mqtt *m);
int64_t mqtt_outbox_due(const struct mqtt *m); /* when that is to be called again */
void mqtt_outbox_report(struct mqtt *m);       /* what arrived, to the core */
/* Of the sender's or the lone letter's connection that broke: what flew is quarantined. False:
 * nothing did. */
bool mqtt_outbox_recall(struct mqtt *m, struct link *link);
bool mqtt_outbox_flies(const struct mqtt *m, const struct link *link); /* something does */
void mqtt_outbox_judge(struct mqtt *m); /* the lone letter's connection is up again */
void mqtt_outbox_free(struct mqtt *m);
