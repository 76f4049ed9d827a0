/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk refuses of the logs of jobs is kept here, within a limit, and tried again.
 *
 * One file may be refused while others are not: it has reached the size that a file may have, or a
 * quota of its own. So each job waits for itself. A job's texts stay in order, and no job takes all
 * of the room. */
#include "store/unwritten.h"

#include <string.h>

#include "base/cleanup.h"

enum {
	BYTES_MAX = 16 << 20,
	BYTES_OF_JOB_MAX = BYTES_MAX / 4,
};

struct waiting_log {
	struct map_node by_job;
	struct list turn;
	struct uuid job;
	struct store_op *first, **last;
	size_t bytes;
};

void unwritten_init(struct unwritten *u)
{
	*u = (struct unwritten){ 0 };
	map_init(&u->jobs);
	list_init(&u->in_turn);
}

void unwritten_done(struct unwritten *u)
{
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

bool unwritten_add(struct unwritten *u, struct store_op *op)
{
	struct waiting_log *w = find(u, &op->job_id);
	if (u->bytes + op->text_len > BYTES_MAX ||
		(w ? w->bytes : 0) + op->text_len > BYTES_OF_JOB_MAX) {
		u->dropped_bytes += op->text_len;
		store_op_free(op);
		return false;
	}
	if (!w) {
		w = xcalloc(1, sizeof *w);
		w->job = op->job_id;
		w->last = &w->first;
		map_add(&u->jobs, &w->by_job, &w->job, sizeof w->job);
		list_append(&u->in_turn, &w->turn);
	}
	op->next = NULL;
	*w->last = op;
	w->last = &op->next;
	w->bytes += op->text_len;
	u->bytes += op->text_len;
	u->count++;
	return true;
}

/* The first of its texts leaves; with the last it goes itself. */
static struct store_op *pop(struct unwritten *u, struct waiting_log *w)
{
	struct store_op *op = w->first;
	w->first = op->next;
	w->bytes -= op->text_len;
	u->bytes -= op->text_len;
	u->count--;
	if (!w->first) {
		map_remove(&u->jobs, &w->by_job);
		list_remove(&w->turn);
		free(w);
	}
	return op;
}

/* False: it was refused. */
static bool try_job(struct unwritten *u, struct waiting_log *w,
	int (*write)(void *owner, const struct store_op *op),
	void (*written)(void *owner, struct store_op *op), void *owner)
{
	for (bool is_last = false; !is_last;) {
		if (write(owner, w->first) < 0)
			return false;
		is_last = !w->first->next;
		written(owner, pop(u, w));
	}
	return true;
}

void unwritten_try(struct unwritten *u, int (*write)(void *owner, const struct store_op *op),
	void (*written)(void *owner, struct store_op *op), void *owner)
{
	unsigned n_refused = 0;
	for (size_t n = u->jobs.count; n > 0 && n_refused < UNWRITTEN_TRIES; n--) {
		struct waiting_log *w = container_of(u->in_turn.next, struct waiting_log, turn);
		if (try_job(u, w, write, written, owner))
			continue;
		n_refused++;
		list_remove(&w->turn); /* behind the others */
		list_append(&u->in_turn, &w->turn);
	}
}

struct store_op *unwritten_take(struct unwritten *u)
{
	if (list_empty(&u->in_turn))
		return NULL;
	return pop(u, container_of(u->in_turn.next, struct waiting_log, turn));
}
