/* SPDX-License-Identifier: Apache-2.0 */
/* mist apply: what files say becomes one deployment, which the gateway makes whole or not at all.
 *
 * Files are read whole before the first question. An artifact whose SHA-1 the gateway has already
 * is not sent. The gateway loads every function before it changes anything, and answers what was
 * there and what is there now; the difference is what is printed, a line for each thing. Applying
 * twice changes nothing.
 *
 * What would be replaced is asked for first (a dry run), so that somebody can say no; what is only
 * new needs no question. */
#include "cli/apply.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text/plural.h"
#include "cli/artifacts.h"
#include "cli/http.h"
#include "cli/signature.h"

enum { SHOWN_MAX = 60, SIGNATURE_MAX = 400 };

static const char *const lists[_ITEM_MAX] = { "artifacts", "contexts", "functions" };

struct apply {
	struct cli *cli;
	struct items items;
	json_t *answer; /* the gateway's last */
	json_t *report; /* with --json */
};

static void print_text(const char *text, size_t max)
{
	printf(strlen(text) > max ? "%.*s…" : "%.*s", (int)max, text);
}

static void print_value(const char *key, const json_t *value)
{
	bool is_signature = strcmp(key, "execute") == 0 && value;
	_cleanup_(freep) char *text = is_signature ? signature_text(value)
				      : value      ? json_text(value)
						   : xstrdup("nothing");
	print_text(text, is_signature ? SIGNATURE_MAX : SHOWN_MAX);
}

static void print_change(enum item_kind kind, const char *name, const char *action, bool is_dry,
	const json_t *changes)
{
	const char *separator = ": ", *key;
	json_t *change;
	bool is_would = is_dry && strcmp(action, "unchanged") != 0;
	_cleanup_(freep) char *word = !is_would ? xstrdup(action)
						: xasprintf("would %.*s", (int)strlen(action) - 1,
							  action); /* "created" */
	printf("%-*s %-8s %s", is_dry ? 12 : 9, word, item_names[kind], name);
	json_object_foreach ((json_t *)changes, key, change) {
		printf("%s%s ", separator, strcmp(key, "execute") == 0 ? "signature" : key);
		print_value(key, json_object_get(change, "from"));
		fputs(" -> ", stdout);
		print_value(key, json_object_get(change, "to"));
		separator = ", ";
	}
	putchar('\n');
}

static void report(struct apply *a, enum item_kind kind, const char *name, const char *action,
	bool is_dry, const json_t *changes)
{
	if (!a->report) {
		print_change(kind, name, action, is_dry, changes);
		return;
	}
	json_t *line = json_pack(
		"{s:s, s:s, s:s}", "kind", item_names[kind], "name", name, "action", action);
	if (json_object_size(changes))
		json_object_set(line, "changes", (json_t *)changes);
	json_array_append_new(a->report, line);
}

static void add_change(json_t *changes, const char *key, json_t *from, json_t *to)
{
	json_object_set_new(changes, key,
		json_pack("{s:O, s:O}", "from", from ? from : json_null(), "to",
			to ? to : json_null()));
}

/* What differs, member by member: {"maxJobs": {"from": 1, "to": 4}}. */
static json_t *compare(const json_t *thing)
{
	json_t *changes = json_object(), *before = json_object_get(thing, "before"),
	       *after = json_object_get(thing, "after"), *value;
	const char *key;
	if (!before)
		return changes;
	json_object_foreach (after, key, value)
		if (!json_equal(json_object_get(before, key), value))
			add_change(changes, key, json_object_get(before, key), value);
	json_object_foreach (before, key, value)
		if (!json_object_get(after, key))
			add_change(changes, key, value, NULL);
	json_object_del(changes, "size"); /* of an artifact: the digest says it */
	return changes;
}

static const json_t *thing_find(const json_t *answer, const char *list, const char *name)
{
	json_t *thing;
	size_t i;
	json_array_foreach (json_object_get(answer, list), i, thing)
		if (strcmp(json_string_of(thing, "name") ? json_string_of(thing, "name") : "",
			    name) == 0)
			return thing;
	return NULL;
}

static const char *action_of(const json_t *thing)
{
	const char *action = thing ? json_string_of(thing, "action") : NULL;
	return action && *action ? action : "unchanged";
}

static void report_thing(
	struct apply *a, enum item_kind kind, const char *name, const json_t *thing, bool is_dry)
{
	_cleanup_(json_decrefp) json_t *changes = thing ? compare(thing) : NULL;
	report(a, kind, name, action_of(thing), is_dry, changes);
}

/* A line for each item, then for the functions that change with their artifact. */
static void report_all(struct apply *a, bool is_dry)
{
	json_t *thing;
	size_t i;
	for (i = 0; i < a->items.n; i++) {
		const struct item *item = &a->items.list[i];
		report_thing(a, item->kind, item->name,
			thing_find(a->answer, lists[item->kind], item->name), is_dry);
	}
	json_array_foreach (json_object_get(a->answer, "functions"), i, thing)
		if (json_is_false(json_object_get(thing, "named")) &&
			strcmp(action_of(thing), "unchanged") != 0 && json_string_of(thing, "name"))
			report_thing(
				a, ITEM_FUNCTION, json_string_of(thing, "name"), thing, is_dry);
}

/* How many things of the answer are replaced, changed; or anything at all. */
static size_t count_actions(const struct apply *a, const char *action)
{
	size_t n = 0, i;
	json_t *thing;
	for (int kind = 0; kind < _ITEM_MAX; kind++)
		json_array_foreach (json_object_get(a->answer, lists[kind]), i, thing)
			n += strcmp(action_of(thing), action) == 0;
	return n;
}

static char *document_of(const struct apply *a)
{
	_cleanup_(json_decrefp) json_t *contexts = json_array(), *functions = json_array();
	for (size_t i = 0; i < a->items.n; i++) {
		const struct item *item = &a->items.list[i];
		if (item->kind == ITEM_ARTIFACT)
			continue;
		json_t *named = json_copy(item->fields);
		json_object_set_new(named, "name", json_string(item->name));
		json_array_append_new(item->kind == ITEM_CONTEXT ? contexts : functions, named);
	}
	_cleanup_(json_decrefp) json_t *document =
		json_pack("{s:O, s:O}", "contexts", contexts, "functions", functions);
	return json_text(document);
}

static const char *place_of_item(const struct apply *a, const json_t *error)
{
	const char *kind = json_string_of(error, "kind"), *name = json_string_of(error, "name");
	for (size_t i = 0; kind && name && i < a->items.n; i++)
		if (strcmp(item_names[a->items.list[i].kind], kind) == 0 &&
			strcmp(a->items.list[i].name, name) == 0)
			return a->items.list[i].place;
	return NULL;
}

/* A function's context has another name in files than over HTTP. The caller frees it. */
static char *as_in_files(const char *error)
{
	static const char there[] = ": defaultContext: ";
	const char *at = strstr(error, there);
	return at ? xasprintf("%.*s: context: %s", (int)(at - error), error, at + strlen(there))
		  : xstrdup(error);
}

/* Each thing that is wrong, with the place of the file that says it. */
static int refused(const struct apply *a, const struct http_reply *reply)
{
	struct fault f;
	json_t *error;
	size_t i;
	_cleanup_(json_decrefp) json_t *problem = http_problem(reply, &f);
	const json_t *errors = json_object_get(problem, "errors");
	int code = http_code(reply);
	if (!json_array_size(errors))
		code = http_judge(reply);
	json_array_foreach (errors, i, error) {
		const char *place = place_of_item(a, error), *told = json_string_of(error, "error");
		_cleanup_(freep) char *text = as_in_files(told ? told : "");
		complain(code, "%s%s%s%s", place ? place : "", place ? ": " : "", text,
			place ? "" : " (its artifact would be replaced)");
	}
	return complain(code, "nothing was applied");
}

/* Replaces a->answer. */
static int deploy(struct apply *a, bool is_dry)
{
	_cleanup_(freep) char *document = document_of(a);
	struct http_part *parts = xcalloc(a->items.n + 1, sizeof *parts);
	size_t n = 0;
	parts[n++] = (struct http_part){
		.name = "deployment", .text = document, .type = "application/json"
	};
	for (size_t i = 0; i < a->items.n; i++) {
		const struct item *item = &a->items.list[i];
		if (item->kind == ITEM_ARTIFACT && !item->is_same)
			parts[n++] = (struct http_part){
				.name = "file", .file = item->file, .filename = item->name
			};
	}
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = http_ask(a->cli,
		&(struct http_call){ .method = "POST",
			.path = is_dry ? "/v2/api/deployments?dryRun=true" : "/v2/api/deployments",
			.parts = parts,
			.n_parts = n },
		&reply);
	free(parts);
	if (code)
		return code;
	if (http_code(&reply))
		return refused(a, &reply);
	json_decref(a->answer);
	a->answer = http_json(&reply);
	return a->answer ? 0 : EXIT_GATEWAY;
}

static int compare_artifacts(struct apply *a)
{
	for (size_t i = 0; i < a->items.n; i++) {
		struct item *item = &a->items.list[i];
		char here[SHA1_TEXT], there[SHA1_TEXT];
		if (item->kind != ITEM_ARTIFACT)
			continue;
		int code = artifact_sha1_of_file(item->file, here);
		if (code == 0)
			code = artifact_sha1(a->cli, item->name, there);
		if (code)
			return complain(code, "%s: artifact %s; nothing was applied", item->place,
				item->name);
		item->is_same = strcasecmp(here, there) == 0;
	}
	return 0;
}

/* 0: go on; the answer is that of a dry run. */
static int may_replace(struct apply *a)
{
	size_t n = count_actions(a, "updated");
	if (!n)
		return 0;
	_cleanup_(freep) char *question = xasprintf("change %zu thing%s", n, plural(n));
	if (!a->report)
		report_all(a, true);
	fflush(stdout);
	return confirm(a->cli, question);
}

static int apply_all(struct apply *a, bool is_dry)
{
	bool is_asked = !is_dry && !a->cli->is_yes;
	int code = compare_artifacts(a);
	if (code == 0)
		code = deploy(a, is_dry || is_asked);
	if (code == 0 && is_asked)
		code = may_replace(a);
	if (code == 0 && is_asked && count_actions(a, "updated") + count_actions(a, "created"))
		code = deploy(a, false);
	if (code == 0)
		report_all(a, is_dry);
	return code;
}

/* Each has a line. */
static int tell_wrong(const struct items *items)
{
	for (char *line = items->wrong.data, *end; line && *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		complain(EXIT_USAGE, "%s", line);
	}
	return EXIT_USAGE;
}

int apply_command(struct cli *cli, const struct args *args)
{
	struct apply a = { .cli = cli, .items.prefix = args->prefix };
	if (!args->file)
		return complain(EXIT_USAGE, "apply: say which file or folder, with -f");
	if (a.items.prefix && !*a.items.prefix)
		a.items.prefix = NULL;
	int code = items_read(&a.items, args->file);
	if (code < 0)
		code = tell_wrong(&a.items);
	if (cli->is_json)
		a.report = json_array();
	if (code == 0)
		code = apply_all(&a, args->is_dry);
	if (a.report && code == 0) {
		_cleanup_(freep) char *text = json_text(a.report);
		puts(text);
	}
	json_decref(a.report);
	json_decref(a.answer);
	items_done(&a.items);
	return code;
}
