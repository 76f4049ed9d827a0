# SPDX-License-Identifier: Apache-2.0
"""Nothing grows without a limit, and each limit is the one that is said."""
from mutate.edit import Edit

EDITS = [
    Edit("one job more than max-jobs runs", "src/core/scheduler.c",
         "lane->n_running < lane->context->settings.max_jobs &&", "lane->n_running <= lane->context->settings.max_jobs &&",
         "test-core-workers::max_jobs_holds_where_workers_have_room_for_more"),
    Edit("a queue takes one more than limits.queue", "src/core/intake.c",
         ">= (size_t)c->limits.queue_max)", "> (size_t)c->limits.queue_max)", "test-core::only_max_jobs_run_and_the_queue_is_limited"),
    Edit("the arguments of jobs have no limit together", "src/core/intake.c",
         "if (c->parameter_bytes + len >", "if (len >", "test-core-workers::arguments_of_requests_at_once_have_a_limit_too"),
    Edit("the arguments of one job have no limit", "src/core/intake.c",
         "if (len > (size_t)c->limits.queue_bytes_max)", "if (false)", "test-core-workers::arguments_that_never_have_room_are_too_large"),
    Edit("there may be more jobs than limits.jobs", "src/core/intake.c",
         "if (c->jobs.count >= (size_t)c->limits.jobs_max)", "if (false)", "test-core-intake::jobs_have_a_limit_over_all_contexts"),
    Edit("jobs are taken while too much waits for the disk", "src/core/intake.c",
         "if (store_backlog_bytes(c->store) >=", "if (false && store_backlog_bytes(c->store) >=",
         "test-core::no_job_is_taken_while_what_waits_for_the_disk_is_too_large"),
    Edit("workers are heard while too much waits for the disk", "src/core/workers.c",
         "store_backlog_bytes(c->store) > (size_t)c->limits.backlog_bytes_max;", "false;",
         "test-core-workers::what_waits_for_the_disk_holds_up_what_workers_say"),
    Edit("long arguments stay in memory", "src/core/parameters.c",
         "l->parameter_bytes > PARAMETERS_LONG || is_crowded", "is_crowded", "test-core-intake::long_arguments_leave_the_memory_when_the_disk_has_them"),
    Edit("any number may ask for the outcome of one job", "src/core/outbox.c",
         "if (a->n_listeners >= LISTENERS_MAX)", "if (false)", "test-outbox::so_many_may_ask_for_one_job"),
    Edit("idempotency keys pile up", "src/core/keys.c",
         "while (c->keys.count - c->n_places > (size_t)c->limits.keys_max)", "while (false)", "test-core-intake::of_the_keys_the_newest_are_kept"),
    Edit("the worker processes of all contexts have no limit", "src/core/scheduler.c",
         "return c->n_processes >= (uint64_t)c->limits.workers_max;", "return false;",
         "test-core-processes::an_idle_worker_makes_room_for_another_context"),
]
