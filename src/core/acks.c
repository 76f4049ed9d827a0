/* SPDX-License-Identifier: Apache-2.0 */
/* A worker keeps an outcome until it hears that it is durable. Acknowledging each by itself would
 * make the store commit for it; nobody is in a hurry, so they are gathered for ACK_TICK_MS and go
 * out together behind one commit that would have come anyway. */
#include "core/private.h"

enum { ACK_TICK_MS = 50 };

struct pending_ack {
	struct list node;
	struct worker *worker;
	struct uuid job;
};

void acks_add(struct core *c, struct worker *w, const struct uuid *job)
{
	struct pending_ack *a = xcalloc(1, sizeof *a);
	a->worker = w;
	a->job = *job;
	list_append(&c->acks, &a->node);
	if (!timer_is_set(&c->ack_tick) && list_empty(&c->acks_settling))
		timer_set(&c->timers, &c->ack_tick, ACK_TICK_MS);
}

static void forget_in(struct list *acks, const struct worker *w)
{
	list_each (n, acks) {
		struct pending_ack *a = container_of(n, struct pending_ack, node);
		if (w && a->worker != w)
			continue;
		list_remove(n);
		free(a);
	}
}

void acks_forget(struct core *c, const struct worker *w)
{
	forget_in(&c->acks, w);
	forget_in(&c->acks_settling, w);
}

/* Takes the acknowledgements of the first one's worker off the list. */
static void ack_first_worker(struct core *c, struct list *acks)
{
	struct worker *w = container_of(acks->next, struct pending_ack, node)->worker;
	_cleanup_(json_decrefp) json_t *ids = json_array();
	list_each (n, acks) {
		struct pending_ack *a = container_of(n, struct pending_ack, node);
		char id[UUID_TEXT];
		if (a->worker != w)
			continue;
		uuid_format(&a->job, id);
		json_array_append_new(ids, json_string(id));
		list_remove(n);
		free(a);
	}
	if (w->state == WORKER_READY)
		c->crew->ack(c->room, w, ids);
}

static void acks_settled(void *owner, int status)
{
	struct core *c = owner;
	if (status == 0) {
		while (!list_empty(&c->acks_settling))
			ack_first_worker(c, &c->acks_settling);
	} else {
		struct list *n;
		while ((n = list_pop(&c->acks_settling)))
			list_append(&c->acks, n);
	}
	if (!list_empty(&c->acks))
		timer_set(&c->timers, &c->ack_tick, ACK_TICK_MS);
}

void acks_tick(struct timers *t, struct timer *timer)
{
	struct core *c = container_of(timer, struct core, ack_tick);
	struct list *n;
	(void)t;
	while ((n = list_pop(&c->acks)))
		list_append(&c->acks_settling, n);
	if (!list_empty(&c->acks_settling))
		settle(c, acks_settled, c);
}
