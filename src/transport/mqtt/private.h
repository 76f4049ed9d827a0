/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this adapter share. Nobody else includes it. */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/again.h"
#include "transport/message.h"
#include "transport/mqtt/mqtt.h"
#include "transport/mqtt/outbox.h"
#include "transport/mqtt/paho.h"
#include "transport/mqtt/peers.h"
#include "transport/mqtt/quarantine.h"
#include "transport/mqtt/reason.h"
#include "transport/stored_outcome.h"
#include "transport/thread_ends.h"

enum { RECEIVERS_MAX = 8 };
enum {
	LINK_SENDER,
	LINK_CONTROL,
	LINK_ALONE,
	LINK_RECEIVER,
	LINKS_MAX = LINK_RECEIVER + RECEIVERS_MAX + 2
};
enum { WHY_MAX = 512, DISTRUSTED_MAX = 256, PROVEN_MAX = 256 };

/* PARKED: nobody may call into its copy of paho any more. */
enum link_state {
	LINK_PARKED,
	LINK_NEEDLESS,
	LINK_DOWN,
	LINK_CONNECTING,
	LINK_SUBSCRIBING,
	LINK_UP
};

struct mqtt;

/* More than brokers send unacknowledged: 16 in MQTT 5 (link.c); in 3.1.1 it is theirs to say, and
 * few say more than this. */
enum { DONE_MAX = 32, DONE_DIGEST = 32 };

/* A message that was seen to. */
struct done {
	int id; /* of the packet; 0: forgotten */
	unsigned char digest[DONE_DIGEST];
};

/* What paho calls back about. */
struct subscription {
	struct link *link;
	const char *filter; /* the link's */
};

/* A connection to the broker, with a copy of the library of its own. Paho keeps its address, so it
 * stays allocated; but nothing of `mqtt` is touched after link_close. */
struct link {
	struct mqtt *mqtt;
	struct paho *paho;
	MQTTAsync handle;
	char *id;
	char *will_topic, *will_text; /* NULL: it has none */
	char *filters[3];
	struct subscription subscriptions[3];
	size_t n_filters;
	/* It looks whether the broker keeps a session of that name, from other settings: then it
	 * takes what waits there and subscribes to nothing. Else it is needless. */
	bool is_leftover;
	bool is_taken; /* the same, of a session of another gateway, which it leaves to that one */
	bool is_brief; /* the broker keeps nothing for it: it sends what is quarantined */
	void (*arrived)(struct link *l, const char *topic, const MQTTAsync_message *m);
	void (*is_up_now)(struct mqtt *m); /* holding mqtt's lock; may be NULL */

	/* Under mqtt's lock: */
	enum link_state state;
	bool has_left; /* link_leave is over */
	bool was_up;
	uint64_t n_ups;         /* connections that were made */
	int64_t up_at_ms;       /* the last of them */
	int64_t quiet_since_ms; /* something came, or it was made */
	unsigned n_soon;        /* those in a row that were lost soon */
	int64_t busy_ms;     /* the pause that the broker's load, or its limits, ask for; grows */
	bool has_lost;       /* letters were under way when it ended */
	unsigned n_innocent; /* those that ended so, in the last minute, */
	int64_t innocent_ms; /* which began then */
	size_t n_subscribed;
	size_t unacked_max, packet_max; /* as the broker wants them */
	bool is_damaged;                /* paho has freed what its handle still points to */
	int64_t retry_at_ms, pause_ms;  /* monotonic */
	char why[WHY_MAX], tls_error[128];

	/* Under its own: */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_closed;
	unsigned n_inside; /* callbacks that run */

	/* receiver.c's, on the thread of `arrived`: what was done last. */
	struct done done[DONE_MAX];
	size_t n_done; /* ever */
	int64_t done_ms;
};

struct mqtt {
	struct transport_env env; /* its name and gateway are our own */
	struct mqtt_settings settings;
	char *name, *gateway, *client_id, *password;
	char *status_topic, *gateway_topic, *gateway_online, *gateway_offline;
	struct link *links[LINKS_MAX];
	size_t n_links;
	struct link *leftover; /* that looks for what is left */
	int next_leftover;
	struct peer peers[PEERS_MAX];
	size_t n_peers;
	struct questions questions;
	pthread_t thread;
	bool is_started;
	_Atomic int events;

	pthread_mutex_t refusals_lock; /* neither is held while the other is taken */
	struct log_limit refusals;     /* under it */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t n_changes;
	bool is_stopping, is_silent; /* silent: nothing is sent any more */
	bool has_own_status; /* its own "offline" has come back, and what others said before */
	bool is_left; /* a thread is lost in paho, and may use all this, not core and store */
	bool is_old;  /* the broker speaks MQTT 3.1.1 only */
	/* Written under the lock, read without: connections are made by a thread of their own. */
	_Atomic bool is_forgetful; /* it keeps no retained messages */
	_Atomic int keep_alive_s;  /* at most, as it wants it; 0: it does not say */
	unsigned session_s;        /* it keeps sessions for so long; 0: as we want it */
	bool is_settled;           /* which of the two it is, is known */
	/* What waits: replies go first. What goes to one topic is in one of them, in order. */
	struct list replies, news, flying; /* flying: sent, and not acknowledged */
	/* In order, and sent one at a time on a connection of their own; `alone` is under way. What
	 * goes to the topic of one that waits here waits here, too. */
	struct quarantine quarantine;
	struct letter *alone;
	struct {
		uint64_t topic_hash;
		int64_t until_ms;
	} distrusted[DISTRUSTED_MAX]; /* topics of those that were given up there: a ring */
	size_t n_distrusted;          /* ever */
	uint64_t proven[PROVEN_MAX];  /* hashes of topics that the broker has taken: a ring */
	size_t n_proven;              /* ever */
	int64_t careful_until_ms;     /* a connection broke, perhaps because of a topic */
	size_t n_quarantined;         /* of these; they count in n_waiting */
	size_t n_waiting, n_droppable, n_flying, n_flying_news, buffer;
	size_t droppable_bytes, buffer_bytes;
	size_t n_kept, kept_bytes, outbox_bytes; /* what letters that are kept hold, and may */
	bool is_full;                            /* it takes no more outcomes */
	struct said given_up, stored, late;
	uint64_t last_number;
	int64_t hold_until_ms, report_at_ms;
	struct uuid *delivered;
	size_t n_delivered, delivered_cap;
	struct transport_state counts;
	struct histogram deliveries; /* of outcomes, until the broker had them */
	_Atomic unsigned n_arrived;  /* messages that came and are not acknowledged */
};

/* Holding the lock: something is as others wait for. */
static inline void mqtt_wake(struct mqtt *m)
{
	m->n_changes++;
	pthread_cond_broadcast(&m->changed);
}

bool mqtt_speaks_5(const struct mqtt *m);

/* link.c */
struct link *link_new(struct mqtt *m, const char *id, struct fault *f);
/* One that is needless becomes another one. */
int link_rename(struct link *l, const char *id, struct fault *f);
/* The adapter's thread, without the lock: of one whose session is drained. */
void link_let_go(struct link *l);
bool link_is_idle(struct link *l, int64_t ms); /* holding mqtt's lock: nothing came for so long */
/* The adapter's thread: `state` is CONNECTING already. `afresh`: with a new handle, for which there
 * are no messages under way. */
void link_connect(struct link *l, bool afresh);
/* Says good-bye to the broker, if connected. On a thread of its own, that may not come back: paho's
 * mutex is held by whoever is parked meanwhile. It sets `has_left`. */
void link_leave(struct link *l, bool unsubscribes);
/* Later callbacks do nothing. Waits until none runs; false: until that time, and one does. */
bool link_close(struct link *l, int64_t until_ms);
void link_free(struct link *l);
bool link_fails(const struct link *l); /* it was tried, and tried again */
bool link_enter(struct link *l);       /* in a callback of paho's; false: it is closed */
void link_exit(struct link *l);
/* In `arrived`, without a lock: does not return, so what came is not acknowledged. */
_Noreturn void link_park(struct link *l);
/* There, too: waits, for longer each time (*ms is 0 at first), and parks if the gateway stops. */
void link_wait(struct link *l, int64_t *ms);

/* receiver.c */
struct waiting;
void receiver_arrived(struct link *l, const char *topic, const MQTTAsync_message *m);
void receiver_answer(struct waiting *w, const struct fault *f); /* NULL: accepted. Any thread */

/* control.c */
void control_arrived(struct link *l, const char *topic, const MQTTAsync_message *m);
/* ID, of PREFIX/jobs/ID/cancel; the caller frees it. NULL: another topic. A broker may deliver such
 * for a subscription that its session still has from earlier settings, or by mistake. */
char *control_job_of(const char *prefix, const char *topic);
/* 0: it is seen to, or refused. -EAGAIN: not now. -ESHUTDOWN: the gateway ends. `reply` as
 * reply_to's text, or NULL: nobody is told if it cannot be. Not the core's thread. */
int control_cancel(struct link *l, const struct uuid *job, const char *reply);

void control_say(struct mqtt *m, bool is_online); /* holding the lock */

/* request.c: what a message says. The property texts are kept until mqtt_request_done. */
struct request {
	const struct mqtt *mqtt;
	const MQTTAsync_message *message;
	struct list texts;
	char *function;
	struct message_request body;
	char *reply; /* as reply_to's text */
	char *name;  /* its correlation data, to be shown; NULL: it has none */
};
void mqtt_request_init(struct request *r, const struct mqtt *m, const MQTTAsync_message *message);
void mqtt_request_done(struct request *r);
/* 0, or negative with the fault set; `reply` is there in both cases, `body` as message_read leaves
 * it. */
int mqtt_request_read(struct request *r, const char *topic, struct fault *f);
void mqtt_request_read_reply(struct request *r); /* `reply` only, of a message without a request */

/* reply.c: where answers go. The text is a letter that says how, and a JSON object. */
uint32_t reply_wants(const struct mqtt *m, const char *text);
bool reply_is_on_common(const char *text); /* the adapter tells all of that job there, */
bool reply_is_on_own(const char *text);    /* and here */
char *reply_text(const struct mqtt *m, json_t *reply, const char *response_topic, bool wants_all,
	bool is_common);
/* 0, or -EBADMSG with the fault set: what was kept is no text of reply_text(). */
int reply_check(const char *text, struct fault *f);
/* NULL: nobody is told. */
struct letter *reply_letter(struct mqtt *m, const char *text, const struct job_event *ev);
struct letter *news_letter(const char *topic, const struct watch_event *ev);
bool mqtt_topic_is_good(const char *topic);
/* Whether answers may be asked for there. The fault says why not. */
int reply_check_topic(const struct mqtt *m, const char *topic, struct fault *f);
/* The same of a reply that was kept: "" or why nobody is told. */
bool reply_is_allowed(const struct mqtt *m, const char *text, struct fault *f);
bool mqtt_text_is_clean(const char *text); /* brokers take it for well-formed */
