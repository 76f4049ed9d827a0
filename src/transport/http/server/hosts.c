/* SPDX-License-Identifier: Apache-2.0 */
/* Who a request is for.
 *
 * A page may come from a name whose owner points it at this machine a moment later (DNS rebinding):
 * then its requests are of the same origin to the browser, and only the name in Host tells that
 * they were never meant for this gateway. So Host has to be an address in digits, which nobody can
 * point elsewhere, localhost, a name of this machine, or one that http.hosts lists.
 *
 * The machine's full name comes from the resolver, which may wait for a server that is not there:
 * it is asked on a thread of its own, that nobody waits for. Until it answers the short name is all
 * there is. */
#include "transport/http/server/hosts.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { NAME_MAX_LEN = 255 };

struct hosts {
	_Atomic int refs; /* the owner, and the thread that asks */
	char *own, *listed;
	char name[NAME_MAX_LEN + 1];
	_Atomic(char *) full_name; /* NULL: not known (yet) */
};

void hosts_free(struct hosts *h)
{
	if (!h || atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	free(h->own);
	free(h->listed);
	free(atomic_load(&h->full_name));
	free(h);
}

static void *ask_full_name(void *arg)
{
	struct hosts *h = arg;
	const struct addrinfo hints = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	if (getaddrinfo(h->name, NULL, &hints, &list) == 0) {
		if (list->ai_canonname)
			atomic_store(&h->full_name, xstrdup(list->ai_canonname));
		freeaddrinfo(list);
	}
	hosts_free(h);
	return NULL;
}

struct hosts *hosts_new(const char *own, const char *listed)
{
	struct hosts *h = xcalloc(1, sizeof *h);
	pthread_t thread;
	h->own = xstrdup(own);
	h->listed = xstrdup(listed);
	if (gethostname(h->name, NAME_MAX_LEN) < 0)
		h->name[0] = '\0';
	atomic_init(&h->refs, 2);
	if (h->name[0] && pthread_create(&thread, NULL, ask_full_name, h) == 0)
		pthread_detach(thread);
	else
		atomic_store(&h->refs, 1);
	return h;
}

static bool is_name(const char *name, size_t len, const char *other)
{
	return other && other[0] && strlen(other) == len && strncasecmp(name, other, len) == 0;
}

static bool is_listed(const char *list, const char *name, size_t len)
{
	for (const char *p = list; *p; p += strcspn(p, ", ")) {
		p += strspn(p, ", ");
		size_t n = strcspn(p, ", ");
		if (n == 1 && *p == '*')
			return true;
		if (n > 2 && p[0] == '*' && p[1] == '.' && len > n - 1 &&
			strncasecmp(name + len - (n - 1), p + 1, n - 1) == 0)
			return true;
		if (n && n == len && strncasecmp(p, name, n) == 0)
			return true;
	}
	return false;
}

static bool is_address(int family, const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN];
	unsigned char address[sizeof(struct in6_addr)];
	if (len >= sizeof copy)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return inet_pton(family, copy, address) == 1;
}

static bool is_port(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return len <= 5;
}

static bool is_made_of(const char *text, size_t len, const char *more)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
			    (c && strchr(more, c))))
			return false;
	}
	return len > 0;
}

static enum host_verdict judge_brackets(const char *text, size_t len)
{
	const char *end = memchr(text, ']', len);
	if (!end)
		return HOST_MALFORMED;
	size_t rest = text + len - (end + 1);
	if (rest && (end[1] != ':' || !is_port(end + 2, rest - 1)))
		return HOST_MALFORMED;
	const char *zone = memchr(text, '%', end - text);
	const char *last = zone ? zone : end;
	return is_address(AF_INET6, text + 1, last - (text + 1)) ? HOST_GOOD : HOST_MALFORMED;
}

enum host_verdict hosts_judge(const struct hosts *h, const char *authority, size_t len)
{
	if (len && authority[0] == '[')
		return judge_brackets(authority, len);
	const char *colon = memchr(authority, ':', len);
	size_t n = colon ? (size_t)(colon - authority) : len;
	if ((colon && !is_port(colon + 1, len - n - 1)) || !is_made_of(authority, n, "-._") ||
		n > NAME_MAX_LEN)
		return HOST_MALFORMED;
	if (n > 1 && authority[n - 1] == '.')
		n--;
	if (is_address(AF_INET, authority, n) || is_name(authority, n, "localhost") ||
		is_name(authority, n, h->own) || is_name(authority, n, h->name) ||
		is_name(authority, n, atomic_load(&((struct hosts *)h)->full_name)) ||
		is_listed(h->listed, authority, n))
		return HOST_GOOD;
	return HOST_FOREIGN;
}
