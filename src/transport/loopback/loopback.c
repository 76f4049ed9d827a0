/* SPDX-License-Identifier: Apache-2.0 */
/* Loopback: what every adapter has to do, and nothing more.
 *
 * A request is made by loopback_submit() on any thread and goes to the intake. Events come to
 * publish() on the core's thread, are turned into this adapter's own form (a JSON object) and put
 * in the outbox, from where loopback_take() fetches them. The reply-to text is the external id: it
 * is kept with the job, so the end of a job that outlived a restart still finds its way. */
#include "transport/loopback/loopback.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "domain/job.h"

struct loopback {
	struct transport_env env;
	pthread_mutex_t lock;
	pthread_cond_t filled;
	json_t *outbox;
	size_t n_outcomes, outcomes_max; /* of those owed in it; max 0: there is always room */
};

static const char *const event_names[_EVENT_MAX] = { "refused", "initialized", "queued",
	"worker-assigned", "job-file-downloading", "started", "progress", "cancelling", "finished",
	"cancelled", "failed" };

static const struct conf_field loopback_conf[] = { { 0 } };

static int loopback_open(
	void *self, const void *settings, const struct transport_env *env, struct fault *f)
{
	struct loopback *lo = self;
	(void)settings, (void)f;
	lo->env = *env;
	lo->outbox = json_array();
	pthread_mutex_init(&lo->lock, NULL);
	pthread_cond_init(&lo->filled, NULL);
	return 0;
}

static int loopback_start(void *self, struct fault *f)
{
	(void)self, (void)f;
	return 0;
}

static void loopback_publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	struct loopback *lo = self;
	char id[UUID_TEXT] = "";
	if (ev->job)
		uuid_format(&ev->job->id, id);
	json_t *json = json_pack("{s:s, s:s, s:s?, s:s?}", "event", event_names[ev->kind], "id", id,
		"externalId", to->text, "error",
		ev->kind == EVENT_REFUSED ? ev->fault->text : ev->error);
	if (ev->result)
		json_object_set_new(json, "result",
			json_loadb(ev->result, ev->result_len, JSON_DECODE_ANY, NULL));
	if (ev->progress) {
		_cleanup_(freep) char *text = progress_text(ev->progress);
		json_object_set_new(json, "progress", json_loads(text, 0, NULL));
	}
	if (to->is_owed && EVENT_BIT(ev->kind) & EVENTS_FINAL)
		json_object_set_new(json, "owed", json_string(id));
	pthread_mutex_lock(&lo->lock);
	lo->n_outcomes += json_object_get(json, "owed") != NULL;
	json_array_append_new(lo->outbox, json);
	pthread_cond_signal(&lo->filled);
	pthread_mutex_unlock(&lo->lock);
}

/* What loopback_submit() made of it. */
static int loopback_restore(void *self, struct reply_to *to)
{
	(void)self;
	to->wants = ~0u;
	return 0;
}

static void loopback_stop(void *self)
{
	(void)self; /* it has no thread of its own: whoever calls loopback_submit stops calling */
}

static void loopback_close(void *self)
{
	struct loopback *lo = self;
	json_decref(lo->outbox);
	pthread_mutex_destroy(&lo->lock);
	pthread_cond_destroy(&lo->filled);
}

int loopback_submit(
	struct transport *t, const char *function, json_t *arguments, const char *external_id)
{
	struct loopback *lo = t->self;
	_cleanup_(job_request_freep) struct job_request *rq = job_request_new();
	rq->door = t;
	rq->source = "Loopback";
	rq->function = xstrdup(function);
	rq->arguments = json_incref(arguments);
	rq->parameters = json_text(arguments);
	rq->external_id = external_id ? xstrdup(external_id) : NULL;
	rq->to.text = external_id ? xstrdup(external_id) : NULL;
	rq->to.wants = ~0u;
	rq->to.is_owed = external_id;
	return intake_submit(lo->env.in, &rq);
}

json_t *loopback_take(struct transport *t, int wait_ms)
{
	struct loopback *lo = t->self;
	struct timespec until;
	json_t *json = NULL;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&lo->lock);
	while (json_array_size(lo->outbox) == 0)
		if (pthread_cond_clockwait(&lo->filled, &lo->lock, CLOCK_MONOTONIC, &until) ==
			ETIMEDOUT)
			break;
	if (json_array_size(lo->outbox)) {
		json = json_incref(json_array_get(lo->outbox, 0));
		json_array_remove(lo->outbox, 0);
		lo->n_outcomes -= json_object_get(json, "owed") != NULL;
	}
	pthread_mutex_unlock(&lo->lock);
	const char *owed = json_string_of(json, "owed");
	struct uuid id;
	if (owed && uuid_parse(owed, &id))
		intake_delivered(lo->env.in, &id, 1);
	return json;
}

static bool loopback_has_room(void *self)
{
	struct loopback *lo = self;
	pthread_mutex_lock(&lo->lock);
	bool has_room = !lo->outcomes_max || lo->n_outcomes < lo->outcomes_max;
	pthread_mutex_unlock(&lo->lock);
	return has_room;
}

void loopback_limit(struct transport *t, size_t outcomes_max)
{
	struct loopback *lo = t->self;
	pthread_mutex_lock(&lo->lock);
	lo->outcomes_max = outcomes_max;
	pthread_mutex_unlock(&lo->lock);
}

size_t loopback_outcomes(struct transport *t)
{
	struct loopback *lo = t->self;
	pthread_mutex_lock(&lo->lock);
	size_t n = lo->n_outcomes;
	pthread_mutex_unlock(&lo->lock);
	return n;
}

const struct transport_ops loopback_transport = {
	.scheme = "loopback",
	.size = sizeof(struct loopback),
	.conf = loopback_conf,
	.open = loopback_open,
	.start = loopback_start,
	.publish = loopback_publish,
	.restore = loopback_restore,
	.stop = loopback_stop,
	.close = loopback_close,
	.has_room = loopback_has_room,
};
