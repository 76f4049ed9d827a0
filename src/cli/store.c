/* SPDX-License-Identifier: Apache-2.0 */
/* `mist store check | show ID | drop ID | drop all`: what the gateway could not read of what it has
 * kept. `check` is for scripts, too: its status says whether there is anything to see to. */
#include "cli/store.h"

#include <stdio.h>
#include <string.h>

#include "cli/http.h"
#include "cli/table.h"

#define UNREADABLE "/v2/api/store/unreadable"

enum { ROWS_PER_PAGE = 1000 };

static const struct column columns[] = {
	{ "ID", "id", CELL_PLAIN },
	{ "KIND", "kind", CELL_PLAIN },
	{ "KEY", "key", CELL_PLAIN },
	{ "FOUND", "time", CELL_TIME },
	{ "REASON", "reason", CELL_PLAIN },
	{ 0 },
};

/* Whether the store can write, and read all there is: the gateway says so when it is asked whether
 * it is ready. */
static int check_health(struct cli *cli)
{
	enum { UNAVAILABLE = 503 };
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = http_ask(cli, &(struct http_call){ .path = "/health/ready" }, &reply);
	if (code)
		return code;
	return reply.status == UNAVAILABLE ? http_judge(&reply) : EXIT_FINE;
}

/* All pages in one array; NULL: *ret_code says why. */
static json_t *read_rows(struct cli *cli, int *ret_code)
{
	_cleanup_(json_decrefp) json_t *all = json_array();
	json_int_t total;
	do {
		_cleanup_(json_decrefp) json_t *page = NULL;
		_cleanup_(freep) char *path = xasprintf(
			UNREADABLE "?limit=%d&offset=%zu", ROWS_PER_PAGE, json_array_size(all));
		*ret_code = http_get_json(cli, path, &page);
		if (*ret_code)
			return NULL;
		json_t *rows = json_object_get(page, "unreadable");
		if (json_array_size(rows) == 0)
			break;
		json_array_extend(all, rows);
		total = json_integer_value(json_object_get(page, "total"));
	} while ((json_int_t)json_array_size(all) < total);
	return TAKE_PTR(all);
}

static int check(struct cli *cli)
{
	int health = check_health(cli), code = EXIT_FINE;
	if (health == EXIT_UNREACHABLE || health == EXIT_INTERRUPTED)
		return health;
	_cleanup_(json_decrefp) json_t *rows = read_rows(cli, &code);
	if (!rows)
		return code;
	if (!is_for_people(cli)) {
		_cleanup_(freep) char *text = json_dumps(rows, JSON_COMPACT);
		json_print(cli, text, strlen(text));
	} else if (json_array_size(rows)) {
		table_print(columns, rows);
	}
	if (health)
		return health;
	return json_array_size(rows) ? EXIT_GATEWAY : EXIT_FINE;
}

static int show(struct cli *cli, const char *id)
{
	_cleanup_(freep) char *path = path_of("store/unreadable", id, NULL);
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = http_do(cli, &(struct http_call){ .path = path }, &reply);
	if (code)
		return code;
	_cleanup_(json_decrefp) json_t *json = http_json(&reply);
	if (!json)
		return EXIT_GATEWAY;
	if (is_for_people(cli))
		fields_print(json);
	else
		json_print(cli, reply.body.data, reply.body.len);
	return EXIT_FINE;
}

static int drop(struct cli *cli, const char *id)
{
	bool is_all = strcmp(id, "all") == 0;
	_cleanup_(freep) char *question = is_all ? xstrdup("forget all unreadable rows")
						 : xasprintf("forget unreadable row %s", id);
	int code = confirm(cli, question);
	if (code)
		return code;
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path = path_of("store/unreadable", is_all ? NULL : id, NULL);
	return http_do(cli, &(struct http_call){ .method = "DELETE", .path = path }, &reply);
}

int store_command(struct cli *cli, const struct args *args)
{
	const char *verb = args->words[0], *id = args->n_words > 1 ? args->words[1] : NULL;
	if (strcmp(verb, "check") == 0 && !id)
		return check(cli);
	if (strcmp(verb, "show") == 0 && id && *id)
		return show(cli, id);
	if (strcmp(verb, "drop") == 0 && id && *id)
		return drop(cli, id);
	return complain(EXIT_USAGE, "store: see mist store --help for what can follow it");
}
