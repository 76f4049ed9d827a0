/* SPDX-License-Identifier: Apache-2.0 */
/* Just enough UTF-8 to quote foreign bytes.
 *
 * Sentences of refusals go into JSON bodies and log lines go to terminals and log collectors; both
 * are read by programs that stop at the first byte that is not UTF-8, and by people whose terminal
 * obeys control characters. So whoever writes foreign text asks here, character by character, and
 * decides itself what to put in place of what is refused. Pure functions, any thread. */
#include "base/utf8.h"

#include <string.h>

/* How many bytes a character has that begins with this one; 0: none begins so. */
static size_t expected_length(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	if (first >= 0xf0 && first < 0xf5)
		return 4;
	return 0;
}

size_t utf8_decode(const char *s, size_t len, uint32_t *ret_code)
{
	static const uint32_t least[] = { [2] = 0x80, [3] = 0x800, [4] = 0x10000 };

	const uint8_t *b = (const uint8_t *)s;
	size_t n = len ? expected_length(b[0]) : 0;
	if (n == 0 || n > len)
		return 0;
	*ret_code = b[0];
	if (n == 1)
		return 1;
	uint32_t code = b[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (b[i] & 0x3f);
	}
	*ret_code = code;
	return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

size_t utf8_shown(const char *s, size_t len)
{
	uint32_t code;
	size_t n = utf8_decode(s, len, &code);
	if (!n || code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029)
		return 0;
	return n;
}

/* How many bytes from here on are ASCII, in steps of eight: most of a large text is. */
static size_t ascii_length(const char *s, size_t len)
{
	uint64_t eight;
	size_t n = 0;
	for (; len - n >= sizeof eight; n += sizeof eight) {
		memcpy(&eight, s + n, sizeof eight);
		if (eight & UINT64_C(0x8080808080808080))
			break;
	}
	return n;
}

bool utf8_is_valid(const char *s, size_t len)
{
	uint32_t code;
	for (size_t at = 0, n; at < len; at += n) {
		n = ascii_length(s + at, len - at);
		if (n)
			continue;
		n = utf8_decode(s + at, len - at, &code);
		if (!n)
			return false;
	}
	return true;
}

size_t utf8_whole(const char *s, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		uint8_t b = (uint8_t)s[len - back];
		if ((b & 0xc0) == 0x80)
			continue;
		return expected_length(b) > back ? len - back : len;
	}
	return len;
}

int utf8_cut(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);
	return (int)(len > max ? utf8_whole(text, max) : len);
}

/* Bytes at s that begin a character and are not all of it: they are one mistake, not several. */
static size_t broken_length(const char *s, size_t len)
{
	const uint8_t *b = (const uint8_t *)s;
	size_t expected = expected_length(b[0]), n = 1;
	while (n < expected && n < len && (b[n] & 0xc0) == 0x80)
		n++;
	return n < expected ? n : 1;
}

size_t utf8_clean(char *text, size_t len)
{
	size_t to = 0;
	uint32_t code;
	for (size_t at = 0; at < len;) {
		size_t n = utf8_decode(text + at, len - at, &code);
		if (n) {
			memmove(text + to, text + at, n);
			to += n;
			at += n;
		} else {
			at += broken_length(text + at, len - at);
			text[to++] = '?';
		}
	}
	return to;
}

bool utf8_is_text(const char *s, size_t len)
{
	return utf8_is_valid(s, len) && !memchr(s, '\0', len);
}
