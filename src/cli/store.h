/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway's store could not read. */
#pragma once

#include "cli/cli.h"

int store_command(struct cli *cli, const struct args *args);
