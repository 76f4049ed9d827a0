/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts: files in `<data>/artifacts`, kept under the plain name they were uploaded with.
 *
 * An upload (multipart/form-data, RFC 7578, part `file`) goes to a hidden file as it comes in,
 * whatever its size, and gets its name when it is whole and on the disk: by a link, which refuses a
 * name that is taken, or with `force` by a rename. So nobody ever sees half of an artifact, and a
 * worker that reads the old one goes on reading the old one. Names are [A-Za-z0-9._-]: never a
 * path.
 *
 * The files of a deployment (deploy.c) come in the same way, into a hidden folder, under their own
 * names: a worker is to load them from there. The folders are numbered and used again, since a
 * worker remembers what it loaded by its path. What a killed gateway left of both goes at the next
 * start. */
#include "transport/http/artifacts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/disk/folder.h"
#include "base/fail_point.h"
#include "transport/http/server/multipart.h"

enum { PART_BUFFER = 64 * 1024, ENVELOPE_MAX = 64 * 1024, HASH_BLOCK = 64 * 1024, DIGEST_MAX = 64 };
#define HIDDEN ".upload-"
#define STAGED ".staged-"

static char *artifact_path(const struct request *rq, const char *name)
{
	return xasprintf("%s/%s", rq->http->env.artifacts, name);
}

/* Of files only: nobody makes folders in it. */
static void remove_folder(const char *path)
{
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	(void)rmdir(path);
}

void upload_forget_all(const char *folder)
{
	DIR *d = opendir(folder);
	for (struct dirent *e; d && (e = readdir(d));) {
		_cleanup_(freep) char *path = xasprintf("%s/%s", folder, e->d_name);
		if (strncmp(e->d_name, HIDDEN, strlen(HIDDEN)) == 0)
			(void)unlink(path);
		else if (strncmp(e->d_name, STAGED, strlen(STAGED)) == 0)
			remove_folder(path);
	}
	if (d)
		closedir(d);
}

/* The lowest number that is free. */
static int make_folder(struct request *rq, struct upload *u)
{
	for (int64_t i = 0; i <= rq->http->settings.uploads_max; i++) {
		_cleanup_(freep) char *path =
			xasprintf("%s/" STAGED "%lld", rq->http->env.artifacts, (long long)i);
		if (mkdir(path, 0750) == 0) {
			u->folder = TAKE_PTR(path);
			return 0;
		}
		if (errno != EEXIST)
			break;
	}
	return -errno;
}

static int check_file(const struct upload *u, const char *filename, struct fault *f)
{
	if (u->n_files && !u->is_deployment)
		return fault_set(f, FAULT_BAD_REQUEST, "part file: expected one, it came twice");
	if (u->n_files == UPLOAD_FILES_MAX)
		return fault_set(f, FAULT_TOO_LARGE, "part file: expected at most %d of them",
			UPLOAD_FILES_MAX);
	if (!filename || !name_is_good(filename))
		return fault_set(f, FAULT_BAD_REQUEST,
			"part file: expected a filename of letters, digits, '.', '_' and '-', not "
			"a dot first, got \"%.64s\"",
			filename ? filename : "");
	for (size_t i = 0; i < u->n_files; i++)
		if (strcmp(u->files[i].name, filename) == 0)
			return fault_set(
				f, FAULT_BAD_REQUEST, "part file: %.128s came twice", filename);
	return 0;
}

static int open_hidden(struct request *rq, struct upload *u, const char *filename)
{
	int r = check_file(u, filename, &u->fault);
	if (r < 0)
		return r;
	closep(&u->fd);
	u->fd = -1;
	u->size = 0;
	if (u->is_deployment && !u->folder && make_folder(rq, u) < 0)
		return fault_set(&u->fault, FAULT_UNAVAILABLE, "the artifact cannot be kept: %s",
			strerror(errno));
	u->files = xrealloc(u->files, (u->n_files + 1) * sizeof *u->files);
	struct upload_file *file = &u->files[u->n_files++];
	file->name = xstrdup(filename);
	file->path = u->folder ? xasprintf("%s/%s", u->folder, filename)
			       : artifact_path(rq, HIDDEN "XXXXXX");
	u->fd = u->folder ? open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
			  : mkostemp(file->path, O_CLOEXEC);
	if (u->fd < 0)
		return fault_set(&u->fault, FAULT_UNAVAILABLE, "the artifact cannot be kept: %s",
			strerror(errno));
	return 0;
}

static int write_piece(struct upload *u, const char *data, size_t size)
{
	int r = fail_point(FAIL_ARTIFACT_WRITE);
	if (r < 0)
		return r;
	/* A disk that fills up takes a part first, and only then says so. */
	for (ssize_t n; size; data += n, size -= (size_t)n) {
		n = write(u->fd, data, size);
		if (n < 0)
			return -errno;
	}
	return 0;
}

static void take_document(struct upload *u, const char *data, uint64_t offset, size_t size)
{
	if (offset == 0 && u->has_document && u->document.len)
		fault_set(&u->fault, FAULT_BAD_REQUEST,
			"part deployment: expected one, it came twice");
	else if (buf_add(&u->document, data, size) != 0)
		fault_set(&u->fault, FAULT_TOO_LARGE,
			"part deployment: it is over http.body, %zu bytes", u->document.max);
	u->has_document = true;
}

static enum MHD_Result take_part(void *cls, enum MHD_ValueKind kind, const char *key,
	const char *filename, const char *content_type, const char *transfer_encoding,
	const char *data, uint64_t offset, size_t size)
{
	struct request *rq = cls;
	struct upload *u = rq->upload;
	int r;
	(void)kind, (void)content_type, (void)transfer_encoding;
	if (u->fault.code)
		return MHD_YES;
	if (u->is_deployment && key && strcmp(key, "deployment") == 0)
		take_document(u, data, offset, size);
	else if (u->is_deployment && (!key || strcmp(key, "file") != 0))
		fault_set(&u->fault, FAULT_BAD_REQUEST,
			"part \"%.64s\": expected the parts deployment and file", key ? key : "");
	if (!key || strcmp(key, "file") != 0 || u->fault.code) /* a part may have no name */
		return MHD_YES;
	/* A part begins at 0; with nothing in it yet it may begin once more. */
	const char *name = u->n_files ? u->files[u->n_files - 1].name : NULL;
	bool is_next = name && (u->size || !size || !filename || strcmp(filename, name) != 0);
	if (offset == 0 && (!name || is_next) && open_hidden(rq, u, filename) < 0)
		return MHD_YES;
	u->size += size;
	u->total += size;
	if (u->total > u->total_max)
		fault_set(&u->fault, FAULT_TOO_LARGE,
			"the artifacts together are over http.deployment, %lld bytes",
			(long long)u->total_max);
	else if (u->size > u->max)
		fault_set(&u->fault, FAULT_TOO_LARGE,
			"the artifact is over http.artifact, %lld bytes", (long long)u->max);
	else if (size && (r = write_piece(u, data, size)) < 0)
		fault_set(&u->fault, FAULT_UNAVAILABLE, "the artifact cannot be kept: %s",
			strerror(-r));
	return MHD_YES;
}

static enum MHD_Result hide_type(
	void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	const struct upload *u = cls;
	(void)kind;
	if (value != u->content_type && strcasecmp(name, "Content-Type") == 0)
		*(char *)name = '-'; /* in the buffer of its connection */
	return MHD_YES;
}

/* Its parser has the boundary from the first Content-Type there is, and those cannot be replaced.
 * Where there is no memory for one more, the client's own has to do. */
static struct MHD_PostProcessor *parts_open(struct request *rq, struct upload *u)
{
	if (MHD_set_connection_value(rq->conn, MHD_HEADER_KIND, "Content-Type", u->content_type) ==
		MHD_YES)
		MHD_get_connection_values(rq->conn, MHD_HEADER_KIND, hide_type, u);
	return MHD_create_post_processor(rq->conn, PART_BUFFER, take_part, rq);
}

static int upload_open(struct request *rq, struct upload *u)
{
	const struct http_settings *s = &rq->http->settings;
	const char *length = header_text(rq, "Content-Length"),
		   *type = header_text(rq, "Content-Type");
	uint64_t n = length ? strtoull(length, NULL, 10) : 0;
	if (u->is_deployment && n > (uint64_t)u->total_max + u->document.max +
						UPLOAD_FILES_MAX * (uint64_t)ENVELOPE_MAX)
		return fault_set(&u->fault, FAULT_TOO_LARGE,
			"the artifacts together are over http.deployment, %lld bytes",
			(long long)u->total_max);
	if (!u->is_deployment && n > (uint64_t)u->max + ENVELOPE_MAX)
		return fault_set(&u->fault, FAULT_TOO_LARGE,
			"the artifact is over http.artifact, %lld bytes", (long long)u->max);
	if (atomic_load(&rq->http->n_uploads) > s->uploads_max)
		return fault_set(&u->fault, FAULT_TOO_MANY,
			"too many artifacts are being uploaded (http.uploads)");
	u->content_type = type ? multipart_content_type(type) : NULL;
	if (u->content_type)
		u->parts = parts_open(rq, u);
	if (!u->parts)
		return fault_set(&u->fault, FAULT_BAD_REQUEST,
			"expected a body of multipart/form-data, with one boundary in its "
			"Content-Type, and %s",
			u->is_deployment ? "the parts deployment and file" : "a part file");
	return 0;
}

void upload_begin(struct request *rq)
{
	struct upload *u = rq->upload = xcalloc(1, sizeof *u);
	u->fd = -1;
	u->max = rq->http->settings.artifact_max;
	u->is_deployment = rq->route->handle == deployment_make;
	u->total_max = u->is_deployment ? rq->http->settings.deployment_max : INT64_MAX;
	buf_init(&u->document, rq->body.max);
	atomic_fetch_add(&rq->http->n_uploads, 1);
	if (upload_open(rq, u) < 0)
		answer_fault(rq, &u->fault);
}

void upload_data(struct request *rq, const char *data, size_t len)
{
	struct upload *u = rq->upload;
	if (!u->fault.code && MHD_post_process(u->parts, data, len) != MHD_YES && !u->fault.code)
		fault_set(&u->fault, FAULT_BAD_REQUEST,
			"the body is no well-formed multipart/form-data");
	if (u->fault.code)
		answer_fault(rq, &u->fault);
}

size_t upload_bytes(const struct request *rq)
{
	return rq->upload ? rq->upload->document.cap : 0;
}

void upload_free(struct request *rq)
{
	struct upload *u = rq->upload;
	if (!u)
		return;
	atomic_fetch_sub(&rq->http->n_uploads, 1);
	if (u->parts) /* which may call take_part with what it has left */
		MHD_destroy_post_processor(u->parts);
	rq->upload = NULL;
	closep(&u->fd);
	for (size_t i = 0; i < u->n_files; i++) {
		unlink(u->files[i].path);
		free(u->files[i].path);
		free(u->files[i].name);
	}
	if (u->folder)
		remove_folder(u->folder);
	free(u->folder);
	free(u->content_type);
	free(u->files);
	buf_done(&u->document);
	free(u);
}

static int sync_folder(const char *folder)
{
	int r = fail_point(FAIL_ARTIFACT_FOLDER);
	return r < 0 ? r : folder_sync(folder);
}

/* Makes what was uploaded durable and gives it its name, which is to be as durable. A negative
 * errno: the name is not there, or with `force` may be that of the old or of the new file. */
static int publish_file(const struct upload *u, const char *folder, const char *path, bool force)
{
	int r = fail_point(FAIL_ARTIFACT_SYNC);
	if (r < 0)
		return r;
	if (fchmod(u->fd, 0750) < 0 || fdatasync(u->fd) < 0)
		return -errno;
	r = fail_point(FAIL_ARTIFACT_RENAME);
	if (r < 0)
		return r;
	const char *from = u->files[0].path;
	if ((force ? rename(from, path) : link(from, path)) < 0)
		return -errno;
	r = sync_folder(folder);
	if (r < 0 && !force)
		unlink(path); /* it was not taken: the name is free for the next try */
	return r;
}

int upload_end(struct upload *u, struct fault *f)
{
	if (u->parts && MHD_destroy_post_processor(u->parts) != MHD_YES && !u->fault.code)
		fault_set(&u->fault, FAULT_BAD_REQUEST,
			"the body is no well-formed multipart/form-data: it ends in the middle");
	u->parts = NULL;
	if (!u->fault.code && !u->n_files && !u->is_deployment)
		fault_set(&u->fault, FAULT_BAD_REQUEST, "expected a part file with a filename");
	if (!u->fault.code)
		return 0;
	*f = u->fault;
	return -1;
}

static int upload_finish(struct request *rq, struct upload *u, bool force, struct fault *f)
{
	int r = upload_end(u, f);
	if (r < 0)
		return r;
	const char *name = u->files[0].name;
	_cleanup_(freep) char *path = artifact_path(rq, name);
	r = publish_file(u, rq->http->env.artifacts, path, force);
	if (r == -EEXIST)
		return fault_set(
			f, FAULT_CONFLICT, "Filename must be unique: found %s in repository", name);
	return r < 0 ? fault_set(f, fault_of_errno(-r), "the artifact cannot be kept: %s",
			       strerror(-r))
		     : 0;
}

static void upload_keep(struct request *rq)
{
	struct fault f = { 0 };
	if (upload_finish(rq, rq->upload, rq->is_forced, &f) < 0)
		answer_fault(rq, &f);
	else
		answer_text(rq, 200, TEXT_PLAIN, xstrdup(rq->upload->files[0].name),
			strlen(rq->upload->files[0].name));
}

/* To sync a large file takes a while. */
void artifact_upload(struct request *rq)
{
	struct fault f = { 0 };
	if (query_bool(rq, "force", &rq->is_forced, &f) < 0)
		answer_fault(rq, &f);
	else
		request_work(rq, upload_keep);
}

static void refuse_list(struct request *rq, int error)
{
	struct fault f;
	fault_set(&f, FAULT_UNAVAILABLE, "the folder of artifacts cannot be read: %s",
		strerror(error));
	answer_fault(rq, &f);
}

void artifact_list(struct request *rq)
{
	DIR *d = opendir(rq->http->env.artifacts);
	if (!d) {
		refuse_list(rq, errno);
		return;
	}
	json_t *names = json_array();
	for (;;) {
		struct stat st;
		errno = 0; /* at the end readdir leaves it as it is */
		const struct dirent *e = readdir(d);
		if (!e)
			break;
		if (name_is_good(e->d_name) &&
			fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode))
			json_array_append_new(names, json_string(e->d_name));
	}
	int error = errno;
	closedir(d);
	if (!error) {
		answer_json(rq, 200, names);
		return;
	}
	json_decref(names);
	refuse_list(rq, error);
}

/* No name, no file, or something that is none: as opposed to one that cannot be opened just now. */
static bool is_no_file(int error)
{
	return error == 0 || error == ENOENT || error == ELOOP || error == ENXIO ||
	       error == ENAMETOOLONG;
}

/* The file, or -1 and an answer. */
static int artifact_open(struct request *rq)
{
	struct fault f;
	struct stat st;
	_cleanup_(freep) char *path = artifact_path(rq, rq->id);
	_cleanup_(closep) int fd =
		name_is_good(rq->id) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
				     : -1;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return TAKE_FD(fd);
	int error = fd < 0 && name_is_good(rq->id) ? errno : 0;
	if (is_no_file(error))
		fault_set(&f, FAULT_NOT_FOUND, "No file found by name %.128s", rq->id);
	else
		fault_set(&f, FAULT_UNAVAILABLE, "%.128s cannot be read: %s", rq->id,
			strerror(error));
	answer_fault(rq, &f);
	return -1;
}

static const char *content_type_of(const char *name)
{
	static const char *const types[][2] = { { ".py", "text/x-python; charset=UTF-8" },
		{ ".zip", "application/zip" }, { ".whl", "application/zip" },
		{ ".egg", "application/zip" }, { ".jar", "application/java-archive" } };
	const char *dot = strrchr(name, '.');
	for (size_t i = 0; dot && i < ARRAY_SIZE(types); i++)
		if (strcmp(dot, types[i][0]) == 0)
			return types[i][1];
	return "application/octet-stream";
}

void artifact_get(struct request *rq)
{
	int fd = artifact_open(rq);
	if (fd >= 0)
		answer_fd(rq, content_type_of(rq->id), fd);
}

char *digest_new(int fd, int which)
{
	unsigned char digest[DIGEST_MAX], block[HASH_BLOCK];
	gnutls_digest_algorithm_t algorithm = which;
	gnutls_hash_hd_t hash;
	ssize_t n;
	must(gnutls_hash_init(&hash, algorithm) == 0);
	while ((n = read(fd, block, sizeof block)) > 0)
		gnutls_hash(hash, block, n);
	gnutls_hash_deinit(hash, digest);
	if (n < 0)
		return NULL;
	char *text = xcalloc(1, 2 * DIGEST_MAX + 1);
	for (unsigned i = 0; i < gnutls_hash_get_len(algorithm); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

static void answer_digest(struct request *rq)
{
	struct fault f;
	char *text = digest_new(rq->hashed_fd, rq->hash);
	if (!text) {
		fault_set(&f, FAULT_UNAVAILABLE, "%.128s cannot be read: %s", rq->id,
			strerror(errno));
		answer_fault(rq, &f);
		return;
	}
	answer_text(rq, 200, TEXT_PLAIN, text, strlen(text));
}

/* Mist's is SHA-1; ?algorithm=sha256 for who wants more. */
void artifact_sha(struct request *rq)
{
	const char *algorithm = query_text(rq, "algorithm");
	struct fault f;
	if (algorithm && strcmp(algorithm, "sha1") != 0 && strcmp(algorithm, "sha256") != 0) {
		fault_set(&f, FAULT_BAD_REQUEST,
			"query parameter algorithm: expected sha1 or sha256, got \"%.64s\"",
			algorithm);
		answer_fault(rq, &f);
		return;
	}
	rq->hash =
		algorithm && strcmp(algorithm, "sha256") == 0 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA1;
	rq->hashed_fd = artifact_open(rq);
	if (rq->hashed_fd >= 0)
		request_work(rq, answer_digest);
}

static void answer_deleted(struct request *rq)
{
	if (rq->ask.fault.code)
		answer_fault(rq, &rq->ask.fault);
	else
		answer_text(rq, 200, TEXT_PLAIN, xstrdup(rq->id), strlen(rq->id));
}

void artifact_delete(struct request *rq)
{
	_cleanup_(closep) int fd = artifact_open(rq);
	struct fault f;
	if (fd < 0)
		return;
	if (query_bool(rq, "force", &rq->ask.force, &f) < 0) {
		answer_fault(rq, &f);
		return;
	}
	rq->ask.kind = ASK_ARTIFACT_DELETE;
	rq->ask.name = xstrdup(rq->id);
	request_ask(rq, answer_deleted);
}
