/* SPDX-License-Identifier: Apache-2.0 */
/* The document of this API: proto/openapi.yaml, which was made JSON when the program was built. Its
 * entity tag is a digest of it, so a client that has it asks again for nothing. On libmicrohttpd's
 * threads; no state. */
#include "transport/http/request.h"

#include <string.h>

#include "domain/tag.h"
#include "transport/openapi_json.h"

void openapi_show(struct request *rq)
{
	rq->ask.tag = xstrdup(openapi_tag);
	if (tag_is_listed(header_text(rq, "If-None-Match"), openapi_tag, TAG_WHOLE))
		answer_text(rq, 304, "application/json", xstrdup(""), 0);
	else
		answer_text(rq, 200, "application/json", xstrdup(openapi_json),
			sizeof openapi_json - 1);
}
