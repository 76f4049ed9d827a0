/* SPDX-License-Identifier: Apache-2.0 */
/* Transports that were built outside this tree. */
#pragma once

#include "mist/transport.h"

struct plugin_settings {
	char *path;
	bool required;
	json_t *settings; /* what open() of a plugin gets: an object of strings */
};

extern const struct conf_field plugin_conf[];

/* Loads the shared object, for as long as the process lives. The fault names the file. */
int plugin_load(const char *path, const struct transport_ops **ret, struct fault *f);
