/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and contexts that the API makes, and the answers that show one of them. */
#pragma once

#include "core/private.h"

void edit_function(struct core *c, struct ask *a);
void edit_context(struct core *c, struct ask *a);

/* The answer and its tag. They take the reference to what is shown. */
void ask_show_function(struct ask *a, const struct function *f, json_t *shown);
void ask_show_context(struct ask *a, const struct context *context, json_t *shown);
