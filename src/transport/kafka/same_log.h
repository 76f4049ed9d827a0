/* SPDX-License-Identifier: Apache-2.0 */
/* Of this folder: whether a partition's log is the one that was read before. Consumer's thread. */
#pragma once

#include "transport/kafka/table.h"

enum log_match {
	LOG_NEXT,            /* the message is to be taken */
	LOG_AGAIN,           /* it was taken: the log is the same */
	LOG_DOUBTED,         /* perhaps the log is another: the anchor is to be read next */
	LOG_CUT,             /* it is the anchor: the log is the same, and has lost records */
	LOG_OTHER,           /* the log is another, and is to be read from its beginning, */
	LOG_OTHER_FROM_HERE, /* which is this message */
};
/* What was committed says what was taken before. The offset at which to begin, to find it there. */
int64_t same_log_expect(struct partition *p);
struct mark mark_of(const rd_kafka_message_t *msg);
/* Of what a record's producer has given; never 0, and the same in every version. */
uint64_t record_hash(const rd_kafka_message_t *msg);
void same_log_seen(struct partition *p, const struct mark *of);
/* The log's end while the anchor is being read again, else, or when it is not known, -1. Asks the
 * brokers, for some seconds at most, when it seems to be before what was taken. */
int64_t same_log_end(struct consumer *c, const struct partition *p);
enum log_match same_log_match(struct partition *p, const struct mark *of, int64_t end);
bool partition_seek(struct consumer *c, const struct partition *p, int64_t offset);
/* A message that was taken came again: what follows it and was taken, too, is passed over. */
void same_log_go_on(struct consumer *c, struct partition *p, int64_t offset);
/* Reads the anchors again, when it is time. */
void same_log_tend(struct consumer *c);
/* The library has come to the log's end. True: it is before what was taken, so the log is another,
 * and a new partition is in place of p. Asks the brokers then, for some seconds at most. */
bool same_log_ends(struct consumer *c, struct partition *p, int64_t end);
/* The log is another: a new partition in place of p. */
struct partition *same_log_begin(struct consumer *c, struct partition *p, bool is_from_here);
/* The library has gone back by itself: the anchor is read next. Where the message is to be taken
 * all the same, since that is not possible; else NULL. */
struct partition *same_log_doubt(struct consumer *c, struct partition *p);
/* The log has lost records behind the anchor, which has just come: a new partition in place of p
 * goes on behind it. Asks the brokers, for some seconds at most. */
void same_log_cut(struct consumer *c, struct partition *p, const struct mark *anchor);
