/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the store: a letter goes in behind everything posted so far and comes back when it is
 * durable. */
#include "core/private.h"

struct settle {
	struct mail mail;
	void (*settled)(void *owner, int status);
	void *owner;
	struct core *core;
	int status;
};

static void settle_deliver(struct mail *mail, void *owner)
{
	_cleanup_(freep) struct settle *s = container_of(mail, struct settle, mail);
	(void)owner;
	s->settled(s->owner, s->status);
}

/* On the store's thread. */
static void settle_done(void *owner, struct store_op *op, int status)
{
	struct settle *s = owner;
	(void)op;
	s->status = status;
	mailbox_post_always(&s->core->mailbox, &s->mail);
}

void settle(struct core *c, void (*settled)(void *owner, int status), void *owner)
{
	struct settle *s = xcalloc(1, sizeof *s);
	*s = (struct settle){
		.mail.deliver = settle_deliver, .settled = settled, .owner = owner, .core = c
	};
	struct store_op *op = store_op_new(STORE_SETTLE, NULL);
	op->done = settle_done;
	op->owner = s;
	store_post(c->store, op);
}
