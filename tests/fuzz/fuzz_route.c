/* SPDX-License-Identifier: Apache-2.0 */
/* "METHOD TARGET", as libmicrohttpd hands them over: two texts. */
#include "fuzz.h"

#include <string.h>

#include "transport/http/request.h"
#include "transport/http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *method = xcalloc(size + 1, 1), *id = NULL;
	const char *allow = NULL;
	memcpy(method, data, size);
	size_t len = strcspn(method, " ");
	_cleanup_(freep) char *target = xstrdup(method + len + (method[len] == ' '));
	target[strcspn(target, "\r\n")] = '\0';
	_cleanup_(freep) char *path = target_path(target);
	must(strlen(path) <= strlen(target));
	method[len] = '\0';
	const struct route *found = route_find(method, path, &id, &allow);
	if (found) {
		bool is_rest = strstr(found->path, "{path}");
		must(!id == !(is_rest || strstr(found->path, "{id}")));
		must(!id || is_rest || (id[0] && !strchr(id, '/')));
		must(!id || strstr(path, id));
	} else {
		must(!id);
		must(!allow || allow[0]);
	}
	return 0;
}
