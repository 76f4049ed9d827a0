/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that are done behind one that is not, which holds the committed offset back.
 *
 * Whoever has the partition next begins at that offset, and would take them a second time; if it is
 * another gateway, as second jobs. So a commit says in its metadata which they are, as runs of
 * offsets counted from the committed one, after the timestamp of the record before that one, by
 * which same_log.c knows the log, and a hash of it: "mist:@1764270000000.c0ffee+3+5-9". When that
 * record was not yet found to be in the same log as those before it, the one that was comes after
 * it, by its distance and timestamp: "mist:@1764270000000.c0ffee~17@1764260000000.beef+3+5-9".
 * Either may be missing: an earlier version kept no hash, and a record may have no timestamp.
 * Brokers take about 4 KB of it: what does not fit is left out, and may come twice. The text is
 * read when the partition is assigned, with the offset it belongs to, and is nothing to anybody but
 * Mist. What it says holds for the log it was written about: when messages come from before the
 * committed offset, the log is another, and it is forgotten. Consumer's thread. */
#include "transport/kafka/private.h"

#include <inttypes.h>
#include <string.h>

#define PREFIX "mist:"

enum { TEXT_MAX = 3000 };

static void add_run(struct buf *out, int64_t base, int64_t first, int64_t last)
{
	char text[64];
	int n = snprintf(text, sizeof text, "+%" PRId64, first - base);
	if (last > first)
		n += snprintf(text + n, sizeof text - (size_t)n, "-%" PRId64, last - base);
	if (out->len + (size_t)n <= TEXT_MAX)
		buf_puts(out, text);
}

/* Offsets between two messages that followed one another have no message. */
static int64_t add_taken(struct buf *out, const struct partition *p, int64_t base)
{
	int64_t first = -1, last = base - 1;
	size_t n_left = p->n_behind;
	list_each (n, &p->entries) {
		const struct entry *e = container_of(n, struct entry, node);
		bool is_done = e->state == ENTRY_DONE;
		if (first >= 0 && !is_done) {
			add_run(out, base, first, last);
			first = -1;
		}
		if (is_done && first < 0)
			first = e->offset;
		last = e->offset;
		if (n_left == 0 || (is_done && --n_left == 0))
			break;
	}
	if (first >= 0)
		add_run(out, base, first, last);
	return list_empty(&p->entries) ? last
				       : container_of(p->entries.prev, struct entry, node)->offset;
}

static void add_mark(struct buf *out, const struct mark *m)
{
	buf_puts(out, "@");
	if (m->at_ms >= 0)
		buf_printf(out, "%" PRId64, m->at_ms);
	if (m->hash)
		buf_printf(out, ".%" PRIx64, m->hash);
}

char *behind_text(const struct partition *p, int64_t base)
{
	struct buf out;
	bool is_known = mark_is_known(&p->before) && p->before.offset == base - 1;
	if (!p->n_behind && !p->n_runs && !is_known)
		return NULL;
	buf_init(&out, TEXT_MAX + 1);
	buf_puts(&out, PREFIX);
	if (is_known)
		add_mark(&out, &p->before);
	if (is_known && mark_is_known(&p->anchor) && p->anchor.offset < base - 1) {
		buf_printf(&out, "~%" PRId64, base - 1 - p->anchor.offset);
		add_mark(&out, &p->anchor);
	}
	int64_t taken = add_taken(&out, p, base);
	for (size_t i = 0; i < p->n_runs; i++) {
		const struct run *r = &p->runs[i];
		if (r->last > taken)
			add_run(&out, base, r->first > taken ? r->first : taken + 1, r->last);
	}
	if (out.len > strlen(PREFIX))
		return buf_take(&out);
	buf_done(&out);
	return NULL;
}

void behind_forget(struct partition *p)
{
	free(p->runs);
	p->runs = NULL;
	p->n_runs = 0;
}

static bool read_number(const char **text, int64_t *ret)
{
	int64_t n = 0;
	const char *t = *text;
	for (; *t >= '0' && *t <= '9' && n < INT64_MAX / 20; t++)
		n = n * 10 + (*t - '0');
	bool is_good = t > *text && !(*t >= '0' && *t <= '9');
	*text = t;
	*ret = n;
	return is_good;
}

/* 1 to 16 hexadecimal digits, as they are written. */
static bool read_hash(const char **text, uint64_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	const char *t = *text, *digit;
	uint64_t n = 0;
	for (; *t && t - *text < 16 && (digit = strchr(digits, *t)); t++)
		n = n << 4 | (uint64_t)(digit - digits);
	bool is_good = t > *text && !(*t && strchr(digits, *t));
	*text = t;
	*ret = n;
	return is_good && n;
}

/* "@TIME", "@TIME.HASH" or "@.HASH" */
static bool read_mark(const char **text, struct mark *ret)
{
	*ret = NO_MARK;
	if (*(*text)++ != '@' || (**text != '.' && !read_number(text, &ret->at_ms)))
		return false;
	if (**text != '.')
		return true;
	++*text;
	return read_hash(text, &ret->hash);
}

/* "~DISTANCE" and a mark */
static bool read_anchor(struct partition *p, const char **text, int64_t base)
{
	int64_t distance;
	struct mark m;
	++*text;
	if (!read_number(text, &distance) || !read_mark(text, &m))
		return false;
	m.offset = base - 1 - distance;
	if (mark_is_known(&p->before) && distance > 0 && distance < base)
		p->verified = m;
	return true;
}

void behind_read(struct partition *p, int64_t base, const char *metadata, size_t len)
{
	_cleanup_(freep) char *copy = xcalloc(1, len + 1);
	memcpy(copy, metadata, len);
	behind_forget(p);
	p->before = p->verified = NO_MARK;
	if (strncmp(copy, PREFIX, strlen(PREFIX)) != 0)
		return;
	const char *t = copy + strlen(PREFIX);
	int64_t next = 0;
	struct mark m;
	if (*t == '@') {
		if (!read_mark(&t, &m))
			return;
		m.offset = base - 1;
		if (base > 0) /* before the first record there is none */
			p->before = m;
	}
	if (*t == '~' && !read_anchor(p, &t, base)) {
		p->before = NO_MARK;
		return;
	}
	p->base = base;
	p->runs = xcalloc(len, sizeof *p->runs);
	while (*t) {
		int64_t first = 0, last;
		bool is_good = *t++ == '+' && read_number(&t, &first);
		last = first;
		if (is_good && *t == '-') {
			t++;
			is_good = read_number(&t, &last);
		}
		if (!is_good || first < next || last < first) {
			behind_forget(p);
			return;
		}
		p->runs[p->n_runs++] = (struct run){ base + first, base + last };
		next = last + 1;
	}
}

bool behind_has(struct partition *p, int64_t offset)
{
	if (p->n_runs && offset < p->base)
		behind_forget(p);
	size_t low = 0, high = p->n_runs;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->runs[middle].last < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < p->n_runs && p->runs[low].first <= offset;
}
