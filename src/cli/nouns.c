/* SPDX-License-Identifier: Apache-2.0 */
/* `mist NOUN [list | show NAME | delete NAME]` and `mist status`.
 *
 * A noun is a row: its address at the gateway, the columns of its list, what its deletion is
 * called. To people a list is a table and a thing its fields; to programs both are the JSON that
 * the gateway sent. Artifacts are files and can also be fetched and sent (artifacts.c), and workers
 * print. */
#include "cli/nouns.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/near.h"
#include "cli/artifacts.h"
#include "cli/http.h"
#include "cli/jobs.h"
#include "cli/table.h"

static const struct column function_columns[] = {
	{ "NAME", "name", CELL_PLAIN },
	{ "CONTEXT", "defaultContext", CELL_PLAIN },
	{ "PATH", "path", CELL_PLAIN },
	{ "CLASS NAME", "className", CELL_PLAIN },
	{ "ERROR", "error", CELL_LINE, .is_rare = true },
	{ 0 },
};

static const struct column context_columns[] = {
	{ "NAME", "name", CELL_PLAIN },
	{ "MODE", "workerMode", CELL_PLAIN },
	{ "JOBS", "maxJobs", CELL_PLAIN },
	{ "DOWNTIME", "downtime", CELL_PLAIN },
	{ "RUNTIME", "runtime", CELL_PLAIN },
	{ 0 },
};

static const struct column worker_columns[] = {
	{ "NAME", "name", CELL_PLAIN },
	{ "CONTEXT", "context", CELL_PLAIN },
	{ "JOBS", "jobs", CELL_PLAIN },
	{ "ADDRESS", "address", CELL_PLAIN },
	{ "SPARK UI", "sparkUi", CELL_PLAIN, .is_rare = true },
	{ 0 },
};

static const struct column job_columns[] = {
	{ "ID", "jobId", CELL_PLAIN },
	{ "FUNCTION", "function", CELL_PLAIN },
	{ "CONTEXT", "context", CELL_PLAIN },
	{ "STATUS", "status", CELL_PLAIN },
	{ "CREATED", "createTime", CELL_TIME },
	{ "ENDED", "endTime", CELL_TIME },
	{ "EXTERNAL ID", "externalId", CELL_PLAIN },
	{ 0 },
};

static const struct column artifact_columns[] = { { "NAME", NULL, CELL_PLAIN }, { 0 } };

static const struct noun {
	const char *plural, *one;
	const struct column *columns;
	const char *deletion; /* "delete function" */
} nouns[] = {
	{ "functions", "function", function_columns, "delete" },
	{ "contexts", "context", context_columns, "delete" },
	{ "workers", "worker", worker_columns, "stop" },
	{ "jobs", "job", job_columns, "cancel" },
	{ "artifacts", "artifact", artifact_columns, "delete" },
};

static const struct noun *noun_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(nouns); i++)
		if (strcmp(nouns[i].plural, name) == 0)
			return &nouns[i];
	return NULL;
}

static int print_answer(struct cli *cli, const char *path, const struct column *columns)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = http_do(cli, &(struct http_call){ .path = path }, &reply);
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *json = http_json(&reply);
	if (!json)
		return EXIT_GATEWAY;
	if (!is_for_people(cli))
		json_print(cli, reply.body.data, reply.body.len);
	else if (columns)
		table_print(columns, json);
	else
		fields_print(json);
	return EXIT_FINE;
}

/* "failed,cancelled" is status=failed&status=cancelled. */
static char *add_statuses(char *path, const char *list)
{
	while (list && *list) {
		size_t len = strcspn(list, ",");
		_cleanup_(freep) char *status = strndup(list, len);
		if (len)
			path = path_query(path, "status", status);
		list += len + (list[len] == ',');
	}
	return path;
}

static int list(struct cli *cli, const struct noun *noun, const struct args *args)
{
	char *path = path_of(noun->plural, NULL, NULL);
	path = path_query(path, "limit", args->limit);
	path = path_query(path, "offset", args->offset);
	path = path_query(path, "function", args->function);
	path = path_query(path, "context", args->context);
	path = path_query(path, "externalId", args->external_id);
	path = add_statuses(path, args->status);
	int code = print_answer(cli, path, noun->columns);
	free(path);
	return code;
}

static int show(struct cli *cli, const struct noun *noun, const char *name)
{
	if (noun->columns == artifact_columns)
		return artifact_show(cli, name);
	_cleanup_(freep) char *path = path_of(noun->plural, name, NULL);
	return print_answer(cli, path, NULL);
}

static int worker_output(struct cli *cli, const char *name, const struct args *args)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	char *path = path_of("workers", name, "output");
	path = path_query(path, "tail", args->tail);
	path = path_query(path, "follow", args->is_following ? "true" : NULL);
	int code = http_do(cli,
		&(struct http_call){ .path = path, .to = stdout, .is_patient = args->is_following },
		&reply);
	free(path);
	return code;
}

static int remove_one(
	struct cli *cli, const struct noun *noun, const char *name, const struct args *args)
{
	_cleanup_(freep) char *question = xasprintf("%s %s %s", noun->deletion, noun->one, name);
	int code = confirm(cli, question);
	if (code)
		return code;
	if (noun->columns == job_columns)
		return cancel_job(cli, name);
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path = path_query(
		path_of(noun->plural, name, NULL), "force", args->is_forced ? "true" : NULL);
	return http_do(cli, &(struct http_call){ .method = "DELETE", .path = path }, &reply);
}

/* Of the list, or of artifacts that are put or deleted. */
static bool has_lists_options(const struct args *args)
{
	return args->limit || args->offset || args->function || args->context ||
	       args->external_id || args->status;
}

static int check_options(const struct args *args, const char *verb)
{
	bool is_forced_here = strcmp(verb, "put") == 0 || strcmp(verb, "delete") == 0;
	if (strcmp(verb, "list") != 0 && has_lists_options(args))
		return complain(EXIT_USAGE,
			"%s %s: its options are those of list; see mist %s --help",
			args->command->name, verb, args->command->name);
	if ((args->is_following || args->tail) && strcmp(verb, "output") != 0)
		return complain(EXIT_USAGE, "%s %s: --follow and --tail are for output",
			args->command->name, verb);
	if (args->is_forced && !is_forced_here)
		return complain(EXIT_USAGE, "%s %s: --force is for put and delete",
			args->command->name, verb);
	return 0;
}

static int no_such_verb(const struct args *args)
{
	static const char *const verbs[] = { "list", "show", "output", "delete", "get", "put",
		NULL };
	char hint[NEAR_HINT];
	near_hint_of(args->words[0], verbs, hint);
	bool is_verb = *hint;
	for (size_t i = 0; verbs[i]; i++)
		is_verb |= strcmp(verbs[i], args->words[0]) == 0;
	if (!is_verb && args->n_words == 1) /* then it is a name */
		return complain(EXIT_USAGE,
			"%s: \"%s\" is no command; did you mean mist %s show %s?",
			args->command->name, args->words[0], args->command->name, args->words[0]);
	return complain(EXIT_USAGE, "%s: see mist %s --help for what can follow it%s",
		args->command->name, args->command->name, hint);
}

int noun_command(struct cli *cli, const struct args *args)
{
	const struct noun *noun = noun_find(args->command->name);
	const char *verb = args->n_words ? args->words[0] : "list";
	const char *name = args->n_words > 1 ? args->words[1] : NULL;
	bool is_artifact = noun->columns == artifact_columns;
	int code = check_options(args, verb);
	if (code)
		return code;
	if (name && !*name)
		return complain(EXIT_USAGE, "the name of a thing cannot be empty");
	if (strcmp(verb, "list") == 0 && !name)
		return list(cli, noun, args);
	if (is_artifact && name && strcmp(verb, "get") == 0)
		return artifact_get(cli, name, args->n_words > 2 ? args->words[2] : NULL);
	if (!name || args->n_words > 2)
		return no_such_verb(args);
	if (strcmp(verb, "show") == 0)
		return show(cli, noun, name);
	if (noun->columns == worker_columns && strcmp(verb, "output") == 0)
		return worker_output(cli, name, args);
	if (strcmp(verb, "delete") == 0)
		return remove_one(cli, noun, name, args);
	if (is_artifact && strcmp(verb, "put") == 0)
		return artifact_put(cli, name, args->is_forced);
	return no_such_verb(args);
}

/* Each with what there is to say of it: "up", "down: …". What is not known is left out. */
static void add_transports(struct cli *cli, json_t *status)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	struct fault f;
	json_t *one;
	size_t i;
	if (http_ask(cli, &(struct http_call){ .path = "/health/ready" }, &reply))
		return;
	_cleanup_(json_decrefp) json_t *ready = http_problem(&reply, &f);
	json_t *shown = json_object();
	json_array_foreach (json_object_get(ready, "transports"), i, one) {
		const char *name = json_string_of(one, "name"),
			   *detail = json_string_of(one, "detail");
		_cleanup_(freep) char *text = xasprintf("%s%s%s",
			json_is_true(json_object_get(one, "up")) ? "up" : "down",
			detail ? ": " : "", detail ? detail : "");
		if (name)
			json_object_set_new(shown, name, json_string(text));
	}
	json_object_set_new(status, "transports", shown);
}

int status_command(struct cli *cli, const struct args *args)
{
	/* Mist ran in a Java virtual machine, and its clients ask for these. */
	static const char *const of_virtual_machines[] = { "gc", "memory", "threads",
		"javaVersion" };
	_cleanup_(json_decrefp) json_t *status = NULL;
	(void)args;
	if (!is_for_people(cli))
		return print_answer(cli, "/v2/api/status", NULL);
	int code = http_get_json(cli, "/v2/api/status", &status);
	if (code)
		return code;
	for (size_t i = 0; i < ARRAY_SIZE(of_virtual_machines); i++)
		json_object_del(status, of_virtual_machines[i]);
	add_transports(cli, status);
	fields_print(status);
	return EXIT_FINE;
}
