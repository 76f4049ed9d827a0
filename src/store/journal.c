/* SPDX-License-Identifier: Apache-2.0 */
/* A deployment changes files and the database, and nothing changes both in one step. So before the
 * first file is replaced it is written down how each is put back, and under which id: the database
 * keeps the id of the last deployment that it took, in the transaction of that deployment. A
 * process that finds a journal knows by that whether the deployment took effect. It did: only the
 * journal and the ways back are left to be removed. It did not: each file is put back.
 *
 * A file is put back only where the new one has its name, so doing it twice is doing it once, and
 * what somebody uploaded meanwhile stays. It is known by its inode, its size and its time; in a
 * folder that was copied inodes are others, so the last two tell it by themselves where they can.
 *
 * The folder is `.deployment` among the artifacts:
 *
 *   journal      what is here, JSON
 *   0, 1, …      the way back of each file, by its place in the journal
 *
 * Without a journal what lies in it means nothing: it is removed. */
#include "store/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/disk/folder.h"
#include "base/fail_point.h"
#include "base/json.h"

enum { JOURNAL_MAX = 4 << 20, FILES_MAX = 100 * 1000 };
#define DIRECTORY ".deployment"
#define ASIDE     ".deployment-aside"

static const char *const way_names[_JOURNAL_WAY_MAX] = { "none", "link", "copy", "exchange" };

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static struct journal_mark mark_of(const struct stat *st)
{
	return (struct journal_mark){ st->st_ino, st->st_size, mtime_ns(st) };
}

/* How much speaks for it. */
static int likeness(const struct journal_mark *m, const struct stat *st)
{
	if (!m->inode || m->size != st->st_size || m->mtime_ns != mtime_ns(st))
		return 0;
	return m->inode == st->st_ino ? 2 : 1;
}

static struct journal *journal_new(const char *artifacts)
{
	struct journal *j = xcalloc(1, sizeof *j);
	j->artifacts = xstrdup(artifacts);
	j->directory = xasprintf("%s/" DIRECTORY, artifacts);
	return j;
}

int journal_begin(struct journal **ret, const char *artifacts)
{
	_cleanup_(journal_freep) struct journal *j = journal_new(artifacts);
	int r = journal_remove(artifacts);
	if (r < 0)
		return r;
	if (getrandom(j->id.bytes, sizeof j->id.bytes, 0) != sizeof j->id.bytes)
		return -EIO;
	if (mkdir(j->directory, 0750) < 0)
		return -errno;
	*ret = TAKE_PTR(j);
	return 0;
}

void journal_add(struct journal *j, const char *name, enum journal_way way, const struct stat *old,
	const struct stat *new)
{
	j->files = xrealloc(j->files, (j->n_files + 1) * sizeof *j->files);
	j->files[j->n_files++] = (struct journal_file){ .name = xstrdup(name),
		.way = way,
		.old = old ? mark_of(old) : (struct journal_mark){ 0 },
		.new = mark_of(new) };
}

char *journal_target(const struct journal *j, size_t i)
{
	return xasprintf("%s/%s", j->artifacts, j->files[i].name);
}

char *journal_before(const struct journal *j, size_t i)
{
	return xasprintf("%s/%zu", j->directory, i);
}

static json_t *mark_json(const struct journal_mark *m)
{
	return json_pack("{s:I, s:I, s:I}", "inode", (json_int_t)m->inode, "size",
		(json_int_t)m->size, "mtimeNs", (json_int_t)m->mtime_ns);
}

static char *text_of(const struct journal *j)
{
	char id[UUID_TEXT];
	uuid_format(&j->id, id);
	json_t *files = json_array();
	for (size_t i = 0; i < j->n_files; i++) {
		const struct journal_file *file = &j->files[i];
		json_array_append_new(
			files, json_pack("{s:s, s:s, s:o, s:o}", "name", file->name, "way",
				       way_names[file->way], "old", mark_json(&file->old), "new",
				       mark_json(&file->new)));
	}
	_cleanup_(json_decrefp) json_t *json =
		json_pack("{s:s, s:o}", "deployment", id, "files", files);
	return json_text(json);
}

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);
	for (ssize_t n; len; text += n, len -= (size_t)n) {
		n = write(fd, text, len);
		if (n < 0)
			return -errno;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int journal_write(const struct journal *j)
{
	_cleanup_(freep) char *path = xasprintf("%s/journal", j->directory);
	_cleanup_(freep) char *unnamed = xasprintf("%s/journal.new", j->directory);
	_cleanup_(freep) char *text = text_of(j);
	int r = fail_point(FAIL_STORE_DEPLOYMENT_JOURNAL);
	if (r < 0)
		return r;
	_cleanup_(closep) int fd =
		open(unnamed, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = fd < 0 ? -errno : write_all(fd, text);
	if (r == 0 && rename(unnamed, path) < 0)
		r = -errno;
	if (r == 0)
		r = folder_sync(j->directory);
	return r < 0 ? r : folder_sync(j->artifacts);
}

static bool read_int(const json_t *object, const char *name, int64_t *ret)
{
	const json_t *value = json_object_get(object, name);
	*ret = json_integer_value(value);
	return json_is_integer(value);
}

static bool read_mark(const json_t *file, const char *name, struct journal_mark *ret)
{
	const json_t *mark = json_object_get(file, name);
	int64_t inode;
	bool is_good = read_int(mark, "inode", &inode) && read_int(mark, "size", &ret->size) &&
		       read_int(mark, "mtimeNs", &ret->mtime_ns);
	ret->inode = (uint64_t)inode;
	return is_good;
}

static bool read_file(struct journal *j, const json_t *json)
{
	const char *name = json_string_of(json, "name"), *way = json_string_of(json, "way");
	struct journal_file file = { 0 };
	if (!name || !name_is_good(name) || !way || !read_mark(json, "old", &file.old) ||
		!read_mark(json, "new", &file.new))
		return false;
	while (file.way < _JOURNAL_WAY_MAX && strcmp(way, way_names[file.way]) != 0)
		file.way++;
	if (file.way == _JOURNAL_WAY_MAX)
		return false;
	file.name = xstrdup(name);
	j->files[j->n_files++] = file;
	return true;
}

static int read_json(struct journal *j, const char *text, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *json = json_parse_kept(text, f);
	if (!json)
		return -EBADMSG;
	const char *id = json_string_of(json, "deployment");
	const json_t *files = json_object_get(json, "files");
	size_t n = json_array_size(files);
	bool is_good = id && uuid_parse(id, &j->id) && json_is_array(files) && n <= FILES_MAX;
	j->files = is_good ? xcalloc(n + 1, sizeof *j->files) : NULL;
	for (size_t i = 0; is_good && i < n; i++)
		is_good = read_file(j, json_array_get(files, i));
	if (is_good)
		return 0;
	fault_set(f, FAULT_INTERNAL, "expected the id of a deployment and its files");
	return -EBADMSG;
}

/* A disk that breaks on the way gives what came before, and only the next time says so. What ends
 * early is no journal, which its reader finds out. */
static int read_whole(int fd, char *ret, size_t size)
{
	ssize_t n = 1;
	for (; size && n > 0; ret += n, size -= (size_t)n) {
		n = read(fd, ret, size);
		if (n < 0)
			return -errno;
	}
	return 0;
}

int journal_read(struct journal **ret, const char *artifacts, struct fault *f)
{
	_cleanup_(journal_freep) struct journal *j = journal_new(artifacts);
	_cleanup_(freep) char *path = xasprintf("%s/journal", j->directory), *text = NULL;
	struct stat st;
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	if (r == 0 && (!S_ISREG(st.st_mode) || st.st_size > JOURNAL_MAX)) {
		fault_set(f, FAULT_INTERNAL, "expected a file of at most %d bytes", JOURNAL_MAX);
		return -EBADMSG;
	}
	text = xcalloc(1, r == 0 ? (size_t)st.st_size + 1 : 1);
	if (r == 0)
		r = read_whole(fd, text, (size_t)st.st_size);
	if (r < 0) {
		fault_set(f, FAULT_INTERNAL, "%s", strerror(-r));
		return r;
	}
	r = read_json(j, text, f);
	if (r == 0)
		*ret = TAKE_PTR(j);
	return r;
}

bool journal_is_there(const char *artifacts)
{
	_cleanup_(freep) char *path = xasprintf("%s/" DIRECTORY "/journal", artifacts);
	struct stat st;
	return lstat(path, &st) == 0;
}

int journal_put_back(const struct journal *j, size_t i)
{
	const struct journal_file *file = &j->files[i];
	_cleanup_(freep) char *to = journal_target(j, i), *before = journal_before(j, i);
	struct stat st;
	int r = fail_point(FAIL_STORE_DEPLOYMENT_UNDO);
	if (r < 0)
		return r;
	if (lstat(to, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	int as_new = likeness(&file->new, &st), as_old = likeness(&file->old, &st);
	if (as_new > as_old && file->way == JOURNAL_WAY_NONE)
		return unlink(to) < 0 ? -errno : 0;
	if (as_new > as_old)
		return rename(before, to) < 0 ? -errno : 0;
	if (as_old > as_new)
		return 0;
	/* A copy that was put back is none of both, and has left its place. */
	return file->way != JOURNAL_WAY_NONE && lstat(before, &st) == 0;
}

/* Of files only: nobody makes folders in it. What is no folder goes, too. */
static int remove_directory(const char *path)
{
	DIR *d = opendir(path);
	if (!d && errno == ENOTDIR)
		return unlink(path) < 0 ? -errno : 0;
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	for (struct dirent *e; (e = readdir(d));)
		(void)unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	return rmdir(path) < 0 ? -errno : 0;
}

/* Nothing is synced: a journal that is back after a loss of power finds its files as it left them.
 */
int journal_remove(const char *artifacts)
{
	_cleanup_(freep) char *directory = xasprintf("%s/" DIRECTORY, artifacts);
	_cleanup_(freep) char *path = xasprintf("%s/journal", directory);
	struct stat st;
	if (lstat(directory, &st) < 0) /* nothing has to be written, then */
		return errno == ENOENT ? 0 : -errno;
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return -errno;
	return remove_directory(directory);
}

char *journal_aside(const char *artifacts, int n)
{
	return n ? xasprintf("%s/" ASIDE "-%d", artifacts, n + 1)
		 : xasprintf("%s/" ASIDE, artifacts);
}

/* Renaming replaces an empty folder, so what was there is looked for before. */
int journal_set_aside(const char *artifacts, char **ret)
{
	_cleanup_(freep) char *directory = xasprintf("%s/" DIRECTORY, artifacts);
	_cleanup_(freep) char *aside = NULL;
	struct stat st;
	int r = -EEXIST;
	for (int n = 0; r == -EEXIST && n < JOURNALS_ASIDE_MAX; n++) {
		free(aside);
		aside = journal_aside(artifacts, n);
		if (lstat(aside, &st) < 0)
			r = errno != ENOENT || rename(directory, aside) < 0 ? -errno : 0;
	}
	*ret = TAKE_PTR(aside);
	return r;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->n_files; i++)
		free(j->files[i].name);
	free(j->files);
	free(j->directory);
	free(j->artifacts);
	free(j);
}
