/* SPDX-License-Identifier: Apache-2.0 */
/* What people see who open the gateway's address in a browser: the small page at /, and the web
 * page under /ui/, which is files of the folder http.ui.
 *
 * The web page finds its own way through paths of its own: a path that is no file is answered with
 * its index.html. The kernel sees to it that no path and no symbolic link leads out of the folder
 * (openat2 with RESOLVE_BENEATH), and names with a leading dot are not served. */
#include "transport/http/request.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void root_asked(struct request *rq)
{
	if (rq->ask.fault.code) {
		answer_fault(rq, &rq->ask.fault);
		return;
	}
	_cleanup_(json_decrefp) json_t *status = json_loads(rq->ask.text, 0, NULL);
	const char *ui = rq->http->settings.ui[0] ? "<li><a href=\"/ui/\">Web page</a></li>\n" : "";
	char *page = xasprintf("<!DOCTYPE html>\n"
			       "<html lang=\"en\">\n"
			       "<head><meta charset=\"utf-8\"><title>Mist</title></head>\n"
			       "<body>\n"
			       "<h1>Mist %s</h1>\n"
			       "<p>Started %s.</p>\n"
			       "<ul>\n"
			       "%s"
			       "<li><a href=\"/v2/api/functions\">Functions</a></li>\n"
			       "<li><a href=\"/v2/api/jobs\">Jobs</a></li>\n"
			       "<li><a href=\"/v2/api/workers\">Workers</a></li>\n"
			       "<li><a href=\"/v2/api/contexts\">Contexts</a></li>\n"
			       "<li><a href=\"/v2/api/artifacts\">Artifacts</a></li>\n"
			       "<li><a href=\"/v2/api/status\">Status</a></li>\n"
			       "<li><a href=\"/health/ready\">Ready?</a></li>\n"
			       "<li><a href=\"/metrics\">Metrics</a></li>\n"
			       "<li><a href=\"/v2/api/openapi.json\">The API (OpenAPI)</a></li>\n"
			       "</ul>\n"
			       "</body>\n"
			       "</html>\n",
		MIST_VERSION, json_string_of(status, "started"), ui);
	answer_text(rq, 200, "text/html; charset=UTF-8", page, strlen(page));
}

void root_show(struct request *rq)
{
	rq->ask.kind = ASK_STATUS;
	request_ask(rq, root_asked);
}

void ui_redirect(struct request *rq)
{
	rq->location = xstrdup("/ui/");
	answer_text(rq, 308, TEXT_PLAIN, xstrdup(""), 0);
}

static const char *content_type_of(const char *name)
{
	static const char *const types[][2] = { { ".html", "text/html; charset=UTF-8" },
		{ ".js", "text/javascript; charset=UTF-8" },
		{ ".mjs", "text/javascript; charset=UTF-8" }, { ".css", "text/css; charset=UTF-8" },
		{ ".txt", "text/plain; charset=UTF-8" }, { ".json", "application/json" },
		{ ".map", "application/json" }, { ".webmanifest", "application/manifest+json" },
		{ ".svg", "image/svg+xml" }, { ".png", "image/png" }, { ".jpg", "image/jpeg" },
		{ ".jpeg", "image/jpeg" }, { ".gif", "image/gif" }, { ".webp", "image/webp" },
		{ ".ico", "image/vnd.microsoft.icon" }, { ".woff", "font/woff" },
		{ ".woff2", "font/woff2" }, { ".ttf", "font/ttf" },
		{ ".wasm", "application/wasm" } };
	const char *dot = strrchr(name, '.');
	for (size_t i = 0; dot && i < ARRAY_SIZE(types); i++)
		if (strcasecmp(dot, types[i][0]) == 0)
			return types[i][1];
	return "application/octet-stream";
}

/* Segments with something in them and without a leading dot; "" is such a path. */
static bool is_plain(const char *path)
{
	for (const char *p = path; *p; p += strcspn(p, "/")) {
		p += p != path;
		if (*p == '.' || *p == '/')
			return false;
	}
	return true;
}

static int open_beneath(int folder, const char *path)
{
	const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	struct stat st;
	_cleanup_(closep) int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
	if (fd < 0)
		return -errno;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? TAKE_FD(fd) : -ENOENT;
}

void ui_show(struct request *rq)
{
	const char *name = rq->id[0] ? rq->id : "index.html", *ui = rq->http->settings.ui;
	struct fault f;
	if (!ui[0] || !is_plain(rq->id)) {
		fault_set(&f, FAULT_NOT_FOUND,
			ui[0] ? "The requested resource could not be found."
			      : "there is no web page here: http.ui names no folder");
		answer_fault(rq, &f);
		return;
	}
	_cleanup_(closep) int folder = open(ui, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = folder < 0 ? -errno : open_beneath(folder, name);
	if (fd < 0 && folder >= 0)
		fd = open_beneath(folder, name = "index.html");
	if (fd >= 0) {
		answer_fd(rq, content_type_of(name), fd);
		return;
	}
	fault_set(&f, fd == -ENOENT ? FAULT_NOT_FOUND : FAULT_UNAVAILABLE,
		"the web page cannot be read from http.ui: %s", strerror(-fd));
	answer_fault(rq, &f);
}
