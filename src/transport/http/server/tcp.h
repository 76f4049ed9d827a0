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

/* Of a socket that is going to listen: keeps the segments of its connections short, both ways.
 *
 * Between two programs of one machine a segment may be as long as half of the reader's window. A
 * reader that let bytes lie until its window was closed, and then reads on, may first offer less
 * than one segment, and say nothing of the rest, since the window is not going to be twice as wide.
 * The kernel sends no part of a segment: it waits for its next probe of the window, and each comes
 * twice as late as the one before, up to two minutes. Until then the reader gets nothing, not even
 * signs of life. On a network segments are short anyway. */
void tcp_limit_segments(int fd);
