/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed on stdout: tables for people, the gateway's JSON for programs. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "cli/cli.h"

enum cell { CELL_PLAIN, CELL_TIME }; /* CELL_TIME: milliseconds since 1970 */

struct column {
	const char *head;
	const char *member; /* "initInfo.maxJobs": of the member's member; NULL: the row itself */
	enum cell kind;
};

/* columns are ended by { 0 }. */
void table_print(const struct column *columns, const json_t *rows);

/* One line a member, members of members with a dot between. */
void fields_print(const json_t *object);

/* As it came; indented on a terminal. */
void json_print(const struct cli *cli, const char *text, size_t len);

/* True: the person wants a table. */
bool is_for_people(const struct cli *cli);
