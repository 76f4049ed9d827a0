/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a request for a job: JSON, then arguments for a function that takes one of every
 * type. */
#include "fuzz.h"

#include <string.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "domain/params.h"

enum { BODY_DEPTH = 64 };

static const char execute[] =
	"{\"i\": {\"type\": \"MInt\"}, \"d\": {\"type\": \"MDouble\"}, \"s\": {\"type\": "
	"\"MString\"},"
	" \"b\": {\"type\": \"MOption\", \"args\": [{\"type\": \"MBoolean\"}]},"
	" \"l\": {\"type\": \"MList\", \"args\": [{\"type\": \"MList\", \"args\": [{\"type\": "
	"\"MInt\"}]}]},"
	" \"m\": {\"type\": \"MMap\", \"args\": [{\"type\": \"MString\"}, {\"type\": "
	"\"MDouble\"}]},"
	" \"o\": {\"type\": \"MObj\", \"fields\": {\"x\": {\"type\": \"MString\"}, \"y\": "
	"{\"type\": \"MAny\"}}},"
	" \"v\": {\"type\": \"MOption\", \"args\": [{\"type\": \"MAny\", \"anyOf\": ["
	"{\"type\": \"MString\", \"format\": \"date-time\"}, {\"type\": \"MString\", \"format\": "
	"\"duration\"}, {\"type\": \"MString\", \"format\": \"decimal\"}, {\"type\": \"MString\", "
	"\"format\": \"uuid\"}, {\"type\": \"MString\", \"format\": \"base64\"}, {\"type\": "
	"\"MInt\", "
	"\"enum\": [1, 2]}]}]},"
	" \"any\": {\"type\": \"MAny\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static json_t *types;
	struct fault f = { 0 }, other = { 0 };
	if (!types)
		must((types = json_parse(execute, sizeof execute - 1, BODY_DEPTH, &f)));
	_cleanup_(json_decrefp) json_t *body = json_parse((const char *)data, size, BODY_DEPTH, &f);
	bool is_scanned = json_scan((const char *)data, size, BODY_DEPTH, NULL, NULL, &other) == 0;
	must(body || !is_scanned);
	must(!body || is_scanned || strstr(other.text, "too long"));
	must(!(body || is_scanned) || json_is_text((const char *)data, size, BODY_DEPTH));
	if (!body) {
		must(f.text[0]);
		return 0;
	}
	_cleanup_(freep) char *written = json_text(body);
	_cleanup_(json_decrefp) json_t *again =
		json_parse(written, strlen(written), BODY_DEPTH, &f);
	must(json_equal(body, again));
	if (params_check(types, body, UNKNOWN_REFUSE, NULL, NULL, &f))
		must(f.text[0]);
	return 0;
}
