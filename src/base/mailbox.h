/* SPDX-License-Identifier: Apache-2.0 */
/* How other threads reach the thread of a loop: they post letters, it reads them in the order
 * posted. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct mail {
	struct mail *next;
	void (*deliver)(struct mail *mail, void *owner); /* on the loop's thread; owns the mail */
};

struct mailbox {
	uv_async_t wake;
	pthread_mutex_t lock;
	struct mail *first, **last;
	struct mail *batch; /* taken out, being delivered; the loop's thread only */
	size_t count, max;
	bool closed;
	void *owner;
	void (*after)(void *owner); /* once after each batch of letters, may be NULL */
};

int mailbox_init(
	struct mailbox *m, uv_loop_t *loop, size_t max, void *owner, void (*after)(void *));

/* Any thread. 0: the mail will be delivered. -EAGAIN: full, -ESHUTDOWN: closed; the mail is still
 * the caller's. */
int mailbox_post(struct mailbox *m, struct mail *mail);

/* As above, and never full: for letters that answer something we asked. */
int mailbox_post_always(struct mailbox *m, struct mail *mail);

/* Loop's thread: delivers what is in it, then refuses letters. The loop must run once more to
 * forget the handle. */
void mailbox_close(struct mailbox *m);
void mailbox_done(struct mailbox *m);
