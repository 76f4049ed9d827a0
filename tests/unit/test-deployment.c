/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody is told whose deployment or definition the disk did not take. */
#include "house.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "mist/transport.h"

static struct ask asked;
static bool is_answered;

static void answered(struct ask *a)
{
	(void)a;
	is_answered = true;
}

static bool was_answered(struct house *h)
{
	(void)h;
	return is_answered;
}

/* The fault says so. */
static void is_refused(struct house *h, enum fault_code code, const char *expected)
{
	is_answered = false;
	asked.answered = answered;
	check_int(intake_ask(core_intake(h->core, "test"), &asked), 0);
	await_true(h, was_answered);
	check_str(asked.fault.text, expected);
	check_int(asked.fault.code, code);
	check(!asked.text);
	ask_done(&asked);
}

/* Of the context `mine`, and of the file `artifact`; NULL: none. */
static void deployment(const char *artifact)
{
	asked = (struct ask){ .kind = ASK_DEPLOY,
		.body = json_pack("{s:[{s:s}]}", "contexts", "name", "mine") };
	if (!artifact)
		return;
	asked.staged = xcalloc(1, sizeof *asked.staged);
	asked.staged[0] =
		(struct staged_artifact){ xstrdup(artifact), xasprintf("%s.new", artifact) };
	asked.n_staged = 1;
}

static void context(void)
{
	asked = (struct ask){ .kind = ASK_CONTEXT_CREATE,
		.name = xstrdup("mine"),
		.body = json_pack("{s:s}", "name", "mine") };
}

static bool is_healthy(struct house *h)
{
	return store_health(h->store) == 0;
}

/* The next commit fails with that error; whatever failed before is forgotten. */
static void disk_fails(struct house *h, int error)
{
	house_commit = 0;
	await_true(h, is_healthy);
	house_commit = -error;
}

TEST(an_artifact_that_cannot_be_replaced_is_named)
{
	struct house *h = *state;
	_cleanup_(freep) char *path = xasprintf("%s/it.py", h->directory);
	_cleanup_(freep) char *staged = xasprintf("%s.new", path);
	must(mkdir(path, 0700) == 0);
	fclose(fopen(staged, "we"));
	deployment(path);
	is_refused(h, FAULT_CONFLICT,
		"nothing was changed: the artifact it.py cannot be replaced: Is a directory");
	check_int(store_health(h->store), 0);
}

TEST(a_staged_file_that_is_gone_may_be_there_the_next_time)
{
	struct house *h = *state;
	_cleanup_(freep) char *path = xasprintf("%s/it.py", h->directory);
	deployment(path);
	is_refused(h, FAULT_UNAVAILABLE,
		"nothing was changed: the artifact it.py cannot be replaced: No such file or "
		"directory");
}

TEST(a_disk_that_is_full_is_named)
{
	struct house *h = *state;
	disk_fails(h, ENOSPC);
	deployment(NULL);
	is_refused(h, FAULT_UNAVAILABLE,
		"nothing was changed: the store cannot write (No space left on device)");
	disk_fails(h, ENOSPC);
	context();
	is_refused(h, FAULT_UNAVAILABLE,
		"it was not kept: the store cannot write (No space left on device)");
}

TEST(what_a_disk_that_does_not_answer_has_not_begun_was_not_done)
{
	struct house *h = *state;
	disk_fails(h, ETIMEDOUT);
	deployment(NULL);
	is_refused(h, FAULT_UNAVAILABLE,
		"nothing was changed: the store cannot write (the disk does not answer)");
	disk_fails(h, ETIMEDOUT);
	context();
	is_refused(h, FAULT_UNAVAILABLE,
		"it was not kept: the store cannot write (the disk does not answer)");
}

TEST(of_what_a_disk_that_does_not_answer_has_begun_nobody_knows)
{
	struct house *h = *state;
	disk_fails(h, EINPROGRESS);
	deployment(NULL);
	is_refused(h, FAULT_UNAVAILABLE,
		"the disk does not answer: it is not known whether the deployment takes effect");
	disk_fails(h, EINPROGRESS);
	context();
	is_refused(h, FAULT_UNAVAILABLE,
		"the disk does not answer: it is not known whether it was kept");
	disk_fails(h, EINPROGRESS);
	submit(h, "{\"n\": 1}");
	json_t *event = await(h, "refused");
	check_str(json_string_of(event, "error"),
		"the disk does not answer: it is not known whether the job was accepted");
	json_decref(event);
}

#define IN_A_HOUSE(sentence) cmocka_unit_test_setup_teardown(sentence, house_up, house_down)

RUN_TESTS(IN_A_HOUSE(an_artifact_that_cannot_be_replaced_is_named),
	IN_A_HOUSE(a_staged_file_that_is_gone_may_be_there_the_next_time),
	IN_A_HOUSE(a_disk_that_is_full_is_named),
	IN_A_HOUSE(what_a_disk_that_does_not_answer_has_not_begun_was_not_done),
	IN_A_HOUSE(of_what_a_disk_that_does_not_answer_has_begun_nobody_knows))
