/* SPDX-License-Identifier: Apache-2.0 */
/* mist apply: for every item what the gateway has is asked, compared, and changed if it differs.
 *
 * An artifact is compared by its SHA-1. A context that is posted gets from the context `default`
 * whatever its file does not say, so what is compared is the file over `default`. Of a function the
 * members that the file says are compared; one that the gateway does not tell is no difference.
 * Applying twice changes nothing. Each item is one line on stdout as soon as it is done; the first
 * that fails ends the command, and applying again goes on from there. Files are read whole before
 * the first question. */
#include "cli/apply.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "cli/artifacts.h"
#include "cli/http.h"

enum { BAD_REQUEST = 400, NOT_FOUND = 404, SHOWN_MAX = 60 };

enum action { UNCHANGED, CREATED, UPDATED };

static const char *const action_names[] = { "unchanged", "created", "updated" };
static const char *const would_names[] = { "unchanged", "would create", "would update" };

struct apply {
	struct cli *cli;
	bool is_dry;
	json_t *defaults; /* the context `default`; NULL until it is needed */
	json_t *report;   /* with --json */
};

static void print_value(const json_t *value)
{
	_cleanup_(freep) char *text = value ? json_text(value) : xstrdup("nothing");
	if (strlen(text) > SHOWN_MAX)
		printf("%.*s…", SHOWN_MAX, text);
	else
		fputs(text, stdout);
}

static void print_item(
	const struct apply *a, const struct item *item, enum action action, const json_t *changes)
{
	const char *word = (a->is_dry ? would_names : action_names)[action], *separator = ": ",
		   *key;
	json_t *change;
	printf("%-*s %-8s %s", a->is_dry ? 12 : 9, word, item_names[item->kind], item->name);
	json_object_foreach ((json_t *)changes, key, change) {
		printf("%s%s ", separator, key);
		print_value(json_object_get(change, "from"));
		fputs(" -> ", stdout);
		print_value(json_object_get(change, "to"));
		separator = ", ";
	}
	putchar('\n');
	fflush(stdout);
}

static void report(
	struct apply *a, const struct item *item, enum action action, const json_t *changes)
{
	if (!a->report) {
		print_item(a, item, action, changes);
		return;
	}
	json_t *line = json_pack("{s:s, s:s, s:s}", "kind", item_names[item->kind], "name",
		item->name, "action", action_names[action]);
	if (changes)
		json_object_set(line, "changes", (json_t *)changes);
	json_array_append_new(a->report, line);
}

/* What differs, member by member: {"maxJobs": {"from": 1, "to": 4}}. */
static json_t *compare(const json_t *wanted, const json_t *there)
{
	json_t *changes = json_object(), *value;
	const char *key;
	json_object_foreach ((json_t *)wanted, key, value) {
		json_t *old = json_object_get(there, key);
		if (old && !json_equal(old, value))
			json_object_set_new(
				changes, key, json_pack("{s:O, s:O}", "from", old, "to", value));
	}
	return changes;
}

/* The thing at the gateway; *ret NULL: it has none; null: a function that does not load. */
static int ask(struct apply *a, const struct item *item, json_t **ret)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path =
		path_of(item->kind == ITEM_CONTEXT ? "contexts" : "functions", item->name, NULL);
	*ret = NULL;
	int code = http_ask(a->cli, &(struct http_call){ .path = path }, &reply);
	if (code || reply.status == NOT_FOUND)
		return code;
	if (reply.status == BAD_REQUEST && item->kind == ITEM_FUNCTION) {
		*ret = json_null();
		return 0;
	}
	code = http_judge(&reply);
	if (code)
		return code;
	*ret = http_json(&reply);
	return *ret ? 0 : EXIT_GATEWAY;
}

static int send_fields(struct apply *a, const struct item *item, const char *method,
	const char *path, struct http_reply *reply)
{
	_cleanup_(json_decrefp) json_t *named = json_copy(item->fields);
	json_object_set_new(named, "name", json_string(item->name));
	_cleanup_(freep) char *body = json_text(named);
	return http_ask(a->cli,
		&(struct http_call){
			.method = method, .path = path, .body = body, .is_patient = true },
		reply);
}

static int apply_artifact(struct apply *a, const struct item *item)
{
	char here[SHA1_TEXT], there[SHA1_TEXT];
	int code = artifact_sha1_of_file(item->file, here);
	if (code == 0)
		code = artifact_sha1(a->cli, item->name, there);
	if (code)
		return code;
	bool is_same = strcasecmp(here, there) == 0;
	if (!is_same && !a->is_dry)
		code = artifact_send(a->cli, item->file, item->name, *there != '\0');
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *changes =
		*there && !is_same ? json_pack("{s:{s:s, s:s}}", "sha1", "from", there, "to", here)
				   : NULL;
	report(a, item, is_same ? UNCHANGED : *there ? UPDATED : CREATED, changes);
	return 0;
}

static int post_context(struct apply *a, const struct item *item)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = send_fields(a, item, "POST", "/v2/api/contexts", &reply);
	return code ? code : http_judge(&reply);
}

static bool is_exclusive(const json_t *context)
{
	const char *mode = json_string_value(json_object_get(context, "workerMode"));
	return mode && strcmp(mode, "exclusive") == 0;
}

static int apply_context(struct apply *a, const struct item *item)
{
	_cleanup_(json_decrefp) json_t *there = NULL, *wanted = NULL, *changes = NULL;
	int code = ask(a, item, &there);
	if (code == 0 && !a->defaults)
		code = http_get_json(a->cli, "/v2/api/contexts/default", &a->defaults);
	if (code)
		return code;
	if (there) {
		wanted = json_copy(a->defaults);
		json_object_del(wanted, "name");
		json_object_update(wanted, item->fields);
		if (!json_object_get(item->fields, "jobsPerWorker") && is_exclusive(wanted))
			json_object_set_new(wanted, "jobsPerWorker", json_integer(1));
		changes = compare(wanted, there);
	}
	bool is_same = there && json_object_size(changes) == 0;
	if (!is_same && !a->is_dry)
		code = post_context(a, item);
	if (code == 0)
		report(a, item, is_same ? UNCHANGED : there ? UPDATED : CREATED, changes);
	return code;
}

/* One whose artifact is missing looks as if it were not there, and cannot be posted: then it is
 * changed. What the gateway says to the first try is what counts. */
static int send_function(struct apply *a, const struct item *item, bool *is_there)
{
	static const char path[] = "/v2/api/functions";
	_cleanup_(http_reply_done) struct http_reply first = { 0 }, second = { 0 };
	int code = send_fields(a, item, *is_there ? "PUT" : "POST", path, &first);
	if (code || *is_there || first.status != BAD_REQUEST)
		return code ? code : http_judge(&first);
	code = send_fields(a, item, "PUT", path, &second);
	*is_there = code == 0 && second.status / 100 == 2;
	return code || *is_there ? code : http_judge(&first);
}

static int apply_function(struct apply *a, const struct item *item)
{
	_cleanup_(json_decrefp) json_t *there = NULL, *changes = NULL;
	int code = ask(a, item, &there);
	if (code)
		return code;
	bool is_there = there != NULL;
	if (json_is_object(there))
		changes = compare(item->fields, there);
	bool is_same = changes && json_object_size(changes) == 0;
	if (!is_same && !a->is_dry)
		code = send_function(a, item, &is_there);
	if (code == 0)
		report(a, item, is_same ? UNCHANGED : is_there ? UPDATED : CREATED, changes);
	return code;
}

static int apply_all(struct apply *a, const struct items *items)
{
	static int (*const appliers[_ITEM_MAX])(struct apply *,
		const struct item *) = { apply_artifact, apply_context, apply_function };
	for (size_t i = 0; i < items->n; i++) {
		const struct item *item = &items->list[i];
		int code = appliers[item->kind](a, item);
		if (code)
			return complain(code, "%s %s (%s) was not applied", item_names[item->kind],
				item->name, item->place);
	}
	return EXIT_FINE;
}

int apply_command(struct cli *cli, const struct args *args)
{
	_cleanup_(items_done) struct items items = { .prefix = args->prefix };
	struct apply a = { .cli = cli, .is_dry = args->is_dry };
	struct fault f;
	if (!args->file)
		return complain(EXIT_USAGE, "apply: say which file or folder, with -f");
	if (items.prefix && !*items.prefix)
		items.prefix = NULL;
	if (items_read(&items, args->file, &f) < 0)
		return complain(EXIT_USAGE, "%s", f.text);
	if (cli->is_json)
		a.report = json_array();
	int code = apply_all(&a, &items);
	if (a.report) {
		_cleanup_(freep) char *text = json_text(a.report);
		puts(text);
	}
	json_decref(a.report);
	json_decref(a.defaults);
	return code;
}
