/* SPDX-License-Identifier: Apache-2.0 */
/* What SIGHUP asks for. The file, and more so what it refers to, may be on a disk that does not
 * answer. So they are looked at on threads of their own, one of each at a time, and nobody waits
 * for these, the end of the gateway neither. What was read is taken before anything that it refers
 * to is looked at: that makes warnings only.
 *
 * Who writes a file anew empties it first. A file that has come to have no setting at all was most
 * likely read at that moment, and to take it would drop all that was configured: so it is not
 * taken. Who means it starts the gateway again. */
#include "mistd/reread.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/list.h"
#include "base/log.h"
#include "base/thread/detach.h"
#include "mistd/settings.h"

/* Of one thread; then in `done`, and the loop's. */
struct task {
	struct list node;
	struct reread *owner;
	int64_t since_ms; /* monotonic */
	bool is_check;    /* of what is referred to; else it reads */
	const char **sets;
	int status;
	struct settings settings; /* when it has read, and the status is 0 */
	struct references *references;
	char *text; /* what is wrong; NULL: nothing */
};

struct reread {
	pthread_mutex_t lock;
	bool is_over;
	unsigned n_refs;  /* its handle's, and one of each thread */
	struct list done; /* of tasks */
	uv_async_t wake;
	/* The loop's thread: */
	const char *config;
	const char *const *sets;
	size_t n_sets;
	void (*take)(void *owner, struct settings *s);
	void *owner;
	bool runs_empty;                  /* what is in force has no setting either */
	struct task *reading, *checking;  /* under way; NULL: none is */
	bool reads_again;                 /* it was asked for once more meanwhile */
	struct references *to_check_next; /* when what is under way has ended */
};

static void reread_unref(struct reread *r)
{
	pthread_mutex_lock(&r->lock);
	bool is_last = --r->n_refs == 0;
	pthread_mutex_unlock(&r->lock);
	if (!is_last)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void task_free(struct task *t)
{
	if (!t->is_check && t->status == 0)
		settings_done(&t->settings);
	references_free(t->references);
	free(t->sets);
	free(t->text);
	free(t);
}

static void task_read(struct task *t)
{
	const struct reread *r = t->owner;
	t->status = fail_point(FAIL_CONFIG_READ);
	if (t->status < 0)
		t->text = xasprintf("%s: %s", r->config, strerror(-t->status));
	else
		t->status = settings_read(&t->settings, r->config, t->sets, r->n_sets, &t->text);
	if (t->status == 0)
		t->references = references_of(&t->settings);
}

static void task_check(struct task *t)
{
	(void)fail_point(FAIL_CONFIG_REFERENCES);
	t->text = references_check(t->references);
}

/* Its own thread, which may outlive the loop. */
static void *task_run(void *arg)
{
	struct task *t = arg;
	struct reread *r = t->owner;
	if (t->is_check)
		task_check(t);
	else
		task_read(t);
	pthread_mutex_lock(&r->lock);
	bool is_wanted = !r->is_over;
	if (is_wanted) {
		list_append(&r->done, &t->node);
		uv_async_send(&r->wake);
	}
	pthread_mutex_unlock(&r->lock);
	if (!is_wanted)
		task_free(t);
	reread_unref(r);
	return NULL;
}

/* NULL: there is no thread; it was freed. */
static struct task *task_begin(struct reread *r, struct task *t)
{
	t->owner = r;
	t->since_ms = clock_mono_ms();
	list_init(&t->node);
	pthread_mutex_lock(&r->lock);
	r->n_refs++;
	pthread_mutex_unlock(&r->lock);
	int error = thread_detach(task_run, t);
	if (error == 0)
		return t;
	log_error("the configuration was not %s: there is no thread for it: %s",
		t->is_check ? "checked" : "taken", strerror(-error));
	t->status = error;
	task_free(t);
	reread_unref(r);
	return NULL;
}

static void log_lines(enum log_level level, const char *what, const char *text)
{
	for (const char *p = text ? text : ""; *p; p += strcspn(p, "\n"), p += *p == '\n')
		log_write(level, "%s: %.*s", what, (int)strcspn(p, "\n"), p);
}

static void log_slow(const char *what, const struct task *t, const char *then)
{
	char since[32];
	duration_print(clock_mono_ms() - t->since_ms, since, sizeof since);
	log_warn("%s, after %s: a disk is slow, or does not answer; %s", what, since, then);
}

/* Takes them. Of those that wait the newest are looked at. */
static void check(struct reread *r, struct references *references)
{
	if (r->checking) {
		log_slow("what the configuration refers to is still being looked at", r->checking,
			"what is new in it is looked at when that ends");
		references_free(r->to_check_next);
		r->to_check_next = references;
		return;
	}
	struct task *t = xcalloc(1, sizeof *t);
	t->is_check = true;
	t->references = references;
	r->checking = task_begin(r, t);
}

static void begin_reading(struct reread *r)
{
	struct task *t = xcalloc(1, sizeof *t);
	t->status = -1;
	t->sets = xcalloc(r->n_sets + 1, sizeof *t->sets);
	for (size_t i = 0; i < r->n_sets; i++)
		t->sets[i] = r->sets[i];
	r->reads_again = false;
	r->reading = task_begin(r, t);
}

static void has_read(struct reread *r, struct task *t)
{
	r->reading = NULL;
	if (t->status == 0 && t->settings.is_empty && !r->runs_empty) {
		log_error("the configuration was not taken: %s: there is no setting in it, as in a "
			  "file that is half written; what was configured stays",
			r->config);
	} else if (t->status == 0) {
		r->runs_empty = t->settings.is_empty;
		r->take(r->owner, &t->settings);
		check(r, TAKE_PTR(t->references));
	} else {
		log_lines(LOG_LEVEL_ERROR, "the configuration was not taken", t->text);
	}
	if (r->reads_again)
		begin_reading(r);
}

static void has_checked(struct reread *r, const struct task *t)
{
	r->checking = NULL;
	log_lines(LOG_LEVEL_WARN, "the configuration", t->text);
	if (r->to_check_next)
		check(r, TAKE_PTR(r->to_check_next));
}

static struct task *next_done(struct reread *r)
{
	pthread_mutex_lock(&r->lock);
	struct list *n = list_pop(&r->done);
	pthread_mutex_unlock(&r->lock);
	return n ? container_of(n, struct task, node) : NULL;
}

static void on_wake(uv_async_t *wake)
{
	struct reread *r = wake->data;
	struct task *t;
	while ((t = next_done(r))) {
		beat_doing("the configuration that was read again");
		if (t->is_check)
			has_checked(r, t);
		else
			has_read(r, t);
		task_free(t);
	}
}

struct reread *reread_new(uv_loop_t *loop, const char *config, const char *const *sets,
	size_t n_sets, bool runs_empty, void (*take)(void *owner, struct settings *s), void *owner)
{
	struct reread *r = xcalloc(1, sizeof *r);
	must(pthread_mutex_init(&r->lock, NULL) == 0);
	must(uv_async_init(loop, &r->wake, on_wake) == 0);
	r->wake.data = r;
	r->n_refs = 1;
	list_init(&r->done);
	r->config = config;
	r->sets = sets;
	r->n_sets = n_sets;
	r->take = take;
	r->owner = owner;
	r->runs_empty = runs_empty;
	return r;
}

void reread_ask(struct reread *r)
{
	if (!r->reading) {
		begin_reading(r);
		return;
	}
	r->reads_again = true;
	log_slow("the configuration is still being read", r->reading,
		"it is read once more when that ends");
}

static void closed(uv_handle_t *handle)
{
	reread_unref(handle->data);
}

void reread_close(struct reread *r)
{
	struct task *t;
	pthread_mutex_lock(&r->lock);
	r->is_over = true;
	pthread_mutex_unlock(&r->lock);
	while ((t = next_done(r)))
		task_free(t);
	references_free(TAKE_PTR(r->to_check_next));
	uv_close((uv_handle_t *)&r->wake, closed);
}
