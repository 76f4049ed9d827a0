/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a job, as a table.
 *
 * The names are Mist's wire words and so is the order of events; the table is the only place that
 * says which move is legal. Two rows are ours: STARTED and DOWNLOADING lead back to QUEUED when a
 * worker died and the function's retries allow another attempt, and QUEUED leads to FAILED when its
 * context is broken.
 *
 * A job object is shared by the core, which moves it, and by the store's thread, which writes its
 * fixed half: hence the atomic reference count and nothing else that is shared. */
#include "domain/job.h"

#include <string.h>

#include "domain/function.h"

static const char *const state_names[] = {
	[JOB_INITIALIZED] = "initialized",
	[JOB_QUEUED] = "queued",
	[JOB_DOWNLOADING] = "job-file-downloading",
	[JOB_STARTED] = "started",
	[JOB_CANCELLING] = "cancelling",
	[JOB_FINISHED] = "finished",
	[JOB_CANCELLED] = "cancelled",
	[JOB_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(state_names) == _JOB_STATE_MAX, "every state has a name");

/* The final states have no row. */
static const unsigned leads_to[_JOB_STATE_MAX] = {
	[JOB_INITIALIZED] = BIT(JOB_QUEUED) | BIT(JOB_FAILED) | BIT(JOB_CANCELLED),
	[JOB_QUEUED] =
		BIT(JOB_DOWNLOADING) | BIT(JOB_STARTED) | BIT(JOB_CANCELLING) | BIT(JOB_FAILED),
	[JOB_DOWNLOADING] =
		BIT(JOB_STARTED) | BIT(JOB_CANCELLING) | BIT(JOB_FAILED) | BIT(JOB_QUEUED),
	[JOB_STARTED] = BIT(JOB_FINISHED) | BIT(JOB_FAILED) | BIT(JOB_CANCELLING) | BIT(JOB_QUEUED),
	[JOB_CANCELLING] = BIT(JOB_CANCELLED) | BIT(JOB_FINISHED) | BIT(JOB_FAILED),
};

const char *job_state_name(enum job_state s)
{
	must(s >= 0 && s < _JOB_STATE_MAX);
	return state_names[s];
}

enum job_state job_state_parse(const char *name)
{
	for (int s = 0; s < _JOB_STATE_MAX; s++)
		if (strcmp(state_names[s], name) == 0)
			return s;
	return _JOB_STATE_INVALID;
}

bool job_may(enum job_state from, enum job_state to)
{
	return leads_to[from] & BIT(to);
}

struct job *job_new(void)
{
	struct job *j = xcalloc(1, sizeof *j);
	atomic_init(&j->refs, 1);
	return j;
}

struct job *job_ref(struct job *j)
{
	atomic_fetch_add_explicit(&j->refs, 1, memory_order_relaxed);
	return j;
}

void job_unref(struct job *j)
{
	if (!j || atomic_fetch_sub_explicit(&j->refs, 1, memory_order_acq_rel) != 1)
		return;
	function_unref(j->function);
	free(j->context);
	free(j->parameters);
	free(j->external_id);
	free(j->reply_to);
	free(j->trace);
	free(j->idempotency_key);
	free(j->idempotency_digest);
	free(j->ignored);
	free(j->request);
	free(j->door);
	free(j->source);
	free(j);
}
