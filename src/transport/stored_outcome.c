/* SPDX-License-Identifier: Apache-2.0 */
/* An outcome is durable before it is delivered, so a broker that is away for long, or slow, need
 * not cost the memory of every outcome that it is owed: what an adapter needs is the job's id. Read
 * from the row it is the same event, under the same id, as after a restart. */
#include "transport/stored_outcome.h"

#include <errno.h>
#include <string.h>

#include "mist/store.h"

int stored_outcome_read(struct store *st, const struct uuid *job, struct stored_outcome *ret)
{
	struct job_row *row = NULL;
	int r = store_job_get(st, job, &row);
	if (r == -ENOENT || r == -EBADMSG)
		return r;
	if (r < 0 || !job_state_is_final(row->state)) {
		job_row_freep(&row);
		return -EAGAIN;
	}
	*ret = (struct stored_outcome){ .row = row, .job = job_of_row(row) };
	ret->ev = (struct job_event){ .kind = job_final_event(row->state),
		.job = ret->job,
		.at_ms = row->ended_ms,
		.worker = row->worker,
		.result = row->result,
		.result_len = row->result ? strlen(row->result) : 0,
		.error = row->error };
	return 0;
}

void stored_outcome_done(struct stored_outcome *o)
{
	job_unref(o->job);
	job_row_freep(&o->row);
}

uint64_t text_hash(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

bool outcomes_have_room(bool *is_full, bool is_idle, size_t n, size_t bytes, size_t bytes_max)
{
	size_t times = is_idle ? 4 : 1, n_max = OUTCOMES_MAX, max = bytes_max - bytes_max / 8;
	if (*is_full && !is_idle) {
		n_max /= 2;
		max = bytes_max / 2;
	}
	*is_full = n / times >= n_max || bytes / times >= max;
	return !*is_full;
}
