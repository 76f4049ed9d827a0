/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v2/api/deployments: artifacts, contexts and functions at once, or with `dryRun` only looked
 * at.
 *
 * The body is multipart/form-data: a part `deployment`, JSON of contexts and functions, and any
 * number of parts `file`, which go to a hidden folder (artifacts.c). When all is there, the query
 * pool syncs the files and compares them with the artifacts of their names; what is the same is no
 * change. The core then checks everything and makes it so (core/deployment); whatever is left in
 * the folder goes with the request. */
#include "transport/http/artifacts.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail_point.h"

enum { DOCUMENT_DEPTH_MAX = 16 };

static int cannot_be_kept(const struct upload_file *file, int error, struct fault *f)
{
	return fault_set(f, fault_of_errno(error), "the artifact %s cannot be kept: %s", file->name,
		strerror(error));
}

/* {"size","sha1"}, NULL: there is none. Negative: it cannot be read. */
static int describe_file(const char *path, bool is_synced, json_t **ret)
{
	struct stat st;
	*ret = NULL;
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EEXIST;
	if (is_synced) {
		int r = fail_point(FAIL_ARTIFACT_SYNC);
		if (r < 0 || fchmod(fd, 0750) < 0 || fdatasync(fd) < 0)
			return r < 0 ? r : -errno;
	}
	_cleanup_(freep) char *sha1 = digest_new(fd, GNUTLS_DIG_SHA1);
	if (!sha1)
		return -errno;
	*ret = json_pack("{s:I, s:s}", "size", (json_int_t)st.st_size, "sha1", sha1);
	return 0;
}

static void stage(struct request *rq, struct upload_file *file)
{
	struct ask *a = &rq->ask;
	a->staged = xrealloc(a->staged, (a->n_staged + 1) * sizeof *a->staged);
	a->staged[a->n_staged++] =
		(struct staged_artifact){ xstrdup(file->name), xstrdup(file->path) };
}

static int read_file(struct request *rq, struct upload_file *file, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *after = NULL, *before = NULL;
	_cleanup_(freep) char *live = xasprintf("%s/%s", rq->http->env.artifacts, file->name);
	int r = describe_file(file->path, true, &after);
	if (r == 0)
		r = describe_file(live, false, &before);
	if (r < 0)
		return cannot_be_kept(file, -r, f);
	bool is_same = before && json_equal(before, after);
	if (!is_same)
		stage(rq, file);
	json_array_append_new(
		rq->deployed, json_pack("{s:s, s:s, s:O*, s:O}", "name", file->name, "action",
				      is_same  ? "unchanged"
				      : before ? "updated"
					       : "created",
				      "before", before, "after", after));
	return 0;
}

static int read_document(struct request *rq, const struct upload *u, struct fault *f)
{
	if (!u->has_document && !u->n_files)
		return fault_set(
			f, FAULT_BAD_REQUEST, "expected a part deployment, a part file, or both");
	rq->ask.body = u->has_document ? json_parse(u->document.data ? u->document.data : "",
						 u->document.len, DOCUMENT_DEPTH_MAX, f)
				       : json_object();
	if (!rq->ask.body)
		return fault_prefix(f, "part deployment");
	if (!json_is_object(rq->ask.body))
		return fault_set(f, FAULT_BAD_REQUEST,
			"part deployment: expected a JSON object, got %s", json_kind(rq->ask.body));
	return 0;
}

/* Takes the core's answer, {"contexts":…,"functions":…}. */
static void deployed(struct request *rq)
{
	if (rq->ask.fault.code) {
		rq->problem_errors = TAKE_PTR(rq->ask.text);
		answer_fault(rq, &rq->ask.fault);
		return;
	}
	_cleanup_(freep) char *artifacts = json_text(rq->deployed);
	char *text = xasprintf("{\"dryRun\":%s,\"artifacts\":%s,%s",
		rq->ask.is_dry_run ? "true" : "false", artifacts, rq->ask.text + 1);
	answer_text(rq, 200, "application/json", text, strlen(text));
}

static void deploy(struct request *rq)
{
	rq->ask.kind = ASK_DEPLOY;
	request_ask(rq, deployed);
}

static void deployment_read(struct request *rq)
{
	struct upload *u = rq->upload;
	struct fault f = { 0 };
	int r = upload_end(u, &f);
	if (r == 0)
		r = read_document(rq, u, &f);
	rq->deployed = json_array();
	for (size_t i = 0; r == 0 && i < u->n_files; i++)
		r = read_file(rq, &u->files[i], &f);
	if (r < 0)
		answer_fault(rq, &f);
	else
		rq->then = deploy; /* on the HTTP thread: it waits once more */
}

void deployment_make(struct request *rq)
{
	struct fault f = { 0 };
	if (query_bool(rq, "dryRun", &rq->ask.is_dry_run, &f) < 0)
		answer_fault(rq, &f);
	else
		request_work(rq, deployment_read);
}
