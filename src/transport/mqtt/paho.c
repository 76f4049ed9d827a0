/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of paho's library.
 *
 * Paho has one thread that receives and one mutex for all clients of a process, and it sends the
 * PUBACK of a message when the callback that got it returns. A callback that waits for the disk
 * therefore holds up every other connection. So each connection has the library to itself: the
 * file is copied to memory and that is loaded, under a name of its own, as often as needed. The
 * library's symbols are in no scope but its own (mistd is not linked with it), so a copy finds only
 * itself; what it needs of others (libssl, libc) is shared.
 *
 * The copies' threads run until the process has ended, so OpenSSL must not tidy up before.
 *
 * A copy is never unloaded, nor is the descriptor closed that is its name: the loader would take
 * another file under the same name for the same library. */
#include "transport/mqtt/paho.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define LIBRARY "libpaho-mqtt3as.so.1"
#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct paho *copies; /* all, so that they are reachable */

/* The descriptor of a file in memory with the same bytes. */
static int copy_file(const char *path)
{
	struct stat st;
	int in = open(path, O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0) {
		int error = errno;
		closep(&in);
		return -error;
	}
	int out = memfd_create(LIBRARY, MFD_CLOEXEC | MFD_EXEC);
	if (out < 0 && errno == EINVAL)
		out = memfd_create(LIBRARY, MFD_CLOEXEC);
	ssize_t n = 1;
	for (off_t done = 0; out >= 0 && n > 0 && done < st.st_size; done += n)
		n = sendfile(out, in, NULL, (size_t)(st.st_size - done));
	int error = out < 0 || n < 0 ? errno : n == 0 ? EIO : 0;
	close(in);
	if (!error)
		return out;
	closep(&out);
	return -error;
}

static int find_functions(struct paho *p)
{
	const struct {
		void *to;
		const char *name;
	} functions[] = {
		{ &p->create, "MQTTAsync_createWithOptions" },
		{ &p->destroy, "MQTTAsync_destroy" },
		{ &p->set_callbacks, "MQTTAsync_setCallbacks" },
		{ &p->set_disconnected, "MQTTAsync_setDisconnected" },
		{ &p->connect, "MQTTAsync_connect" },
		{ &p->disconnect, "MQTTAsync_disconnect" },
		{ &p->subscribe, "MQTTAsync_subscribe" },
		{ &p->unsubscribe, "MQTTAsync_unsubscribe" },
		{ &p->send, "MQTTAsync_send" },
		{ &p->free_message, "MQTTAsync_freeMessage" },
		{ &p->free, "MQTTAsync_free" },
		{ &p->properties_add, "MQTTProperties_add" },
		{ &p->properties_free, "MQTTProperties_free" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		void *found = dlsym(p->library, functions[i].name);
		if (!found)
			return -ENOENT;
		memcpy(functions[i].to, &found, sizeof found);
	}
	return 0;
}

/* Before OpenSSL is used by anybody here. */
static void keep_openssl(void *library)
{
	enum { OPENSSL_INIT_NO_ATEXIT = 0x80000 };
	int (*init)(uint64_t options, const void *settings);
	void *found = dlsym(library, "OPENSSL_init_crypto");
	memcpy(&init, &found, sizeof init);
	if (init)
		init(OPENSSL_INIT_NO_ATEXIT, NULL);
}

/* The first is the file itself; NULL: dlerror() says why, or `error` is set. */
static void *load(struct paho *p, int *error)
{
	struct link_map *map;
	char name[64];
	if (!copies)
		return dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	struct paho *first = copies;
	while (first->next)
		first = first->next;
	if (dlinfo(first->library, RTLD_DI_LINKMAP, &map) < 0)
		return NULL;
	p->fd = copy_file(map->l_name);
	if (p->fd < 0) {
		*error = -p->fd;
		return NULL;
	}
	snprintf(name, sizeof name, "/proc/self/fd/%d", p->fd);
	return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

struct paho *paho_load(struct fault *f)
{
	_cleanup_(freep) struct paho *p = xcalloc(1, sizeof *p);
	int error = 0;
	p->fd = -1;
	pthread_mutex_lock(&lock);
	p->library = load(p, &error);
	if (!p->library)
		fault_set(f, FAULT_UNAVAILABLE, "%s cannot be loaded: %s", LIBRARY,
			error ? strerror(error) : dlerror());
	else if (find_functions(p) < 0)
		fault_set(f, FAULT_UNAVAILABLE, "%s is not of version 1.3: %s", LIBRARY, dlerror());
	else {
		if (!copies)
			keep_openssl(p->library);
		p->next = copies;
		copies = p;
	}
	struct paho *ret = copies == p ? TAKE_PTR(p) : NULL;
	pthread_mutex_unlock(&lock);
	if (!ret)
		closep(&p->fd);
	return ret;
}
