/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the cluster can be reached.
 *
 * The clients say when the last of their brokers is gone, and never that one is back: the outbox
 * asks for metadata until it gets them. Beside the connection there are troubles that only people
 * can end, such as a topic that does not exist; each is one sentence that its finder takes back.
 * Any thread. */
#include "transport/kafka/private.h"

#include <string.h>

#include "base/log.h"

void health_init(struct health *h, const char *name, const char *brokers)
{
	pthread_mutex_init(&h->lock, NULL);
	h->name = name;
	snprintf(h->why, sizeof h->why, "it is not connected to %.200s yet", brokers);
}

void health_done(struct health *h)
{
	if (h->name)
		pthread_mutex_destroy(&h->lock);
}

bool health_is_connected(struct health *h)
{
	pthread_mutex_lock(&h->lock);
	bool is_connected = h->is_connected;
	pthread_mutex_unlock(&h->lock);
	return is_connected;
}

void health_works(struct health *h)
{
	pthread_mutex_lock(&h->lock);
	bool was_connected = h->is_connected;
	h->is_connected = true;
	h->last_error[0] = '\0';
	pthread_mutex_unlock(&h->lock);
	if (!was_connected)
		log_info("transport %s: connected", h->name);
}

void health_error(struct health *h, const char *brokers, rd_kafka_resp_err_t err, const char *text)
{
	char why[sizeof h->why];
	bool is_news = false;
	pthread_mutex_lock(&h->lock);
	if (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		is_news = err != RD_KAFKA_RESP_ERR__TRANSPORT && strcmp(h->last_error, text) != 0;
		snprintf(h->last_error, sizeof h->last_error, "%s", text);
	} else {
		is_news = h->is_connected;
		h->is_connected = false;
		snprintf(h->why, sizeof h->why,
			"none of the brokers of %.64s can be reached: %.140s", brokers,
			h->last_error[0] ? h->last_error : text);
		text = memcpy(why, h->why, sizeof why);
	}
	pthread_mutex_unlock(&h->lock);
	if (is_news)
		log_warn("transport %s: %s", h->name, text);
}

void health_set_trouble(struct health *h, enum trouble which, const char *text)
{
	pthread_mutex_lock(&h->lock);
	bool is_news = text && strcmp(h->trouble[which], text) != 0;
	snprintf(h->trouble[which], sizeof h->trouble[which], "%s", text ? text : "");
	pthread_mutex_unlock(&h->lock);
	if (is_news)
		log_warn("transport %s: %s", h->name, text);
}

void health_state(struct health *h, struct transport_state *ret)
{
	const char *why = NULL;
	pthread_mutex_lock(&h->lock);
	if (!h->is_connected)
		why = h->why;
	for (size_t i = 0; !why && i < _TROUBLE_MAX; i++)
		why = h->trouble[i][0] ? h->trouble[i] : NULL;
	ret->is_down = why;
	snprintf(ret->why, sizeof ret->why, "%s", why ? why : "");
	pthread_mutex_unlock(&h->lock);
}
