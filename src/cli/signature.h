/* SPDX-License-Identifier: Apache-2.0 */
/* What a function takes, as the gateway's member `execute` says it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* "(n: int, tags: list[string]?)"; the caller frees it. */
char *signature_text(const json_t *execute);

/* A parameter of that type takes a text, and nothing else that is written without quotes. */
bool signature_takes_text_only(const json_t *type);
/* One that takes a text, though perhaps not each: a day, one of some words. */
bool signature_takes_text(const json_t *type);
