/* SPDX-License-Identifier: Apache-2.0 */
/* Several functions and contexts, and the artifacts that functions are in, changed at once. */
#pragma once

#include "core/private.h"

/* Answers ASK_DEPLOY. */
void deployment_begin(struct core *c, struct ask *a);
