/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs by function, context and transport.
 *
 * Whoever reads metrics pays for each set of labels, for ever, so their number has a limit, and a
 * client cannot choose them: a function that is not registered, as a devrun has it, and a context
 * that is configured nowhere, are "unregistered". What is over the limit is "other".
 *
 * Most jobs of a context are of the function of the job before, so the context's lane remembers
 * whose counters these are: a job costs two comparisons of pointers and a few additions. The
 * durations are those of the job's row, which the history shows, too. */
#include "core/metrics/metrics.h"

#include <string.h>

#include "base/metrics/exposition.h"
#include "core/private.h"

enum { OUTCOMES = 3, KEY_MAX = 4096 };

struct job_series {
	struct map_node by_key;
	char *key; /* the three names, each with its NUL */
	const char *function, *context, *transport;
	struct histogram wait, run[OUTCOMES];
	uint64_t ended[OUTCOMES];
};

static const char *const outcomes[OUTCOMES] = { "finished", "cancelled", "failed" };

static size_t outcome_of(enum job_state how)
{
	return (size_t)(how - JOB_FINISHED);
}

enum { WAIT, RUN, ENDED };

static const struct metric families[] = {
	[WAIT] = { METRIC_HISTOGRAM, "mist_job_wait_seconds",
		"Time from the acceptance of a job to its first start on a worker." },
	[RUN] = { METRIC_HISTOGRAM, "mist_job_run_seconds",
		"Time from the last start of a job to its end." },
	[ENDED] = { METRIC_COUNTER, "mist_jobs_ended_total", "Jobs that have ended." },
};

/* The transport it came by, also after a restart. */
static const char *transport_of(const struct live_job *l)
{
	if (l->door)
		return l->door->name;
	if (l->job->door)
		return l->job->door;
	for (size_t i = 0; i < l->core->n_doors; i++) /* nobody waits for it any more */
		if (strcmp(l->core->doors[i]->ops->scheme, "http") == 0)
			return l->core->doors[i]->name;
	return "none";
}

static struct job_series *series_add(struct core *c, const char *key, size_t len)
{
	struct job_series *s = xcalloc(1, sizeof *s);
	s->key = xcalloc(1, len);
	memcpy(s->key, key, len);
	s->function = s->key;
	s->context = s->function + strlen(s->function) + 1;
	s->transport = s->context + strlen(s->context) + 1;
	map_add(&c->job_series, &s->by_key, s->key, len);
	return s;
}

static struct job_series *series_get(
	struct core *c, const char *function, const char *context, const char *transport)
{
	const char *const names[] = { function, context, transport };
	char key[KEY_MAX];
	size_t len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]) + 1;
		if (n > sizeof key - len)
			return NULL;
		memcpy(key + len, names[i], n);
		len += n;
	}
	struct map_node *found = map_find(&c->job_series, key, len);
	if (found)
		return container_of(found, struct job_series, by_key);
	bool is_full = (int64_t)c->job_series.count >= c->limits.job_series_max;
	return is_full && strcmp(function, "other") != 0 ? NULL : series_add(c, key, len);
}

bool job_series_has_context(const struct core *c, const char *name)
{
	return catalog_has_context(c->catalog, name) || strcmp(name, "default") == 0;
}

static struct job_series *series_of(struct live_job *l)
{
	struct core *c = l->core;
	struct lane *lane = l->lane;
	const struct function *fn = l->job->function;
	if (lane->series && lane->series_function == fn && lane->series_transport == l->door)
		return lane->series;
	const char *transport = transport_of(l);
	struct job_series *s = series_get(c,
		catalog_function(c->catalog, fn->name) ? fn->name : JOB_SERIES_UNREGISTERED,
		job_series_has_context(c, lane->name) ? lane->name : JOB_SERIES_UNREGISTERED,
		transport);
	if (!s)
		s = series_get(c, "other", "other", transport);
	if (s && l->door) {
		function_unref(lane->series_function);
		lane->series_function = function_ref(fn);
		lane->series_transport = l->door;
		lane->series = s;
	}
	return s;
}

void job_series_started(struct live_job *l)
{
	const struct job *j = l->job;
	if (l->is_wait_counted || j->attempt > 1)
		return;
	l->is_wait_counted = true;
	struct job_series *s = series_of(l);
	if (s)
		histogram_observe(
			&s->wait, &histogram_job_bounds, (j->started_ms - j->created_ms) * 1000);
}

void job_series_ended(struct live_job *l, enum job_state how)
{
	const struct job *j = l->job;
	struct job_series *s = series_of(l);
	if (!s)
		return;
	s->ended[outcome_of(how)]++;
	if (j->started_ms)
		histogram_observe(&s->run[outcome_of(how)], &histogram_job_bounds,
			(j->ended_ms - j->started_ms) * 1000);
}

void job_series_put(struct core *c, struct exposition *e)
{
	exposition_declare(e, families, ARRAY_SIZE(families));
	map_each (n, &c->job_series) {
		const struct job_series *s = container_of(n, struct job_series, by_key);
		const char *const wait[] = { "function", s->function, "context", s->context,
			"transport", s->transport, NULL };
		if (histogram_count(&s->wait))
			exposition_put_histogram(
				e, &families[WAIT], wait, &s->wait, &histogram_job_bounds);
		for (size_t i = 0; i < OUTCOMES; i++) {
			const char *const labels[] = { "function", s->function, "context",
				s->context, "transport", s->transport, "outcome", outcomes[i],
				NULL };
			exposition_put(e, &families[ENDED], labels, (int64_t)s->ended[i]);
			if (histogram_count(&s->run[i]))
				exposition_put_histogram(e, &families[RUN], labels, &s->run[i],
					&histogram_job_bounds);
		}
	}
}

void job_series_free(struct core *c)
{
	map_each (n, &c->job_series) {
		struct job_series *s = container_of(n, struct job_series, by_key);
		map_remove(&c->job_series, n);
		free(s->key);
		free(s);
	}
	map_done(&c->job_series);
}
