/* SPDX-License-Identifier: Apache-2.0 */
/* Ids that sort by the time they were made.
 *
 * The store's key is the id, and an index that grows at one end is several times faster than one
 * that is written all over; clients see a stable order too. So an id is a UUID of version 7: 48
 * bits of milliseconds, 12 bits of counter, 62 random bits. Within one millisecond the counter goes
 * up from a random start in its lower half; when it is used up, or when the clock goes back, the
 * time in the ids runs ahead of the clock until the clock has caught up. A process goes on from the
 * last id of the one before it, for the clock may have gone back while there was none: the order of
 * ids is that in which they were made, and their time is the clock's only where the clock was
 * right. Random bytes are fetched from the kernel by the page, not by the id. The state is static:
 * one thread makes ids. */
#include "base/uuid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"

enum {
	COUNTER_MAX = 0xfff,
	COUNTER_START_MASK = 0x7ff, /* leaves at least 2048 ids to a millisecond */
};

#define LAST_MS                                                                                    \
	253402300799999 /* of the year 9999, and a tenth of what there is room for is left */

static int64_t last_ms;
static unsigned counter;

/* getrandom gives up to 256 bytes in one piece, whatever signals come. */
static void random_bytes(void *ret, size_t len)
{
	static uint8_t pool[256];
	static size_t used = sizeof pool;

	must(len <= sizeof pool);
	if (len > sizeof pool - used) {
		ssize_t n;
		do
			n = getrandom(pool, sizeof pool, 0);
		while (n < 0 && errno == EINTR);
		must(n == sizeof pool);
		used = 0;
	}
	memcpy(ret, pool + used, len);
	memset(pool + used, 0,
		len); /* an id handed out must not be found in memory as "random" again */
	used += len;
}

static void put_time(struct uuid *u, int64_t ms)
{
	for (int i = 0; i < 6; i++)
		u->bytes[i] = (uint8_t)((uint64_t)ms >> (40 - 8 * i));
}

void uuid_at(struct uuid *ret, int64_t ms)
{
	*ret = (struct uuid){ { 0 } };
	put_time(ret, ms < 0 ? 0 : ms);
}

int64_t uuid_ms(const struct uuid *u)
{
	int64_t ms = 0;
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | u->bytes[i];
	return ms;
}

bool uuid_has_room_after(const struct uuid *u)
{
	return u->bytes[6] >> 4 == 7 && u->bytes[8] >> 6 == 2 && uuid_ms(u) <= LAST_MS;
}

bool uuid_go_on_from(const struct uuid *last)
{
	int64_t ms = uuid_ms(last);
	unsigned n = (last->bytes[6] & 0x0fU) << 8 | last->bytes[7];
	if (!uuid_has_room_after(last))
		return false;
	if (ms > last_ms || (ms == last_ms && n > counter)) {
		last_ms = ms;
		counter = n;
	}
	return true;
}

void uuid_make(struct uuid *ret, int64_t now_ms)
{
	uint8_t *b = ret->bytes;
	random_bytes(b + 6, 10);
	unsigned start = (b[6] << 8 | b[7]) & COUNTER_START_MASK;
	if (now_ms > last_ms) {
		last_ms = now_ms;
		counter = start;
	} else if (++counter > COUNTER_MAX) {
		last_ms++;
		counter = start;
	}
	put_time(ret, last_ms);
	b[6] = (uint8_t)(0x70 | counter >> 8);
	b[7] = (uint8_t)counter;
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
}

static bool dash_before(int byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *u, char ret[static UUID_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++) {
		if (dash_before(i))
			*ret++ = '-';
		*ret++ = digits[u->bytes[i] >> 4];
		*ret++ = digits[u->bytes[i] & 15];
	}
	*ret = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool uuid_parse(const char *text, struct uuid *ret)
{
	struct uuid u;
	if (strlen(text) != UUID_TEXT - 1)
		return false;
	for (int i = 0; i < 16; i++) {
		if (dash_before(i) && *text++ != '-')
			return false;
		int high = hex_value(*text++), low = hex_value(*text++);
		if (high < 0 || low < 0)
			return false;
		u.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret = u;
	return true;
}
