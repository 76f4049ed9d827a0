/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway says. */
#pragma once

#include <stddef.h>

/* A ws_message_fn; the owner is the session. */
void receive_message(void *session, const char *text, size_t len);
