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

enum { MANY = 200, TOPIC_TEXT = 32 };

static MQTTAsync_responseOptions asked;
static unsigned n_sent;
static char last_topic[TOPIC_TEXT];

static int take(MQTTAsync handle, const char *topic, int len, const void *payload, int qos,
	int retained, MQTTAsync_responseOptions *options)
{
	(void)handle, (void)len, (void)payload, (void)qos, (void)retained;
	asked = *options;
	snprintf(last_topic, sizeof last_topic, "%s", topic);
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
	quarantine_init(&m->quarantine);
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

static struct letter *letter_to(const char *topic, bool is_owed)
{
	struct letter *l = mqtt_letter_new(topic);
	l->is_kept = true;
	l->is_owed = is_owed;
	l->at_ms = clock_wall_ms();
	buf_puts(&l->payload, "{}");
	return l;
}

static struct letter *letter(bool is_owed)
{
	return letter_to("answers/here", is_owed);
}

/* All that is due. */
static void send_due(struct mqtt *m)
{
	pthread_mutex_lock(&m->lock);
	mqtt_outbox_send(m);
	pthread_mutex_unlock(&m->lock);
}

/* The same, and of what waits for its time the next. */
static void send_all(struct mqtt *m)
{
	struct letter *l = quarantine_first(&m->quarantine);
	if (l) {
		quarantine_take(&m->quarantine, l);
		l->not_before_ms = 0;
		quarantine_put(&m->quarantine, l);
	}
	send_due(m);
}

static void refuse_for_now(void)
{
	MQTTAsync_failureData5 data = { .reasonCode = MQTTREASONCODE_QUOTA_EXCEEDED };
	asked.onFailure5(asked.context, &data);
}

static void refuse_often(struct mqtt *m)
{
	for (unsigned i = 0; i < MANY && n_sent == i; i++) {
		send_all(m);
		if (n_sent == i)
			return;
		refuse_for_now();
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

static void refused_topics_hold_up_no_other_however_many_they_are(void **state)
{
	struct mqtt *m = *state;
	char topic[TOPIC_TEXT];
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(topic, sizeof topic, "refused/%u", i);
		struct letter *l = letter_to(topic, true);
		l->later_ms = 1 << 20; /* the next pause is the longest */
		mqtt_outbox_add(m, l);
		send_due(m);
		assert_int_equal(n_sent, i + 1);
		refuse_for_now();
	}
	assert_int_equal(m->n_quarantined, MANY);
	m->careful_until_ms = INT64_MAX; /* what is not proven flies alone */
	mqtt_outbox_add(m, letter(true));
	send_due(m); /* to the quarantine, */
	send_due(m); /* and from there */
	assert_int_equal(n_sent, MANY + 1);
	assert_string_equal(last_topic, "answers/here");
	assert_true(m->alone);
	asked.onSuccess5(asked.context, NULL);
	assert_int_equal(m->n_quarantined, MANY);
}

static void what_goes_to_a_topic_goes_in_order_and_waits_for_its_first(void **state)
{
	struct mqtt *m = *state;
	mqtt_outbox_add(m, letter(true));
	send_due(m);
	mqtt_outbox_add(m, letter(true));
	refuse_for_now();
	for (unsigned i = 0; i < MANY; i++)
		mqtt_outbox_add(m, letter(true));
	send_due(m);
	assert_int_equal(n_sent, 1);
	assert_int_equal(m->n_quarantined, MANY + 2);
	struct letter *first = quarantine_first(&m->quarantine);
	assert_int_equal(first->number, 1);
	assert_int_equal(mqtt_outbox_due(m), first->not_before_ms);
	send_all(m);
	for (unsigned i = 1; i < MANY + 2; i++) {
		assert_int_equal(m->alone->number, i);
		asked.onSuccess5(asked.context, NULL);
		send_due(m);
	}
	assert_int_equal(m->n_quarantined, 0);
	assert_int_equal(mqtt_outbox_due(m), INT64_MAX);
	asked.onSuccess5(asked.context, NULL);
	assert_int_equal(m->n_delivered, MANY + 2);
}

static void add_outcome(struct mqtt *m)
{
	struct letter *l = letter_to("a", true);
	for (int i = 0; i < 100; i++)
		buf_puts(&l->payload, "0123456789");
	mqtt_outbox_add_owed(m, l, "R{}");
}

/* None is left without its payload when they are small, and many come at once. */
static void a_full_one_takes_no_outcome_until_half_of_them_are_gone(void **state)
{
	struct mqtt *m = *state;
	m->outbox_bytes = 64 << 10;
	m->links[LINK_SENDER]->unacked_max = 1;
	while (mqtt_outbox_takes_outcomes(m))
		add_outcome(m);
	size_t full = m->n_kept;
	assert_in_range(m->kept_bytes, m->outbox_bytes / 2, m->outbox_bytes);
	list_each (n, &m->replies)
		assert_false(container_of(n, struct letter, node)->is_stored);
	while (!mqtt_outbox_takes_outcomes(m)) {
		send_due(m);
		assert_int_equal(m->n_flying, 1);
		asked.onSuccess5(asked.context, NULL);
	}
	assert_in_range(m->n_kept, full / 2 - 1, full / 2 + full / 8);
	while (mqtt_outbox_takes_outcomes(m))
		add_outcome(m);
	assert_in_range(m->n_kept, full - 1, full + 1);
}

static void outcomes_are_bounded_in_number_and_in_bytes(void **state)
{
	bool is_full = false;
	(void)state;
	assert_true(outcomes_have_room(&is_full, false, OUTCOMES_MAX - 1, 0, 1 << 20));
	assert_false(outcomes_have_room(&is_full, false, OUTCOMES_MAX, 0, 1 << 20));
	assert_false(outcomes_have_room(&is_full, false, OUTCOMES_MAX / 2, 0, 1 << 20));
	assert_true(outcomes_have_room(&is_full, false, OUTCOMES_MAX / 2 - 1, 0, 1 << 20));
	assert_false(outcomes_have_room(&is_full, false, 1, 1 << 20, 1 << 20));
	/* None of them holds up another one. */
	assert_true(outcomes_have_room(&is_full, true, 1, 1 << 20, 1 << 20));
	assert_false(outcomes_have_room(&is_full, true, 1, 4 << 20, 1 << 20));
	assert_false(outcomes_have_room(&is_full, true, 4 * OUTCOMES_MAX, 0, 1 << 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_outcome_that_is_refused_for_now_is_never_given_up, up, down),
		cmocka_unit_test_setup_teardown(
			what_is_owed_to_nobody_is_given_up_in_the_end, up, down),
		cmocka_unit_test_setup_teardown(
			refused_topics_hold_up_no_other_however_many_they_are, up, down),
		cmocka_unit_test_setup_teardown(
			what_goes_to_a_topic_goes_in_order_and_waits_for_its_first, up, down),
		cmocka_unit_test_setup_teardown(
			a_full_one_takes_no_outcome_until_half_of_them_are_gone, up, down),
		cmocka_unit_test(outcomes_are_bounded_in_number_and_in_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
