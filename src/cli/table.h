/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed on stdout: tables for people, the gateway's JSON for programs. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "cli/cli.h"

/* CELL_TIME: milliseconds since 1970. CELL_LINE: the first line of a text. */
enum cell { CELL_PLAIN, CELL_TIME, CELL_LINE };

struct column {
	const char *head;
	const char *member; /* "initInfo.maxJobs": of the member's member; NULL: the row itself */
	enum cell kind;
	bool is_rare; /* left out where no row has it */
};

/* columns are ended by { 0 }. */
void table_print(const struct column *columns, const json_t *rows);

/* One line a member, members of members with a dot between. */
void fields_print(const json_t *object);

/* As it came; indented on a terminal. */
void json_print(const struct cli *cli, const char *text, size_t len);

/* True: the person wants a table. */
bool is_for_people(const struct cli *cli);
