/* SPDX-License-Identifier: Apache-2.0 */
/* A list for the process: there are a few for each instance, made when it opens. */
#include "transport/reserved.h"

#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/list.h"

struct reserved {
	struct list node;
	const char *kind;
	const struct transport *owner;
	char *pattern;
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct list all = LIST_INIT(all);

void reserved_add(const char *kind, const struct transport *owner, const char *pattern)
{
	if (!*pattern)
		return;
	struct reserved *r = xcalloc(1, sizeof *r);
	r->kind = kind;
	r->owner = owner;
	r->pattern = xstrdup(pattern);
	pthread_rwlock_wrlock(&lock);
	list_append(&all, &r->node);
	pthread_rwlock_unlock(&lock);
}

static bool is_match(const char *pattern, const char *topic)
{
	size_t n = strlen(pattern);
	if (pattern[n - 1] != '*')
		return strcmp(pattern, topic) == 0;
	return strncmp(pattern, topic, n - 1) == 0 && topic[n - 1];
}

bool reserved_has(const char *kind, const char *topic)
{
	bool is_there = false;
	pthread_rwlock_rdlock(&lock);
	list_each (n, &all) {
		const struct reserved *r = container_of(n, struct reserved, node);
		is_there = is_there || (strcmp(r->kind, kind) == 0 && is_match(r->pattern, topic));
	}
	pthread_rwlock_unlock(&lock);
	return is_there;
}

void reserved_drop(const struct transport *owner)
{
	pthread_rwlock_wrlock(&lock);
	list_each (n, &all) {
		struct reserved *r = container_of(n, struct reserved, node);
		if (r->owner != owner)
			continue;
		list_remove(n);
		free(r->pattern);
		free(r);
	}
	pthread_rwlock_unlock(&lock);
}
