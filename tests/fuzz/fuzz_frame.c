/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the worker protocol, as either side receives them.
 *
 * A frame that is taken must still be one when it is written and read again; of a frame that is
 * refused nothing may come out but a sentence. */
#include "fuzz.h"

#include <string.h>

#include "base/json.h"
#include "frame.h"

static void parse(const char *text, size_t len, enum frame_from from)
{
	struct fault f = { 0 };
	enum frame_type type = _FRAME_MAX, again_type = _FRAME_MAX;
	_cleanup_(json_decrefp) json_t *frame = NULL, *again = NULL;
	if (frame_parse(text, len, from, &type, &frame, &f)) {
		must(!frame && type == _FRAME_MAX && f.text[0]);
		return;
	}
	_cleanup_(freep) char *written = json_text(frame);
	must(frame_parse(written, strlen(written), from, &again_type, &again, &f) == 0);
	must(again_type == type && json_equal(again, frame));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse((const char *)data, size, FRAME_FROM_WORKER);
	parse((const char *)data, size, FRAME_FROM_GATEWAY);
	return 0;
}
