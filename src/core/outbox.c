/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the end of a job is told to, beyond the life of this process.
 *
 * A job that came through a broker is owed its outcome: its row says so from the moment it ends
 * until the adapter reports that the broker has it. What is owed when a gateway starts is told
 * again, as what was owed when it ended, so it is told at least once and under the same event id.
 *
 * A request that comes again with a known idempotency key has a reply-to of its own: one more
 * listener of the job, who is owed the outcome as the first one is. The request is accepted when
 * the listener's row is durable; the row goes when the outcome was delivered. Whoever asks again
 * with a reply-to that is owed the outcome already, as a message does that its broker sends once
 * more, is accepted and adds none: it is told once, or once more when the job has ended.
 *
 * Adapters report of which job an outcome was taken, not by whom. So all who were told of a job by
 * one door, the first one among them, are over together, when that door has reported as many
 * outcomes. A job that nobody asked for twice, as nearly all are, has no audience, and costs none
 * of this.
 *
 * What a transport has no room for stays in the store, and is read from there later
 * (outbox/backlog.c). Only of whoever asked first: other listeners are told at once all the same,
 * and the first one is not among them before it is told.
 *
 * What a job was is read from the store on other threads; meanwhile it may end, be told, or be
 * delivered. Whoever comes back with a row looks at what is in memory first. */
#include "core/private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/outbox/backlog.h"

struct delivered {
	struct mail mail;
	const char *door;
	size_t n;
	struct uuid ids[];
};

enum listener_state {
	LISTENER_NEW,   /* its row is being written */
	LISTENER_WAITS, /* for the end */
	LISTENER_TOLD,  /* its door has the outcome */
};

struct listener {
	struct list node;
	struct transport *door;
	struct reply_to to;
	enum listener_state state;
	unsigned n_unreported; /* it was told so often more than its door has reported */
	bool is_first;         /* it came with the job, whose row says what it is owed */
};

/* Those who listen to one job beside the first one, who joins them when told the end. It lives as
 * long as somebody is in it, or asks to be. */
struct audience {
	struct core *core;
	struct map_node by_job;
	struct uuid job;
	struct list listeners;
	unsigned n_listeners, n_asking;
	bool is_first_known; /* the first one is in it, or has nothing to wait for */
};

/* A request that comes again, until it is answered. */
struct again {
	struct mail mail;
	struct audience *audience;
	struct job_request *rq;
	struct listener *listener; /* it has added; or NULL */
	int status;
	bool is_told_later; /* it is the one who asked first, whose outcome waits in the store */
	/* What is done next with the job, which is borrowed; NULL: the fault says why there is
	 * none. */
	void (*found)(struct again *g, struct job *job, struct fault *f);
};

static struct audience *audience_find(const struct core *c, const struct uuid *job)
{
	struct map_node *n = c->audiences.count ? map_find(&c->audiences, job, sizeof *job) : NULL;
	return n ? container_of(n, struct audience, by_job) : NULL;
}

static struct audience *audience_get(struct core *c, const struct uuid *job)
{
	struct audience *a = audience_find(c, job);
	struct live_job *l = life_find(c, job);
	if (a)
		return a;
	a = xcalloc(1, sizeof *a);
	a->core = c;
	a->job = *job;
	list_init(&a->listeners);
	map_add(&c->audiences, &a->by_job, &a->job, sizeof a->job);
	if (l)
		l->others = a;
	return a;
}

static void audience_free_if_empty(struct audience *a)
{
	struct live_job *l = life_find(a->core, &a->job);
	if (a->n_asking || !list_empty(&a->listeners))
		return;
	if (l)
		l->others = NULL;
	map_remove(&a->core->audiences, &a->by_job);
	free(a);
}

static struct listener *listener_add(struct audience *a, struct transport *door,
	const struct reply_to *to, enum listener_state state)
{
	struct listener *l = xcalloc(1, sizeof *l);
	l->door = door;
	l->to = *to;
	l->to.text = to->text ? xstrdup(to->text) : NULL;
	l->to.is_owed = to->is_owed && to->text;
	l->state = state;
	a->core->parameter_bytes += reply_bytes(l->to.text);
	list_append(&a->listeners, &l->node);
	a->n_listeners++;
	return l;
}

static void listener_free(struct audience *a, struct listener *l)
{
	a->n_listeners--;
	a->core->parameter_bytes -= reply_bytes(l->to.text);
	list_remove(&l->node);
	free(l->to.text);
	free(l);
}

/* Once it is known: `door` told whoever came with the job, and will report it. NULL: no report is
 * to come. */
static void audience_meet_first(struct audience *a, struct transport *door, const char *text)
{
	const struct reply_to to = { .text = (char *)text, .wants = EVENTS_FINAL, .is_owed = true };
	if (!a->is_first_known && door) {
		struct listener *l = listener_add(a, door, &to, LISTENER_TOLD);
		l->is_first = true;
		l->n_unreported = 1;
	}
	a->is_first_known = true;
}

static void post_delivered(struct core *c, const struct uuid *ids, size_t n)
{
	struct store_op *op = store_op_new(STORE_JOBS_DELIVERED, NULL);
	op->n_ids = n;
	op->ids = xcalloc(n, sizeof *op->ids);
	memcpy(op->ids, ids, n * sizeof *op->ids);
	store_post(c->store, op);
}

static struct store_op *listener_op(
	enum store_op_kind kind, const struct uuid *job, const char *door, const char *text)
{
	struct store_op *op = store_op_new(kind, NULL);
	op->job_id = *job;
	op->name = xstrdup(door);
	op->text = text ? xstrdup(text) : NULL;
	return op;
}

/* Those of the door that are owed, if it has reported all of them. */
static void audience_finish(struct audience *a, const char *door)
{
	bool is_first = false, are_others = false;
	list_each (n, &a->listeners) {
		const struct listener *l = container_of(n, struct listener, node);
		if (l->to.is_owed && strcmp(l->door->name, door) == 0 &&
			(l->state != LISTENER_TOLD || l->n_unreported))
			return;
	}
	list_each (n, &a->listeners) {
		struct listener *l = container_of(n, struct listener, node);
		if (!l->to.is_owed || strcmp(l->door->name, door) != 0)
			continue;
		is_first |= l->is_first;
		are_others |= !l->is_first;
		listener_free(a, l);
	}
	if (is_first)
		post_delivered(a->core, &a->job, 1);
	if (are_others)
		store_post(a->core->store, listener_op(STORE_LISTENERS_DROP, &a->job, door, NULL));
	audience_free_if_empty(a);
}

/* False: the report is of the one who came with the job, alone. */
static bool audience_hear(struct core *c, const struct uuid *job, const char *door)
{
	struct audience *a = audience_find(c, job);
	if (!a)
		return false;
	list_each (n, &a->listeners) {
		struct listener *l = container_of(n, struct listener, node);
		if (!l->n_unreported || strcmp(l->door->name, door) != 0)
			continue;
		l->n_unreported--;
		audience_finish(a, door);
		return true;
	}
	a->is_first_known = true;
	return false;
}

static void delivered_deliver(struct mail *mail, void *owner)
{
	_cleanup_(freep) struct delivered *d = container_of(mail, struct delivered, mail);
	struct core *c = owner;
	size_t n = 0;
	for (size_t i = 0; i < d->n; i++) {
		backlog_delivered(c, d->door, &d->ids[i]);
		if (!audience_hear(c, &d->ids[i], d->door))
			d->ids[n++] = d->ids[i];
	}
	if (n)
		post_delivered(c, d->ids, n);
	backlog_wake(c, d->door);
}

void intake_delivered(struct intake *in, const struct uuid *ids, size_t n)
{
	struct delivered *d = xcalloc(1, sizeof *d + n * sizeof *ids);
	d->mail.deliver = delivered_deliver;
	d->door = in->door;
	d->n = n;
	memcpy(d->ids, ids, n * sizeof *ids);
	if (mailbox_post_always(&in->core->mailbox, &d->mail) < 0)
		free(d); /* at the very end: it is told once more after the next start */
}

void core_set_doors(struct core *c, struct transport *const *doors, size_t n)
{
	c->doors = doors;
	c->n_doors = n;
	backlog_init(c);
}

static struct transport *door_find(const struct core *c, const char *name)
{
	for (size_t i = 0; i < c->n_doors; i++)
		if (strcmp(c->doors[i]->name, name) == 0)
			return c->doors[i];
	return NULL;
}

/* The door of an earlier process's reply-to; NULL: it is not there. ret->text is the caller's. */
static struct transport *door_restore(
	struct core *c, const struct uuid *job, const char *name, struct reply_to *ret)
{
	struct transport *door = door_find(c, name);
	char id[UUID_TEXT];
	ret->is_owed = true; /* also when its door is not there this time */
	int r = door && door->ops->restore ? door->ops->restore(door->self, ret) : -ENOENT;
	if (r == 0)
		return door;
	if (r == -EBADMSG) {
		ret->is_owed = false; /* the job runs, and nobody is told */
		store_set_aside_reply_target(c->store, job, name, ret->text,
			"the transport does not know what it wrote there");
		return NULL;
	}
	uuid_format(job, id);
	log_warn("job %s was asked for by %s, which cannot be answered now", id, name);
	return NULL;
}

/* ret->text is the job's. */
static struct transport *first_restore(struct core *c, const struct job *j, struct reply_to *ret)
{
	*ret = (struct reply_to){ 0 };
	if (!j->door)
		return NULL;
	ret->text = j->reply_to;
	return door_restore(c, &j->id, j->door, ret);
}

void outbox_recover(struct live_job *l)
{
	l->door = first_restore(l->core, l->job, &l->to);
	l->others = audience_find(l->core, &l->job->id);
}

static void listener_load(
	void *arg, const struct uuid *job, const char *door_name, const char *reply_to)
{
	struct core *c = arg;
	_cleanup_(freep) char *text = xstrdup(reply_to);
	struct reply_to to = { .text = text };
	struct transport *door = door_restore(c, job, door_name, &to);
	if (door)
		listener_add(audience_get(c, job), door, &to, LISTENER_WAITS);
}

int outbox_load(struct core *c)
{
	return store_listener_each(c->store, listener_load, c);
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

static struct job_event outcome_of(const struct job *j, const struct job_row *r)
{
	return (struct job_event){ .kind = job_final_event(r->state),
		.job = j,
		.at_ms = r->ended_ms,
		.worker = r->worker,
		.result = r->result,
		.result_len = r->result ? strlen(r->result) : 0,
		.error = r->error };
}

/* May free it. */
static void audience_tell(struct audience *a, const struct job_event *ev)
{
	bool is_final = EVENT_BIT(ev->kind) & EVENTS_FINAL;
	list_each (n, &a->listeners) {
		struct listener *l = container_of(n, struct listener, node);
		if (l->state != LISTENER_WAITS || !(l->to.wants & EVENT_BIT(ev->kind)))
			continue;
		l->door->ops->publish(l->door->self, &l->to, ev);
		if (!is_final)
			continue;
		l->state = LISTENER_TOLD;
		if (l->to.is_owed)
			l->n_unreported++;
		else
			listener_free(a, l);
	}
	audience_free_if_empty(a);
}

static void audience_tell_later(void *owner, int status);

static void audience_tell_read(
	struct audience *a, bool is_settled, int status, const struct job_row *row)
{
	struct core *c = a->core;
	a->n_asking--;
	if (life_find(c, &a->job)) {
		audience_free_if_empty(a);
	} else if (status == 0 && job_state_is_final(row->state)) {
		_cleanup_(job_unrefp) struct job *j = outbox_job(c, row);
		const struct job_event ev = outcome_of(j, row);
		audience_tell(a, &ev);
	} else if (status == 0 && !is_settled && !c->is_let_go) {
		/* It ended just now. */
		a->n_asking++;
		settle(c, audience_tell_later, a);
	} else {
		char id[UUID_TEXT];
		uuid_format(&a->job, id);
		log_warn("the outcome of job %s cannot be told before the next start", id);
		audience_free_if_empty(a);
	}
}

static void audience_read(void *owner, int status, const struct job_row *row)
{
	audience_tell_read(owner, false, status, row);
}

static void audience_read_settled(void *owner, int status, const struct job_row *row)
{
	audience_tell_read(owner, true, status, row);
}

/* Those who wait for the outcome of a job that has ended, from its row. May free it, later. */
static void audience_tell_ended(struct audience *a, bool is_settled)
{
	if (life_find(a->core, &a->job))
		return;
	a->n_asking++;
	job_read(a->core, &a->job, is_settled ? audience_read_settled : audience_read, a);
}

static void audience_tell_later(void *owner, int status)
{
	struct audience *a = owner;
	audience_tell_ended(a, status == 0);
	a->n_asking--;
	audience_free_if_empty(a);
}

void outbox_tell_first(struct core *c, const struct job_row *r)
{
	struct audience *a = audience_find(c, &r->id);
	struct reply_to to;
	if ((a && a->is_first_known) || backlog_has_handed(c, &r->id))
		return;
	_cleanup_(job_unrefp) struct job *j = outbox_job(c, r);
	const struct job_event ev = outcome_of(j, r);
	struct transport *door = first_restore(c, j, &to);
	if (door && to.wants & EVENT_BIT(ev.kind)) {
		backlog_hand(c, door, &r->id);
		door->ops->publish(door->self, &to, &ev);
	}
	if (a)
		audience_meet_first(a, door, to.text);
}

/* By the row of a job that has ended: whoever asked first is owed the outcome, and not told yet. */
static bool first_waits(const struct core *c, const struct job_row *r)
{
	const struct transport *door = r->is_owed && r->door ? door_find(c, r->door) : NULL;
	return door && job_state_is_final(r->state) && backlog_is_behind(c, door) &&
	       !backlog_has_handed(c, &r->id);
}

/* By its row, the job has ended: is the first one still to be reported? One who waits in the store
 * joins the others when told. */
static void audience_read_first(struct audience *a, const struct job_row *r)
{
	if (job_state_is_final(r->state) && !first_waits(a->core, r))
		audience_meet_first(
			a, r->is_owed && r->door ? door_find(a->core, r->door) : NULL, r->reply_to);
}

static void tell_owed(void *arg, const struct job_row *r)
{
	struct core *c = arg;
	struct transport *door = r->door ? door_find(c, r->door) : NULL;
	if (!door || backlog_admits(c, door))
		outbox_tell_first(c, r);
}

int core_tell_owed(struct core *c)
{
	int r = store_job_owed_each(c->store, tell_owed, c);
	if (r < 0)
		return r;
	map_each (n, &c->audiences)
		audience_tell_ended(container_of(n, struct audience, by_job), false);
	return 0;
}

static void again_free(struct again *g)
{
	g->audience->n_asking--;
	audience_free_if_empty(g->audience);
	job_request_free(g->rq);
	free(g);
}

static void again_refuse(struct again *g, const struct fault *f)
{
	if (g->listener) {
		listener_free(g->audience, g->listener);
		audience_finish(g->audience, g->rq->door->name);
	}
	intake_refuse(g->audience->core, TAKE_PTR(g->rq), f);
	again_free(g);
}

static void again_accept(struct again *g, const struct job *job)
{
	const struct job_request *rq = g->rq;
	const struct job_event ev = {
		.kind = EVENT_ACCEPTED, .job = job, .at_ms = job->created_ms
	};
	if (rq->to.wants & EVENT_BIT(EVENT_ACCEPTED))
		rq->door->ops->publish(rq->door->self, &rq->to, &ev);
	if (g->listener)
		g->listener->state = LISTENER_WAITS;
	if (g->audience->n_listeners)
		audience_tell_ended(g->audience, false);
	again_free(g);
}

static void again_read(void *owner, int status, const struct job_row *row)
{
	struct again *g = owner;
	struct audience *a = g->audience;
	struct core *c = a->core;
	struct fault f;
	if (status == -ENOENT)
		fault_set(&f, FAULT_CONFLICT,
			"the job of this idempotency key was removed from the history");
	else if (status == -EBADMSG)
		fault_set(&f, FAULT_CONFLICT,
			"the job of this idempotency key cannot be read, and was set aside: see "
			"/v2/api/store/unreadable");
	else if (status < 0)
		fault_set(&f, FAULT_UNAVAILABLE, "the store cannot be read: %s", strerror(-status));
	if (status < 0) {
		g->found(g, NULL, &f);
		return;
	}
	audience_read_first(a, row);
	g->is_told_later = first_waits(c, row) && strcmp(row->door, g->rq->door->name) == 0 &&
			   g->rq->to.text && row->reply_to &&
			   strcmp(row->reply_to, g->rq->to.text) == 0;
	_cleanup_(job_unrefp) struct job *job = outbox_job(c, row);
	g->found(g, job, &f);
}

/* The job, alive or ended, goes to `found`, now or later. */
static void again_find(
	struct again *g, void (*found)(struct again *g, struct job *job, struct fault *f))
{
	struct core *c = g->audience->core;
	const struct live_job *l = life_find(c, &g->audience->job);
	g->found = found;
	if (!l || !l->job->parameters) {
		job_read(c, &g->audience->job, again_read, g);
		return;
	}
	struct fault f;
	_cleanup_(job_unrefp) struct job *job = job_ref(l->job);
	found(g, job, &f);
}

static void again_end(struct again *g, struct job *job, struct fault *f)
{
	if (job)
		again_accept(g, job);
	else
		again_refuse(g, f);
}

/* On the store's thread. */
static void again_written(void *owner, struct store_op *op, int status)
{
	struct again *g = owner;
	(void)op;
	g->status = status;
	mailbox_post_always(&g->audience->core->mailbox, &g->mail);
}

static void again_kept(struct mail *mail, void *owner)
{
	struct again *g = container_of(mail, struct again, mail);
	struct fault f;
	(void)owner;
	if (g->status == 0) {
		again_find(g, again_end);
		return;
	}
	fault_set(&f, FAULT_UNAVAILABLE, "the store cannot write: %s", write_error(g->status));
	again_refuse(g, &f);
}

static bool is_same(
	const struct transport *door, const struct reply_to *to, const struct job_request *rq)
{
	return door == rq->door && to->is_owed && to->text && strcmp(to->text, rq->to.text) == 0;
}

static struct listener *listener_find(const struct audience *a, const struct job_request *rq)
{
	list_each (n, &a->listeners) {
		struct listener *l = container_of(n, struct listener, node);
		if (is_same(l->door, &l->to, rq))
			return l;
	}
	return NULL;
}

static void again_settled(void *owner, int status);

/* Adds its reply-to to those who are told. 0: that is done. 1: it takes a while. */
static int again_join(struct again *g, struct fault *f)
{
	const struct job_request *rq = g->rq;
	struct audience *a = g->audience;
	struct core *c = a->core;
	struct live_job *live = life_find(c, &a->job);
	bool is_kept = rq->to.is_owed && rq->to.text;
	/* What comes again from its place in a log has its reply-to with the job already. */
	if (!rq->idempotency_digest || !(rq->to.wants & EVENTS_FINAL) || g->is_told_later)
		return 0;
	if (is_kept && live && is_same(live->door, &live->to, rq))
		return 0;
	struct listener *there = is_kept ? listener_find(a, rq) : NULL;
	if (there && there->state != LISTENER_NEW) {
		/* It is told that it was accepted, and so the outcome after that. */
		there->state = LISTENER_WAITS;
		return 0;
	}
	if (c->is_let_go)
		return fault_set(f, FAULT_UNAVAILABLE, "the gateway is stopping");
	if (there) {
		settle(c, again_settled, g);
		return 1;
	}
	size_t bytes = reply_bytes(rq->to.text);
	if (bytes && c->parameter_bytes + bytes > (size_t)c->limits.queue_bytes_max)
		return fault_set(f, FAULT_TOO_MANY,
			"what is to be sent back with the answers of jobs takes too much memory: "
			"limits.queue-bytes is %" PRId64,
			c->limits.queue_bytes_max);
	if (a->n_listeners >= LISTENERS_MAX)
		return fault_set(f, FAULT_CONFLICT,
			"too many requests with the idempotency key %.64s wait for its outcome: at "
			"most %d are told beside the first",
			rq->idempotency_key, LISTENERS_MAX);
	g->listener = listener_add(a, rq->door, &rq->to, LISTENER_NEW);
	if (!is_kept)
		return 0;
	if (live && !live->job->is_recorded)
		life_record(live);
	struct store_op *op = listener_op(STORE_LISTENER_PUT, &a->job, rq->door->name, rq->to.text);
	op->done = again_written;
	op->owner = g;
	store_post(c->store, op);
	return 1;
}

static void again_found(struct again *g, struct job *job, struct fault *f)
{
	int r = job ? again_join(g, f) : -1;
	if (r <= 0)
		again_end(g, r == 0 ? job : NULL, f);
}

static void again_settled(void *owner, int status)
{
	struct again *g = owner;
	struct fault f;
	if (status == 0) {
		again_find(g, again_found);
		return;
	}
	fault_set(&f, FAULT_UNAVAILABLE, "the store cannot write: %s", write_error(status));
	again_refuse(g, &f);
}

void outbox_again(struct core *c, struct job_request *rq, const struct uuid *job)
{
	struct again *g = xcalloc(1, sizeof *g);
	g->mail.deliver = again_kept;
	g->rq = rq;
	g->audience = audience_get(c, job);
	g->audience->n_asking++;
	settle(c, again_settled, g);
}

void outbox_tell(struct live_job *l, const struct job_event *ev)
{
	bool is_told = l->door && l->to.wants & EVENT_BIT(ev->kind);
	bool is_owed = is_told && l->to.is_owed && EVENT_BIT(ev->kind) & EVENTS_FINAL;
	bool is_left = is_owed && !backlog_admits(l->core, l->door);
	if (is_owed && !is_left)
		backlog_hand(l->core, l->door, &l->job->id);
	if (is_told && !is_left)
		l->door->ops->publish(l->door->self, &l->to, ev);
	if (!l->others)
		return;
	if (EVENT_BIT(ev->kind) & EVENTS_FINAL && !is_left)
		audience_meet_first(
			l->others, is_told && l->to.is_owed ? l->door : NULL, l->to.text);
	audience_tell(l->others, ev);
}

bool outbox_wants(const struct live_job *l, enum event_kind kind)
{
	return l->others || (l->door && l->to.wants & EVENT_BIT(kind));
}

void outbox_free(struct core *c)
{
	map_each (n, &c->audiences) {
		struct audience *a = container_of(n, struct audience, by_job);
		list_each (it, &a->listeners)
			listener_free(a, container_of(it, struct listener, node));
		free(a);
	}
	map_done(&c->audiences);
	backlog_free(c);
}
