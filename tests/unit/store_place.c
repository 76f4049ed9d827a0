/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture of the store's tests. Waiting is for a condition with a deadline, never for a time.
 */
#include "store_place.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "domain/function.h"

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	(void)s, (void)type, (void)ftw;
	return remove(path);
}

int place_open(struct place *p, struct fault *f)
{
	const struct store_settings s = { .directory = p->dir,
		.artifacts = p->dir,
		.hang_ms = p->hang_ms,
		.keep_logs_ms = p->keep_logs_ms };
	return store_open(&p->st, p->ops, &s, f);
}

void place_reopen(struct place *p)
{
	struct fault f = { 0 };
	store_close(TAKE_PTR(p->st));
	if (place_open(p, &f) < 0)
		fail_msg("%s", f.text);
	must(store_start(p->st) == 0);
}

int place_setup(void **state)
{
	struct place *p = xcalloc(1, sizeof *p);
	p->ops = *state;
	snprintf(p->dir, sizeof p->dir, "/tmp/test-store-XXXXXX");
	must(mkdtemp(p->dir));
	place_reopen(p);
	*state = p;
	return 0;
}

int place_teardown(void **state)
{
	struct place *p = *state;
	store_close(p->st);
	nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

void waiter_init(struct waiter *w)
{
	*w = (struct waiter){ .is_in_order = true };
	sem_init(&w->called, 0, 0);
}

struct ticket {
	struct waiter *w;
	int number;
};

static void note(void *owner, struct store_op *op, int status)
{
	struct ticket *t = owner;
	struct waiter *w = t->w;
	(void)op;
	w->is_in_order &= t->number == w->done++;
	w->status = status;
	free(t);
	sem_post(&w->called);
}

void post_waited(struct store *st, struct store_op *op, struct waiter *w)
{
	struct ticket *t = xcalloc(1, sizeof *t);
	*t = (struct ticket){ w, w->posted++ };
	op->done = note;
	op->owner = t;
	store_post(st, op);
}

void await(struct waiter *w)
{
	struct timespec at;
	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += DEADLINE_MS / 1000;
	while (w->posted > 0) {
		if (sem_timedwait(&w->called, &at) == 0)
			w->posted--;
		else if (errno != EINTR)
			fail_msg("%d operations were not answered", w->posted);
	}
	w->done = 0;
}

int settle(struct store *st)
{
	struct waiter w;
	waiter_init(&w);
	post_waited(st, store_op_new(STORE_SETTLE, NULL), &w);
	await(&w);
	return w.status;
}

struct job *job_make(const char *function, int number)
{
	char text[64];
	snprintf(text, sizeof text, "{\"n\":%d}", number);
	struct function_settings fs = {
		.path = (char *)"/a/pi.py", .class_name = (char *)"pi", .context = (char *)"default"
	};
	struct job *j = job_new();
	j->created_ms = clock_wall_ms();
	uuid_make(&j->id, j->created_ms);
	j->function = function_new(function, &fs, fs.path);
	j->context = xstrdup("default");
	j->parameters = xstrdup(text);
	j->source = xstrdup("Http");
	j->start_timeout_ms = DURATION_INF;
	j->perform_timeout_ms = 5000;
	j->priority = number % JOB_PRIORITY_MAX;
	return j;
}

struct store_op *op_make(enum store_op_kind kind, struct job *j, enum job_state state)
{
	struct store_op *op = store_op_new(kind, j);
	op->change.state = state;
	op->change.started_ms = state == JOB_STARTED;
	return op;
}

struct uuid add(struct place *p, const char *function, enum job_state state, const char *worker)
{
	_cleanup_(job_unrefp) struct job *j = job_make(function, 0);
	struct store_op *op = op_make(STORE_JOB_INSERT, j, state);
	op->change.worker = worker ? xstrdup(worker) : NULL;
	store_post(p->st, op);
	return j->id;
}

enum job_state state_of(struct place *p, const struct uuid *id)
{
	_cleanup_(job_row_freep) struct job_row *row = NULL;
	return store_job_get(p->st, id, &row) == 0 ? row->state : _JOB_STATE_INVALID;
}

static void ignore(void *arg, const struct job_row *r)
{
	(void)arg, (void)r;
}

int64_t count_all(struct place *p)
{
	const struct job_query q = { .limit = 0 };
	int64_t total = -1;
	check_int(store_job_list(p->st, &q, ignore, NULL, &total), 0);
	return total;
}

void log_text(struct place *p, const struct uuid *id, const char *text)
{
	struct store_op *op = store_op_new(STORE_LOG, NULL);
	op->job_id = *id;
	op->text = xstrdup(text);
	op->text_len = strlen(text);
	store_post(p->st, op);
}

char *log_read(struct place *p, const struct uuid *id)
{
	char path[200];
	store_log_path(p->st, id, path, sizeof path);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	char *text = f ? xcalloc(1, 4096) : NULL;
	if (f)
		text[fread(text, 1, 4095, f)] = '\0';
	return text;
}
