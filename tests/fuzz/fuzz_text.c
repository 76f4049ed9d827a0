/* SPDX-License-Identifier: Apache-2.0 */
/* The small words of a query, a path and a setting: durations, ids, names, states. What is taken
 * must come back when it is printed. */
#include "fuzz.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/uuid.h"
#include "domain/job.h"

/* A finite duration is at most half of what fits; printed, it is rounded up to a second. What lies
 * in the last two seconds may be rounded up to more than is taken. */
#define ROUNDED_UP_TOO_FAR (INT64_MAX / 2 - 2000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *text = strndup((const char *)data, size);
	char printed[64];
	int64_t ms, again;
	struct uuid id, id_again;
	must(text);
	if (duration_parse(text, &ms) == 0) {
		duration_format(ms, printed, sizeof printed);
		int r = duration_parse(printed, &again);
		must(ms >= 0 && (r ? ms > ROUNDED_UP_TOO_FAR && ms < DURATION_INF : again >= ms));
	}
	if (uuid_parse(text, &id)) {
		uuid_format(&id, printed);
		must(strcasecmp(text, printed) == 0 && uuid_parse(printed, &id_again));
		must(memcmp(&id, &id_again, sizeof id) == 0);
	}
	if (name_is_good(text))
		must(strlen(text) <= 128 && !strchr(text, '/'));
	enum job_state state = job_state_parse(text);
	must(state == _JOB_STATE_INVALID || strcmp(job_state_name(state), text) == 0);
	return 0;
}
