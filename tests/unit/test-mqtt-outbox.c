/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out over MQTT, with a broker that is played here: it refuses what it gets as often as a
 * test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/mqtt/private.h"

enum { MANY = 200 };

static MQTTAsync_responseOptions asked;
static unsigned n_sent;

static int take(MQTTAsync handle, const char *topic, int len, const void *payload, int qos,
	int retained, MQTTAsync_responseOptions *options)
{
	(void)handle, (void)topic, (void)len, (void)payload, (void)qos, (void)retained;
	asked = *options;
	n_sent++;
	return MQTTASYNC_SUCCESS;
}

static void *connection(struct mqtt *m, struct paho *paho)
{
	struct link *l = calloc(1, sizeof *l);
	*l = (struct link){ .mqtt = m,
		.paho = paho,
		.state = LINK_UP,
		.n_ups = 1,
		.unacked_max = 10,
		.packet_max = 1 << 20 };
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	return l;
}

static int up(void **state)
{
	static struct paho paho = { .send = take };
	struct mqtt *m = *state = calloc(1, sizeof *m);
	m->env.name = "mqtt";
	m->outbox_bytes = m->buffer_bytes = 1 << 20;
	m->buffer = 100;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	list_init(&m->replies);
	list_init(&m->news);
	list_init(&m->flying);
	list_init(&m->quarantine);
	m->links[LINK_SENDER] = connection(m, &paho);
	m->links[LINK_ALONE] = connection(m, &paho);
	n_sent = 0;
	return 0;
}

static int down(void **state)
{
	struct mqtt *m = *state;
	mqtt_outbox_free(m);
	free(m->links[LINK_SENDER]);
	free(m->links[LINK_ALONE]);
	free(m);
	return 0;
}

static struct letter *letter(bool is_owed)
{
	struct letter *l = mqtt_letter_new("answers/here");
	l->is_kept = true;
	l->is_owed = is_owed;
	l->at_ms = clock_wall_ms();
	buf_puts(&l->payload, "{}");
	return l;
}

/* All that is due is sent, and what waits for its time is due now. */
static void send_all(struct mqtt *m)
{
	pthread_mutex_lock(&m->lock);
	list_each (n, &m->quarantine)
		container_of(n, struct letter, node)->not_before_ms = 0;
	mqtt_outbox_send(m);
	pthread_mutex_unlock(&m->lock);
}

static void refuse_often(struct mqtt *m)
{
	for (unsigned i = 0; i < MANY && n_sent == i; i++) {
		send_all(m);
		if (n_sent == i)
			return;
		MQTTAsync_failureData5 data = { .reasonCode = MQTTREASONCODE_QUOTA_EXCEEDED };
		asked.onFailure5(asked.context, &data);
	}
}

static void an_outcome_that_is_refused_for_now_is_never_given_up(void **state)
{
	struct mqtt *m = *state;
	mqtt_outbox_add(m, letter(true));
	refuse_often(m);
	assert_int_equal(n_sent, MANY);
	assert_int_equal(m->n_delivered, 0);
	assert_int_equal(m->counts.dropped, 0);
	assert_int_equal(m->n_waiting, 1);
	send_all(m);
	asked.onSuccess5(asked.context, NULL);
	assert_int_equal(m->n_delivered, 1);
	assert_int_equal(m->n_waiting, 0);
}

static void what_is_owed_to_nobody_is_given_up_in_the_end(void **state)
{
	struct mqtt *m = *state;
	mqtt_outbox_add(m, letter(false));
	refuse_often(m);
	assert_true(n_sent < MANY);
	assert_int_equal(m->counts.dropped, 1);
	assert_int_equal(m->n_waiting, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_outcome_that_is_refused_for_now_is_never_given_up, up, down),
		cmocka_unit_test_setup_teardown(
			what_is_owed_to_nobody_is_given_up_in_the_end, up, down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
