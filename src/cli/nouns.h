/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the things a gateway has. */
#pragma once

#include "cli/cli.h"

int noun_command(struct cli *cli, const struct args *args); /* the command's name is the noun */
int status_command(struct cli *cli, const struct args *args);
