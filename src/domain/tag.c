/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags of functions and contexts (RFC 9110, sections 8.8.3 and 13.1).
 *
 * A tag has two halves: a digest of the settings, as the store keeps them, and one of all that is
 * shown. They differ in what nobody set: the types that the artifact's code declares, the state of
 * a broken context. A reader's copy is good while both are the same. An editor is refused only if
 * the first is another: what it would overwrite is settings, and a new artifact is no reason to
 * send it back. Both digests are of JSON with its members sorted, so they outlive a restart.
 *
 * Any thread. */
#include "domain/tag.h"

#include <gnutls/crypto.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

enum { DIGEST_BYTES = 32, HALF_BYTES = 16 };

static void digest(const json_t *json, char ret[static 2 * HALF_BYTES + 1])
{
	uint8_t bytes[DIGEST_BYTES];
	_cleanup_(freep) char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	must(text && gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), bytes) == 0);
	for (size_t i = 0; i < HALF_BYTES; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

char *tag_new(const json_t *settings, const json_t *shown)
{
	char first[2 * HALF_BYTES + 1], second[2 * HALF_BYTES + 1] = "";
	digest(settings, first);
	if (shown)
		digest(shown, second);
	return xasprintf("\"%s-%s\"", first, second);
}

/* The length of the tag at p, with its quotes; 0: there is none. */
static size_t tag_length(const char *p)
{
	const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
	return end ? (size_t)(end + 1 - p) : 0;
}

bool tag_is_listed(const char *list, const char *tag, enum tag_match how)
{
	size_t len = tag ? strlen(tag) : 0;
	if (!tag || !list)
		return false;
	if (how == TAG_SETTINGS)
		len = strcspn(tag, "-");
	for (const char *p = list + strspn(list, ", \t"); *p; p += strspn(p, ", \t")) {
		bool is_weak = strncmp(p, "W/", 2) == 0;
		if (*p == '*')
			return true;
		if (is_weak)
			p += 2;
		size_t n = tag_length(p);
		if (!n)
			return false; /* the rest is no list */
		size_t compared = how == TAG_SETTINGS ? strcspn(p, "-") : n;
		if (compared == len && compared <= n && strncmp(p, tag, len) == 0 &&
			!(is_weak && how == TAG_SETTINGS))
			return true;
		p += n;
	}
	return false;
}
