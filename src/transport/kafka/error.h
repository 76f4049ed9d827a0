/* SPDX-License-Identifier: Apache-2.0 */
/* Of this folder: the errors of librdkafka and of brokers, in words. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "mist/transport.h"

enum {
	ERROR_IS_USUAL = 1,      /* it comes and goes by itself: not told, only counted */
	ERROR_IS_UNREADABLE = 2, /* of a message that was taken: it is the data at its offset */
	ERROR_IS_OF_TOPIC =
		4, /* the same: no partition is to be blamed, all of a topic is, or more */
	ERROR_IS_FOR_GOOD = 8,   /* of a record that was sent: it is never taken as it is */
	ERROR_IS_TOO_LARGE = 16, /* the same, for its size */
};

struct kafka_error {
	rd_kafka_resp_err_t code;
	enum transport_error kind;
	unsigned is;        /* the above */
	const char *remedy; /* what people can do about it, or "" */
};

/* Never NULL. Of a code that no table has the row is that of RD_KAFKA_RESP_ERR_UNKNOWN. */
const struct kafka_error *kafka_error(rd_kafka_resp_err_t code);
/* The same as the end of a sentence: "; REMEDY", or "". The caller frees it. */
char *kafka_error_remedy(rd_kafka_resp_err_t code);
