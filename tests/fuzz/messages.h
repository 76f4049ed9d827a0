/* SPDX-License-Identifier: Apache-2.0 */
/* What the harnesses of brokers' messages share: an input is lines, an empty one, and a payload;
 * and what is told of a job that may have come by such a message. */
#pragma once

#include <string.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/utf8.h"
#include "core/core.h"
#include "domain/function.h"
#include "mist/transport.h"
#include "must_be_json.h"

/* The next line of an input, without its end. False: it is empty, and what is left is the payload.
 */
static inline bool line_take(const char **at, const char *end, const char **ret, size_t *ret_len)
{
	const char *newline = memchr(*at, '\n', (size_t)(end - *at));
	*ret = *at;
	*ret_len = (size_t)((newline ? newline : end) - *at);
	*at += *ret_len + (newline != NULL);
	return *ret_len > 0;
}

/* A copy of exactly that size, so that AddressSanitizer sees a reader that goes on. */
static inline char *bytes_copy(const char *bytes, size_t len)
{
	char *copy = xrealloc(NULL, len);
	return len ? memcpy(copy, bytes, len) : copy;
}

/* The settings of a transport: its defaults, and these. */
static inline void settings_read(
	const struct conf_field *fields, size_t size, const char *const *sets, size_t n, void *ret)
{
	const struct conf_section section = { "it", fields, size, false, "" };
	struct conf *conf;
	struct fault f;
	must(conf_open(&conf, NULL, sets, n, &f) == 0);
	must(conf_read(conf, &section, NULL, ret, &f) == 0);
	conf_free(conf);
}

/* Of a core that has ended: whatever is told it is let go. */
static inline struct intake *intake_of_nobody(void)
{
	static const struct crew_ops crew;
	static uv_loop_t loop;
	static struct core *core;
	must(uv_loop_init(&loop) == 0);
	core = core_new(&(struct core_parts){ .loop = &loop, .crew = &crew, .mailbox_max = 1 });
	struct intake *in = core_intake(core, "fuzz");
	core_close(core);
	uv_run(&loop, UV_RUN_DEFAULT);
	return in;
}

static inline struct job *job_example(void)
{
	struct function_settings fs = {
		.path = (char *)"/a/pi.py", .class_name = (char *)"pi", .context = (char *)"default"
	};
	struct job *j = job_new();
	j->created_ms = 1700000000000;
	uuid_at(&j->id, j->created_ms);
	j->function = function_new("pi", &fs, fs.path);
	j->context = xstrdup("default");
	j->parameters = xstrdup("{\"n\":1}");
	j->source = xstrdup("Fuzz");
	j->external_id = xstrdup("mine \xc3\xa9");
	j->trace = xstrdup("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	j->attempt = 1;
	return j;
}

/* Everything that may be told of a job: the refusal, and events of all kinds. */
static inline void each_event(const struct job *j, const struct fault *refusal,
	void (*tell)(void *arg, const struct job_event *ev), void *arg)
{
	const struct progress progress = { .at_ms = 1700000000001,
		.has_value = true,
		.value = 1. / 3,
		.note = "a third \"\x01\xc3\xa9\xff" };
	for (int kind = 0; kind < _EVENT_MAX; kind++) {
		struct job_event ev = { .kind = kind, .job = j, .at_ms = 1700000000001 };
		if (kind == EVENT_REFUSED) {
			ev.job = NULL;
			ev.fault = refusal;
		} else if (kind == EVENT_WORKER_ASSIGNED) {
			ev.worker = "w";
		} else if (kind == EVENT_FINISHED) {
			ev.result = "[1,\"\xc3\xa9\"]";
			ev.result_len = strlen(ev.result);
		} else if (kind == EVENT_FAILED || kind == EVENT_CANCELLED) {
			ev.error = "it broke: \xff";
		} else if (kind == EVENT_PROGRESS) {
			ev.progress = &progress;
		}
		tell(arg, &ev);
	}
}
