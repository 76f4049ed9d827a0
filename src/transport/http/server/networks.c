/* SPDX-License-Identifier: Apache-2.0 */
/* Networks as people write them: an address, and behind a '/' how many of its bits count. */
#include "transport/http/server/networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { V4_AT = 12, V4_BITS = 96, WORD_MAX = 64 };

static const unsigned char v4_mapped[V4_AT] = { [10] = 0xff, [11] = 0xff };

static void put_v4(const void *four, struct address_bytes *ret)
{
	memcpy(ret->b, v4_mapped, sizeof v4_mapped);
	memcpy(ret->b + V4_AT, four, sizeof ret->b - V4_AT);
}

bool address_read(const struct sockaddr *sa, struct address_bytes *ret)
{
	if (sa && sa->sa_family == AF_INET)
		put_v4(&((const struct sockaddr_in *)(const void *)sa)->sin_addr, ret);
	else if (sa && sa->sa_family == AF_INET6)
		memcpy(ret->b, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
			sizeof ret->b);
	else
		return false;
	return true;
}

bool address_is_v4(const struct address_bytes *a)
{
	return memcmp(a->b, v4_mapped, sizeof v4_mapped) == 0;
}

static bool network_read(char *word, struct network *ret)
{
	unsigned char four[4];
	unsigned most = 128;
	char *slash = strchr(word, '/'), *end = NULL;
	if (slash)
		*slash++ = '\0';
	if (inet_pton(AF_INET, word, four) == 1) {
		put_v4(four, &ret->address);
		most = 32;
	} else if (inet_pton(AF_INET6, word, ret->address.b) != 1) {
		return false;
	}
	unsigned long bits = most;
	if (slash) {
		if (*slash < '0' || *slash > '9')
			return false;
		bits = strtoul(slash, &end, 10);
		if (*end || bits > most)
			return false;
	}
	ret->bits = (unsigned)bits + (most == 32 ? V4_BITS : 0);
	return true;
}

int networks_read(const char *text, struct network **ret, size_t *ret_n, struct fault *f)
{
	static const char between[] = ", \t\n";
	_cleanup_(freep) struct network *list = NULL;
	size_t n = 0;
	for (const char *p = text + strspn(text, between); *p; p += strspn(p, between)) {
		char word[WORD_MAX];
		size_t len = strcspn(p, between);
		int r = len < sizeof word ? 0 : -1;
		list = xrealloc(list, (n + 1) * sizeof *list);
		if (r == 0) {
			memcpy(word, p, len);
			word[len] = '\0';
			r = network_read(word, &list[n]) ? 0 : -1;
		}
		if (r < 0)
			return fault_set(f, FAULT_BAD_REQUEST,
				"%.*s is no network: expected an address, or one with the number "
				"of its bits, as 10.0.0.0/8 or fd00::/64",
				(int)(len < WORD_MAX ? len : WORD_MAX), p);
		n++;
		p += len;
	}
	*ret = TAKE_PTR(list);
	*ret_n = n;
	return 0;
}

bool networks_have(const struct network *networks, size_t n, const struct address_bytes *a)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char *b = networks[i].address.b;
		unsigned whole = networks[i].bits / 8, rest = networks[i].bits % 8;
		if (memcmp(a->b, b, whole) == 0 &&
			(!rest || (a->b[whole] ^ b[whole]) >> (8 - rest) == 0))
			return true;
	}
	return false;
}
