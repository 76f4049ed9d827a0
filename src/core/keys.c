/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency keys: a request that is sent again, by a client that did not hear the answer, is
 * answered with the job it made the first time.
 *
 * The key and a digest of the request are columns of the job's row, durable with it and read back
 * at start; here is the picture in memory, for limits.idempotency-time and of the newest
 * limits.idempotency-keys: one more makes the oldest be forgotten. A clock that is set makes no key
 * older: within a process its age is monotonic time. An answer waits until
 * everything posted so far is durable, and so until the first job is, and until it is written down
 * whom else its outcome is owed to (outbox.c). The same key with another digest is another request
 * under a used name, and refused. */
#include "core/private.h"

#include <string.h>

#include "base/clock.h"

struct idempotency {
	struct map_node by_key;
	struct list aged;
	char *key, *digest;
	struct uuid job;
	int64_t since_ms; /* monotonic */
};

static void key_free(struct core *c, struct idempotency *k)
{
	if (!k->digest)
		c->n_places--;
	map_remove(&c->keys, &k->by_key);
	list_remove(&k->aged);
	free(k->key);
	free(k->digest);
	free(k);
}

static struct idempotency *key_find(const struct core *c, const char *key)
{
	struct map_node *n = map_find_str(&c->keys, key);
	return n ? container_of(n, struct idempotency, by_key) : NULL;
}

static void drop_old(struct core *c)
{
	int64_t oldest = clock_mono_ms() - c->limits.key_ms;
	list_each (n, &c->keys_aged) {
		struct idempotency *k = container_of(n, struct idempotency, aged);
		if (k->since_ms >= oldest)
			break;
		key_free(c, k);
	}
}

static void drop_oldest(struct core *c)
{
	while (c->keys.count - c->n_places > (size_t)c->limits.keys_max)
		key_free(c, container_of(c->keys_aged.next, struct idempotency, aged));
	while (c->n_places > PLACES_MAX)
		key_free(c, container_of(c->places_aged.next, struct idempotency, aged));
}

static void remember(struct core *c, const char *key, const char *digest, const struct uuid *job,
	int64_t since_ms)
{
	struct idempotency *k = key_find(c, key);
	if (k)
		key_free(c, k);
	k = xcalloc(1, sizeof *k);
	k->key = xstrdup(key);
	k->digest = digest ? xstrdup(digest) : NULL;
	k->job = *job;
	k->since_ms = since_ms;
	map_add_str(&c->keys, &k->by_key, k->key);
	list_append(digest ? &c->keys_aged : &c->places_aged, &k->aged);
	c->n_places += !digest;
	drop_oldest(c);
}

bool keys_answer(struct core *c, struct job_request *rq)
{
	struct fault f;
	drop_old(c);
	const struct idempotency *k = rq->idempotency_key ? key_find(c, rq->idempotency_key) : NULL;
	if (!k && rq->former_key)
		k = key_find(c, rq->former_key);
	if (!k)
		return false;
	const char *digest = rq->idempotency_digest;
	if (k->digest && digest ? strcmp(k->digest, digest) != 0 : k->digest || digest) {
		fault_set(&f, FAULT_UNPROCESSABLE,
			"the idempotency key %.64s was used for another request", k->key);
		intake_refuse(c, rq, &f);
		return true;
	}
	outbox_again(c, rq, &k->job);
	return true;
}

void keys_add(struct core *c, const struct job *j)
{
	if (j->idempotency_key)
		remember(c, j->idempotency_key, j->idempotency_digest, &j->id, clock_mono_ms());
}

void keys_drop(struct core *c, const struct job *j)
{
	struct idempotency *k = j->idempotency_key ? key_find(c, j->idempotency_key) : NULL;
	if (k && memcmp(&k->job, &j->id, sizeof j->id) == 0)
		key_free(c, k);
}

/* What claims to be of a later time was made while the clock was ahead, nobody knows when. */
static void key_loaded(
	void *arg, const char *key, const char *digest, const struct uuid *job, int64_t created_ms)
{
	int64_t age_ms = clock_wall_ms() - created_ms;
	remember(arg, key, digest, job, clock_mono_ms() - (age_ms > 0 ? age_ms : 0));
}

int keys_load(struct core *c)
{
	int64_t now = clock_wall_ms();
	return store_key_each(c->store, now - c->limits.key_ms, now, PLACES_MAX, key_loaded, c);
}

void keys_free(struct core *c)
{
	while (!list_empty(&c->keys_aged))
		key_free(c, container_of(c->keys_aged.next, struct idempotency, aged));
	while (!list_empty(&c->places_aged))
		key_free(c, container_of(c->places_aged.next, struct idempotency, aged));
	map_done(&c->keys);
}
