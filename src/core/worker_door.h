/* SPDX-License-Identifier: Apache-2.0 */
/* How a worker's connection gets from the HTTP port to the room of workers, which are blind to each
 * other: two letters to the core's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mailbox.h"

/* May this worker come in? */
struct admission {
	struct mail mail;
	char *worker, *secret;                 /* the asker's */
	void (*answered)(struct admission *a); /* core's thread, once */
	void *room;                            /* the room's */
	bool is_admitted, is_stopping;
};

/* It is in: a connected socket that speaks WebSocket from here on. The room takes it and calls
 * `release`, once, on the core's thread. */
struct arrival {
	struct mail mail;
	char *worker; /* owned */
	char *peer;   /* owned; address for people, "127.0.0.1:5123" */
	int fd;
	char *extra; /* owned: bytes that came behind the upgrade request */
	size_t extra_len;
	void (*release)(struct arrival *a); /* closes the socket and frees the arrival */
	void *handle;                       /* the door's */
	void *room;                         /* the room's */
};

struct worker_door {
	/* Any thread. 0, or -ESHUTDOWN, -EAGAIN: not posted, the letter is still the caller's. */
	int (*admit)(void *room, struct admission *a);
	int (*arrive)(void *room, struct arrival *a);
	void *room;
};
