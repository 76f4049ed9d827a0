/* SPDX-License-Identifier: Apache-2.0 */
/* base/fail_point.h: a plan is obeyed to the letter, or refused. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fail_point.h"

TEST(no_plan_is_fine)
{
	struct fault f;
	check_int(fail_points_read(NULL, &f), 0);
	check_int(fail_points_read("", &f), 0);
	check_int(fail_point(FAIL_STORE_COMMIT), 0);
}

#ifdef MIST_HAS_FAIL_POINTS

TEST(a_point_fails_at_the_passages_that_were_named)
{
	struct fault f;
	check_int(fail_points_read("store.commit:EIO@2,store.log:ENOSPC@3+,store.begin:EROFS", &f),
		0);
	check_int(fail_point(FAIL_STORE_COMMIT), 0);
	check_int(fail_point(FAIL_STORE_COMMIT), -EIO);
	check_int(fail_point(FAIL_STORE_COMMIT), 0);
	check_int(fail_point(FAIL_STORE_LOG), 0);
	check_int(fail_point(FAIL_STORE_LOG), 0);
	check_int(fail_point(FAIL_STORE_LOG), -ENOSPC);
	check_int(fail_point(FAIL_STORE_LOG), -ENOSPC);
	check_int(fail_point(FAIL_STORE_BEGIN), -EROFS);
	check_int(fail_point(FAIL_STORE_JOB), 0);
	check_int(fail_points_read("", &f), 0);
}

TEST(a_point_waits)
{
	struct fault f;
	check_int(fail_points_read("store.committed:delay=30@1", &f), 0);
	int64_t before = clock_mono_ms();
	check_int(fail_point(FAIL_STORE_COMMITTED), 0);
	check(clock_mono_ms() - before >= 29);
	check_int(fail_points_read("", &f), 0);
}

TEST(what_cannot_be_is_refused_by_name)
{
	static const struct {
		const char *plan, *said;
	} cases[] = {
		{ "store.comit:EIO", "store.comit is no fail point" },
		{ "store.commit", "expected NAME:ACTION" },
		{ "store.commit:", "expected NAME:ACTION" },
		{ "store.commit:EBOGUS", "expected NAME:ACTION" },
		{ "store.commit:exits", "expected NAME:ACTION" },
		{ "store.committed:EIO", "nothing can fail there" },
		{ "store.commit:delay=", "expected delay=MILLISECONDS" },
		{ "store.commit:delay=9x", "expected delay=MILLISECONDS" },
		{ "store.commit:delay=-1", "expected delay=MILLISECONDS" },
		{ "store.commit:delay=60001", "expected delay=MILLISECONDS" },
		{ "store.commit:EIO@", "expected @N or @N+" },
		{ "store.commit:EIO@0", "expected @N or @N+" },
		{ "store.commit:EIO@1-", "expected @N or @N+" },
		{ "store.commit:EIO@99999999999", "expected @N or @N+" },
		{ "store.commit:EIO,", " is no fail point" },
		{ ",", " is no fail point" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fault f = { 0 };
		if (fail_points_read(cases[i].plan, &f) >= 0 || !strstr(f.text, cases[i].said))
			fail_msg("%s: %s", cases[i].plan, f.text);
	}
}

TEST(every_point_is_listed)
{
	char text[16 * 1024];
	FILE *to = fmemopen(text, sizeof text, "w");
	unsigned lines = 0;
	check(fail_points_list(to));
	fclose(to);
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	check_int(lines, _FAIL_POINT_MAX);
	check(strstr(text, "store.commit "));
}

RUN_TESTS(PROVES(no_plan_is_fine), PROVES(a_point_fails_at_the_passages_that_were_named),
	PROVES(a_point_waits), PROVES(what_cannot_be_is_refused_by_name),
	PROVES(every_point_is_listed))

#else

TEST(a_release_refuses_every_plan)
{
	struct fault f;
	check(fail_points_read("store.commit:EIO", &f) < 0);
	check(strstr(f.text, "no fail points"));
	check(!fail_points_list(stderr));
}

RUN_TESTS(PROVES(no_plan_is_fine), PROVES(a_release_refuses_every_plan))

#endif
