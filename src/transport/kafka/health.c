/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the cluster can be reached.
 *
 * A client says when the last of its brokers is gone, and never that one is back: its thread asks
 * for metadata until it gets them. What was lost may be heard of after that, so both are put in
 * order: the thread hears what there is, and asks again when it was a loss. Either client may be
 * refused alone, having a password of its own. Beside the connections there are troubles that only
 * people can end, such as a topic that does not exist; each is one sentence that its finder takes
 * back.
 *
 * The clients go on trying, and say each time what went wrong, never twice in the same words. The
 * log has it when a connection is lost; before there was one, and beside it, when it is another
 * trouble than was told last, but not more than once in SAY_MS. Any thread. */
#include "transport/kafka/private.h"

#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"

#define SSL_ERROR  ":SSL routines::" /* OpenSSL's number comes before it, its words behind it */
#define SSL_FAILED "SSL handshake failed: "

enum { SAY_MS = 60000 };

void health_init(struct health *h, const char *name, const char *brokers)
{
	pthread_mutex_init(&h->lock, NULL);
	h->name = name;
	h->brokers = brokers;
	for (size_t i = 0; i < _CLIENT_MAX; i++)
		sentence_print(h->clients[i].why, sizeof h->clients[i].why,
			"it is not connected to %.*s yet", utf8_cut(brokers, 64), brokers);
}

void health_done(struct health *h)
{
	if (!h->name)
		return;
	for (size_t i = 0; i < _TROUBLE_MAX; i++)
		free(h->trouble[i]);
	pthread_mutex_destroy(&h->lock);
}

void health_expects(struct health *h, enum client_kind kind)
{
	h->clients[kind].is_used = true;
}

/* The lock is held, as it is for the next. */
static bool is_down(const struct health *h, enum client_kind kind)
{
	return h->clients[kind].is_used && !h->clients[kind].is_connected;
}

static bool is_up(const struct health *h)
{
	return !is_down(h, CLIENT_CONSUMER) && !is_down(h, CLIENT_PRODUCER);
}

bool health_is_connected(struct health *h, enum client_kind kind)
{
	pthread_mutex_lock(&h->lock);
	bool is_connected = h->clients[kind].is_connected;
	pthread_mutex_unlock(&h->lock);
	return is_connected;
}

void health_works(struct health *h, enum client_kind kind)
{
	pthread_mutex_lock(&h->lock);
	bool is_news = !h->clients[kind].is_connected;
	h->clients[kind].is_connected = true;
	h->clients[kind].last_error[0] = '\0';
	is_news = is_news && is_up(h);
	if (is_news)
		h->told[0] = '\0';
	pthread_mutex_unlock(&h->lock);
	if (is_news)
		log_info("transport %s: connected", h->name);
}

bool health_probe(struct health *h, enum client_kind kind, rd_kafka_t *rk, int wait_ms)
{
	const struct rd_kafka_metadata *metadata;
	pthread_mutex_lock(&h->lock);
	h->clients[kind].is_sure = true;
	pthread_mutex_unlock(&h->lock);
	if (rd_kafka_metadata(rk, 0, NULL, &metadata, wait_ms))
		return false;
	rd_kafka_metadata_destroy(metadata);
	return true;
}

void health_answered(struct health *h, enum client_kind kind)
{
	pthread_mutex_lock(&h->lock);
	bool is_sure = h->clients[kind].is_sure;
	pthread_mutex_unlock(&h->lock);
	if (is_sure)
		health_works(h, kind);
}

/* What went wrong as the library says it, but for the broker's name before it, the time it took
 * behind it, which differs always, and OpenSSL's number. */
static void write_cause(char *ret, size_t size, const char *text)
{
	const char *space = strchr(text, ' ');
	if (space && space > text && space[-1] == ':' && memchr(text, '/', (size_t)(space - text)))
		text = space + 1;
	if (strncmp(text, SSL_FAILED, strlen(SSL_FAILED)) == 0)
		text += strlen(SSL_FAILED);
	const char *end = strstr(text, " (after ");
	_cleanup_(freep) char *cause = xasprintf("%.*s", end ? (int)(end - text) : INT_MAX, text);
	char *number = strstr(cause, "error:");
	const char *words = number ? strstr(number, SSL_ERROR) : NULL;
	if (words)
		memmove(number, words + strlen(SSL_ERROR), strlen(words) - strlen(SSL_ERROR) + 1);
	size_t n = strlen(cause);
	if (n >= size) {
		for (n = size - sizeof "…"; n && cause[n] != ' '; n--)
			;
		snprintf(cause + n, sizeof "…", "…");
	}
	sentence_print(ret, size, "%s", cause);
}

/* One sentence. */
static void describe(
	char *ret, size_t size, const char *brokers, rd_kafka_resp_err_t err, const char *text)
{
	const char *before = "none of the brokers of", *behind = "can be reached";
	if (err == RD_KAFKA_RESP_ERR__AUTHENTICATION) {
		before = "the brokers of";
		behind = "refuse the connection";
	} else if (err == RD_KAFKA_RESP_ERR__SSL || strstr(text, SSL_ERROR)) {
		before = "no TLS connection to";
		behind = "can be made";
	}
	size_t n = sentence_print(
		ret, size, "%s %.*s %s: ", before, utf8_cut(brokers, 64), brokers, behind);
	write_cause(ret + n, size - n, text);
}

/* The lock is held. Of a client that is down. */
static void explain(const struct health *h, enum client_kind kind, char *ret, size_t size)
{
	bool is_consumer = kind == CLIENT_CONSUMER;
	bool is_alone = h->clients[is_consumer ? CLIENT_PRODUCER : CLIENT_CONSUMER].is_connected;
	sentence_print(ret, size, "%s%s",
		!is_alone     ? ""
		: is_consumer ? "no messages can be taken: "
			      : "no answers can be given: ",
		h->clients[kind].why);
}

/* The lock is held. */
static bool is_to_be_told(struct health *h, bool is_lost, const char *error)
{
	int64_t now = clock_mono_ms();
	/* The library leaves out now and then what people might do about it. */
	bool is_news = strncmp(h->told, error, strlen(error)) != 0;
	if (!is_lost && !(is_news && (!h->told[0] || now - h->told_at_ms >= SAY_MS)))
		return false;
	sentence_print(h->told, sizeof h->told, "%s", error);
	h->told_at_ms = now;
	return true;
}

void health_error(
	struct health *h, enum client_kind kind, rd_kafka_resp_err_t err, const char *text)
{
	char why[256] = "";
	pthread_mutex_lock(&h->lock);
	char *last = h->clients[kind].last_error;
	bool is_all = err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
	bool is_lost = is_all && is_up(h);
	if (!is_all || !last[0])
		describe(last, sizeof h->clients[kind].last_error, h->brokers, err, text);
	if (is_all)
		h->clients[kind].is_connected = h->clients[kind].is_sure = false;
	if (!h->clients[kind].is_connected)
		memcpy(h->clients[kind].why, last, sizeof h->clients[kind].why);
	/* One of several brokers comes and goes. */
	bool is_usual = h->clients[kind].is_connected && err == RD_KAFKA_RESP_ERR__TRANSPORT;
	if (!is_usual && is_to_be_told(h, is_lost, last)) {
		if (h->clients[kind].is_connected)
			sentence_print(why, sizeof why, "%s", text);
		else
			explain(h, kind, why, sizeof why);
	}
	pthread_mutex_unlock(&h->lock);
	if (why[0])
		log_warn("transport %s: %s", h->name, why);
}

void health_set_trouble(struct health *h, enum trouble which, const char *text)
{
	pthread_mutex_lock(&h->lock);
	_cleanup_(freep) char *before = h->trouble[which];
	bool is_news = !text || !before || strcmp(before, text) != 0;
	h->trouble[which] = is_news ? (text ? xstrdup(text) : NULL) : TAKE_PTR(before);
	pthread_mutex_unlock(&h->lock);
	if (text && is_news)
		log_warn("transport %s: %s", h->name, text);
	else if (!text && before)
		log_info("transport %s: it works again; this was: %s", h->name, before);
}

void health_state(struct health *h, struct transport_state *ret)
{
	ret->why[0] = '\0';
	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; !ret->why[0] && i < _CLIENT_MAX; i++)
		if (is_down(h, i))
			explain(h, i, ret->why, sizeof ret->why);
	for (size_t i = 0; !ret->why[0] && i < _TROUBLE_MAX; i++)
		if (h->trouble[i])
			sentence_print(ret->why, sizeof ret->why, "%s", h->trouble[i]);
	pthread_mutex_unlock(&h->lock);
	ret->is_down = ret->why[0];
}
