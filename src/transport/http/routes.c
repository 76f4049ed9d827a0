/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP surface on one screen, sorted by path. HEAD is answered wherever GET is. A path is
 * compared as target_path decoded it, segment by segment; a trailing slash makes it another path,
 * as in Mist. */
#include "transport/http/request.h"

#include <string.h>

#define SUBMIT "force context externalId startTimeout performTimeout priority"
#define LIST   "status* context externalId limit offset paginate"
#define OLD    "mode workerId action serve train"

const struct route routes[] = {
	{ METHOD_GET, "/", root_show, .query = "*" },
	{ METHOD_POST, "/api/{id}", job_submit_route, .query = SUBMIT, .ignored = OLD },
	{ METHOD_GET, "/health/live", health_live, .is_vital = true },
	{ METHOD_GET, "/health/ready", health_ready, .is_vital = true },
	{ METHOD_POST, "/jobs", job_submit_path, .query = "force", .ignored = OLD },
	{ METHOD_GET, "/metrics", metrics_show, .is_vital = true },
	{ METHOD_GET, "/ui", ui_redirect, .query = "*" },
	{ METHOD_GET, "/ui/{path}", ui_show, .query = "*" },
	{ METHOD_GET, "/v2/api/artifacts", artifact_list },
	{ METHOD_POST, "/v2/api/artifacts", artifact_upload, .is_upload = true, .query = "force" },
	{ METHOD_GET, "/v2/api/artifacts/{id}", artifact_get },
	{ METHOD_DELETE, "/v2/api/artifacts/{id}", artifact_delete, .query = "force" },
	{ METHOD_GET, "/v2/api/artifacts/{id}/sha", artifact_sha, .query = "algorithm" },
	{ METHOD_GET, "/v2/api/artifacts_internal/mist-worker.jar", artifact_worker_jar },
	{ METHOD_GET, "/v2/api/contexts", context_list },
	{ METHOD_POST, "/v2/api/contexts", context_create, .ignored = "force" },
	{ METHOD_GET, "/v2/api/contexts/{id}", context_show },
	{ METHOD_PUT, "/v2/api/contexts/{id}", context_update, .ignored = "force" },
	{ METHOD_DELETE, "/v2/api/contexts/{id}", context_delete },
	{ METHOD_POST, "/v2/api/deployments", deployment_make, .is_upload = true,
		.query = "dryRun" },
	{ METHOD_GET, "/v2/api/events", events_stream, .query = "withLogs withProgress level" },
	{ METHOD_POST, "/v2/api/events", job_submit_event, .query = SUBMIT, .ignored = OLD },
	{ METHOD_GET, "/v2/api/functions", function_list },
	{ METHOD_POST, "/v2/api/functions", function_create, .query = "force" },
	{ METHOD_PUT, "/v2/api/functions", function_update, .ignored = "force" },
	{ METHOD_GET, "/v2/api/functions/{id}", function_show },
	{ METHOD_DELETE, "/v2/api/functions/{id}", function_delete },
	{ METHOD_GET, "/v2/api/functions/{id}/jobs", job_list, .query = LIST },
	{ METHOD_POST, "/v2/api/functions/{id}/jobs", job_submit, .query = SUBMIT, .ignored = OLD },
	{ METHOD_GET, "/v2/api/jobs", job_list, .query = LIST " function" },
	{ METHOD_GET, "/v2/api/jobs/{id}", job_show },
	{ METHOD_DELETE, "/v2/api/jobs/{id}", job_cancel },
	{ METHOD_GET, "/v2/api/jobs/{id}/events", events_stream,
		.query = "withLogs withProgress level" },
	{ METHOD_GET, "/v2/api/jobs/{id}/logs", job_logs, .query = "level follow" },
	{ METHOD_GET, "/v2/api/openapi.json", openapi_show },
	{ METHOD_GET, "/v2/api/status", status_show, .is_vital = true },
	{ METHOD_GET, "/v2/api/store/unreadable", unreadable_list, .query = "limit offset" },
	{ METHOD_DELETE, "/v2/api/store/unreadable", unreadable_drop },
	{ METHOD_GET, "/v2/api/store/unreadable/{id}", unreadable_show },
	{ METHOD_DELETE, "/v2/api/store/unreadable/{id}", unreadable_drop },
	{ METHOD_GET, "/v2/api/workers", worker_list },
	{ METHOD_GET, "/v2/api/workers/{id}", worker_show },
	{ METHOD_DELETE, "/v2/api/workers/{id}", worker_stop },
	{ METHOD_GET, "/v2/api/workers/{id}/jobs", job_list, .query = LIST " function" },
	{ METHOD_GET, "/v2/api/workers/{id}/output", worker_output,
		.query = "tail offset limit follow" },
	{ METHOD_GET, "/v2/api/ws/all", events_websocket, .query = "withLogs withProgress level" },
	{ METHOD_GET, "/v2/api/ws/jobs/{id}", events_websocket,
		.query = "withLogs withProgress level" },
	{ METHOD_POST, "/v2/hidden/devrun", job_devrun, .query = "force", .ignored = OLD },
	{ METHOD_GET, "/v2/workers/connect", worker_connect, .is_vital = true, .query = "worker" },
	{ 0 },
};

const char *const method_names[_METHOD_MAX] = { "GET", "POST", "PUT", "DELETE" };

/* Allow, for every set of methods a path may have. */
static const char *const allow_texts[1 << _METHOD_MAX] = {
	[BIT(METHOD_GET)] = "GET, HEAD",
	[BIT(METHOD_POST)] = "POST",
	[BIT(METHOD_DELETE)] = "DELETE",
	[BIT(METHOD_GET) | BIT(METHOD_POST)] = "GET, HEAD, POST",
	[BIT(METHOD_GET) | BIT(METHOD_DELETE)] = "GET, HEAD, DELETE",
	[BIT(METHOD_GET) | BIT(METHOD_POST) | BIT(METHOD_PUT)] = "GET, HEAD, POST, PUT",
	[BIT(METHOD_GET) | BIT(METHOD_PUT) | BIT(METHOD_DELETE)] = "GET, HEAD, PUT, DELETE",
};

/* The length of what "{id}" or "{path}" stood for goes to *ret_len, its start to *ret_id. */
static bool path_matches(
	const char *pattern, const char *path, const char **ret_id, size_t *ret_len)
{
	while (*pattern) {
		if (strcmp(pattern, "{path}") == 0) {
			*ret_id = path;
			*ret_len = strlen(path);
			return true;
		} else if (*pattern == '{') {
			size_t len = strcspn(path, "/");
			if (len == 0)
				return false;
			*ret_id = path;
			*ret_len = len;
			path += len;
			pattern = strchr(pattern, '}') + 1;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return !*path;
}

const struct route *route_find(
	const char *method, const char *path, char **ret_id, const char **ret_allow)
{
	unsigned methods = 0;
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	*ret_allow = NULL;
	for (const struct route *r = routes; r->path; r++) {
		const char *id = NULL;
		size_t len = 0;
		if (!path_matches(r->path, path, &id, &len))
			continue;
		if (strcmp(method_names[r->method], method) == 0) {
			*ret_id = id ? strndup(id, len) : NULL;
			return r;
		}
		methods |= BIT(r->method);
	}
	*ret_allow = allow_texts[methods];
	return NULL;
}
