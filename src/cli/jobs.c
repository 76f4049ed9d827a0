/* SPDX-License-Identifier: Apache-2.0 */
/* run, submit, logs, cancel, wait.
 *
 * Where nobody looks on, `run` is one synchronous call: its answer is the job's outcome. Before a
 * person it submits, and follows the job's states and log until it ends, so that Ctrl-C can cancel
 * it: a synchronous call does not tell the job's id before its end. stdout has the result and
 * nothing else. */
#include "cli/jobs.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/follow.h"
#include "cli/http.h"
#include "cli/interrupt.h"
#include "cli/parameters.h"
#include "cli/table.h"

static int check_timeout(const struct args *args, int64_t *ret_ms)
{
	*ret_ms = DURATION_INF;
	if (!args->timeout || duration_parse(args->timeout, ret_ms) == 0)
		return 0;
	return complain(EXIT_USAGE, "--timeout: expected a duration such as 10s, 5 minutes or Inf");
}

/* POST …/functions/F/jobs; `is_sync` waits for the end. */
static int post_job(
	struct cli *cli, const struct args *args, bool is_sync, struct http_reply *reply)
{
	struct fault f;
	int64_t timeout_ms;
	if (!*args->words[0])
		return complain(EXIT_USAGE, "a function's name cannot be empty");
	int code = check_timeout(args, &timeout_ms);
	if (code)
		return code;
	_cleanup_(freep) char *body = parameters_read(args->words + 1, args->n_words - 1, &f);
	if (!body)
		return complain(EXIT_USAGE, "%s", f.text);
	char *path = path_of("functions", args->words[0], "jobs");
	path = path_query(path, "force", is_sync ? "true" : NULL);
	path = path_query(path, "context", args->context);
	path = path_query(path, "performTimeout", args->timeout);
	code = http_do(cli,
		&(struct http_call){
			.method = "POST", .path = path, .body = body, .is_patient = is_sync },
		reply);
	free(path);
	return code;
}

static int submit_job(struct cli *cli, const struct args *args, char **ret_id)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = post_job(cli, args, false, &reply);
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *answer = http_json(&reply);
	const char *id = json_is_object(answer) ? json_string_of(answer, "id") : NULL;
	if (!id)
		return complain(EXIT_GATEWAY, "the gateway's answer names no job");
	*ret_id = xstrdup(id);
	return 0;
}

static int run_unseen(struct cli *cli, const struct args *args)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = post_job(cli, args, true, &reply);
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *answer = http_json(&reply);
	if (!json_is_boolean(json_object_get(answer, "success")))
		return complain(EXIT_GATEWAY, "the gateway's answer is no result of a job");
	if (!json_is_true(json_object_get(answer, "success"))) {
		const char *error =
			json_string_value(json_array_get(json_object_get(answer, "errors"), 0));
		return complain(EXIT_JOB, "%s", error ? error : "the job failed");
	}
	size_t len = 0;
	const char *payload = json_member_text(reply.body.data, reply.body.len, "payload", &len);
	json_print(cli, payload ? payload : "null", payload ? len : 4);
	return EXIT_FINE;
}

/* It is this command's own job: nobody waits for it any more. */
static int give_up(struct cli *cli, const char *id)
{
	interrupt_forget();
	complain(EXIT_INTERRUPTED, "interrupted, cancelling job %s", id);
	cancel_job(cli, id);
	return EXIT_INTERRUPTED;
}

static int run_seen(struct cli *cli, const struct args *args)
{
	_cleanup_(freep) char *id = NULL;
	int code = submit_job(cli, args, &id);
	if (code)
		return code;
	fprintf(stderr, "job %s\n", id);
	struct follow follow = { .id = id, .log = stderr, .is_showing = true };
	code = follow_job(cli, &follow);
	if (code == EXIT_INTERRUPTED)
		return give_up(cli, id);
	return code ? code : follow_outcome(cli, id);
}

int run_command(struct cli *cli, const struct args *args)
{
	return cli->is_talked ? run_seen(cli, args) : run_unseen(cli, args);
}

int submit_command(struct cli *cli, const struct args *args)
{
	_cleanup_(freep) char *id = NULL;
	int code = submit_job(cli, args, &id);
	if (code)
		return code;
	printf(cli->is_json ? "{\"id\":\"%s\"}\n" : "%s\n", id);
	return EXIT_FINE;
}

int logs_command(struct cli *cli, const struct args *args)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	char *path = path_of("jobs", args->words[0], "logs");
	path = path_query(path, "level", args->level);
	path = path_query(path, "follow", args->is_following ? "true" : NULL);
	int code = http_do(cli,
		&(struct http_call){ .path = path, .to = stdout, .is_patient = args->is_following },
		&reply);
	free(path);
	return code;
}

int cancel_job(struct cli *cli, const char *id)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path = path_of("jobs", id, NULL);
	int code = http_do(cli, &(struct http_call){ .method = "DELETE", .path = path }, &reply);
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *job = http_json(&reply);
	const char *status = json_is_object(job) ? json_string_of(job, "status") : NULL;
	if (!status)
		return complain(EXIT_GATEWAY, "the gateway's answer is no job");
	fprintf(stderr, "job %s: %s\n", id, status);
	return EXIT_FINE;
}

int cancel_command(struct cli *cli, const struct args *args)
{
	return cancel_job(cli, args->words[0]);
}

int wait_command(struct cli *cli, const struct args *args)
{
	int64_t timeout_ms;
	int code = check_timeout(args, &timeout_ms);
	if (code)
		return code;
	struct follow follow = { .id = args->words[0], .is_showing = cli->is_talked };
	if (timeout_ms != DURATION_INF)
		follow.deadline_ms = clock_mono_ms() + timeout_ms;
	code = follow_job(cli, &follow);
	if (code == EXIT_INTERRUPTED)
		return complain(code, "interrupted, the job goes on");
	if (code == EXIT_TIME)
		return complain(code, "job %s is still %s", follow.id, follow.status);
	return code ? code : follow_outcome(cli, follow.id);
}
