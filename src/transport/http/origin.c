/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of other origins (the Fetch standard's CORS).
 *
 * A browser lets any page send a POST of plain text anywhere, and this API does not look at content
 * types: without a check, every page its user visits could start jobs. So a request that names a
 * foreign origin is refused unless http.cors-origins lists it ("*" lists all, which is Mist's
 * behaviour). A request without an Origin comes from no page. */
#include "transport/http/request.h"

#include <string.h>
#include <strings.h>

static const char *header(struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

/* "https://host:1" of a page that this server served itself. */
static bool is_own(struct request *rq, const char *origin)
{
	const char *host = header(rq, "Host"), *separator = strstr(origin, "://");
	return host && separator && strcasecmp(separator + 3, host) == 0;
}

static bool is_listed(const char *list, const char *origin)
{
	size_t len = strlen(origin);
	for (const char *p = list; *p; p += strcspn(p, ", ")) {
		p += strspn(p, ", ");
		size_t n = strcspn(p, ", ");
		if ((n == 1 && *p == '*') || (n == len && strncasecmp(p, origin, n) == 0))
			return true;
	}
	return false;
}

bool origin_check(struct request *rq)
{
	const char *origin = header(rq, "Origin"), *list = rq->http->settings.cors_origins;
	struct fault f;
	bool is_open = strcmp(list, "*") == 0;
	if (is_open) {
		rq->cors_origin = "*";
		return true;
	}
	if (!origin || is_own(rq, origin))
		return true;
	if (is_listed(list, origin)) {
		rq->cors_origin = origin;
		return true;
	}
	fault_set(&f, FAULT_FORBIDDEN,
		"pages of %.128s may not use this gateway (http.cors-origins)", origin);
	answer_fault(rq, &f);
	return false;
}

void origin_headers(struct request *rq, struct MHD_Response *response)
{
	const char *wanted = header(rq, "Access-Control-Request-Headers");
	if (!rq->cors_origin)
		return;
	MHD_add_response_header(response, "Access-Control-Allow-Origin", rq->cors_origin);
	MHD_add_response_header(
		response, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, HEAD, OPTIONS");
	if (wanted)
		MHD_add_response_header(response, "Access-Control-Allow-Headers", wanted);
	MHD_add_response_header(response, "Access-Control-Expose-Headers",
		"ETag, Location, Mist-Ignored, Preference-Applied, Retry-After");
	if (strcmp(rq->cors_origin, "*") != 0)
		MHD_add_response_header(response, "Vary", "Origin");
}

void origin_preflight(struct request *rq)
{
	answer_text(
		rq, 200, TEXT_PLAIN, xstrdup("Preflight response"), strlen("Preflight response"));
}
