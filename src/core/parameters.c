/* SPDX-License-Identifier: Apache-2.0 */
/* What the arguments of jobs cost in memory.
 *
 * A queue is counted in jobs, but one of them may have megabytes of arguments. So each text is
 * counted from the request's arrival on (limits.queue-bytes), and what is long leaves the memory as
 * soon as the store has it: once a job's row is durable nobody needs its arguments before it
 * starts. When what is short adds up to half of the limit, it goes too. A job of before a restart
 * comes without long ones.
 *
 * Arguments that are not there are read on a thread of the loop's pool when a worker was found for
 * the job, a few at a time, and the worker gets its `start` then. Until that it has not got the
 * job: if it goes meanwhile, the job has lost nothing. Once the frame is written they are dropped
 * again, for another attempt would read them again.
 *
 * A request in one of the first generation's forms, or one with long correlation data, wants much
 * sent back with every answer. That stays, since any event may need it, and is counted too. */
#include "core/private.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { FETCHED_MAX = 64 << 20, AGAIN_MS = 1000, REPLY_LONG = 1024 };

struct fetch {
	uv_work_t work;
	struct list node; /* in core->fetches, until it is begun */
	struct timer again;
	struct core *core;
	struct live_job *job; /* NULL: it does not want them any more */
	struct uuid id;
	size_t bytes;
	struct job_row *row;
	int status;
};

size_t reply_bytes(const char *text)
{
	size_t len = text ? strlen(text) : 0;
	return len > REPLY_LONG ? len : 0;
}

void parameters_count(struct live_job *l)
{
	l->parameter_bytes = l->job->parameters ? strlen(l->job->parameters) : 0;
	l->core->parameter_bytes += l->parameter_bytes;
}

void parameters_uncount(struct live_job *l)
{
	l->core->parameter_bytes -= l->parameter_bytes;
	l->parameter_bytes = 0;
}

static void drop(struct live_job *l)
{
	l->parameters_len = l->parameter_bytes;
	parameters_uncount(l);
	free(l->job->parameters);
	l->job->parameters = NULL;
}

void parameters_are_durable(struct live_job *l)
{
	struct core *c = l->core;
	bool is_crowded = c->parameter_bytes > (size_t)c->limits.queue_bytes_max / 2;
	if (l->job->parameters && (l->parameter_bytes > PARAMETERS_LONG || is_crowded))
		drop(l);
}

static void start_on_worker(struct live_job *l)
{
	struct core *c = l->core;
	c->crew->start(c->room, l->worker, l->job);
}

static void fetch_free(struct fetch *f)
{
	list_remove(&f->node);
	timer_clear(&f->core->timers, &f->again);
	job_row_freep(&f->row);
	free(f);
}

static void begin_some(struct core *c);

/* On a thread of the pool. */
static void fetch_read(uv_work_t *work)
{
	struct fetch *f = container_of(work, struct fetch, work);
	f->status = store_job_get(f->core->store, &f->id, &f->row);
}

static void fetch_again(struct timers *t, struct timer *timer)
{
	struct fetch *f = container_of(timer, struct fetch, again);
	(void)t;
	list_append(&f->core->fetches, &f->node);
	begin_some(f->core);
}

/* The store cannot be read at the moment: the job waits for it. */
static void put_off(struct fetch *f)
{
	char id[UUID_TEXT];
	uuid_format(&f->id, id);
	log_warn("the arguments of job %s cannot be read from the store now: %s", id,
		strerror(-f->status));
	timer_set(&f->core->timers, &f->again, AGAIN_MS);
}

static void fetch_done(uv_work_t *work, int status)
{
	struct fetch *f = container_of(work, struct fetch, work);
	struct core *c = f->core;
	struct live_job *l = f->job;
	beat_doing("arguments that were read from the store");
	c->fetched_bytes -= f->bytes;
	if (c->is_let_go) { /* the next gateway starts it */
		if (l)
			l->fetch = NULL;
		fetch_free(f);
		return;
	}
	bool is_lost = f->status == -ENOENT || f->status == -EBADMSG;
	if (l && status == 0 && f->status < 0 && !is_lost) {
		put_off(f);
		begin_some(c);
		return;
	}
	if (l)
		l->fetch = NULL;
	if (l && f->row && f->row->parameters) {
		l->job->parameters = TAKE_PTR(f->row->parameters);
		if (!l->job->ignored) /* left out with them, at a restart */
			l->job->ignored = TAKE_PTR(f->row->ignored);
		parameters_count(l);
		/* One that is away, or back and not greeted yet, says what it holds: that is not
		 * this job, which is then given out again. */
		if (l->worker->state == WORKER_READY)
			start_on_worker(l);
		if (life_find(c, &f->id) == l)
			drop(l);
	} else if (l) {
		life_end(l, JOB_FAILED, NULL,
			xstrdup("its arguments cannot be read from the store any more"));
	}
	fetch_free(f);
	begin_some(c);
}

/* At least one, and more while they fit. */
static void begin_some(struct core *c)
{
	while (!list_empty(&c->fetches)) {
		struct fetch *f = container_of(c->fetches.next, struct fetch, node);
		if (c->fetched_bytes && c->fetched_bytes + f->bytes > FETCHED_MAX)
			return;
		list_remove(&f->node);
		c->fetched_bytes += f->bytes;
		must(uv_queue_work(c->loop, &f->work, fetch_read, fetch_done) == 0);
	}
}

void parameters_start(struct live_job *l)
{
	struct core *c = l->core;
	if (l->job->parameters) {
		start_on_worker(l);
		return;
	}
	struct fetch *f = xcalloc(1, sizeof *f);
	f->core = c;
	f->job = l;
	f->id = l->job->id;
	f->bytes = l->parameters_len;
	f->again.fire = fetch_again;
	list_init(&f->node);
	l->fetch = f;
	list_append(&c->fetches, &f->node);
	begin_some(c);
}

void parameters_leave(struct live_job *l)
{
	struct fetch *f = l->fetch;
	if (!f)
		return;
	l->fetch = NULL;
	f->job = NULL;
	if (!list_empty(&f->node) || timer_is_set(&f->again)) /* else fetch_done frees it */
		fetch_free(f);
}
