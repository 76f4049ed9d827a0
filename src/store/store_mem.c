/* SPDX-License-Identifier: Apache-2.0 */
/* The twin: rows in memory, forgotten at the end. What a test uses, and the smallest answer to the
 * question what a backend must do.
 *
 * The rows are an array in the order of their ids, under a lock. A transaction is a list of the
 * operations applied: commit does them, so rollback has nothing to undo and readers never see half
 * of one. */
#include "mist/store.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "domain/function.h"

struct noun {
	enum store_noun kind;
	char *name, *text;
};

struct listener {
	struct uuid job;
	char *door, *reply_to;
};

struct unreadable {
	int64_t number;
	enum store_part part;
	char *key, *reason;
};

struct mem {
	pthread_mutex_t lock;
	struct job_row **rows;
	const struct store_op **ops; /* of the transaction; the store's thread only */
	size_t n_rows, n_ops;
	struct noun *nouns;
	size_t n_nouns;
	struct listener *listeners;
	size_t n_listeners;
	struct unreadable *unreadable;
	size_t n_unreadable;
	int64_t last_number;
};

static int mem_open(void *self, const struct store_settings *s, struct fault *f)
{
	(void)s, (void)f;
	return -pthread_mutex_init(&((struct mem *)self)->lock, NULL);
}

/* All strings become the copy's own. */
static struct job_row *row_copy(const struct job_row *r)
{
	struct job_row *c = xcalloc(1, sizeof *c);
	*c = *r;
	char **const owned[] = { &c->function, &c->path, &c->class_name, &c->context,
		&c->parameters, &c->source, &c->external_id, &c->reply_to, &c->trace, &c->worker,
		&c->result, &c->error, &c->progress, &c->ignored, &c->door };
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
		*owned[i] = *owned[i] ? xstrdup(*owned[i]) : NULL;
	return c;
}

static struct job_row **find(const struct mem *m, const struct uuid *id)
{
	for (size_t i = m->n_rows; i-- > 0;)
		if (memcmp(&m->rows[i]->id, id, sizeof *id) == 0)
			return &m->rows[i];
	return NULL;
}

static void change(struct job_row **at, const struct job_change *c)
{
	struct job_row changed = **at;
	changed.state = c->state, changed.attempt = c->attempt;
	changed.started_ms = c->started_ms, changed.ended_ms = c->ended_ms;
	changed.is_owed = c->is_owed;
	changed.worker = c->worker, changed.result = c->result, changed.error = c->error;
	changed.progress = c->progress;
	struct job_row *r = row_copy(&changed);
	job_row_freep(at);
	*at = r;
}

static void insert(struct mem *m, const struct job *j, const struct job_change *c)
{
	const struct function_settings *fs = &j->function->settings;
	const struct job_row fixed = { .id = j->id,
		.function = j->function->name,
		.path = fs->path,
		.class_name = fs->class_name,
		.context = j->context,
		.parameters = j->parameters,
		.source = j->source,
		.external_id = j->external_id,
		.reply_to = j->reply_to,
		.trace = j->trace,
		.ignored = j->ignored,
		.door = j->door,
		.created_ms = j->created_ms,
		.priority = j->priority,
		.start_timeout_ms = j->start_timeout_ms,
		.perform_timeout_ms = j->perform_timeout_ms,
		.is_sync = j->is_sync };
	if (!find(m, &j->id)) {
		m->rows = xrealloc(m->rows, (m->n_rows + 1) * sizeof *m->rows);
		size_t at = m->n_rows++;
		for (; at > 0 && memcmp(&m->rows[at - 1]->id, &j->id, sizeof j->id) > 0; at--)
			m->rows[at] = m->rows[at - 1];
		m->rows[at] = row_copy(&fixed);
	}
	change(find(m, &j->id), c);
}

static void deliver(struct mem *m, const struct store_op *op)
{
	for (size_t i = 0; i < op->n_ids; i++) {
		struct job_row **r = find(m, &op->ids[i]);
		if (r)
			(*r)->is_owed = false;
	}
}

static bool has_listener(const struct mem *m, const struct uuid *job)
{
	for (size_t i = 0; i < m->n_listeners; i++)
		if (memcmp(&m->listeners[i].job, job, sizeof *job) == 0)
			return true;
	return false;
}

static void put_listener(struct mem *m, const struct store_op *op)
{
	if (!find(m, &op->job_id))
		return;
	for (size_t i = 0; i < m->n_listeners; i++) {
		const struct listener *l = &m->listeners[i];
		if (memcmp(&l->job, &op->job_id, sizeof l->job) == 0 &&
			strcmp(l->door, op->name) == 0 && strcmp(l->reply_to, op->text) == 0)
			return;
	}
	m->listeners = xrealloc(m->listeners, (m->n_listeners + 1) * sizeof *m->listeners);
	m->listeners[m->n_listeners++] =
		(struct listener){ op->job_id, xstrdup(op->name), xstrdup(op->text) };
}

static void drop_listeners(struct mem *m, const struct store_op *op)
{
	size_t n = m->n_listeners;
	m->n_listeners = 0;
	for (size_t i = 0; i < n; i++) {
		struct listener it = m->listeners[i];
		if (memcmp(&it.job, &op->job_id, sizeof it.job) == 0 &&
			strcmp(it.door, op->name) == 0) {
			free(it.door);
			free(it.reply_to);
		} else {
			m->listeners[m->n_listeners++] = it;
		}
	}
}

static void prune(struct mem *m, const struct uuid *last)
{
	size_t n = m->n_rows;
	m->n_rows = 0;
	for (size_t i = 0; i < n; i++)
		if (job_state_is_final(m->rows[i]->state) && !m->rows[i]->is_owed &&
			!has_listener(m, &m->rows[i]->id) &&
			memcmp(&m->rows[i]->id, last, sizeof *last) <= 0)
			job_row_freep(&m->rows[i]);
		else
			m->rows[m->n_rows++] = m->rows[i];
}

/* A put is a drop and an append. */
static void change_noun(struct mem *m, const struct store_op *op)
{
	size_t n = m->n_nouns;
	m->n_nouns = 0;
	for (size_t i = 0; i < n; i++) {
		struct noun it = m->nouns[i];
		if (it.kind == op->noun && strcmp(it.name, op->name) == 0) {
			free(it.name);
			free(it.text);
		} else {
			m->nouns[m->n_nouns++] = it;
		}
	}
	if (op->kind != STORE_NOUN_PUT)
		return;
	m->nouns = xrealloc(m->nouns, (m->n_nouns + 1) * sizeof *m->nouns);
	m->nouns[m->n_nouns++] = (struct noun){ op->noun, xstrdup(op->name), xstrdup(op->text) };
}

/* Of what is in memory nothing is damaged; but a reader may not understand it. The content is not
 * kept. */
static void set_aside(struct mem *m, const struct store_row *row, const char *reason)
{
	const struct store_op drop = {
		.kind = STORE_NOUN_DROP, .noun = row->noun, .name = row->key[0].bytes
	};
	struct store_op leave = { .name = row->key[1].bytes };
	if (row->part == STORE_PART_DEFINITION) {
		change_noun(m, &drop);
	} else if (row->part == STORE_PART_REPLY_TARGET) {
		memcpy(&leave.job_id, row->key[0].bytes, sizeof leave.job_id);
		drop_listeners(m, &leave);
		struct job_row **r = find(m, &leave.job_id);
		if (r && (*r)->reply_to && strcmp((*r)->reply_to, row->key[2].bytes) == 0) {
			free(TAKE_PTR((*r)->reply_to));
			free(TAKE_PTR((*r)->door));
			(*r)->is_owed = false;
		}
	}
	m->unreadable = xrealloc(m->unreadable, (m->n_unreadable + 1) * sizeof *m->unreadable);
	m->unreadable[m->n_unreadable++] = (struct unreadable){ ++m->last_number, row->part,
		xstrdup(row->part == STORE_PART_DEFINITION ? row->key[0].bytes : ""),
		xstrdup(reason) };
}

static void drop_unreadable(struct mem *m, int64_t number)
{
	size_t n = m->n_unreadable;
	m->n_unreadable = 0;
	for (size_t i = 0; i < n; i++) {
		struct unreadable it = m->unreadable[i];
		if (number == 0 || it.number == number) {
			free(it.key);
			free(it.reason);
		} else {
			m->unreadable[m->n_unreadable++] = it;
		}
	}
}

static int mem_unreadable_each(void *self, int64_t number, int64_t limit, int64_t offset,
	store_unreadable_fn *each, void *arg, int64_t *ret_total)
{
	struct mem *m = self;
	int64_t n = 0;
	pthread_mutex_lock(&m->lock);
	for (size_t i = m->n_unreadable; i-- > 0;) {
		const struct unreadable *it = &m->unreadable[i];
		const struct store_unreadable u = { .number = it->number,
			.kind = it->part == STORE_PART_DEFINITION ? "definition" : "reply-target",
			.key = it->key,
			.reason = it->reason };
		if (number ? it->number == number : n >= offset && n < offset + limit)
			each(arg, &u);
		n += !number || it->number == number;
	}
	if (ret_total)
		*ret_total = (int64_t)m->n_unreadable;
	pthread_mutex_unlock(&m->lock);
	return number && !n ? -ENOENT : 0;
}

static int mem_begin(void *self)
{
	((struct mem *)self)->n_ops = 0;
	return 0;
}

static int mem_apply(void *self, const struct store_op *op)
{
	struct mem *m = self;
	m->ops = xrealloc(m->ops, (m->n_ops + 1) * sizeof *m->ops);
	m->ops[m->n_ops++] = op;
	return 0;
}

static int mem_commit(void *self)
{
	struct mem *m = self;
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_ops; i++) {
		const struct store_op *op = m->ops[i];
		if (op->kind == STORE_JOB_INSERT)
			insert(m, op->job, &op->change);
		else if (op->kind == STORE_JOB_UPDATE && find(m, &op->job->id))
			change(find(m, &op->job->id), &op->change);
		else if (op->kind == STORE_JOBS_DELIVERED)
			deliver(m, op);
		else if (op->kind == STORE_JOBS_PRUNE)
			prune(m, &op->job_id);
		else if (op->kind == STORE_LISTENER_PUT)
			put_listener(m, op);
		else if (op->kind == STORE_LISTENERS_DROP)
			drop_listeners(m, op);
		else if (op->kind == STORE_NOUN_PUT || op->kind == STORE_NOUN_DROP)
			change_noun(m, op);
		else if (op->kind == STORE_SET_ASIDE)
			set_aside(m, op->row, op->text);
		else if (op->kind == STORE_UNREADABLE_DROP)
			drop_unreadable(m, op->number);
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static void mem_rollback(void *self)
{
	(void)self;
}

static int mem_get(void *self, const struct uuid *id, struct job_row **ret)
{
	struct mem *m = self;
	pthread_mutex_lock(&m->lock);
	struct job_row **r = find(m, id);
	if (r)
		*ret = row_copy(*r);
	pthread_mutex_unlock(&m->lock);
	return r ? 0 : -ENOENT;
}

static bool matches(const struct job_query *q, const struct job_row *r)
{
	return (!q->function || strcmp(q->function, r->function) == 0) &&
	       (!q->worker || (r->worker && strcmp(q->worker, r->worker) == 0)) &&
	       (!q->context || strcmp(q->context, r->context) == 0) &&
	       (!q->external_id ||
		       (r->external_id && strcmp(q->external_id, r->external_id) == 0)) &&
	       (!q->states || q->states & BIT(r->state)) &&
	       (!q->before || memcmp(&r->id, q->before, sizeof r->id) < 0);
}

static int mem_list(void *self, const struct job_query *q,
	void (*each)(void *arg, const struct job_row *r), void *arg, int64_t *ret_total)
{
	struct mem *m = self;
	int64_t total = 0;
	size_t bytes = 0;
	pthread_mutex_lock(&m->lock);
	for (size_t i = m->n_rows; i-- > 0;) {
		if (!matches(q, m->rows[i]) || total++ < q->offset ||
			total - q->offset > q->limit || (q->bytes_max && bytes >= q->bytes_max))
			continue;
		each(arg, m->rows[i]);
		bytes += job_row_bytes(m->rows[i]);
	}
	pthread_mutex_unlock(&m->lock);
	if (ret_total)
		*ret_total = total;
	return 0;
}

static int mem_open_each(void *self, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	struct mem *m = self;
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_rows; i++)
		if (!job_state_is_final(m->rows[i]->state)) {
			struct job_row r = *m->rows[i];
			if (strlen(r.parameters) > PARAMETERS_LONG)
				r.parameters = (char *)"{}", r.are_parameters_left_out = true;
			each(arg, &r);
		}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int compare_undelivered(const struct store_undelivered *a, const struct store_undelivered *b)
{
	if (a->ended_ms != b->ended_ms)
		return a->ended_ms < b->ended_ms ? -1 : 1;
	return memcmp(&a->job, &b->job, sizeof a->job);
}

static int compare_ends(const void *a, const void *b)
{
	const struct job_row *x = *(struct job_row *const *)a, *y = *(struct job_row *const *)b;
	return compare_undelivered(&(struct store_undelivered){ x->ended_ms, x->id },
		&(struct store_undelivered){ y->ended_ms, y->id });
}

static int mem_owed_each(void *self, void (*each)(void *arg, const struct job_row *r), void *arg)
{
	struct mem *m = self;
	pthread_mutex_lock(&m->lock);
	_cleanup_(freep) struct job_row **owed = xcalloc(m->n_rows + 1, sizeof *owed);
	size_t n = 0;
	for (size_t i = 0; i < m->n_rows; i++)
		if (m->rows[i]->is_owed)
			owed[n++] = m->rows[i];
	qsort(owed, n, sizeof(struct job_row *), compare_ends);
	for (size_t i = 0; i < n; i++)
		each(arg, owed[i]);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int mem_undelivered(void *self, const char *transport, const struct store_undelivered *after,
	struct store_undelivered *ret, size_t max)
{
	struct mem *m = self;
	size_t n = 0;
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_rows; i++) {
		const struct job_row *r = m->rows[i];
		const struct store_undelivered one = { r->ended_ms, r->id };
		bool is_one = r->is_owed && r->door && strcmp(r->door, transport) == 0;
		if (!is_one || compare_undelivered(&one, after) <= 0)
			continue;
		size_t at = n;
		while (at > 0 && compare_undelivered(&ret[at - 1], &one) > 0)
			at--;
		if (at == max)
			continue;
		n += n < max;
		memmove(&ret[at + 1], &ret[at], (n - 1 - at) * sizeof *ret);
		ret[at] = one;
	}
	pthread_mutex_unlock(&m->lock);
	return (int)n;
}

static int mem_newest(void *self, struct uuid *ret)
{
	struct mem *m = self;
	int r = -ENOENT;
	pthread_mutex_lock(&m->lock);
	for (size_t i = m->n_rows; r < 0 && i-- > 0;)
		if (uuid_has_room_after(&m->rows[i]->id)) {
			*ret = m->rows[i]->id;
			r = 0;
		}
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int mem_old(void *self, int64_t before_ms, int64_t now_ms, struct uuid *ret)
{
	struct mem *m = self;
	uuid_at(ret, before_ms);
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_rows; i++) {
		const struct job_row *row = m->rows[i];
		if (memcmp(&row->id, ret, sizeof *ret) <= 0)
			continue;
		if (row->created_ms < before_ms)
			*ret = row->id;
		else if (row->created_ms <= now_ms)
			break;
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int mem_listener_each(void *self, store_listener_fn *each, void *arg)
{
	struct mem *m = self;
	for (size_t i = 0; i < m->n_listeners; i++) {
		const struct listener *l = &m->listeners[i];
		each(arg, &l->job, l->door, l->reply_to);
	}
	return 0;
}

static int mem_noun_each(void *self, enum store_noun noun,
	void (*each)(void *arg, const char *name, const char *text), void *arg)
{
	struct mem *m = self;
	for (size_t i = 0; i < m->n_nouns; i++)
		if (m->nouns[i].kind == noun)
			each(arg, m->nouns[i].name, m->nouns[i].text);
	return 0;
}

/* What is in memory has no earlier process. */
static int mem_key_each(void *self, int64_t since_ms, int64_t now_ms, int64_t places_max,
	store_key_fn *each, void *arg)
{
	(void)self, (void)since_ms, (void)now_ms, (void)places_max, (void)each, (void)arg;
	return 0;
}

static void mem_close(void *self)
{
	struct mem *m = self;
	for (size_t i = 0; i < m->n_nouns; i++) {
		free(m->nouns[i].name);
		free(m->nouns[i].text);
	}
	free(m->nouns);
	for (size_t i = 0; i < m->n_listeners; i++) {
		free(m->listeners[i].door);
		free(m->listeners[i].reply_to);
	}
	free(m->listeners);
	drop_unreadable(m, 0);
	free(m->unreadable);
	for (size_t i = 0; i < m->n_rows; i++)
		job_row_freep(&m->rows[i]);
	free(m->rows);
	free(m->ops);
	pthread_mutex_destroy(&m->lock);
}

const struct store_ops store_mem = {
	.name = "mem",
	.size = sizeof(struct mem),
	.open = mem_open,
	.begin = mem_begin,
	.apply = mem_apply,
	.commit = mem_commit,
	.rollback = mem_rollback,
	.job_get = mem_get,
	.job_list = mem_list,
	.job_open_each = mem_open_each,
	.job_owed_each = mem_owed_each,
	.undelivered_list = mem_undelivered,
	.job_newest = mem_newest,
	.job_old = mem_old,
	.key_each = mem_key_each,
	.listener_each = mem_listener_each,
	.noun_each = mem_noun_each,
	.unreadable_each = mem_unreadable_each,
	.close = mem_close,
};
