/* SPDX-License-Identifier: Apache-2.0 */
/* A little gateway for tests of a worker. */
#pragma once

#include <jansson.h>

#include "base/ws.h"

enum { GATE_FRAME_MAX = 300 * 1024, GATE_CAPACITY = 64 };

struct gate {
	int listener, fd;
	struct ws *ws;
	json_t *frames; /* come and not expected yet */
	int frame_max;  /* what `welcome` says, and what no frame may exceed */
	char file[64];  /* what MIST_WORKER_FILE names */
};

void gate_init(struct gate *g);
void gate_done(struct gate *g);

int gate_listen(void); /* on any free port */
void gate_write_file(struct gate *g, double grace);

const char *gate_take(struct gate *g); /* the worker's next connection; the head of its request */
void gate_answer(struct gate *g, const char *text);
void gate_upgrade(struct gate *g); /* takes one and answers as it should be */
void gate_welcome(struct gate *g, const char *forget);
void gate_open(struct gate *g); /* to where jobs can be started */
void gate_hang_up(struct gate *g);

void gate_say(struct gate *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The next frame, which must be of this type; valid until the next call. */
const json_t *gate_expect(struct gate *g, const char *type);

/* Reads until the worker closes; the code. */
int gate_expect_close(struct gate *g);
