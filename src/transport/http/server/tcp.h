/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of a connection. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcp_counts {
	uint64_t received; /* bytes, since the connection began */
	uint64_t acked;    /* bytes that the other side has */
	int64_t quiet_ms;  /* since the last byte came */
	int unread;        /* bytes that came and were not read */
	int unacked;       /* bytes that were written and are not acked */
	bool has_ended;    /* the other side sends nothing more */
};

/* All zeroes of a socket that is none of TCP. */
void tcp_counts_read(int fd, struct tcp_counts *ret);
/* The same in one call of the system, without `unread` and `unacked`. */
void tcp_counts_glance(int fd, struct tcp_counts *ret);

/* After so many seconds without a byte the kernel asks the other side's whether it knows the
 * connection, and ends it if it does not. */
void tcp_keep_asking(int fd, int seconds);
