/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts: files that the gateway keeps. */
#pragma once

#include <stdbool.h>

#include "cli/cli.h"

int artifact_show(struct cli *cli, const char *name);
int artifact_get(struct cli *cli, const char *name, const char *file); /* file NULL: its name */
/* is_unchecked: functions of it need not load. */
int artifact_put(struct cli *cli, const char *file, bool is_unchecked);

enum { SHA1_TEXT = 41 };

/* The file's SHA-1 as 40 hexadecimal digits. 0, or an exit status, told. */
int artifact_sha1_of_file(const char *file, char ret[static SHA1_TEXT]);

/* The gateway's; "" when it has no such artifact. 0, or an exit status, told. */
int artifact_sha1(struct cli *cli, const char *name, char ret[static SHA1_TEXT]);
