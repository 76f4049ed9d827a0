/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the parts of one instance. Nobody else includes it. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "transport/kafka/kafka.h"
#include "transport/again.h"
#include "transport/kafka/error.h"
#include "transport/kafka/same_log.h"
#include "transport/kafka/table.h"
#include "transport/message.h"
#include "transport/stored_outcome.h"
#include "transport/thread_ends.h"

struct consumer;
struct outbox;

enum client_kind { CLIENT_CONSUMER, CLIENT_PRODUCER, _CLIENT_MAX };

/* health.c: whether the cluster can be reached, as /health/ready tells it. Any thread. */
enum trouble { TROUBLE_CONSUMER, TROUBLE_PRODUCER, TROUBLE_DEAD_LETTER, _TROUBLE_MAX };

struct health {
	pthread_mutex_t lock;
	const char *name, *brokers; /* of the instance */
	struct {
		bool is_used, is_connected;
		bool is_sure;         /* nothing was lost since the last probe began */
		char why[224];        /* while it is not */
		char last_error[224]; /* the same, of a connection to one broker */
	} clients[_CLIENT_MAX];
	char told[224]; /* of these, what the log has; "": nothing */
	int64_t told_at_ms;
	char *trouble[_TROUBLE_MAX]; /* NULL: none; connected or not */
};

struct kafka {
	struct transport_env env;
	char *name;           /* env's, its own */
	_Atomic bool is_left; /* a thread did not end, and may use all this, not core and store */
	struct kafka_settings settings;
	struct health health;
	char *password; /* of the password-file; NULL: there is none */
	struct outbox *outbox;
	struct consumer *consumer; /* NULL: nothing is subscribed */
	struct watch watch;        /* of all jobs, when there is a publish-topic */
	size_t message_max;        /* largest record, as the library measures it */
	_Atomic uint64_t n_accepted, n_refused, n_skipped;
	_Atomic uint64_t n_errors[_TRANSPORT_ERROR_MAX];
};

void health_init(struct health *h, const char *name, const char *brokers);
void health_done(struct health *h);
/* Its client is there, and has to be connected. */
void health_expects(struct health *h, enum client_kind kind);
bool health_is_connected(struct health *h, enum client_kind kind);
/* Asks a broker and waits so long. True: it has answered; the caller makes the client's callbacks,
 * for what it had to say before, and calls health_answered. */
bool health_probe(struct health *h, enum client_kind kind, rd_kafka_t *rk, int wait_ms);
void health_answered(struct health *h, enum client_kind kind);
void health_works(struct health *h, enum client_kind kind);
/* From a callback of a client. */
void health_error(
	struct health *h, enum client_kind kind, rd_kafka_resp_err_t err, const char *text);
void health_set_trouble(struct health *h, enum trouble which, const char *text); /* NULL: gone */
void health_state(struct health *h, struct transport_state *ret);
static inline void count_error(struct kafka *k, enum transport_error kind)
{
	k->n_errors[kind]++;
}

/* client.c: a client's configuration from the settings. The fault names what was refused. */
int client_conf(struct kafka *k, enum client_kind kind, rd_kafka_conf_t **ret, struct fault *f);
/* Takes conf in any case. */
int client_new(enum client_kind kind, rd_kafka_conf_t *conf, rd_kafka_t **ret, struct fault *f);
/* Destroys it without leaving its group. In a limited time: a client that does not end is left
 * behind, which the log says. Nothing of it may be in use; no callback of it comes any more. */
void client_end(const struct kafka *k, enum client_kind kind, rd_kafka_t *rk);
bool topic_is_good(const char *name);

/* outbox.c: everything that is produced. */

enum letter_kind {
	LETTER_EVENT, /* may be dropped when there is no room */
	LETTER_OWED,  /* the outcome of `job`: kept until the broker has it, which the core hears */
	LETTER_ANSWER, /* of a refusal: kept, and `entry` hears when the broker has it */
	LETTER_DEAD,   /* the same, to the dead-letter topic */
};

struct letter {
	struct list node;
	enum letter_kind kind;
	uint64_t number;                      /* the order in which letters were sent */
	char *topic, *key, *payload;          /* owned; key and payload may be NULL */
	size_t key_len, payload_len, counted; /* counted: bytes of an event that waits */
	rd_kafka_headers_t *headers;          /* owned, but while the client has the letter */
	struct uuid job;
	int64_t at_ms; /* of an outcome: when the job ended */
	/* Of an outcome: the text by which it is told, owned; or NULL and its hash, when it is the
	 * one in the job's row. With `is_stored` the payload is in the store only. */
	char *reply;
	uint64_t reply_hash;
	bool is_stored;
	size_t kept; /* bytes of an outcome, as they count in outbox-bytes */
	struct entry *entry;
	int64_t not_before_ms; /* of those that wait for a topic to be made, or for the store */
	/* It was more than the broker takes: its payload is another now; its key or headers are
	 * fewer. */
	bool is_shortened, is_stripped;
};

struct letter *letter_new(enum letter_kind kind, const char *topic);
void letter_free(struct letter *l);
void letter_add_header(struct letter *l, const char *name, const char *value); /* NULL: nothing */

int outbox_open(struct outbox **ret, struct kafka *k, struct fault *f);
int outbox_start(struct outbox *o);
/* Any thread; takes the letter. */
void outbox_send(struct outbox *o, struct letter *l);
/* The same of an outcome that is owed, told by that text of a reply_to: it may be left in the
 * store. */
void outbox_send_owed(struct outbox *o, struct letter *l, const char *reply);
/* The core's thread: whether one more outcome may be sent. */
bool outbox_takes_outcomes(struct outbox *o);
/* Any thread. False: an event has to be dropped, which was counted. */
bool outbox_has_room(struct outbox *o);
void outbox_give_up(struct outbox *o); /* counts an answer that is told to nobody */
void outbox_state(struct outbox *o, struct transport_state *ret);
/* Delivers what it can in some seconds and ends the thread. False: it does not end. */
bool outbox_stop(struct outbox *o);
void outbox_close(struct outbox *o); /* NULL is fine */

/* events.c: events become letters. Core's thread, but for the refusal. */

/* Bits of reply_to's wants that are ours: the answer goes to the publish-topic, where everything of
 * the job is told anyway; and "accepted" is told, not only waited for. */
#define WANTS_SHARED   (1u << 31)
#define WANTS_ACCEPTED (1u << 30)

uint32_t wants_of(const struct kafka *k, const json_t *reply);
void events_publish(struct kafka *k, const struct reply_to *to, const struct job_event *ev);
/* The answer to a refused request; NULL: it has nowhere to go. */
struct letter *events_refusal(const json_t *reply, const struct fault *f);
void events_watch_init(struct kafka *k);
/* Whether answers may be asked for in a topic. The fault says why not. */
int events_check_topic(const struct kafka *k, const char *topic, struct fault *f);
/* A binary value in a reply object. */
void reply_set_bytes(json_t *reply, const char *name, const void *data, size_t len);

/* request.c: what a message asks for. */
struct request {
	struct message_request read;
	bool has_reply; /* read.reply says where answers go */
};

/* As message_read; `function` NULL: the payload names it. request_done is due in both cases. */
int request_read(struct kafka *k, const rd_kafka_message_t *msg, const char *function,
	struct request *ret, struct fault *f);
void request_done(struct request *rq);
/* A record for the dead-letter topic; NULL: there is no such topic. */
struct letter *request_dead_letter(
	struct kafka *k, const rd_kafka_message_t *msg, const struct fault *f);

/* The same for offsets that cannot be read. */
struct letter *request_dead_letter_of_offsets(struct kafka *k, const char *topic, int32_t partition,
	int64_t first, int64_t last, const struct fault *f);

/* lag.c: of the first partitions, and of all others together (-1: there are none). */
enum { LAGS_MAX = 256 };
struct lags {
	struct lag {
		char topic[STUCK_TOPIC];
		int partition;
		int64_t messages;
	} of[LAGS_MAX];
	int64_t others;
	size_t n, n_stalled;
	char why[256]; /* the first of those, one sentence; "": none */
};

/* consumer.c */
struct consumer {
	struct kafka *kafka;
	rd_kafka_t *rk;            /* replaced under the lock, as are */
	rd_kafka_queue_t *queue;   /* its messages */
	rd_kafka_queue_t *commits; /* results of commits */
	pthread_t thread;
	bool is_started;
	atomic_bool is_stopping;

	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct entry *answers, **last_answer;
	size_t n_stuck; /* partitions that cannot be read on, and the first of them */
	struct stuck_place stuck[STUCK_MAX];
	struct lags lags;
	_Atomic size_t n_taken; /* table.n_taken, for others to see */
	char stuck_why[224];

	/* The thread's own. */
	struct lags new_lags;
	int64_t lag_at_ms, ask_ends_ms;
	struct table table;
	bool is_committing, is_paused;
	bool is_topic_missing;   /* the subscribe-topic, when it was last looked for */
	bool is_reset_elsewhere; /* auto.offset.reset is not the earliest */
	int64_t commit_at_ms, full_since_ms, look_at_ms, probe_at_ms;
	struct again again; /* clients */
	struct said said;   /* of commits */
};

/* asking.c: the consumer's thread, but for the last two. */
/* 1: the core has it, 0: it is seen to, negative: it is held. */
int asking_ask(struct consumer *c, struct entry *e);
void asking_hold(struct consumer *c, struct entry *e, const char *why); /* NULL: the same */
void asking_take_answers(struct consumer *c);
/* What was held is asked again, and partitions without such go on. */
void asking_tend(struct consumer *c);
void asking_pause(struct consumer *c, bool is_paused); /* all partitions */
/* Any thread: the core has answered (fault NULL: well). */
void consumer_answered(struct entry *e, const struct fault *f);
/* Any thread: the broker has a letter of it. */
void consumer_letter_taken(struct entry *e);

struct partition *consumer_adopt(struct consumer *c, const char *topic, int32_t number);

/* skip.c: consumer's thread, with `unreadable` set to skip. */
/* The library cannot read a batch that begins there. */
void skip_complained(struct consumer *c, struct partition *p, int64_t offset);
bool skip_takes(
	struct consumer *c, struct partition *p); /* a message came; true: not to be taken */
void skip_tend(struct consumer *c);

/* lag.c. Consumer's thread: a message of that partition is not to be expected below the offset. */
void lag_read_to(struct partition *p, int64_t offset);
void lag_ends_at(struct partition *p, int64_t end); /* its log, as was just learned */
void lag_tend(struct consumer *c);                  /* measures, when it is time */
/* Any thread. */
void lag_state(struct consumer *c, struct transport_state *ret);
void lag_put(struct consumer *c, struct exposition *e);

int consumer_open(struct consumer **ret, struct kafka *k, struct fault *f);
int consumer_start(struct consumer *c, struct fault *f);
void consumer_state(struct consumer *c, struct transport_state *ret); /* any thread */
bool consumer_stop(struct consumer *c);  /* false: its thread does not end */
void consumer_close(struct consumer *c); /* NULL is fine */
