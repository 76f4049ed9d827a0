/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about one job. */
#pragma once

#include "cli/cli.h"

int run_command(struct cli *cli, const struct args *args);
int submit_command(struct cli *cli, const struct args *args);
int logs_command(struct cli *cli, const struct args *args);
int cancel_command(struct cli *cli, const struct args *args);
int wait_command(struct cli *cli, const struct args *args);

/* Cancels it, and says what it is then. */
int cancel_job(struct cli *cli, const char *id);
