/* SPDX-License-Identifier: Apache-2.0 */
/* The type tree of a function, as a worker describes it. A tree that is taken is used too: for
 * arguments that have none of what it asks for, and for arguments that are all wrong. */
#include "fuzz.h"

#include "base/json.h"
#include "domain/params.h"

enum { FRAME_DEPTH = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fault f = { 0 };
	_cleanup_(json_decrefp) json_t *tree =
		json_parse((const char *)data, size, FRAME_DEPTH, &f);
	if (!tree || params_check_types(tree, &f)) {
		must(f.text[0]);
		return 0;
	}
	_cleanup_(json_decrefp) json_t *nothing = json_object();
	_cleanup_(freep) char *ignored = NULL;
	(void)params_check(tree, nothing, UNKNOWN_REFUSE, NULL, NULL, &f);
	(void)params_check(tree, tree, UNKNOWN_IGNORE, &ignored, NULL, &f);
	return 0;
}
