/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the end of a job is told to, beyond the life of this process.
 *
 * A job that came through a broker is owed its outcome: its row says so from the moment it ends
 * until the adapter reports that the broker has it. What is owed when a gateway starts is told
 * again, as what was owed when it ended, so it is told at least once and under the same event id.
 *
 * A request that comes again with a known idempotency key has a reply-to of its own. While its job
 * is alive the reply-to waits here with the job, afterwards the outcome is read from the row. */
#include "core/private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

struct delivered {
	struct mail mail;
	size_t n;
	struct uuid ids[];
};

/* One more who asked for a job that was there. */
struct listener {
	struct list node;
	struct transport *door;
	struct reply_to to;
};

static void delivered_deliver(struct mail *mail, void *owner)
{
	struct delivered *d = container_of(mail, struct delivered, mail);
	struct core *c = owner;
	struct store_op *op = store_op_new(STORE_JOBS_DELIVERED, NULL);
	op->n_ids = d->n;
	op->ids = xcalloc(d->n, sizeof *op->ids);
	memcpy(op->ids, d->ids, d->n * sizeof *op->ids);
	store_post(c->store, op);
	free(d);
}

void intake_delivered(struct intake *in, const struct uuid *ids, size_t n)
{
	struct delivered *d = xcalloc(1, sizeof *d + n * sizeof *ids);
	d->mail.deliver = delivered_deliver;
	d->n = n;
	memcpy(d->ids, ids, n * sizeof *ids);
	if (mailbox_post_always(&in->core->mailbox, &d->mail) < 0)
		free(d); /* at the very end: it is told once more after the next start */
}

void core_set_doors(struct core *c, struct transport *const *doors, size_t n)
{
	c->doors = doors;
	c->n_doors = n;
}

static struct transport *door_find(const struct core *c, const char *name)
{
	for (size_t i = 0; i < c->n_doors; i++)
		if (strcmp(c->doors[i]->name, name) == 0)
			return c->doors[i];
	return NULL;
}

struct transport *outbox_restore(struct core *c, const struct job *j, struct reply_to *ret)
{
	*ret = (struct reply_to){ 0 };
	if (!j->door)
		return NULL;
	ret->text = xstrdup(j->reply_to);
	ret->is_owed = true; /* also when its door is not there this time */
	struct transport *door = door_find(c, j->door);
	if (door && door->ops->restore && door->ops->restore(door->self, ret) == 0)
		return door;
	char id[UUID_TEXT];
	uuid_format(&j->id, id);
	log_warn("job %s came by %s, which cannot be answered now", id, j->door);
	return NULL;
}

struct job *outbox_job(struct core *c, const struct job_row *r)
{
	struct job *j = job_of_row(r);
	const struct function *known = catalog_function(c->catalog, r->function);
	struct function_settings settings = j->function->settings;
	settings.retries = known ? known->settings.retries : 0;
	_cleanup_(freep) char *location = catalog_location(c->catalog, r->path);
	const struct function *fn = function_new(r->function, &settings, location);
	function_unref(j->function);
	j->function = fn;
	j->is_recorded = true;
	return j;
}

struct job *outbox_find(struct core *c, const struct uuid *id)
{
	const struct live_job *l = life_find(c, id);
	struct job_row *found = NULL;
	if (l)
		return job_ref(l->job);
	int r = store_job_get(c->store, id, &found);
	_cleanup_(job_row_freep) struct job_row *row = found;
	return r == 0 ? outbox_job(c, row) : NULL;
}

static void tell_outcome(struct transport *door, const struct reply_to *to, const struct job *j,
	const struct job_row *r)
{
	const struct job_event ev = { .kind = job_final_event(r->state),
		.job = j,
		.at_ms = r->ended_ms,
		.worker = r->worker,
		.result = r->result,
		.result_len = r->result ? strlen(r->result) : 0,
		.error = r->error };
	if (to->wants & EVENT_BIT(ev.kind))
		door->ops->publish(door->self, to, &ev);
}

static void tell_owed(void *arg, const struct job_row *r)
{
	struct core *c = arg;
	struct reply_to to;
	_cleanup_(job_unrefp) struct job *j = outbox_job(c, r);
	struct transport *door = outbox_restore(c, j, &to);
	if (door)
		tell_outcome(door, &to, j, r);
	free(to.text);
}

int core_tell_owed(struct core *c)
{
	return store_job_owed_each(c->store, tell_owed, c);
}

void outbox_listen(
	struct core *c, const struct uuid *id, struct transport *door, struct reply_to *to)
{
	struct live_job *l = life_find(c, id);
	struct job_row *found = NULL;
	if (!(to->wants & EVENTS_FINAL))
		return;
	if (l) {
		struct listener *it = xcalloc(1, sizeof *it);
		it->door = door;
		it->to = *to;
		to->text = NULL;
		list_append(&l->listeners, &it->node);
		return;
	}
	if (store_job_get(c->store, id, &found) < 0)
		return;
	_cleanup_(job_row_freep) struct job_row *row = found;
	_cleanup_(job_unrefp) struct job *j = outbox_job(c, row);
	if (job_state_is_final(row->state))
		tell_outcome(door, to, j, row);
}

void outbox_tell(struct live_job *l, const struct job_event *ev)
{
	if (l->door && l->to.wants & EVENT_BIT(ev->kind))
		l->door->ops->publish(l->door->self, &l->to, ev);
	list_each (n, &l->listeners) {
		struct listener *it = container_of(n, struct listener, node);
		if (it->to.wants & EVENT_BIT(ev->kind))
			it->door->ops->publish(it->door->self, &it->to, ev);
	}
}

bool outbox_wants(const struct live_job *l, enum event_kind kind)
{
	return (l->door && l->to.wants & EVENT_BIT(kind)) || !list_empty(&l->listeners);
}

void outbox_forget(struct live_job *l)
{
	struct list *n;
	while ((n = list_pop(&l->listeners))) {
		struct listener *it = container_of(n, struct listener, node);
		free(it->to.text);
		free(it);
	}
	free(l->to.text);
}
