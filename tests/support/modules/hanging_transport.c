/* SPDX-License-Identifier: Apache-2.0 */
/* A transport that hangs where a test says so: its `state`, on the core's thread (GET /metrics asks
 * for it), while the file `state` is in the folder that the setting `directory` names; its `stop`
 * while there is one `stop`. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mist/transport.h"

struct hanging {
	char directory[2048];
};

static void hang(const struct hanging *h, const char *where)
{
	const struct timespec pause = { 0, 5 * 1000000 };
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", h->directory, where);
	while (access(path, F_OK) == 0)
		nanosleep(&pause, NULL);
}

static int hanging_open(
	void *self, const void *settings, const struct transport_env *env, struct fault *f)
{
	struct hanging *h = self;
	const char *directory = json_string_value(json_object_get(settings, "directory"));
	(void)env;
	if (!directory)
		return fault_set(f, FAULT_BAD_REQUEST, "settings.directory: must be given");
	snprintf(h->directory, sizeof h->directory, "%s", directory);
	return 0;
}

static int hanging_start(void *self, struct fault *f)
{
	(void)self, (void)f;
	return 0;
}

static void hanging_publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	(void)self, (void)to, (void)ev;
}

static void hanging_state(void *self, struct transport_state *ret)
{
	(void)ret;
	hang(self, "state");
}

static void hanging_stop(void *self)
{
	hang(self, "stop");
}

static void hanging_close(void *self)
{
	(void)self;
}

static const struct transport_ops ops = { .scheme = "hanging",
	.size = sizeof(struct hanging),
	.open = hanging_open,
	.start = hanging_start,
	.publish = hanging_publish,
	.state = hanging_state,
	.stop = hanging_stop,
	.close = hanging_close };

const struct transport_plugin mist_transport_plugin = { TRANSPORT_VERSION, &ops };
