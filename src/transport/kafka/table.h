/* SPDX-License-Identifier: Apache-2.0 */
/* Of this room: the messages that were taken, by partition. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "base/map.h"
#include "mist/transport.h"

struct consumer;

/* table.c: the messages that were taken and whose offsets are not committed. Consumer's thread. */

enum entry_state {
	ENTRY_ASKED, /* with the core */
	ENTRY_HELD,  /* refused for now: waits to be asked again */
	ENTRY_TOLD,  /* refused for good: its letters are under way */
	ENTRY_DONE,  /* its offset may be committed */
};

/* A record, by which a log is known. */
struct mark {
	int64_t offset, at_ms; /* at_ms -1: it has no timestamp */
	uint64_t hash;         /* of its key, headers and payload; 0: not known */
};
#define NO_MARK ((struct mark){ .offset = -1, .at_ms = -1 })
static inline bool mark_is_known(const struct mark *m)
{
	return m->at_ms >= 0 || m->hash;
}

struct entry {
	struct list node;     /* in its partition's entries, or the table's orphans */
	struct list held;     /* in its partition's held */
	struct entry *answer; /* the next of those that were answered */
	struct consumer *consumer;
	struct partition *partition; /* NULL: it was taken away */
	rd_kafka_message_t *msg;     /* owned; NULL once it is done */
	enum entry_state state;
	bool is_retry;
	uint64_t number; /* in the order they were taken */
	int64_t offset;
	struct mark mark; /* the record's */
	size_t bytes;
	struct fault *fault;   /* of the answer; owned */
	_Atomic int n_letters; /* that the broker has not taken yet */
	struct ask *ask;       /* owned: of a cancel */
};

struct run {
	int64_t first, last; /* offsets */
};

/* A batch that cannot be read; skip.c's. */
struct skip {
	bool is_looking;          /* for its end, which is behind `low`, */
	int64_t first, low, high; /* which is in it, and not behind `high` */
	int64_t at, since_ms;     /* the offset that is tried, since when */
	int64_t last;             /* of the one that was skipped last; -1: none was */
	bool is_behind;           /* and nothing has come since its end was sought */
};

struct partition {
	struct map_node by_place;
	char *place; /* its key */
	char *topic;
	int32_t number;
	const char *function;        /* that its topic names, in `topic`; or NULL */
	struct list entries;         /* in the order they were taken; the first is not done */
	struct list held;            /* the same order */
	int64_t next;                /* to be committed; -1: nothing is done yet */
	int64_t committing;          /* what a commit under way says */
	size_t n_done, n_committing; /* messages below those offsets that were not committed */
	size_t n_behind;             /* entries that are done, behind one that is not, */
	bool is_news;                /* and that was not committed yet */
	struct run *runs;            /* the same of whoever had it before, in order */
	size_t n_runs;
	int64_t base;       /* what was committed with them */
	struct mark before; /* the record before the offset to commit */
	struct mark
		verified; /* as was read: one before that, which it was compared with; or none */
	/* same_log.c's: */
	struct mark seen;   /* the newest record that was taken */
	struct mark anchor; /* the one that was the newest at the last check */
	bool is_checked;    /* the anchor is being read again, */
	bool is_doubted;    /* since the library has gone back by itself, */
	bool is_repeated;   /* and what was taken behind it may come again */
	int64_t check_at_ms;
	struct skip skip;
	unsigned n_complaints; /* of the library in a row, of what it cannot read */
	bool is_paused;
	/* Asking again what was held. */
	size_t n_retrying, retry_batch;
	bool was_refused;
	int64_t retry_at_ms, retry_pause_ms;
	char *why;        /* it was held; the newest reason */
	char *unreadable; /* why nothing behind `unreadable_at` can be read; NULL: it can */
	int64_t unreadable_at, unreadable_say_ms;
	int64_t stuck_since_ms, say_at_ms;
	/* lag.c's: the log's end, and the first offset that was not seen to when it was learned; up
	 * to where there is nothing more to be read, of what was committed or at the end; each -1:
	 * not known. */
	int64_t end, end_seen_from, read_to, lag;
	int64_t progress, progress_ms; /* a number that changes when something is done, and since
					  when it has not */
	bool is_stalled;
};

struct table {
	struct map partitions;
	struct list orphans; /* entries whose partition was taken away */
	struct list spare;   /* entries to be used again: the window is always as large */
	uint64_t count;
	size_t n_taken;     /* messages of partitions we have that are not committed */
	size_t n_done;      /* of these, those that could be */
	size_t n_bytes;     /* of messages that are kept */
	bool is_news;       /* of a partition */
	bool is_plain;      /* the brokers take no metadata of that length */
	bool is_stuck_news; /* of partitions that cannot be read, or can again */
};

void table_init(struct table *t);
void table_done(struct table *t);
struct partition *table_find(struct table *t, const char *topic, int32_t number);
struct partition *table_add(struct table *t, const char *topic, int32_t number);
/* Its entries that the core or a broker still has become orphans. */
void table_remove(struct table *t, struct partition *p);
struct entry *table_take(struct table *t, struct partition *p, rd_kafka_message_t *msg);
/* In place of messages that cannot be read, up to that offset: its letter is under way. */
struct entry *table_take_gap(struct table *t, struct partition *p, int64_t last);
void table_hold(struct entry *e);
/* No more to be done about it: frees an orphan, else moves the partition's offset on. */
void table_finish(struct table *t, struct entry *e);
/* What can be committed; NULL: nothing. With the metadata that behind.c reads. */
rd_kafka_topic_partition_list_t *table_commit_list(struct table *t);
void table_committed(struct table *t, const rd_kafka_topic_partition_list_t *list, bool is_good);

/* behind.c: messages that are done behind one that is not. Consumer's thread. */
/* As a commit's metadata, for this offset, with the record before it; NULL: nothing is known. */
char *behind_text(const struct partition *p, int64_t base);
/* Also sets `before` and `verified`. */
void behind_read(struct partition *p, int64_t base, const char *metadata, size_t len);
bool behind_has(struct partition *p, int64_t offset); /* as was read */
void behind_forget(struct partition *p);
