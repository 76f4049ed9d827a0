/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send requests here: the names this gateway answers to, and pages of other origins (the
 * Fetch standard's CORS).
 *
 * A browser lets any page send a POST of plain text anywhere, and this API does not look at content
 * types: without a check, every page its user visits could start jobs. So a request that names a
 * foreign origin is refused unless http.cors-origins lists it ("*" lists all, which is Mist's
 * behaviour). A request without an Origin comes from no page, unless the browser says that another
 * site caused it (Sec-Fetch-Site): an image, a form. Of these only the visit of a page of ours is
 * served, for a link to it harms nobody.
 *
 * That the origin is the gateway's own says nothing if its name is whatever its owner points it at
 * (server/hosts.c): so names are looked at first. */
#include "transport/http/request.h"

#include <string.h>
#include <strings.h>

static const char *header(struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

/* "https://host:1" of a page that this server served itself. */
static bool is_own(const char *host, size_t len, const char *origin)
{
	const char *separator = strstr(origin, "://");
	return host && separator && strlen(separator + 3) == len &&
	       strncasecmp(separator + 3, host, len) == 0;
}

/* A link that somebody follows: what it leads to is shown, and changes nothing. */
static bool is_visit(struct request *rq)
{
	const char *mode = header(rq, "Sec-Fetch-Mode"), *dest = header(rq, "Sec-Fetch-Dest");
	return mode && strcmp(mode, "navigate") == 0 && dest && strcmp(dest, "document") == 0 &&
	       (strcmp(rq->path, "/") == 0 || strcmp(rq->path, "/ui") == 0 ||
		       strncmp(rq->path, "/ui/", 4) == 0);
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

static bool host_check(struct request *rq, const char *host, size_t len)
{
	struct fault f = { 0 };
	enum host_verdict verdict = host ? hosts_judge(rq->http->hosts, host, len) : HOST_GOOD;
	if (verdict == HOST_GOOD)
		return true;
	rq->is_closing = true;
	if (verdict == HOST_FOREIGN)
		fault_set(&f, FAULT_MISDIRECTED,
			"\"%.*s\" is none of this gateway's names: expected an address in digits, "
			"localhost, a name of this machine, or one of http.hosts",
			len < 128 ? (int)len : 128, host);
	else
		fault_set(&f, FAULT_BAD_REQUEST,
			"header Host: expected a name or an address, and perhaps a port, got "
			"\"%.*s\"",
			len < 128 ? (int)len : 128, host);
	answer_fault(rq, &f);
	return false;
}

bool origin_check(struct request *rq, const char *host, size_t host_len)
{
	const char *origin = header(rq, "Origin"), *list = rq->http->settings.cors_origins,
		   *site = header(rq, "Sec-Fetch-Site"), *authority = rq->authority;
	struct fault f;
	if (!host_check(rq, host, host_len) ||
		(authority && !host_check(rq, authority, strlen(authority))))
		return false;
	if (strcmp(list, "*") == 0) {
		rq->cors_origin = "*";
		return true;
	}
	if (origin && is_listed(list, origin)) {
		rq->cors_origin = origin;
		return true;
	}
	bool is_foreign = site && strcasecmp(site, "cross-site") == 0 && !is_visit(rq);
	if (!is_foreign && (!origin || is_own(host, host_len, origin)))
		return true;
	fault_set(&f, FAULT_FORBIDDEN,
		"pages of %.128s may not use this gateway (http.cors-origins)",
		origin ? origin : "another site");
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
		"ETag, Location, Mist-Ignored, Mist-Offset, Preference-Applied, Retry-After, "
		"X-Request-Id");
	if (strcmp(rq->cors_origin, "*") != 0)
		MHD_add_response_header(response, "Vary", "Origin");
}

void origin_preflight(struct request *rq)
{
	answer_text(
		rq, 200, TEXT_PLAIN, xstrdup("Preflight response"), strlen("Preflight response"));
}
