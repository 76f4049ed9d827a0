/* SPDX-License-Identifier: Apache-2.0 */
/* A list of networks, and the address of a client in one form. No state; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/fault.h"

/* IPv6; an IPv4 address as ::ffff:a.b.c.d. */
struct address_bytes {
	unsigned char b[16];
};

struct network {
	struct address_bytes address;
	unsigned bits; /* of 128 */
};

/* False: it is an address of no IP. */
bool address_read(const struct sockaddr *sa, struct address_bytes *ret);
bool address_is_v4(const struct address_bytes *a);

/* "127.0.0.0/8 ::1 10.0.0.7", with spaces or commas between. *ret is the caller's, *ret_n their
 * number. A negative number: the fault names the word that is none. */
int networks_read(const char *text, struct network **ret, size_t *ret_n, struct fault *f);
bool networks_have(const struct network *networks, size_t n, const struct address_bytes *a);
