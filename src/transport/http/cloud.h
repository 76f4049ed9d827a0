/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and answers that are CloudEvents. */
#pragma once

#include "transport/http/request.h"

bool cloud_is_asked(struct request *rq);
int cloud_read(struct request *rq, struct job_request **ret, struct fault *f);
void cloud_answer(struct request *rq, unsigned status, const struct job_event *ev);
void cloud_headers(struct request *rq, struct MHD_Response *response);
