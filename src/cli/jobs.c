/* SPDX-License-Identifier: Apache-2.0 */
/* run, submit, logs, cancel, wait.
 *
 * `run` submits, and follows the job until it ends, so that Ctrl-C, or whoever ends the script, can
 * cancel it: a synchronous call does not tell the job's id before its end. Before a person the
 * states and the log are shown. stdout has the result and nothing else.
 *
 * Arguments that the gateway refuses may be texts that look like JSON: then the function's
 * signature is asked for, and the call made once more. A refused call has made no job. */
#include "cli/jobs.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/follow.h"
#include "cli/http.h"
#include "cli/interrupt.h"
#include "cli/parameters.h"
#include "cli/signature.h"
#include "cli/table.h"

static int check_timeout(const struct args *args, int64_t *ret_ms)
{
	*ret_ms = DURATION_INF;
	if (!args->timeout || duration_parse(args->timeout, ret_ms) == 0)
		return 0;
	return complain(EXIT_USAGE, "--timeout: expected a duration such as 10s, 5 minutes or Inf");
}

static int check_options(const struct args *args)
{
	enum { PRIORITY_MAX = 100 };
	int64_t timeout_ms;
	char *end;
	if (!*args->words[0])
		return complain(EXIT_USAGE, "a function's name cannot be empty");
	if (args->priority) {
		long n = strtol(args->priority, &end, 10);
		if (end == args->priority || *end || n < -PRIORITY_MAX || n > PRIORITY_MAX)
			return complain(EXIT_USAGE,
				"--priority: expected an integer from -%d to %d", PRIORITY_MAX,
				PRIORITY_MAX);
	}
	for (const char *p = args->key; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return complain(EXIT_USAGE,
				"--idempotency-key: expected a text without control characters");
	if (args->key && !*args->key)
		return complain(EXIT_USAGE, "--idempotency-key: expected a text, got none");
	return check_timeout(args, &timeout_ms);
}

/* POST …/functions/F/jobs. */
static int post(
	struct cli *cli, const struct args *args, const char *body, struct http_reply *reply)
{
	char *path = path_of("functions", args->words[0], "jobs");
	path = path_query(path, "context", args->context);
	path = path_query(path, "performTimeout", args->timeout);
	path = path_query(path, "externalId", args->external_id);
	path = path_query(path, "priority", args->priority);
	int code = http_ask(cli,
		&(struct http_call){ .method = "POST",
			.path = path,
			.body = body,
			.key = args->key,
			.makes_job = true },
		reply);
	free(path);
	return code;
}

/* What the function takes; NULL: it is not known, and nobody is told why. */
static json_t *ask_signature(struct cli *cli, const char *function)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path = path_of("functions", function, NULL);
	if (http_ask(cli, &(struct http_call){ .path = path }, &reply) || http_code(&reply))
		return NULL;
	_cleanup_(json_decrefp) json_t *shown = http_json(&reply);
	return json_incref(json_object_get(shown, "execute"));
}

/* What the gateway says is wrong with arguments, a list, borrowed from the problem; or NULL. */
static const json_t *argument_errors(const json_t *problem)
{
	const json_t *errors = json_object_get(problem, "errors"),
		     *first = json_array_get(errors, 0);
	const char *kind = first ? json_string_of(first, "kind") : NULL;
	return kind && strcmp(kind, "argument") == 0 ? errors : NULL;
}

/* "a" or a part of it, "a.b" or "a[0]". */
static bool is_of_argument(const char *place, const char *name)
{
	size_t len = strlen(name);
	return strncmp(place, name, len) == 0 && strchr(".[", place[len]);
}

/* To whoever wrote JSON where the function takes a text. */
static void hint_at_quotes(
	const struct parameters *p, const json_t *execute, const struct http_reply *reply)
{
	struct fault f;
	const char *name;
	json_t *written, *error;
	size_t i;
	_cleanup_(json_decrefp) json_t *problem = http_problem(reply, &f);
	const json_t *errors = argument_errors(problem);
	json_object_foreach (p->bare, name, written) {
		bool is_wrong = false;
		if (!signature_takes_text(json_object_get(execute, name)))
			continue;
		json_array_foreach (errors, i, error) {
			const char *place = json_string_of(error, "name");
			is_wrong |= place && is_of_argument(place, name);
		}
		if (is_wrong)
			fprintf(stderr, "mist: %s=%s is JSON; as a text it is %s='\"%s\"'\n", name,
				json_string_value(written), name, json_string_value(written));
	}
}

/* Each argument that is wrong has a line. Any other refusal is told as it is. */
static int refused_arguments(const struct http_reply *reply)
{
	static const char type[] = "Invalid type: ";
	struct fault f;
	size_t i;
	json_t *error;
	_cleanup_(json_decrefp) json_t *problem = http_problem(reply, &f);
	const json_t *errors = argument_errors(problem);
	if (!errors)
		return http_judge(reply);
	json_array_foreach (errors, i, error) {
		const char *name = json_string_of(error, "name"),
			   *wrong = json_string_of(error, "error");
		if (wrong && strncmp(wrong, type, strlen(type)) == 0)
			wrong += strlen(type);
		complain(EXIT_REFUSED, "argument %s: %s", name ? name : "", wrong ? wrong : "");
	}
	return EXIT_REFUSED;
}

static int post_job(struct cli *cli, const struct args *args, struct http_reply *reply)
{
	enum { BAD_REQUEST = 400 };
	_cleanup_(parameters_done) struct parameters p = { 0 };
	_cleanup_(json_decrefp) json_t *execute = NULL;
	struct fault f;
	int code = check_options(args);
	if (code)
		return code;
	if (parameters_read(&p, args->words + 1, args->n_words - 1, &f) < 0)
		return complain(EXIT_USAGE, "%s", f.text);
	if (json_object_size(p.vast)) {
		execute = ask_signature(cli, args->words[0]);
		if (execute && parameters_check_vast(&p, execute, &f) < 0)
			return complain(EXIT_USAGE, "%s", f.text);
	}
	code = post(cli, args, p.text, reply);
	if (code == 0 && reply->status == BAD_REQUEST && json_object_size(p.bare)) {
		execute = execute ? execute : ask_signature(cli, args->words[0]);
		if (parameters_quote(&p, execute)) {
			http_reply_done(reply);
			code = post(cli, args, p.text, reply);
		}
	}
	if (code)
		return code;
	if (reply->status != BAD_REQUEST)
		return http_judge(reply);
	code = refused_arguments(reply);
	hint_at_quotes(&p, execute, reply);
	return code;
}

static int submit_job(struct cli *cli, const struct args *args, char **ret_id)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = post_job(cli, args, &reply);
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *answer = http_json(&reply);
	const char *id = json_is_object(answer) ? json_string_of(answer, "id") : NULL;
	if (!id)
		return complain(EXIT_GATEWAY, "the gateway's answer names no job");
	*ret_id = xstrdup(id);
	return 0;
}

/* It is this command's own job: nobody waits for it any more. */
static int give_up(struct cli *cli, const char *id)
{
	interrupt_forget();
	complain(EXIT_INTERRUPTED, "interrupted, cancelling job %s", id);
	cancel_job(cli, id);
	return EXIT_INTERRUPTED;
}

/* The job was accepted: what the gateway refuses now is not the job, and "refused" would have a
 * script start it a second time. */
static int as_not_known(int code)
{
	return code == EXIT_REFUSED ? EXIT_UNREACHABLE : code;
}

int run_command(struct cli *cli, const struct args *args)
{
	_cleanup_(freep) char *id = NULL;
	int code = submit_job(cli, args, &id);
	if (code)
		return code;
	if (cli->is_talked)
		fprintf(stderr, "job %s\n", id);
	struct follow follow = {
		.id = id, .log = cli->is_talked ? stderr : NULL, .is_showing = cli->is_talked
	};
	code = follow_job(cli, &follow);
	if (code == EXIT_INTERRUPTED)
		return give_up(cli, id);
	if (code)
		return follow_again(as_not_known(code), "wait", id);
	return as_not_known(follow_outcome(cli, id, args->timeout, cli->is_talked));
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
	const struct http_call call = {
		.path = path, .to = stdout, .is_patient = args->is_following
	};
	int code = args->is_following ? follow_ask(cli, &call, 0, &reply)
				      : http_ask(cli, &call, &reply);
	if (code == 0)
		code = http_conclude(cli, &call, &reply);
	else if (code == EXIT_INTERRUPTED && args->is_following)
		complain(code, "interrupted");
	free(path);
	return args->is_following ? follow_again(code, "logs -f", args->words[0]) : code;
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
	fprintf(stderr, "job %s: %s%s\n", id, status,
		strcmp(status, "cancelling") == 0
			? "; if it does not stop by itself it is ended, with its worker, after "
			  "limits.cancel-grace"
			: "");
	return strcmp(status, "finished") == 0 || strcmp(status, "failed") == 0 ? EXIT_JOB
										: EXIT_FINE;
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
		return complain(code, "job %s is still %s", follow.id,
			*follow.status ? follow.status : "not known: the gateway is too busy");
	if (code && *follow.status) /* it was there */
		return follow_again(code, "wait", follow.id);
	return code ? code : follow_outcome(cli, follow.id, NULL, false);
}
