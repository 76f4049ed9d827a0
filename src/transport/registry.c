/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of adapters: to add a transport, write its folder and add one line here. */
#include "transport/registry.h"

#include <string.h>

#include "transport/http/http.h"
#include "transport/kafka/kafka.h"
#include "transport/loopback/loopback.h"
#include "transport/mqtt/mqtt.h"

const struct transport_ops *const transports[] = {
	&http_transport,
	&kafka_transport,
	&loopback_transport,
	&mqtt_transport,
	NULL,
};

const struct transport_ops *transport_find(const char *scheme)
{
	for (size_t i = 0; transports[i]; i++)
		if (strcmp(transports[i]->scheme, scheme) == 0)
			return transports[i];
	return NULL;
}

int transport_open(struct transport **ret, const struct transport_ops *ops, const void *settings,
	const struct transport_env *env, struct fault *f)
{
	struct transport *t = xcalloc(1, sizeof *t);
	t->ops = ops;
	t->self = xcalloc(1, ops->size);
	struct transport_env own = *env;
	own.self = t;
	own.name = t->name = xstrdup(env->name);
	int r = ops->open(t->self, settings, &own, f);
	if (r < 0) {
		transport_close(t);
		return r;
	}
	*ret = t;
	return 0;
}

void transport_close(struct transport *t)
{
	if (!t)
		return;
	t->ops->close(t->self);
	free(t->self);
	free(t->name);
	free(t);
}
