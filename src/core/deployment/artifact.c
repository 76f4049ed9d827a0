/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an artifact.
 *
 * Whether somebody uses it, the core knows; to remove it takes a disk, which may take its time. So
 * the file goes on a thread of the loop's pool, and meanwhile no function can be made of it: what
 * was found before, that nobody uses it, is true until it is gone. It is gone when the folder is on
 * the disk, too: an artifact that was deleted does not come back. */
#include "core/private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/disk/folder.h"
#include "base/fail_point.h"
#include "base/text/plural.h"
#include "core/edit.h"

struct deletion {
	uv_work_t work;
	struct list node; /* in core->deletions */
	struct core *core;
	struct ask *ask;
	char *path, *folder;
	int status, synced; /* negative errno */
};

struct artifact_users {
	const char *artifact;
	struct buf names;
	size_t n_jobs;
};

static bool is_of(const struct artifact_users *u, const struct function *f)
{
	return strcmp(f->settings.path, u->artifact) == 0;
}

static void user_add(void *arg, const struct function *f)
{
	struct artifact_users *u = arg;
	if (is_of(u, f))
		buf_printf(&u->names, "%s%s", u->names.len ? ", " : "", f->name);
}

/* Functions, those too that are being written, and jobs that were accepted. */
static void find_users(struct core *c, struct artifact_users *u)
{
	catalog_each_function(c->catalog, user_add, u);
	list_each (n, &c->edits) {
		const struct edit *e = container_of(n, struct edit, node);
		const struct function *there =
			e->function ? catalog_function(c->catalog, e->function->name) : NULL;
		if (e->function && !(there && is_of(u, there)))
			user_add(u, e->function);
	}
	map_each (n, &c->jobs)
		u->n_jobs += is_of(u, container_of(n, struct live_job, by_id)->job->function);
}

static int check_unused(struct core *c, const char *artifact, struct fault *f)
{
	struct artifact_users u = { .artifact = artifact };
	int r = 0;
	buf_init(&u.names, sizeof f->text);
	find_users(c, &u);
	if (u.names.len)
		r = fault_set(f, FAULT_CONFLICT,
			"%.128s is used by functions; with force (force=true, of mist --force) it "
			"is deleted all the same. They are: %s",
			artifact, u.names.data);
	else if (u.n_jobs)
		r = fault_set(f, FAULT_CONFLICT,
			"%.128s is used by %zu job%s that %s; with force (force=true, of "
			"mist --force) it is deleted all the same",
			artifact, u.n_jobs, plural(u.n_jobs),
			by_count(u.n_jobs, "waits or runs", "wait or run"));
	buf_done(&u.names);
	return r;
}

static struct deletion *deletion_of(const struct core *c, const char *artifact)
{
	list_each (n, &c->deletions) {
		struct deletion *d = container_of(n, struct deletion, node);
		if (strcmp(d->ask->name, artifact) == 0)
			return d;
	}
	return NULL;
}

int artifact_check_stays(const struct core *c, const char *path, struct fault *f)
{
	return deletion_of(c, path) ? fault_set(f, FAULT_CONFLICT,
					      "path: the artifact %.128s is being deleted", path)
				    : 0;
}

/* On a thread of the pool. */
static void deletion_work(uv_work_t *work)
{
	struct deletion *d = container_of(work, struct deletion, work);
	d->status = fail_point(FAIL_ARTIFACT_REMOVE);
	if (d->status == 0 && unlink(d->path) < 0)
		d->status = -errno;
	if (d->status == 0)
		d->synced = folder_sync(d->folder);
}

static void deletion_done(uv_work_t *work, int status)
{
	struct deletion *d = container_of(work, struct deletion, work);
	struct ask *a = d->ask;
	(void)status;
	beat_doing("an artifact that was deleted");
	list_remove(&d->node);
	if (d->status < 0)
		fault_set(&a->fault,
			d->status == -ENOENT ? FAULT_NOT_FOUND : fault_of_errno(-d->status),
			"%.128s cannot be deleted: %s", a->name, strerror(-d->status));
	else if (d->synced < 0)
		fault_set(&a->fault, FAULT_UNAVAILABLE,
			"%.128s is deleted, but may be there again after a loss of power: %s",
			a->name, strerror(-d->synced));
	ask_answer(a);
	free(d->path);
	free(d->folder);
	free(d);
}

void ask_artifact_delete(struct core *c, struct ask *a)
{
	bool is_free = a->force || catalog_rules_of(c->catalog)->deletes_used_artifacts;
	if (deletion_of(c, a->name)) {
		fault_set(&a->fault, FAULT_CONFLICT, "%.128s is being deleted", a->name);
		ask_answer(a);
		return;
	}
	if (!is_free && check_unused(c, a->name, &a->fault) < 0) {
		ask_answer(a);
		return;
	}
	struct deletion *d = xcalloc(1, sizeof *d);
	d->core = c;
	d->ask = a;
	d->path = catalog_location(c->catalog, a->name);
	d->folder = strndup(d->path, (size_t)(strrchr(d->path, '/') - d->path));
	must(d->folder);
	list_append(&c->deletions, &d->node);
	must(uv_queue_work(c->loop, &d->work, deletion_work, deletion_done) == 0);
}
