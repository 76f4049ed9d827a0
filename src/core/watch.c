/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers: whoever listens to what happens to jobs, beside the door a job came by.
 *
 * A watch belongs to its owner (a transport) and hangs here from `begun` to `ended`, in the list of
 * those that want all jobs or in the list of its one job, so that an event costs nothing to those
 * it does not concern. An event is made into text once, and only if somebody wants it. Owners take
 * the text, note what they have to write, and write it in `flush`, once for all the events of a
 * batch.
 *
 * Watching and unwatching are letters. The word on who ends a watch is its `state`: the first of
 * intake_unwatch, on any thread, and watch_end_all, on the core's, wins; so `ended` comes once. */
#include "core/private.h"

#include <errno.h>

#include "base/buf.h"
#include "domain/log_line.h"

enum { WATCH_LIVE, WATCH_LEAVING, WATCH_ENDED };
#define EVENT_MAX ((size_t)1 << 30)

/* Those who watch one job. */
struct watched_job {
	struct map_node by_id;
	struct uuid id;
	struct list watches;
};

static struct watched_job *watched_find(struct core *c, const struct uuid *id)
{
	struct map_node *n = map_find(&c->watched, id, sizeof *id);
	return n ? container_of(n, struct watched_job, by_id) : NULL;
}

static struct watched_job *watched_get(struct core *c, const struct uuid *id)
{
	struct watched_job *wj = watched_find(c, id);
	if (wj)
		return wj;
	wj = xcalloc(1, sizeof *wj);
	wj->id = *id;
	list_init(&wj->watches);
	map_add(&c->watched, &wj->by_id, &wj->id, sizeof wj->id);
	return wj;
}

static int rank_of(const struct live_job *l)
{
	switch (l->job->state) {
	case JOB_INITIALIZED:
		return 0;
	case JOB_QUEUED:
		return event_rank(l->worker ? EVENT_WORKER_ASSIGNED : EVENT_QUEUED);
	case JOB_DOWNLOADING:
		return event_rank(EVENT_DOWNLOADING);
	case JOB_STARTED:
		return event_rank(EVENT_STARTED);
	case JOB_CANCELLING:
		return event_rank(EVENT_CANCELLING);
	default:
		return EVENT_RANK_FINAL;
	}
}

static void tell_one(struct core *c, struct watch *w, const struct watch_event *ev)
{
	if (!w->event(w, ev))
		c->events_dropped++;
	if (list_empty(&w->dirty))
		list_append(&c->watches_dirty, &w->dirty);
}

/* Its text goes to `text`, its name to `id`. */
static struct watch_event watch_event_of(
	const struct job_event *ev, struct buf *text, char id[EVENT_ID])
{
	const struct job *j = ev->job;
	const struct live_job *l = j->live;
	const struct event_facts facts = event_facts_of(ev);
	buf_init(text, EVENT_MAX);
	event_print(&facts, text);
	event_id(ev, id);
	return (struct watch_event){ .name = event_name(ev->kind),
		.rank = event_rank(ev->kind),
		.is_progress = ev->kind == EVENT_PROGRESS,
		.job = &j->id,
		.id = id,
		.door = l->door,
		.to = &l->to,
		.origin = l->door,
		.text = text->data,
		.len = text->len };
}

/* Who comes late to a job learns how far it is. */
static void tell_newest_progress(const struct live_job *l, struct watch *w)
{
	const struct progress *p = progress_now(l);
	struct buf text;
	char id[EVENT_ID];
	if (!p)
		return;
	const struct watch_event ev = watch_event_of(
		&(struct job_event){
			.kind = EVENT_PROGRESS, .job = l->job, .at_ms = p->at_ms, .progress = p },
		&text, id);
	tell_one(l->core, w, &ev);
	buf_done(&text);
}

static void watch_deliver(struct mail *mail, void *owner)
{
	struct watch *w = container_of(mail, struct watch, mail);
	struct core *c = owner;
	if (c->is_let_go) {
		/* An unwatch under way is answered when it comes. */
		int live = WATCH_LIVE;
		if (atomic_compare_exchange_strong(&w->state, &live, WATCH_ENDED))
			w->ended(w);
		return;
	}
	struct list *list = &c->watches;
	struct live_job *l = w->is_of_job ? life_find(c, &w->job) : NULL;
	w->rank = EVENT_RANK_FINAL;
	w->log_bytes = -1;
	if (w->is_of_job) {
		if (l && w->begins_log)
			joblog_begin(l);
		list = &watched_get(c, &w->job)->watches;
		w->rank = l ? rank_of(l) : EVENT_RANK_FINAL;
		w->log_bytes = l ? l->log_bytes : -1;
		w->worker = l && l->worker ? l->worker->id : NULL;
	}
	list_append(list, &w->node);
	c->n_watches++;
	w->begun(w);
	if (l && w->with_progress)
		tell_newest_progress(l, w);
}

static void watch_remove(struct core *c, struct watch *w)
{
	if (list_empty(&w->node))
		return;
	list_remove(&w->node);
	list_remove(&w->dirty);
	c->n_watches--;
	struct watched_job *wj = w->is_of_job ? watched_find(c, &w->job) : NULL;
	if (wj && list_empty(&wj->watches)) {
		map_remove(&c->watched, &wj->by_id);
		free(wj);
	}
}

static void unwatch_deliver(struct mail *mail, void *owner)
{
	struct watch *w = container_of(mail, struct watch, leave);
	watch_remove(owner, w);
	w->ended(w);
}

int intake_watch(struct intake *in, struct watch *w)
{
	w->mail.deliver = watch_deliver;
	w->leave.deliver = unwatch_deliver;
	atomic_init(&w->state, WATCH_LIVE);
	list_init(&w->node);
	list_init(&w->dirty);
	return mailbox_post(&in->core->mailbox, &w->mail);
}

int intake_unwatch(struct intake *in, struct watch *w)
{
	int live = WATCH_LIVE;
	if (!atomic_compare_exchange_strong(&w->state, &live, WATCH_LEAVING))
		return 0;
	return mailbox_post_always(&in->core->mailbox, &w->leave);
}

static void watch_end(struct core *c, struct watch *w)
{
	int live = WATCH_LIVE;
	watch_remove(c, w);
	if (atomic_compare_exchange_strong(&w->state, &live, WATCH_ENDED))
		w->ended(w);
}

void watch_end_all(struct core *c)
{
	list_each (n, &c->watches)
		watch_end(c, container_of(n, struct watch, node));
	map_each (m, &c->watched) {
		struct watched_job *wj = container_of(m, struct watched_job, by_id);
		struct list *watches = &wj->watches;
		bool is_last = false;
		while (!is_last) {
			is_last = watches->next->next == watches; /* it takes wj with it */
			watch_end(c, container_of(watches->next, struct watch, node));
		}
	}
}

static void tell_list(struct core *c, struct list *list, const struct watch_event *ev)
{
	list_each (n, list) {
		struct watch *w = container_of(n, struct watch, node);
		if (!ev->is_progress || w->with_progress)
			tell_one(c, w, ev);
	}
}

void watch_tell(struct core *c, const struct job_event *ev)
{
	struct watched_job *wj = watched_find(c, &ev->job->id);
	struct buf text;
	char id[EVENT_ID];
	if ((event_rank(ev->kind) == 0 && ev->kind != EVENT_PROGRESS) ||
		(!wj && list_empty(&c->watches)))
		return;
	const struct watch_event told = watch_event_of(ev, &text, id);
	tell_list(c, &c->watches, &told);
	if (wj)
		tell_list(c, &wj->watches, &told);
	buf_done(&text);
}

/* What a log has grown by, as those see it who want a level: made when the first of them is met. */
struct news {
	const struct live_job *job;
	const struct uuid *id;
	const struct buf *text;
	struct {
		bool is_made;
		struct buf lines, json;
	} of[LOG_LINE_ERROR + 1];
};

static void news_make(struct news *news, enum log_line_level level)
{
	struct buf entries, *lines = &news->of[level].lines, *json = &news->of[level].json;
	const char *p = news->text->data, *end = p + news->text->len;
	char id[UUID_TEXT];
	struct log_line line;
	uuid_format(news->id, id);
	buf_init(lines, EVENT_MAX);
	buf_init(json, EVENT_MAX);
	buf_init(&entries, EVENT_MAX);
	while (log_line_read(&p, end, id, &line)) {
		if (line.level < level)
			continue;
		buf_add(lines, line.text, line.text_len);
		log_line_print_json(&line, &entries);
	}
	if (entries.len)
		event_print_logs(news->id, &entries, news->job->log_bytes, json);
	buf_done(&entries);
	news->of[level].is_made = true;
}

static void tell_news(struct core *c, struct list *list, struct news *news)
{
	list_each (n, list) {
		struct watch *w = container_of(n, struct watch, node);
		if (!w->with_logs)
			continue;
		if (!news->of[w->log_level].is_made)
			news_make(news, w->log_level);
		const struct buf *lines = &news->of[w->log_level].lines,
				 *json = &news->of[w->log_level].json;
		tell_one(c, w,
			&(struct watch_event){ .name = "logs",
				.is_logs = true,
				.job = news->id,
				.to = &news->job->to,
				.origin = news->job->door,
				.log_bytes = news->job->log_bytes,
				.text = json->data,
				.len = json->len,
				.lines = lines->data,
				.lines_len = lines->len });
	}
}

void watch_tell_logs(const struct live_job *l, const struct buf *text)
{
	struct core *c = l->core;
	struct news news = { .job = l, .id = &l->job->id, .text = text };
	struct watched_job *wj = c->n_watches ? watched_find(c, news.id) : NULL;
	tell_news(c, &c->watches, &news);
	if (wj)
		tell_news(c, &wj->watches, &news);
	for (size_t i = 0; i < ARRAY_SIZE(news.of); i++) {
		if (!news.of[i].is_made)
			continue;
		buf_done(&news.of[i].lines);
		buf_done(&news.of[i].json);
	}
}

void watch_flush(struct core *c)
{
	struct list *n;
	while ((n = list_pop(&c->watches_dirty))) {
		struct watch *w = container_of(n, struct watch, dirty);
		w->flush(w);
	}
}
