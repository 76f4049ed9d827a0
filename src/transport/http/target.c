/* SPDX-License-Identifier: Apache-2.0 */
/* The target of a request: path and query, as they were sent and before anybody acts on them.
 *
 * libmicrohttpd decodes a path as one text. There an encoded slash becomes a border between
 * segments, and an encoded NUL cuts off what comes after it: another resource than the client
 * named. So the path is decoded here, from its raw form, and these become what no name has: the NUL
 * a byte that is not UTF-8, the slash a character for private use, which sentences show as a slash.
 *
 * Of parameters there is one rule for all routes, whose rows name theirs: one that is not known,
 * comes twice, has no value, has a NUL or is not UTF-8 is refused before any handler reads it.
 * On libmicrohttpd's threads. */
#include "transport/http/request.h"

#include <string.h>

#include "base/utf8.h"
#include "transport/http/target.h"

enum { SEEN_MAX = 16 };
#define IN_NO_NAME '\xff'
#define SLASH      "\xee\x80\xaf" /* U+E02F; as long as what it stands for, "%2F" */

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c ? strchr(digits, c | 0x20) : NULL;
	return found ? (int)(found - digits) : -1;
}

char *target_path(const char *uri)
{
	size_t len = strcspn(uri, "?"), n = 0;
	char *path = xcalloc(1, len + 1);
	for (size_t i = 0; i < len; i++) {
		int high = uri[i] == '%' && i + 2 < len ? hex(uri[i + 1]) : -1;
		int low = high >= 0 ? hex(uri[i + 2]) : -1;
		char c = uri[i];
		if (low >= 0) {
			c = (char)(high << 4 | low);
			c = c ? c : IN_NO_NAME;
			i += 2;
		}
		if (low >= 0 && c == '/') {
			memcpy(path + n, SLASH, sizeof SLASH - 1);
			n += sizeof SLASH - 1;
		} else {
			path[n++] = c;
		}
	}
	return path;
}

void target_show(char *sentence)
{
	char *to = sentence;
	for (const char *from = sentence; *from;) {
		bool is_slash = strncmp(from, SLASH, sizeof SLASH - 1) == 0;
		*to++ = is_slash ? '/' : *from;
		from += is_slash ? sizeof SLASH - 1 : 1;
	}
	*to = '\0';
}

static bool is_text(const char *value, size_t len)
{
	return !value || (!memchr(value, '\0', len) && utf8_is_valid(value, len));
}

/* One name of the list after the other; its length without the mark behind it. */
static const char *next_name(const char *p, size_t *ret_len, bool *ret_repeats)
{
	p += strspn(p, " ");
	*ret_len = strcspn(p, " *");
	*ret_repeats = p[*ret_len] == '*';
	return *ret_len ? p : NULL;
}

bool query_is_known(const char *list, const char *name, size_t len, bool *ret_repeats)
{
	size_t n;
	for (const char *p = list ? list : ""; (p = next_name(p, &n, ret_repeats));)
		if (n == len && memcmp(p, name, n) == 0)
			return true;
		else
			p += n + *ret_repeats;
	*ret_repeats = false;
	return false;
}

void query_hint(const char *list, const char *name, char ret[static NEAR_HINT])
{
	char known[NEAR_NAME_MAX + 1], found[NEAR_NAME_MAX + 1] = "";
	struct near near;
	size_t n;
	bool repeats;
	near_init(&near, name);
	for (const char *p = list ? list : ""; (p = next_name(p, &n, &repeats)); p += n + repeats) {
		if (n >= sizeof known)
			continue;
		memcpy(known, p, n);
		known[n] = '\0';
		near_try(&near, known);
		if (near.found == known) /* which the next name takes the place of */
			near.found = memcpy(found, known, n + 1);
	}
	near_hint(&near, ret);
}

struct query_check {
	struct request *rq;
	struct fault *fault;
	const char *seen[SEEN_MAX];
	size_t n_seen;
};

static int refuse_unknown(const struct route *route, const char *key, struct fault *f)
{
	char hint[NEAR_HINT];
	query_hint(route->query, key, hint);
	if (hint[0])
		return fault_set(f, FAULT_BAD_REQUEST,
			"query parameter %.64s: it is not known here%s", key, hint);
	_cleanup_(freep) char *known = xstrdup(route->query ? route->query : "");
	for (char *star; (star = strchr(known, '*'));)
		memmove(star, star + 1, strlen(star));
	return fault_set(f, FAULT_BAD_REQUEST,
		known[0] ? "query parameter %.64s: it is not known here, expected of: %s"
			 : "query parameter %.64s: this resource has none%s",
		key, known);
}

static int check_one(struct query_check *check, const char *key, size_t len, const char *value)
{
	const struct route *route = check->rq->route;
	bool repeats, is_twice = false;
	if (query_is_known(route->ignored, key, len, &repeats)) {
		request_ignore(check->rq, key);
		return 0;
	}
	if (!query_is_known(route->query, key, len, &repeats))
		return refuse_unknown(route, key, check->fault);
	for (size_t i = 0; i < check->n_seen; i++)
		is_twice |= strcmp(check->seen[i], key) == 0;
	if (is_twice && !repeats)
		return fault_set(check->fault, FAULT_BAD_REQUEST,
			"query parameter %.64s: expected once, it came twice", key);
	if (!is_twice && check->n_seen < SEEN_MAX)
		check->seen[check->n_seen++] = key;
	if (!value)
		return fault_set(check->fault, FAULT_BAD_REQUEST,
			"query parameter %.64s: expected a value, as in %.64s=true", key, key);
	return 0;
}

static enum MHD_Result check_parameter(void *arg, enum MHD_ValueKind kind, const char *key,
	size_t key_len, const char *value, size_t value_len)
{
	struct query_check *check = arg;
	const char *query = check->rq->route->query;
	(void)kind;
	if (!is_text(key, key_len) || !is_text(value, value_len)) {
		fault_set(check->fault, FAULT_BAD_REQUEST,
			"query parameter %.64s: expected UTF-8 without NUL", key);
		return MHD_NO;
	}
	/* "?" alone, and "&" at the end. */
	if ((!key_len && !value) || (query && strcmp(query, "*") == 0))
		return MHD_YES;
	return check_one(check, key, key_len, value) < 0 ? MHD_NO : MHD_YES;
}

int target_check_query(struct request *rq, struct fault *f)
{
	struct query_check check = { .rq = rq, .fault = f };
	f->code = FAULT_NONE;
	MHD_get_connection_values_n(rq->conn, MHD_GET_ARGUMENT_KIND, check_parameter, &check);
	return f->code ? -1 : 0;
}
