/* SPDX-License-Identifier: Apache-2.0 */
/* What cannot be read is skipped, where `unreadable` says so.
 *
 * A batch that cannot be unpacked, or whose checksum is wrong, stops its partition: the library
 * says the offset at which it begins, and tries again for ever. Where it ends nobody says, so that
 * is looked for: the library is sent to an offset in between; if it complains of the same batch the
 * offset is inside, and if something else comes it is behind. Half of what is left is decided by
 * each attempt. The end of the log is behind any batch that is in it. Nothing that comes meanwhile
 * is taken: it comes again when the end is known.
 *
 * Then the offsets of the batch are a dead letter without a payload, and an entry like that of a
 * message which was refused: they are committed when the broker has the letter. Its records are
 * not seen, so nothing is known of the log by them (same_log.c).
 *
 * An attempt that brings nothing for SILENT_MS counts as one behind the batch. If that was wrong,
 * the library complains of the batch once more, and the search goes on from there. Consumer's
 * thread. */
#include "transport/kafka/private.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"

enum { ATTEMPTS = 3, SILENT_MS = 5000, ASK_MS = 3000 };

static void look_at(struct consumer *c, struct partition *p, int64_t offset)
{
	p->skip.at = offset;
	p->skip.since_ms = clock_mono_ms();
	(void)partition_seek(c, p, offset); /* one that failed is one that brings nothing */
}

static void finish(struct consumer *c, struct partition *p)
{
	struct kafka *k = c->kafka;
	struct skip *s = &p->skip;
	struct fault f;
	int64_t first = s->first > p->seen.offset || !mark_is_known(&p->seen) ? s->first
									      : p->seen.offset + 1;
	s->is_looking = false;
	s->last = s->high - 1;
	s->is_behind = true;
	fault_set(&f, FAULT_BAD_REQUEST, "it cannot be read: %s", p->unreadable);
	log_error("transport %s: topic %s, partition %d, offsets %" PRId64 " to %" PRId64
		  " are skipped: %s",
		k->name, p->topic, (int)p->number, first, s->last, f.text);
	free(TAKE_PTR(p->unreadable)); /* perhaps nothing comes behind it for long */
	c->table.is_stuck_news = true;
	struct entry *e = table_take_gap(&c->table, p, s->last);
	struct letter *l =
		request_dead_letter_of_offsets(k, p->topic, p->number, first, s->last, &f);
	e->consumer = c;
	k->n_skipped++;
	p->anchor = NO_MARK; /* until something behind it was taken */
	if (l) {
		e->n_letters = 1;
		l->entry = e;
		outbox_send(k->outbox, l);
	} else {
		table_finish(&c->table, e);
	}
	(void)partition_seek(c, p, s->high);
}

static void look_on(struct consumer *c, struct partition *p)
{
	if (p->skip.high - p->skip.low <= 1)
		finish(c, p);
	else
		look_at(c, p, p->skip.low + (p->skip.high - p->skip.low) / 2);
}

static void begin(struct consumer *c, struct partition *p, int64_t first, int64_t low)
{
	int64_t lowest, end;
	rd_kafka_resp_err_t err =
		rd_kafka_query_watermark_offsets(c->rk, p->topic, p->number, &lowest, &end, ASK_MS);
	if (err || end <= low)
		return; /* at the next complaint */
	p->skip.first = first;
	p->skip.low = low;
	p->skip.high = end;
	p->skip.is_looking = true;
	look_on(c, p);
}

void skip_complained(struct consumer *c, struct partition *p, int64_t offset)
{
	struct skip *s = &p->skip;
	if (s->is_looking) {
		*(offset == s->first ? &s->low : &s->high) = s->at;
		look_on(c, p);
	} else if (s->last >= 0 && offset == s->first && s->is_behind) {
		begin(c, p, offset, s->last + 1);
	} else if (s->last >= 0 && offset == s->first) {
		s->is_behind = true;
		(void)partition_seek(c, p, s->last + 1);
	} else if (++p->n_complaints >= ATTEMPTS) {
		p->n_complaints = 0;
		begin(c, p, offset, offset);
	}
}

bool skip_takes(struct consumer *c, struct partition *p)
{
	p->n_complaints = 0;
	p->skip.is_behind = false;
	if (!p->skip.is_looking)
		return false;
	p->skip.high = p->skip.at;
	look_on(c, p);
	return true;
}

void skip_tend(struct consumer *c)
{
	int64_t now = clock_mono_ms();
	map_each (n, &c->table.partitions) {
		struct partition *p = container_of(n, struct partition, by_place);
		if (!p->skip.is_looking)
			continue;
		if (p->is_paused || c->is_paused) {
			p->skip.since_ms = now;
		} else if (now - p->skip.since_ms > SILENT_MS) {
			p->skip.high = p->skip.at;
			look_on(c, p);
		}
	}
}
