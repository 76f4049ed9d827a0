/* SPDX-License-Identifier: Apache-2.0 */
/* Restraint in making things anew, and in saying so. */
#include "transport/again.h"

int64_t again_pause(struct again *a, int64_t now_ms)
{
	if (!a->made_at_ms || now_ms - a->made_at_ms >= AGAIN_CALM_MS)
		a->pause_ms = 0;
	else if (a->pause_ms == 0)
		a->pause_ms = AGAIN_MIN_MS;
	else
		a->pause_ms = a->pause_ms * 2 < AGAIN_MAX_MS ? a->pause_ms * 2 : AGAIN_MAX_MS;
	a->made_at_ms = now_ms + a->pause_ms;
	return a->pause_ms;
}

bool again_is_due(struct again *a, int64_t now_ms, int64_t *ret_pause_ms)
{
	*ret_pause_ms = a->is_waiting ? -1 : again_pause(a, now_ms);
	a->is_waiting = now_ms < a->made_at_ms;
	return !a->is_waiting;
}

bool said_is_due(struct said *s, int64_t every_ms, int64_t now_ms, uint64_t *ret_left_out)
{
	if (now_ms < s->next_ms) {
		s->n_left_out++;
		return false;
	}
	*ret_left_out = s->n_left_out;
	s->n_left_out = 0;
	s->next_ms = now_ms + every_ms;
	return true;
}
