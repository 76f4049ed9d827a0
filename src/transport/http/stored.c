/* SPDX-License-Identifier: Apache-2.0 */
/* What the store could not read and has set aside: shown, and forgotten by who has dealt with it.
 * The rows are read on the query pool; to forget them is the store's thread's, by the core. */
#include "transport/http/request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"

enum { PAGE_DEFAULT = 25, PAGE_MAX = 1000 };
#define ANSWER_MAX ((size_t)1 << 30)

struct page {
	struct buf out;
	bool is_full;
};

static void add_text(struct page *p, const char *name, const char *text)
{
	_cleanup_(freep) char *quoted = json_quote(text, strlen(text));
	p->is_full |= buf_printf(&p->out, ",\"%s\":%s", name, quoted);
}

static void add_row(void *arg, const struct store_unreadable *u)
{
	struct page *p = arg;
	const char *comma = p->out.len && p->out.data[p->out.len - 1] == '}' ? "," : "";
	p->is_full |= buf_printf(&p->out, "%s{\"id\":%" PRId64, comma, u->number);
	add_text(p, "kind", u->kind);
	add_text(p, "key", u->key);
	add_text(p, "reason", u->reason);
	p->is_full |= buf_printf(&p->out, ",\"time\":%" PRId64, u->found_ms);
	if (u->content)
		p->is_full |= buf_printf(&p->out, ",\"content\":%s", u->content);
	p->is_full |= buf_puts(&p->out, "}");
}

/* Takes the page. */
static void answer_page(struct request *rq, struct page *p, int r)
{
	struct fault f;
	if (r == -ENOENT)
		fault_set(&f, FAULT_NOT_FOUND, "there is no unreadable row %.32s", rq->id);
	else if (r < 0)
		fault_set(&f, FAULT_UNAVAILABLE, "the store cannot be read: %s", strerror(-r));
	else if (p->is_full)
		fault_set(&f, FAULT_TOO_LARGE, "the answer is too large");
	if (r < 0 || p->is_full) {
		answer_fault(rq, &f);
		buf_done(&p->out);
		return;
	}
	size_t len = p->out.len;
	answer_text(rq, 200, "application/json", buf_take(&p->out), len);
}

static void list_read(struct request *rq)
{
	int64_t total = 0;
	struct page p = { 0 };
	buf_init(&p.out, ANSWER_MAX);
	buf_puts(&p.out, "{\"unreadable\":[");
	int r = store_unreadable_each(
		rq->http->env.store, 0, rq->limit, rq->offset, add_row, &p, &total);
	p.is_full |= buf_printf(&p.out, "],\"total\":%" PRId64 "}", total);
	answer_page(rq, &p, r);
}

void unreadable_list(struct request *rq)
{
	struct fault f;
	rq->limit = PAGE_DEFAULT;
	if (query_int(rq, "limit", 0, PAGE_MAX, &rq->limit, &f) < 0 ||
		query_int(rq, "offset", 0, INT64_MAX, &rq->offset, &f) < 0)
		answer_fault(rq, &f);
	else
		request_work(rq, list_read);
}

/* The number in the path; 0: it is none, and answered. */
static int64_t number_of(struct request *rq)
{
	struct fault f;
	size_t len = strlen(rq->id);
	if (len <= 18 && strspn(rq->id, "0123456789") == len && strtoll(rq->id, NULL, 10) > 0)
		return strtoll(rq->id, NULL, 10);
	fault_set(&f, FAULT_NOT_FOUND, "there is no unreadable row %.32s", rq->id);
	answer_fault(rq, &f);
	return 0;
}

static void show_read(struct request *rq)
{
	struct page p = { 0 };
	int64_t number = strtoll(rq->id, NULL, 10);
	buf_init(&p.out, ANSWER_MAX);
	answer_page(rq, &p,
		store_unreadable_each(rq->http->env.store, number, 1, 0, add_row, &p, NULL));
}

void unreadable_show(struct request *rq)
{
	if (number_of(rq))
		request_work(rq, show_read);
}

static void drop_asked(struct request *rq)
{
	if (rq->ask.fault.code)
		answer_fault(rq, &rq->ask.fault);
	else
		answer_text(rq, 200, TEXT_PLAIN, xstrdup(""), 0);
}

static void none(void *arg, const struct store_unreadable *u)
{
	(void)arg, (void)u;
}

static void drop(struct request *rq)
{
	rq->ask.kind = ASK_UNREADABLE_DROP;
	request_ask(rq, drop_asked);
}

static void drop_read(struct request *rq)
{
	struct page p = { 0 };
	int r = store_unreadable_each(rq->http->env.store, rq->ask.number, 1, 0, none, NULL, NULL);
	if (r < 0)
		answer_page(rq, &p, r);
	else
		rq->then = drop; /* on the HTTP thread: it waits once more */
}

void unreadable_drop(struct request *rq)
{
	rq->ask.number = rq->id ? number_of(rq) : 0;
	if (!rq->id)
		drop(rq);
	else if (rq->ask.number)
		request_work(rq, drop_read);
}
