/* SPDX-License-Identifier: Apache-2.0 */
/* The target of a request: path and query, as they were sent and before anybody acts on them.
 *
 * libmicrohttpd decodes a path as one text. There an encoded slash becomes a border between
 * segments, and an encoded NUL cuts off what comes after it: another resource than the client
 * named. So the path is decoded here, from its raw form, and those two become a byte that no UTF-8
 * text has and so no name. Parameters with a NUL, or that are not UTF-8, are refused before any
 * handler reads them. On libmicrohttpd's threads. */
#include "transport/http/request.h"

#include <string.h>

#include "base/utf8.h"

#define IN_NO_NAME '\xff'

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
			c = c && c != '/' ? c : IN_NO_NAME;
			i += 2;
		}
		path[n++] = c;
	}
	return path;
}

static bool is_text(const char *value, size_t len)
{
	return !value || (!memchr(value, '\0', len) && utf8_is_valid(value, len));
}

static enum MHD_Result check_parameter(void *arg, enum MHD_ValueKind kind, const char *key,
	size_t key_len, const char *value, size_t value_len)
{
	struct fault *f = arg;
	(void)kind;
	if (is_text(key, key_len) && is_text(value, value_len))
		return MHD_YES;
	fault_set(f, FAULT_BAD_REQUEST, "query parameter %.64s: expected UTF-8 without NUL", key);
	return MHD_NO;
}

int target_check_query(struct request *rq, struct fault *f)
{
	f->code = FAULT_NONE;
	MHD_get_connection_values_n(rq->conn, MHD_GET_ARGUMENT_KIND, check_parameter, f);
	return f->code ? -1 : 0;
}
