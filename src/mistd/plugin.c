/* SPDX-License-Identifier: Apache-2.0 */
/* A shared object exports one symbol, `mist_transport_plugin`; what it was compiled against is
 * checked before anything of it is called. It stays loaded: threads of it may be running until the
 * very end. */
#include "mistd/plugin.h"

#include <dlfcn.h>

const struct conf_field plugin_conf[] = {
	{ "path", CONF_PATH, offsetof(struct plugin_settings, path), NULL,
		.help = "the shared object" },
	{ "required", CONF_BOOL, offsetof(struct plugin_settings, required), "false", .live = true,
		.help = "whether the gateway is not ready (/health/ready) while this transport is "
			"down" },
	{ "settings", CONF_MAP, offsetof(struct plugin_settings, settings), NULL,
		.help = "what it is given when it is opened" },
	{ 0 },
};

int plugin_load(const char *path, const struct transport_ops **ret, struct fault *f)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return fault_set(f, FAULT_BAD_REQUEST, "cannot be loaded: %s", dlerror());
	const struct transport_plugin *plugin = dlsym(library, "mist_transport_plugin");
	if (!plugin)
		return fault_set(f, FAULT_BAD_REQUEST,
			"%s is no transport of Mist: it has no mist_transport_plugin", path);
	if (plugin->version != TRANSPORT_VERSION)
		return fault_set(f, FAULT_BAD_REQUEST,
			"%s was made for version %u of the transport interface, this is version %u",
			path, plugin->version, TRANSPORT_VERSION);
	const struct transport_ops *ops = plugin->ops;
	if (!ops || !ops->size || !ops->open || !ops->start || !ops->publish || !ops->stop ||
		!ops->close)
		return fault_set(f, FAULT_BAD_REQUEST,
			"%s: size, open, start, publish, stop and close must be given", path);
	*ret = ops;
	return 0;
}
