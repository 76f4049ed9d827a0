/* SPDX-License-Identifier: Apache-2.0 */
/* Is the head of a request one of HTTP/1.1 (RFC 9112), to whoever reads it? */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>

#include "base/fault.h"

/* What was seen of a head. */
struct head {
	bool is_http_1_1;
	unsigned n_hosts, n_lengths, n_encodings;
	const char *host; /* borrowed */
	size_t host_len;
	struct fault fault; /* the first thing that is wrong */
};

/* One field after the other; what the first finds wrong stays. */
void head_add(
	struct head *h, const char *name, size_t name_len, const char *value, size_t value_len);
/* After all of them: 0, or negative with h->fault set. */
int head_check(struct head *h);

/* All of it, as libmicrohttpd took it. The same. */
int head_read(struct head *h, struct MHD_Connection *mhd, const char *version);

/* The target as it was sent: "/a?b", "http://host/a?b", "*". Its authority, if it names one, goes
 * to *ret_authority (borrowed) and *ret_len, and where path and query begin is returned; NULL: it
 * is no target. */
const char *target_split(const char *uri, const char **ret_authority, size_t *ret_len);

/* How many parameters its query has. */
unsigned target_count_parameters(const char *uri);
