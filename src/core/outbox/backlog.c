/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes beyond what a transport may hold in memory.
 *
 * The outcome of a job is in the job's row, which says that it is to be delivered, so of one for
 * which its transport has no room nothing is kept: only that there are such. They are read from the
 * store when there is room again, in the order in which the jobs ended, and until none is left all
 * later ones wait behind them there. Each transport has a place of its own up to which it was read:
 * one whose broker is away holds up no other.
 *
 * Rows say of an outcome that it is to be delivered until it was, so those that the transport has
 * in its hands are found, too. These are known by `handed`, whose size is bounded by what the
 * transport may hold. A job stays there until a page is read that begins behind the write that says
 * that it was delivered: a row of before would have it told twice.
 *
 * A pass goes page by page to where there is none. If outcomes were left meanwhile it goes on from
 * a little before its end, since two may have ended in one millisecond, and at last from the very
 * beginning, since the clock may have been set back. If it finds nothing there, and none was left
 * since it began, the transport is handed outcomes as jobs end again.
 *
 * Rows are read one after the other, on a thread of the loop's pool, and only with room for what is
 * in them: one may be large. */
#include "core/outbox/backlog.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/private.h"

enum {
	PAGE = 256,
	ROOM_MS = 100,     /* until a transport is asked again whether it has room, */
	RETRY_MS = 1000,   /* or the store that could not be read or written */
	OVERLAP_MS = 1000, /* of a pass with the one before */
	SAY_MS = 60000
};

struct backlog {
	struct core *core;
	struct transport *transport;
	struct timer tick;
	bool is_behind;  /* there may be outcomes that it was not handed, */
	uint64_t n_left; /* about so many */
	bool is_busy;    /* the store is waited for */
	bool has_begun;  /* the pass has; then */
	bool is_new;     /* one was left since, */
	bool is_whole;   /* and it began with the first of all */
	struct store_undelivered after, page[PAGE];
	size_t n, next; /* of the page */
	uv_work_t work; /* reads a page, */
	int status;     /* and how that went */
	struct list released;
	bool is_said;      /* that it is behind, in the log; */
	int64_t say_at_ms; /* not again before that */
};

/* An outcome that a transport has. */
struct handed {
	struct map_node by_job;
	struct list released; /* it was delivered, and is to be forgotten */
	struct uuid job;
	const struct transport *transport;
};

static void backlog_tick(struct timers *t, struct timer *timer);

void backlog_init(struct core *c)
{
	map_init(&c->handed);
	c->backlogs = xcalloc(c->n_doors + 1, sizeof *c->backlogs);
	for (size_t i = 0; i < c->n_doors; i++) {
		struct backlog *b = &c->backlogs[i];
		b->core = c;
		b->transport = c->doors[i];
		b->tick.fire = backlog_tick;
		list_init(&b->released);
	}
}

static struct backlog *backlog_of(const struct core *c, const struct transport *t)
{
	for (size_t i = 0; i < c->n_doors; i++)
		if (c->backlogs[i].transport == t)
			return &c->backlogs[i];
	return NULL;
}

static struct backlog *backlog_named(const struct core *c, const char *transport)
{
	for (size_t i = 0; i < c->n_doors; i++)
		if (strcmp(c->backlogs[i].transport->name, transport) == 0)
			return &c->backlogs[i];
	return NULL;
}

static bool has_room(const struct transport *t)
{
	return !t->ops->has_room || t->ops->has_room(t->self);
}

static struct handed *handed_find(const struct core *c, const struct uuid *job)
{
	struct map_node *n = c->handed.count ? map_find(&c->handed, job, sizeof *job) : NULL;
	return n ? container_of(n, struct handed, by_job) : NULL;
}

static void handed_free(struct core *c, struct handed *h)
{
	map_remove(&c->handed, &h->by_job);
	list_remove(&h->released);
	free(h);
}

void backlog_stop(struct core *c)
{
	c->are_backlogs_over = true;
}

void backlog_free(struct core *c)
{
	if (!c->backlogs)
		return;
	map_each (n, &c->handed)
		free(container_of(n, struct handed, by_job));
	map_done(&c->handed);
	free(TAKE_PTR(c->backlogs));
}

static void say(struct backlog *b)
{
	int64_t now = clock_mono_ms();
	if (b->is_said || now < b->say_at_ms)
		return;
	b->is_said = true;
	b->say_at_ms = now + SAY_MS;
	log_info("transport %s: it holds as many outcomes as it may; further ones wait in the "
		 "store",
		b->transport->name);
}

bool backlog_admits(struct core *c, struct transport *t)
{
	struct backlog *b = backlog_of(c, t);
	if (!b || (!b->is_behind && has_room(t)))
		return true;
	if (!b->is_behind)
		say(b);
	b->is_behind = b->is_new = true;
	b->n_left++;
	if (!b->is_busy && !c->are_backlogs_over && !timer_is_set(&b->tick))
		timer_set(&c->timers, &b->tick, ROOM_MS);
	return false;
}

void backlog_hand(struct core *c, const struct transport *t, const struct uuid *job)
{
	struct handed *h = handed_find(c, job);
	if (!h) {
		h = xcalloc(1, sizeof *h);
		h->job = *job;
		h->transport = t;
		list_init(&h->released);
		map_add(&c->handed, &h->by_job, &h->job, sizeof h->job);
	}
	list_remove(&h->released);
}

bool backlog_has_handed(const struct core *c, const struct uuid *job)
{
	return handed_find(c, job);
}

void backlog_delivered(struct core *c, const char *transport, const struct uuid *job)
{
	struct backlog *b = backlog_named(c, transport);
	struct handed *h = handed_find(c, job);
	if (!b || !h || h->transport != b->transport)
		return;
	list_remove(&h->released);
	if (b->is_busy || b->next < b->n)
		list_append(&b->released, &h->released);
	else
		handed_free(c, h);
}

bool backlog_is_behind(const struct core *c, const struct transport *t)
{
	const struct backlog *b = backlog_of(c, t);
	return b && b->is_behind;
}

uint64_t backlog_count(const struct core *c, const struct transport *t)
{
	const struct backlog *b = backlog_of(c, t);
	return b ? b->n_left : 0;
}

static void backlog_go(struct backlog *b);

static void wait_for(struct backlog *b, int64_t ms)
{
	b->is_busy = false;
	timer_set(&b->core->timers, &b->tick, ms);
}

/* The pass is over. */
static void pass_ended(struct backlog *b)
{
	b->has_begun = false;
	if (b->is_new) {
		int64_t ms = b->after.ended_ms;
		b->after = (struct store_undelivered){ .ended_ms = ms > OVERLAP_MS ? ms - OVERLAP_MS
										   : 0 };
		b->is_whole = false;
	} else if (!b->is_whole) {
		b->after = (struct store_undelivered){ 0 };
		b->is_whole = true;
	} else {
		b->is_behind = b->is_whole = false;
		b->after = (struct store_undelivered){ 0 };
		b->n_left = 0;
		if (b->is_said)
			log_info("transport %s: no outcomes wait in the store any more",
				b->transport->name);
		b->is_said = false;
	}
}

/* No row of before is in hand any more. */
static void forget_released(struct backlog *b)
{
	list_each (n, &b->released)
		handed_free(b->core, container_of(n, struct handed, released));
}

static void page_work(uv_work_t *work)
{
	struct backlog *b = container_of(work, struct backlog, work);
	b->status = store_undelivered_list(
		b->core->store, b->transport->name, &b->after, b->page, PAGE);
}

static void page_done(uv_work_t *work, int status)
{
	struct backlog *b = container_of(work, struct backlog, work);
	beat_doing("outcomes that wait in the store");
	b->is_busy = false;
	if (b->core->are_backlogs_over)
		return;
	if (status < 0 || b->status < 0) {
		wait_for(b, RETRY_MS);
		return;
	}
	b->n = (size_t)b->status;
	b->next = 0;
	if (b->n) {
		b->after = b->page[b->n - 1];
	} else {
		forget_released(b);
		pass_ended(b);
	}
	backlog_go(b);
}

/* All is in the store that was left before the pass began, and what was delivered. */
static void page_settled(void *owner, int status)
{
	struct backlog *b = owner;
	b->is_busy = false;
	if (b->core->are_backlogs_over)
		return;
	if (status < 0) {
		wait_for(b, RETRY_MS);
		return;
	}
	b->is_busy = true;
	must(uv_queue_work(b->core->loop, &b->work, page_work, page_done) == 0);
}

static void read_page(struct backlog *b)
{
	struct core *c = b->core;
	forget_released(b);
	if (!b->has_begun)
		b->is_new = false;
	b->has_begun = true;
	b->is_busy = true;
	settle(c, page_settled, b);
}

static void row_read(void *owner, int status, const struct job_row *row)
{
	struct backlog *b = owner;
	b->is_busy = false;
	if (b->core->are_backlogs_over)
		return;
	/* One that cannot be read, now or ever, is passed over. */
	bool is_gone = status == -ENOENT || status == -EBADMSG || status == -EUCLEAN;
	if (status < 0 && !is_gone) {
		wait_for(b, RETRY_MS);
		return;
	}
	b->next++;
	b->n_left -= b->n_left > 0;
	if (status == 0 && row->is_owed && job_state_is_final(row->state))
		outbox_tell_first(b->core, row);
	backlog_go(b);
}

/* Whatever can be done is begun. */
static void backlog_go(struct backlog *b)
{
	struct core *c = b->core;
	if (!b->is_behind || b->is_busy || c->are_backlogs_over)
		return;
	while (b->next < b->n && handed_find(c, &b->page[b->next].job))
		b->next++;
	if (!has_room(b->transport)) {
		timer_set(&c->timers, &b->tick, ROOM_MS);
	} else if (b->next == b->n) {
		read_page(b);
	} else {
		b->is_busy = true;
		job_read(c, &b->page[b->next].job, row_read, b);
	}
}

static void backlog_tick(struct timers *t, struct timer *timer)
{
	(void)t;
	backlog_go(container_of(timer, struct backlog, tick));
}

void backlog_wake(struct core *c, const char *transport)
{
	struct backlog *b = backlog_named(c, transport);
	if (b)
		backlog_go(b);
}
