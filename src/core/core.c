/* SPDX-License-Identifier: Apache-2.0 */
/* The core's beginning, rhythm and end.
 *
 * Everything here runs on the loop's thread. Letters, timers and sockets change jobs and mark
 * lanes; before the loop goes to sleep each marked lane is looked at by the scheduler once, and
 * what that produced for the workers is written out. So under load one system call carries many
 * frames, and at rest nothing is delayed. */
#include "core/private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/outbox/backlog.h"

enum { PRUNE_TICK_MS = 60 * 1000, READING_MAX = 2, AHEAD_MS = 60 * 1000 };

static void before_sleep(uv_prepare_t *handle)
{
	struct core *c = handle->data;
	struct list *n;
	do {
		while ((n = list_pop(&c->dirty))) {
			beat_doing("the scheduler of a context");
			scheduler_run(container_of(n, struct lane, dirty));
		}
		scheduler_grant(c);
	} while (!list_empty(&c->dirty));
	beat_doing("what goes to the store");
	life_record_moved(c);
	beat_doing("what goes to workers");
	c->crew->flush(c->room);
	beat_doing("what goes to subscribers");
	watch_flush(c);
	beat_doing("rest");
}

/* Up to which job all are old is found out on a thread of the loop's pool: after a clock that ran
 * ahead many are looked at. */
struct pruning {
	uv_work_t work;
	struct core *core;
	int64_t now_ms, before_ms;
	struct uuid last;
	int status;
};

static void pruning_work(uv_work_t *work)
{
	struct pruning *p = container_of(work, struct pruning, work);
	p->status = store_job_old(p->core->store, p->before_ms, p->now_ms, &p->last);
}

static void pruning_done(uv_work_t *work, int status)
{
	_cleanup_(freep) struct pruning *p = container_of(work, struct pruning, work);
	struct core *c = p->core;
	beat_doing("which jobs are old");
	c->is_pruning = false;
	if (status < 0 || p->status < 0 || c->is_let_go)
		return;
	struct store_op *op = store_op_new(STORE_JOBS_PRUNE, NULL);
	op->job_id = p->last;
	store_post(c->store, op);
}

static void prune_ticked(struct timers *t, struct timer *timer)
{
	struct core *c = container_of(timer, struct core, prune_tick);
	int64_t half = c->limits.history_ms / 2;
	timer_set(t, timer, half < PRUNE_TICK_MS ? half : PRUNE_TICK_MS);
	int64_t now = clock_wall_ms();
	if (now <= c->limits.history_ms || c->is_pruning)
		return;
	struct pruning *p = xcalloc(1, sizeof *p);
	p->core = c;
	p->now_ms = now;
	p->before_ms = now - c->limits.history_ms;
	c->is_pruning = true;
	must(uv_queue_work(c->loop, &p->work, pruning_work, pruning_done) == 0);
}

static void stop_timed_out(struct timers *t, struct timer *timer)
{
	struct core *c = container_of(timer, struct core, stop_timer);
	void (*stopped)(void *) = c->stopped;
	(void)t;
	c->stopped = NULL;
	if (stopped)
		stopped(c->stopped_owner);
}

struct core *core_new(const struct core_parts *parts)
{
	struct core *c = xcalloc(1, sizeof *c);
	c->loop = parts->loop;
	c->store = parts->store;
	c->crew = parts->crew;
	c->room = parts->crew_room;
	c->folders = parts->folders;
	list_init(&c->intakes);
	c->started_ms = clock_wall_ms();
	beat_begin(&c->beat);
	must(mailbox_init(&c->mailbox, c->loop, parts->mailbox_max, c, NULL) == 0);
	timers_init(&c->timers, c->loop);
	must(uv_prepare_init(c->loop, &c->before_sleep) == 0);
	c->before_sleep.data = c;
	uv_prepare_start(&c->before_sleep, before_sleep);
	map_init(&c->lanes);
	map_init(&c->jobs);
	map_init(&c->workers);
	map_init(&c->signatures);
	map_init(&c->keys);
	map_init(&c->audiences);
	map_init(&c->job_series);
	list_init(&c->keys_aged);
	list_init(&c->places_aged);
	list_init(&c->unrecorded);
	list_init(&c->moved);
	list_init(&c->dirty);
	list_init(&c->old_lanes);
	list_init(&c->process_waiters);
	list_init(&c->edits);
	list_init(&c->deletions);
	list_init(&c->fetches);
	list_init(&c->reads);
	c->looker = looker_new(c);
	list_init(&c->watches);
	list_init(&c->watches_dirty);
	map_init(&c->watched);
	list_init(&c->acks);
	list_init(&c->acks_settling);
	c->record_tick.fire = life_record_tick;
	c->ack_tick.fire = acks_tick;
	c->prune_tick.fire = prune_ticked;
	c->stop_timer.fire = stop_timed_out;
	c->process_tick.fire = scheduler_tick;
	return c;
}

void core_configure(struct core *c, struct catalog *catalog, const struct core_limits *limits)
{
	struct catalog *old = c->catalog;
	if (old)
		catalog_adopt(catalog, old);
	c->catalog = catalog;
	c->limits = *limits;
	atomic_store(&c->request_bytes_max, limits->queue_bytes_max);
	map_each (n, &c->lanes)
		lane_update(c, container_of(n, struct lane, by_name), old);
	describe_forget_old(c);
	catalog_free(old);
	if (c->is_started)
		core_start(c);
}

void core_start(struct core *c)
{
	if (!c->is_started)
		timer_set(&c->timers, &c->prune_tick, 0);
	c->is_started = true;
	catalog_each_context(c->catalog, lane_start_precreated, c);
	map_each (n, &c->lanes)
		lane_touch(container_of(n, struct lane, by_name));
}

static int64_t log_bytes(struct core *c, const struct uuid *id)
{
	char path[4096];
	struct stat st;
	store_log_path(c->store, id, path, sizeof path);
	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* It was accepted, so it runs, but not with the settings that it was accepted for. */
static void note_lost_context(struct core *c, struct live_job *l)
{
	struct fault f;
	if (catalog_check_context(c->catalog, l->lane->name, &f) == 0)
		return;
	_cleanup_(freep) char *line = xasprintf("the context %s does not exist any more: the job "
						"runs with the settings of context-defaults",
		l->lane->name);
	joblog_add(l, "WARN", clock_wall_ms(), line);
	char id[UUID_TEXT];
	uuid_format(&l->job->id, id);
	log_warn("job %s: %s", id, line);
}

static void recover_job(void *arg, const struct job_row *r)
{
	struct core *c = arg;
	struct job *j = outbox_job(c, r);
	j->state = r->state == JOB_INITIALIZED ? JOB_QUEUED : r->state;
	j->queued_ms = r->created_ms;
	if (r->are_parameters_left_out)
		free(TAKE_PTR(j->parameters));

	struct lane *lane = lane_get_always(c, r->context);
	struct live_job *l = life_begin(c, j, lane);
	outbox_recover(l);
	l->worker_id = r->worker ? xstrdup(r->worker) : NULL;
	l->log_bytes = log_bytes(c, &j->id);
	l->parameters_len = j->parameters ? 0 : PARAMETERS_LONG;
	parameters_are_durable(l);
	if (j->state == JOB_CANCELLING)
		l->cancel_reason = xstrdup(r->error ? r->error : "Job was cancelled");

	struct worker *w = r->worker ? crew_find(c, r->worker) : NULL;
	if (j->state == JOB_QUEUED && j->is_sync)
		life_end(l, JOB_FAILED, NULL,
			xstrdup("Worker was stopped: the gateway restarted while the caller "
				"waited"));
	else if (j->state == JOB_QUEUED) {
		note_lost_context(c, l);
		life_queue(l);
	} else if (w && w->lane == lane)
		life_resume(l, w);
	else if (j->state == JOB_CANCELLING)
		life_end(l, JOB_CANCELLED, NULL, xstrdup(l->cancel_reason));
	else if (j->is_sync) /* its caller is gone, and has perhaps asked again */
		life_end(l, JOB_FAILED, NULL,
			xstrdup("Executor was terminated: the worker ended while the gateway was "
				"down"));
	else
		life_lost_worker(l, "the worker ended while the gateway was down");
}

/* Ids go on from the last one, so that what is accepted from now on comes after it in lists and in
 * queues, wherever the clock was and is. */
static void go_on_from_newest(struct core *c)
{
	struct uuid newest;
	char id[UUID_TEXT], when[CLOCK_TEXT];
	int r = store_job_newest(c->store, &newest);
	if (r == -ENOENT)
		return;
	if (r < 0) {
		log_warn("the newest job cannot be read from the store (%s): lists may show new "
			 "jobs before those of a clock that ran ahead",
			write_error(r));
		return;
	}
	must(uuid_go_on_from(&newest));
	if (uuid_ms(&newest) - clock_wall_ms() < AHEAD_MS)
		return;
	uuid_format(&newest, id);
	clock_format(uuid_ms(&newest), when);
	log_warn("job %s was made when the clock was ahead of now: by its id, at %s; the ids of "
		 "new jobs come after it all the same",
		id, when);
}

int core_recover(struct core *c)
{
	go_on_from_newest(c);
	int r = keys_load(c);
	if (r == 0)
		r = outbox_load(c);
	return r < 0 ? r : store_job_open_each(c->store, recover_job, c);
}

/* Waiting for the store: an operation goes in behind all that was posted so far, and comes back as
 * a letter when it is durable. */
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

const char *write_error(int status)
{
	return status == -ETIMEDOUT || status == -EINPROGRESS ? "the disk does not answer"
							      : strerror(-status);
}

void fault_of_write(struct fault *f, int status, const char *refusal, const char *doubt)
{
	if (status == -EINPROGRESS)
		fault_set(f, FAULT_UNAVAILABLE,
			"the disk does not answer: it is not known whether %s", doubt);
	else
		fault_set(f, FAULT_UNAVAILABLE, "%s: the store cannot write (%s)", refusal,
			write_error(status));
}

/* Reading one job, on a thread of the loop's pool: a disk may take its time. A broker may send
 * thousands of requests again, and each needs such a read: they leave threads of the pool, which
 * are few, to what starts workers and jobs. */
struct job_read {
	uv_work_t work;
	struct list node; /* in core->reads, until it is begun */
	struct core *core;
	struct uuid id;
	job_read_fn *done;
	void *owner;
	int status;
	struct job_row *row;
};

static void job_read_work(uv_work_t *work)
{
	struct job_read *r = container_of(work, struct job_read, work);
	r->status = store_job_get(r->core->store, &r->id, &r->row);
}

static void begin_reads(struct core *c);

static void job_read_done(uv_work_t *work, int status)
{
	_cleanup_(freep) struct job_read *r = container_of(work, struct job_read, work);
	_cleanup_(job_row_freep) struct job_row *row = r->row;
	struct core *c = r->core;
	beat_doing("a job that was read from the store");
	c->n_reading--;
	begin_reads(c);
	r->done(r->owner, status < 0 ? status : r->status, row);
}

static void begin_reads(struct core *c)
{
	struct list *n;
	while (c->n_reading < READING_MAX && (n = list_pop(&c->reads))) {
		struct job_read *r = container_of(n, struct job_read, node);
		c->n_reading++;
		must(uv_queue_work(c->loop, &r->work, job_read_work, job_read_done) == 0);
	}
}

void job_read(struct core *c, const struct uuid *id, job_read_fn *done, void *owner)
{
	struct job_read *r = xcalloc(1, sizeof *r);
	*r = (struct job_read){ .core = c, .id = *id, .done = done, .owner = owner };
	list_append(&c->reads, &r->node);
	begin_reads(c);
}

void core_check_stopped(struct core *c)
{
	if (!c->is_stopping || !c->stopped)
		return;
	map_each (n, &c->workers) {
		const struct worker *w = container_of(n, struct worker, by_id);
		bool stays = w->n_jobs && !w->is_killed;
		if (!stays && w->state != WORKER_EXPECTED && w->state != WORKER_AWAY)
			return;
	}
	timer_set(&c->timers, &c->stop_timer, 0);
}

void core_stop(struct core *c, bool and_workers, int64_t grace_ms, void (*stopped)(void *owner),
	void *owner)
{
	c->is_stopping = true;
	c->stopped = stopped;
	c->stopped_owner = owner;
	timer_set(&c->timers, &c->stop_timer, grace_ms);
	map_each (n, &c->workers) {
		struct worker *w = container_of(n, struct worker, by_id);
		if (and_workers)
			worker_end(c, w, "the worker was stopped together with the gateway");
		else
			worker_retire(c, w, "the gateway is stopping");
	}
	life_record_all(c);
	core_check_stopped(c);
}

void core_let_go(struct core *c)
{
	struct fault f;
	fault_set(&f, FAULT_UNAVAILABLE, "the gateway is stopping; the job stays where it is");
	c->is_let_go = true;
	backlog_stop(c);
	life_record_moved(c);
	describe_fail_all(c, "the gateway is stopping");
	watch_end_all(c);
	map_each (n, &c->jobs) {
		struct live_job *l = container_of(n, struct live_job, by_id);
		const struct job_event ev = {
			.kind = EVENT_REFUSED, .job = l->job, .fault = &f, .at_ms = clock_wall_ms()
		};
		if (l->job->is_sync && l->door && l->to.wants & EVENT_BIT(EVENT_REFUSED))
			l->door->ops->publish(l->door->self, &l->to, &ev);
		if (l->job->is_sync)
			l->door = NULL;
		cancel_answer_all(l);
	}
}

void core_close(struct core *c)
{
	backlog_stop(c);
	c->stopped = NULL; /* workers that are freed from here on are nobody's business */
	uv_close((uv_handle_t *)&c->before_sleep, NULL);
	mailbox_close(&c->mailbox);
	timers_close(&c->timers);
}

static void free_live(struct live_job *l)
{
	parameters_leave(l);
	progress_forget(l);
	list_remove(&l->unrecorded);
	list_remove(&l->on_worker);
	free(l->cancel_reason);
	free(l->worker_id);
	job_unref(l->job);
	free(l);
}

void core_free(struct core *c)
{
	if (!c)
		return;
	map_each (n, &c->jobs)
		free_live(container_of(n, struct live_job, by_id));
	map_each (n, &c->workers) {
		struct worker *w = container_of(n, struct worker, by_id);
		list_init(&w->jobs);
		worker_free(c, w);
	}
	acks_forget(c, NULL);
	describe_free_all(c);
	looker_free(c->looker);
	keys_free(c);
	outbox_free(c);
	map_each (n, &c->lanes) {
		struct lane *lane = container_of(n, struct lane, by_name);
		lane->queue.len = 0;
		lane_free(c, lane);
	}
	list_each (n, &c->old_lanes) {
		struct lane *lane = container_of(n, struct lane, old);
		lane->queue.len = 0;
		lane_free(c, lane);
	}
	map_done(&c->lanes);
	map_done(&c->jobs);
	map_done(&c->workers);
	map_done(&c->watched);
	job_series_free(c);
	mailbox_done(&c->mailbox);
	list_each (n, &c->intakes) {
		struct intake *in = container_of(n, struct intake, node);
		free(in->door);
		free(in);
	}
	catalog_free(c->catalog);
	if (beat_of_thread == &c->beat)
		beat_of_thread = NULL;
	free(c->address);
	free(c);
}

void core_set_address(struct core *c, const char *address)
{
	free(c->address);
	c->address = xstrdup(address);
}

struct intake *core_intake(struct core *c, const char *door)
{
	struct intake *in = xcalloc(1, sizeof *in);
	in->core = c;
	in->door = xstrdup(door);
	list_append(&c->intakes, &in->node);
	return in;
}

struct mailbox *core_mailbox(struct core *c)
{
	return &c->mailbox;
}

struct beat *core_beat(struct core *c)
{
	return &c->beat;
}

bool intake_core_is_stuck(const struct intake *in)
{
	return atomic_load_explicit(&in->core->beat.is_stuck, memory_order_relaxed);
}

struct timers *core_timers(struct core *c)
{
	return &c->timers;
}
