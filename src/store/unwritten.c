/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk refuses of the logs of jobs is kept here, within a limit, and tried again.
 *
 * One file may be refused while others are not: it has reached the size that a file may have, or a
 * quota of its own. So each job waits for itself. A job's texts stay in order, and no job takes all
 * of the room. A job may print a line at a time: texts are joined to pieces, and what counts for
 * the limit is the memory that they take. */
#include "store/unwritten.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum {
	BYTES_MAX = 16 << 20,
	BYTES_OF_JOB_MAX = BYTES_MAX / 4,
	PIECE_BYTES = 64 << 10, /* a text that is longer is one by itself */
};

struct waiting_log {
	struct map_node by_job;
	struct list turn;
	struct uuid job;
	struct store_op *first, *last; /* pieces; `bytes` of each is what it takes */
	size_t bytes;                  /* of all of them */
	int64_t since_ms;              /* the disk took nothing of it; monotonic */
};

void unwritten_init(struct unwritten *u)
{
	*u = (struct unwritten){ 0 };
	map_init(&u->jobs);
	list_init(&u->in_turn);
}

void unwritten_done(struct unwritten *u)
{
	unwritten_give_up(u, INT64_MAX);
	map_done(&u->jobs);
}

static struct waiting_log *find(const struct unwritten *u, const struct uuid *job)
{
	struct map_node *n = u->jobs.count ? map_find(&u->jobs, job, sizeof *job) : NULL;
	return n ? container_of(n, struct waiting_log, by_job) : NULL;
}

bool unwritten_has(const struct unwritten *u, const struct uuid *job)
{
	return find(u, job);
}

static struct waiting_log *log_new(struct unwritten *u, const struct uuid *job)
{
	struct waiting_log *w = xcalloc(1, sizeof *w);
	w->job = *job;
	w->since_ms = clock_mono_ms();
	map_add(&u->jobs, &w->by_job, &w->job, sizeof w->job);
	list_append(&u->in_turn, &w->turn);
	u->bytes += sizeof *w;
	return w;
}

/* How large the last piece has to become to take so much more; 0: it does not. */
static size_t joined_bytes(const struct waiting_log *w, size_t len)
{
	const struct store_op *last = w ? w->last : NULL;
	if (!last || last->text_len + len > PIECE_BYTES)
		return 0;
	size_t needed = sizeof *last + last->text_len + len;
	size_t doubled = 2 * last->bytes, max = sizeof *last + PIECE_BYTES;
	return needed <= last->bytes ? last->bytes
	       : doubled < needed    ? needed
	       : doubled < max       ? doubled
				     : max;
}

static void join(struct store_op *to, size_t bytes, const struct store_op *op)
{
	if (bytes > to->bytes)
		to->text = xrealloc(to->text, bytes - sizeof *to);
	to->bytes = bytes;
	memcpy(to->text + to->text_len, op->text, op->text_len);
	to->text_len += op->text_len;
}

bool unwritten_add(struct unwritten *u, struct store_op *op)
{
	struct waiting_log *w = find(u, &op->job_id);
	size_t joined = joined_bytes(w, op->text_len);
	op->bytes = sizeof *op + op->text_len;
	size_t more = joined ? joined - w->last->bytes : op->bytes;
	if (u->bytes + more + (w ? 0 : sizeof *w) > BYTES_MAX ||
		(w ? w->bytes : 0) + more > BYTES_OF_JOB_MAX) {
		u->dropped_bytes += op->text_len;
		store_op_free(op);
		return false;
	}
	if (!w)
		w = log_new(u, &op->job_id);
	w->bytes += more;
	u->bytes += more;
	if (joined) {
		join(w->last, joined, op);
		store_op_free(op);
		return true;
	}
	op->next = NULL;
	if (w->first)
		w->last->next = op;
	else
		w->first = op;
	w->last = op;
	u->count++;
	return true;
}

/* The first of its pieces goes; with the last it goes itself. */
static void pop(struct unwritten *u, struct waiting_log *w)
{
	struct store_op *op = w->first;
	w->first = op->next;
	w->bytes -= op->bytes;
	u->bytes -= op->bytes;
	u->count--;
	store_op_free(op);
	if (w->first)
		return;
	map_remove(&u->jobs, &w->by_job);
	list_remove(&w->turn);
	u->bytes -= sizeof *w;
	free(w);
}

static void give_up(struct unwritten *u, struct waiting_log *w)
{
	for (bool is_last = false; !is_last;) {
		is_last = !w->first->next;
		u->dropped_bytes += w->first->text_len;
		pop(u, w);
	}
}

/* False: it was refused. */
static bool try_job(struct unwritten *u, struct waiting_log *w,
	int (*write)(void *owner, const struct store_op *op), void *owner)
{
	for (bool is_last = false; !is_last;) {
		if (write(owner, w->first) < 0)
			return false;
		w->since_ms = clock_mono_ms();
		is_last = !w->first->next;
		pop(u, w);
	}
	return true;
}

void unwritten_try(
	struct unwritten *u, int (*write)(void *owner, const struct store_op *op), void *owner)
{
	unsigned n_refused = 0;
	for (size_t n = u->jobs.count; n > 0 && n_refused < UNWRITTEN_TRIES; n--) {
		struct waiting_log *w = container_of(u->in_turn.next, struct waiting_log, turn);
		if (try_job(u, w, write, owner))
			continue;
		n_refused++;
		list_remove(&w->turn); /* behind the others */
		list_append(&u->in_turn, &w->turn);
	}
}

void unwritten_give_up(struct unwritten *u, int64_t since_ms)
{
	list_each (n, &u->in_turn) {
		struct waiting_log *w = container_of(n, struct waiting_log, turn);
		if (w->since_ms <= since_ms)
			give_up(u, w);
	}
}
