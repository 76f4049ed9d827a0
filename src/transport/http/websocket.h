/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a WebSocket (RFC 6455, section 4.2). */
#pragma once

#include "transport/http/request.h"

/* Is this request a WebSocket's beginning? Else the fault is set. */
bool websocket_is_asked(struct request *rq, struct fault *f);

/* Answers 101; `upgraded` is then called with `arg` on libmicrohttpd's thread. */
void websocket_accept(struct request *rq, MHD_UpgradeHandler upgraded, void *arg);

/* In `upgraded`: the socket is the caller's, does not block, and these bytes came behind the
 * request. The copy is the caller's, NULL for none. */
char *websocket_take(int fd, const char *extra, size_t extra_len);

/* Any thread. */
void websocket_close(int fd, struct MHD_UpgradeResponseHandle *handle);
