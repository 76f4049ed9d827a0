# SPDX-License-Identifier: Apache-2.0
"""Limits of time come when they should, and times keep their instant and their zone."""
from mutate.edit import Edit

TYPES = "unit/python/test_types.py::test_a_value_of_python"
ENCODE = "unit/python/test_encode.py::test_a_value_becomes_json"
TEXTS = "src/runner/python/mist/texts.py"
SESSION = "unit/python/test_session.py"

EDITS = [
    Edit("a job that does not heed its cancel is left alone", "src/core/life.c",
         "timer_set(&c->timers, &l->timer, c->limits.cancel_grace_ms);", "(void)c;", "test-core::a_cancel_asks_the_worker_then_ends_it"),
    Edit("neighbours have no limit of time to end", "src/core/workers.c",
         "timer_set(&c->timers, &w->neighbour_timer, c->limits.neighbour_grace_ms);", "(void)c;",
         "test-core-workers::neighbours_that_do_not_finish_run_again_for_free"),
    Edit("a performTimeout counts from the queue on", "src/core/life.c",
         "timer_set(&l->core->timers, &l->timer, l->job->start_timeout_ms);", "timer_set(&l->core->timers, &l->timer, l->job->perform_timeout_ms);",
         "test-core-intake::a_start_timeout_is_for_what_waits"),
    Edit("what runs has no performTimeout", "src/core/life.c", ": l->job->perform_timeout_ms);", ": DURATION_INF);",
         "test-core-intake::a_perform_timeout_is_for_what_runs"),
    Edit("a startTimeout goes on when the job runs", "src/core/life.c", ": l->job->perform_timeout_ms);", ": l->job->start_timeout_ms);",
         "test-core-intake::a_start_timeout_is_for_what_waits"),
    Edit("a minute has a second too few", "src/base/clock.c", '"minutes" }, 60 * 1000 }', '"minutes" }, 59 * 1000 }',
         "test-clock::durations_are_read_in_every_unit"),
    Edit("a duration that cannot be added is taken", "src/base/clock.c", "|| ms > DURATION_MAX - unit)", ")",
         "test-clock::what_is_no_duration_is_refused"),
    Edit("a part of a millisecond is nothing", "src/base/clock.c", "(billionths * unit + 999999999) / 1000000000", "billionths * unit / 1000000000",
         "test-clock::durations_are_read_in_every_unit"),
    Edit("ids go back with the clock", "src/base/uuid.c", "if (now_ms > last_ms) {", "if (now_ms != last_ms) {",
         "test-uuid::ids_go_up_when_the_clock_goes_back"),
    Edit("ids begin anew with each process", "src/core/core.c", "must(uuid_go_on_from(&newest));", "(void)0;",
         "test-core-clock::what_comes_after_a_clock_that_ran_ahead_is_newer_all_the_same"),
    Edit("of ids of one millisecond none is the later", "src/base/uuid.c", "} else if (++counter > COUNTER_MAX) {", "} else if (counter > COUNTER_MAX) {",
         "test-uuid::ids_of_one_millisecond_go_up_and_run_into_the_next"),
    Edit("the pause before something is made anew does not grow", "src/transport/again.c",
         "a->pause_ms * 2 < AGAIN_MAX_MS ? a->pause_ms * 2 : AGAIN_MAX_MS;", "AGAIN_MIN_MS;", "test-again::test_pauses_grow_until_it_lasts"),
    Edit("a request without time left is run", "src/transport/mqtt/request.c", "expiry->value.integer4 == 0)", "false)",
         "test-mqtt-request::properties_are_checked"),
    Edit("a key is remembered for ever", "src/core/keys.c", "if (k->since_ms >= oldest)", "if (k)",
         "test-core-intake::a_key_is_kept_for_its_time"),
    Edit("microseconds are cut", TEXTS, 'return f"{ns // 1000:06d}" if ns % 1000 == 0', 'return f"{ns // 1000000:03d}" if ns % 1000 == 0', ENCODE),
    Edit("offsets west of UTC have the sign of those east of it", TEXTS, 'sign = "-" if minutes < 0 else "+"', 'sign = "+"', ENCODE),
    Edit("seconds of an old offset are cut and the instant moves", TEXTS, "minutes = -(-offset_s // 60)", "minutes = int(offset_s / 60)", TYPES),
    Edit("a time that clocks never showed gets a zone", TEXTS, "if at + offset_at(at) == s:", "if True:", TYPES),
    Edit("the second of two equal times of day is the first", f"src/runner/python/mist/results/encode.py", "    if value.fold:", "    if False:", TYPES),
    Edit("a negative span loses its sign", TEXTS, 'sign, amount = ("-", -amount) if amount < 0 else ("", amount)',
         'sign, amount = ("", -amount) if amount < 0 else ("", amount)', TYPES),
    Edit("a year before 1 has four digits like all", TEXTS, "if 0 <= year <= 9999 else", "if True else", TYPES),
    Edit("a worker leaves a silent gateway never", "src/runner/python/mist/session.py", "text = connection.recv(timeout=self._silence_s)",
         "text = connection.recv(timeout=None)", f"{SESSION}::test_a_silent_gateway_is_left_after_three_heartbeats"),
    Edit("a worker without a gateway lives on after the grace", "src/runner/python/mist/session.py",
         "if now - self._heard_at >= self._settings.grace:", "if False:", f"{SESSION}::test_without_a_gateway_the_worker_ends_after_the_grace"),
    Edit("a cancelled function is not interrupted", "src/runner/python/mist/jobs.py", "                job.interrupt()\n", "                pass\n",
         f"{SESSION}::test_cancel_stops_what_python_can_stop"),
    Edit("a core that stands still is not seen", "src/mistd/watchdog.c", "n_still = is_still ? n_still + 1 : 0;", "n_still = 0;",
         "faults/test_hangs.py::test_a_core_that_stands_still_is_seen_and_told_where"),
]
