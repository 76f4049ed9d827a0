/* SPDX-License-Identifier: Apache-2.0 */
/* Which type of answer a client wants. Pure: any thread. `accept` is the text of its header Accept;
 * NULL, there is none, names nothing. */
#pragma once

#include <stdbool.h>

/* How exactly a type was named: not, as any, as one of its group ("text" and a star), by itself. */
enum accept_precision { ACCEPT_NOT, ACCEPT_ANY, ACCEPT_GROUP, ACCEPT_NAMED };

struct accept_wish {
	int q; /* how much it is wanted, in thousandths; 0: not at all */
	enum accept_precision precision;
};

/* `version`: what the type's parameter of that name must be, if it has one; NULL: whatever. */
struct accept_wish accept_wish(const char *accept, const char *type, const char *version);

/* Whether the type is named, and wanted at least as much as plain text. Wildcards do not name it: a
 * browser and curl send them always. */
bool accept_names(const char *accept, const char *type);
