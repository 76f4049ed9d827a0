/* SPDX-License-Identifier: Apache-2.0 */
/* What the adapters of brokers share: which forms a request may have in a message, and in which
 * forms events are told. The forms are Mist's of all its versions, and CloudEvents 1.0. */
#pragma once

#include "base/buf.h"
#include "mist/transport.h"

/* Of the CloudEvents that Mist tells: their source, and what their types begin with. */
#define MESSAGE_SOURCE "/mist"
#define MESSAGE_TYPE   "io.mist.job."

/* A message as it came, borrowed. */
struct message {
	const char *payload;
	size_t len;
	const char *content_type; /* NULL: not given */
	const char *function;     /* that its topic names; NULL: the payload does */
	/* A property or header of it, NULL: not there. `cloud` is what stands before the name of an
	 * attribute of CloudEvents in binary mode: "ce_" in Kafka, "" in MQTT, "ce-" in HTTP; NULL:
	 * this message cannot be one. */
	const char *(*property)(void *arg, const char *name);
	void *arg;
	bool has_reply_address; /* it names a topic for answers: nothing that Mist says does */
	/* Not NULL: a message that names a file and a class in place of a function is refused, with
	 * a sentence that this setting allows it. */
	const char *devrun_setting;
	const char *cloud;
};

enum message_kind {
	MESSAGE_JOB,    /* `job` is filled in but for door, source and to */
	MESSAGE_CANCEL, /* of job `cancel` */
	MESSAGE_NOISE,  /* an event or answer of Mist's own, on a topic used both ways; no function
			 * is named by the topic then, and no address for answers is given */
};

struct message_request {
	enum message_kind kind;
	struct job_request *job; /* owned */
	struct uuid cancel;
	char *external_id; /* owned; also with a fault, if it could be read; or NULL */
	/* How events of it are told: an object that message_print understands, to be kept in
	 * reply_to's text. Owned; also with a fault. */
	json_t *reply;
	bool wants_all; /* not only the outcome */
};

/* Whether message_read looks at a property of this name: externalId, context, priority,
 * startTimeout, performTimeout, idempotency-key, events ("final", "all"), and with `cloud` not
 * NULL the attributes of a CloudEvent, behind it. Other properties are anybody's; so is
 * traceparent: one that cannot be read is as one that is not there. */
bool message_reads(const char *name, const char *cloud);

/* Whether this is the type of a CloudEvent in structured mode, whatever its parameters are; the one
 * rule of all transports. Other formats of events (`-batch+json`, `+avro`) are none: what comes as
 * such is taken as what it says otherwise. NULL: no type was given. */
bool message_is_cloud_type(const char *content_type);

/* Whether it is one of those that stand for positions in a log, which no client may use. */
bool message_key_is_reserved(const char *idempotency_key);

/* Any thread. 0, or negative with the fault set; message_request_done is due in both cases. */
int message_read(const struct message *m, struct message_request *ret, struct fault *f);
void message_request_done(struct message_request *r);

/* An event ready to be sent. */
struct message_out {
	struct buf payload;
	const char *content_type; /* static */
	const char *event;        /* the wire word; static */
	char id[EVENT_ID];        /* event_id(); of a refusal another each time it is printed */
	char job[UUID_TEXT];      /* "" for a refusal */
	const char *trace;        /* of the job, or NULL; borrowed from it */
	/* A list of base/ignored.h for a property or header `mist-ignored`: what the request said
	 * without effect. Owned; NULL: nothing. */
	char *ignored;
	/* CloudEvents in binary mode: these attributes go as properties; n_attributes 0: not. */
	struct {
		const char *name;
		char value[EVENT_ID + 16];
	} attributes[6];
	size_t n_attributes;
};

/* `reply` NULL: Mist's form. The result is freed with message_out_done. */
void message_print(const json_t *reply, const struct job_event *ev, struct message_out *ret);
/* The same for what a watch hears; never a refusal. */
void message_print_watched(const struct watch_event *ev, struct message_out *ret);
void message_out_done(struct message_out *out);

/* What is told in place of an event that is too large for the broker. The caller frees it. `job`:
 * NULL where it is known otherwise. */
char *message_too_large(const struct uuid *job, size_t len);

/* A form in which a body says what is to run: what its members are called. */
struct run_form {
	const char *function; /* NULL: it is the callable's name */
	const char *path, *class_name, *context, *external_id;
	bool is_old;       /* answered once, with the request in the answer */
	bool has_settings; /* runSettings may stand in it */
};
extern const struct run_form run_form_dev, run_form_path; /* a dev run; the first generation's */

/* Fills in the job but for its name's check; members that mean nothing go to its `ignored`. Its
 * arguments are a part of `body`, which is to be let go before the job is submitted. */
int run_form_read(
	const struct run_form *form, const json_t *body, struct job_request *job, struct fault *f);

/* SHA-256 of what makes two requests the same, in hexadecimal: function, parameters and context,
 * and not how their senders wait. The caller frees it. */
char *request_digest(const struct job_request *job);

/* W3C Trace Context: whether it is a well-formed traceparent of version 00. One that is not is as
 * good as none. */
bool trace_is_good(const char *text);
