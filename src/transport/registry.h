/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of adapters. */
#pragma once

#include "mist/transport.h"

/* NULL-ended. */
extern const struct transport_ops *const transports[];

/* By its scheme; NULL: there is none. */
const struct transport_ops *transport_find(const char *scheme);

/* Allocates an instance and opens it; env's `self` is filled in, its `name` copied. The fault is
 * the adapter's. */
int transport_open(struct transport **ret, const struct transport_ops *ops, const void *settings,
	const struct transport_env *env, struct fault *f);
void transport_close(
	struct transport *t); /* after stop, or when it was never started; NULL is fine */
