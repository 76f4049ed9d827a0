/* SPDX-License-Identifier: Apache-2.0 */
/* What MIST_FAIL_POINTS asks for, and the passing of a point.
 *
 * What can go wrong at a durable step goes wrong once in a thousand runs of a test that kills at
 * random moments, and at another place each time. A fail point makes that moment certain: the test
 * says where, and walks through all of them. The plan is read before there are threads and never
 * changes, so that passing a point is one increment and, for the few points that have a plan, a
 * short loop. A release build has the reading only, which refuses any plan: whoever sets the
 * variable expects something of it. */
#include "base/fail_point.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#ifndef MIST_HAS_FAIL_POINTS

int fail_points_read(const char *text, struct fault *f)
{
	if (!text || !*text)
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST,
		"MIST_FAIL_POINTS is set, and this build has no fail points (-Dfail_points)");
}

bool fail_points_list(FILE *to)
{
	(void)to;
	return false;
}

#else

enum { STEPS_MAX = 64, DELAY_MAX_MS = 60000, ERRNO_MAX = 200, EXIT_STATUS = 86 };

static const struct {
	const char *name;
	int err;
	const char *help;
} points[_FAIL_POINT_MAX] = {
#define FAIL_POINT(id, name, err, help) [FAIL_##id] = { name, err, help },
#include "base/fail_point_table.h"
#undef FAIL_POINT
};

enum action { ACTION_FAIL, ACTION_DELAY, ACTION_EXIT, ACTION_KILL };

struct step {
	enum fail_point point;
	enum action action;
	int value; /* errno, or milliseconds */
	unsigned from, to;
};

static struct step plan[STEPS_MAX];
static size_t n_steps;
static atomic_uint passed[_FAIL_POINT_MAX];

static int find_point(const char *name, size_t len)
{
	for (int i = 0; i < _FAIL_POINT_MAX; i++)
		if (strlen(points[i].name) == len && memcmp(points[i].name, name, len) == 0)
			return i;
	return -1;
}

/* 0: it is no errno's name. */
static int find_errno(const char *name, size_t len)
{
	for (int e = 1; e < ERRNO_MAX; e++) {
		const char *known = strerrorname_np(e);
		if (known && strlen(known) == len && memcmp(known, name, len) == 0)
			return e;
	}
	return 0;
}

/* A number from `least` to `most` at *text, which moves behind it; -1: there is none. */
static int take_number(const char **text, int least, int most)
{
	char *end;
	if (**text < '0' || **text > '9')
		return -1;
	errno = 0;
	long n = strtol(*text, &end, 10);
	*text = end;
	return errno || n < least || n > most ? -1 : (int)n;
}

/* `text` is one step, with nothing behind it. */
static int read_step(const char *text, struct step *ret, struct fault *f)
{
	size_t name_len = strcspn(text, ":"), action_len;
	int point = find_point(text, name_len);
	if (point < 0)
		return fault_set(f, FAULT_BAD_REQUEST,
			"MIST_FAIL_POINTS: %.*s is no fail point; see mistd --list-fail-points",
			(int)name_len, text);
	const char *action = text + name_len + (text[name_len] == ':');
	struct step s = { .point = point, .from = 1, .to = UINT32_MAX };
	action_len = strcspn(action, "@");
	const char *rest = action + action_len;
	if (action_len == 4 && memcmp(action, "exit", 4) == 0) {
		s.action = ACTION_EXIT;
	} else if (action_len == 4 && memcmp(action, "kill", 4) == 0) {
		s.action = ACTION_KILL;
	} else if (strncmp(action, "delay=", 6) == 0) {
		rest = action + 6;
		s.action = ACTION_DELAY;
		s.value = take_number(&rest, 0, DELAY_MAX_MS);
		if (s.value < 0 || (*rest && *rest != '@'))
			return fault_set(f, FAULT_BAD_REQUEST,
				"MIST_FAIL_POINTS: %s: expected delay=MILLISECONDS, at most %d",
				text, DELAY_MAX_MS);
	} else {
		s.value = find_errno(action, action_len);
		if (!s.value)
			return fault_set(f, FAULT_BAD_REQUEST,
				"MIST_FAIL_POINTS: %s: expected NAME:ACTION, an action being an "
				"errno's name, delay=MILLISECONDS, exit or kill",
				text);
		if (!points[point].err)
			return fault_set(f, FAULT_BAD_REQUEST,
				"MIST_FAIL_POINTS: %s: nothing can fail there; expected "
				"delay=MILLISECONDS, exit or kill",
				text);
	}
	if (*rest == '@') {
		rest++;
		int n = take_number(&rest, 1, INT32_MAX);
		if (n < 0 || strcmp(rest, *rest ? "+" : "") != 0)
			return fault_set(f, FAULT_BAD_REQUEST,
				"MIST_FAIL_POINTS: %s: expected @N or @N+, N from 1", text);
		s.from = (unsigned)n;
		s.to = *rest ? UINT32_MAX : s.from;
	}
	*ret = s;
	return 0;
}

int fail_points_read(const char *text, struct fault *f)
{
	n_steps = 0;
	for (int i = 0; i < _FAIL_POINT_MAX; i++)
		atomic_store(&passed[i], 0);
	_cleanup_(freep) char *copy = xstrdup(text ? text : "");
	for (char *rest = copy, *step; *copy && (step = strsep(&rest, ","));) {
		if (n_steps == STEPS_MAX)
			return fault_set(f, FAULT_BAD_REQUEST,
				"MIST_FAIL_POINTS: more than %d steps", STEPS_MAX);
		int r = read_step(step, &plan[n_steps], f);
		if (r < 0)
			return r;
		n_steps++;
	}
	return 0;
}

bool fail_points_list(FILE *to)
{
	for (int i = 0; i < _FAIL_POINT_MAX; i++)
		fprintf(to, "%-32s %-13s delay exit kill  %s\n", points[i].name,
			points[i].err ? strerrorname_np(points[i].err) : "-", points[i].help);
	return true;
}

static int take_step(const struct step *s, unsigned passage)
{
	const char *name = points[s->point].name;
	switch (s->action) {
	case ACTION_FAIL:
		log_warn("fail point %s: %s at passage %u", name, strerrorname_np(s->value),
			passage);
		return -s->value;
	case ACTION_DELAY:
		log_warn("fail point %s: %d ms at passage %u", name, s->value, passage);
		struct timespec left = { s->value / 1000, s->value % 1000 * 1000000L };
		while (nanosleep(&left, &left) < 0 && errno == EINTR)
			;
		return 0;
	case ACTION_EXIT:
		log_warn("fail point %s: the end at passage %u", name, passage);
		_exit(EXIT_STATUS);
	case ACTION_KILL:
		log_warn("fail point %s: killed at passage %u", name, passage);
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	}
	return 0;
}

int fail_point(enum fail_point p)
{
	if (!n_steps)
		return 0;
	unsigned passage = atomic_fetch_add(&passed[p], 1) + 1;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n_steps; i++)
		if (plan[i].point == p && passage >= plan[i].from && passage <= plan[i].to)
			r = take_step(&plan[i], passage);
	return r;
}

#endif
