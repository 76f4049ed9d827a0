/* SPDX-License-Identifier: Apache-2.0 */
/* The pool takes its tasks in the order posted. What is posted is run, also when the end comes
 * meanwhile: somebody waits for it. */
#include "transport/http/server/pool.h"

#include <errno.h>
#include <pthread.h>

#include "base/cleanup.h"

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t posted;
	struct list queue;
	unsigned n_queued, queue_max, n_threads;
	bool is_stopping;
	pthread_t threads[];
};

static struct pool_task *next_task(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (list_empty(&p->queue) && !p->is_stopping)
		pthread_cond_wait(&p->posted, &p->lock);
	struct list *n = list_pop(&p->queue);
	p->n_queued -= n != NULL;
	pthread_mutex_unlock(&p->lock);
	return n ? container_of(n, struct pool_task, node) : NULL;
}

static void *work(void *arg)
{
	for (struct pool_task *t; (t = next_task(arg));)
		t->run(t);
	return NULL;
}

bool pool_post(struct pool *p, struct pool_task *t)
{
	pthread_mutex_lock(&p->lock);
	bool is_taken = !p->is_stopping && p->n_queued < p->queue_max;
	if (is_taken) {
		list_append(&p->queue, &t->node);
		p->n_queued++;
		pthread_cond_signal(&p->posted);
	}
	pthread_mutex_unlock(&p->lock);
	return is_taken;
}

void pool_stop(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	pthread_cond_broadcast(&p->posted);
	pthread_mutex_unlock(&p->lock);
	for (; p->n_threads > 0; p->n_threads--)
		pthread_join(p->threads[p->n_threads - 1], NULL);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pool_stop(p);
	pthread_cond_destroy(&p->posted);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int pool_start(struct pool **ret, unsigned threads, unsigned queue_max)
{
	struct pool *p = xcalloc(1, sizeof *p + threads * sizeof *p->threads);
	must(pthread_mutex_init(&p->lock, NULL) == 0);
	must(pthread_cond_init(&p->posted, NULL) == 0);
	list_init(&p->queue);
	p->queue_max = queue_max;
	for (unsigned i = 0; i < threads; i++) {
		int r = pthread_create(&p->threads[i], NULL, work, p);
		if (r) {
			pool_free(p);
			return r;
		}
		p->n_threads++;
	}
	*ret = p;
	return 0;
}
