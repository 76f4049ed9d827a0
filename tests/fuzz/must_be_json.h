/* SPDX-License-Identifier: Apache-2.0 */
/* What every harness demands of texts that leave the gateway. */
#pragma once

#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"

/* Its grammar: a number that no reader here could hold is passed on as it came. */
static inline void must_be_json(const char *text, size_t len)
{
	bool is_text = json_is_text(text, len, 2048);
	if (!is_text)
		fprintf(stderr, "%.*s\n", (int)len, text);
	must(is_text);
}
