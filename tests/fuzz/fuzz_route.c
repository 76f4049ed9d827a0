/* SPDX-License-Identifier: Apache-2.0 */
/* "METHOD PATH", as libmicrohttpd hands them over: two texts. */
#include "fuzz.h"

#include <string.h>

#include "transport/http/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *method = xcalloc(size + 1, 1), *id = NULL;
	const char *allow = NULL;
	memcpy(method, data, size);
	size_t len = strcspn(method, " ");
	_cleanup_(freep) char *path = xstrdup(method + len + (method[len] == ' '));
	path[strcspn(path, "\r\n")] = '\0';
	method[len] = '\0';
	const struct route *found = route_find(method, path, &id, &allow);
	if (found) {
		must(!id == !strstr(found->path, "{id}"));
		must(!id || (id[0] && !strchr(id, '/') && strstr(path, id)));
	} else {
		must(!id);
		must(!allow || allow[0]);
	}
	return 0;
}
