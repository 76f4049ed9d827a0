/* SPDX-License-Identifier: Apache-2.0 */
/* A transport built outside the tree: files. A request is a file NAME.json moved into the folder
 * that the setting `directory` names; its outcome is written beside it as NAME.out.
 *
 * One thread waits for files (inotify). The reply-to text is the NAME, so the outcome of a job that
 * outlived a restart finds its file. Only include/mist and what it includes is used. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "mist/transport.h"

#ifndef SPOOL_VERSION
#define SPOOL_VERSION TRANSPORT_VERSION
#endif

enum { DEPTH_MAX = 64, EVENTS_MAX = 4096, PATH_TEXT = 4096 };

struct spool {
	struct transport_env env;
	char directory[PATH_TEXT / 2];
	int inotify, quit;
	pthread_t thread;
};

/* Under another name first, so that whoever waits for it reads all of it. */
static void write_outcome(struct spool *s, const char *name, json_t *outcome)
{
	char path[PATH_TEXT], part[PATH_TEXT];
	snprintf(path, sizeof path, "%s/%s.out", s->directory, name);
	snprintf(part, sizeof part, "%s/%s.part", s->directory, name);
	if (json_dump_file(outcome, part, JSON_COMPACT) == 0)
		rename(part, path);
	json_decref(outcome);
}

static int restore(void *self, struct reply_to *to)
{
	(void)self;
	to->wants = EVENTS_FINAL | EVENT_BIT(EVENT_REFUSED);
	return 0;
}

static int submit(struct spool *s, const char *name, const json_t *request, struct fault *f)
{
	const char *function = json_string_value(json_object_get(request, "function"));
	json_t *arguments = json_object_get(request, "parameters");
	if (!function || !json_is_object(arguments))
		return fault_set(f, FAULT_BAD_REQUEST, "expected function and parameters");
	struct job_request *rq = job_request_new();
	rq->door = s->env.self;
	rq->source = "Spool";
	rq->function = strdup(function);
	rq->arguments = json_deep_copy(arguments);
	rq->parameters = json_dumps(arguments, JSON_COMPACT);
	rq->to.text = strdup(name);
	rq->to.is_owed = true;
	restore(s, &rq->to);
	int r = intake_submit(s->env.in, &rq);
	job_request_free(rq);
	return r < 0 ? fault_set(f, FAULT_UNAVAILABLE, "%s", strerror(-r)) : 0;
}

static void take_file(struct spool *s, const char *file)
{
	char path[PATH_TEXT], name[256];
	struct fault f;
	size_t len = strlen(file);
	if (len < 6 || len >= sizeof name || strcmp(file + len - 5, ".json") != 0)
		return;
	snprintf(name, sizeof name, "%.*s", (int)len - 5, file);
	snprintf(path, sizeof path, "%s/%s", s->directory, file);
	json_t *request = json_load_file(path, 0, NULL);
	if (submit(s, name, request, &f) < 0)
		write_outcome(s, name, json_pack("{s:s}", "error", f.text));
	json_decref(request);
}

static void *watch_files(void *arg)
{
	struct spool *s = arg;
	char events[EVENTS_MAX] __attribute__((aligned(8)));
	struct pollfd fds[] = { { s->inotify, POLLIN, 0 }, { s->quit, POLLIN, 0 } };
	while (poll(fds, 2, -1) >= 0 && !fds[1].revents) {
		ssize_t n = read(s->inotify, events, sizeof events);
		for (ssize_t i = 0; i < n;) {
			const struct inotify_event *e = (const void *)(events + i);
			take_file(s, e->name);
			i += (ssize_t)sizeof *e + e->len;
		}
	}
	return NULL;
}

static int spool_open(
	void *self, const void *settings, const struct transport_env *env, struct fault *f)
{
	struct spool *s = self;
	const char *directory = json_string_value(json_object_get(settings, "directory"));
	s->env = *env;
	s->inotify = s->quit = -1;
	if (!directory)
		return fault_set(f, FAULT_BAD_REQUEST, "settings.directory: must be given");
	snprintf(s->directory, sizeof s->directory, "%s", directory);
	s->quit = eventfd(0, EFD_CLOEXEC);
	s->inotify = inotify_init1(IN_CLOEXEC);
	if (inotify_add_watch(s->inotify, directory, IN_MOVED_TO) < 0)
		return fault_set(f, FAULT_BAD_REQUEST, "settings.directory %s: %s", directory,
			strerror(errno));
	return 0;
}

static int spool_start(void *self, struct fault *f)
{
	struct spool *s = self;
	int r = pthread_create(&s->thread, NULL, watch_files, s);
	return r ? fault_set(f, FAULT_INTERNAL, "%s", strerror(r)) : 0;
}

static void spool_publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	json_t *outcome =
		ev->kind == EVENT_FINISHED
			? json_pack("{s:o}", "result",
				  json_loadb(ev->result, ev->result_len, JSON_DECODE_ANY, NULL))
			: json_pack("{s:s}", "error",
				  ev->kind == EVENT_REFUSED ? ev->fault->text : ev->error);
	struct spool *s = self;
	write_outcome(s, to->text, outcome);
	if (ev->job)
		intake_delivered(s->env.in, &ev->job->id, 1);
}

static void spool_stop(void *self)
{
	struct spool *s = self;
	eventfd_write(s->quit, 1);
	pthread_join(s->thread, NULL);
}

static void spool_close(void *self)
{
	struct spool *s = self;
	if (s->inotify >= 0)
		close(s->inotify);
	if (s->quit >= 0)
		close(s->quit);
}

static const struct transport_ops spool_ops = {
	.scheme = "spool",
	.size = sizeof(struct spool),
	.open = spool_open,
	.start = spool_start,
	.publish = spool_publish,
	.restore = restore,
	.stop = spool_stop,
	.close = spool_close,
};

const struct transport_plugin mist_transport_plugin = { SPOOL_VERSION, &spool_ops };
