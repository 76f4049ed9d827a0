/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded before libc: the first writev of the process whose bytes begin a message with the text of
 * MIST_BREAK_WRITEV in it fails, as on a connection that has just broken, which it then is. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static atomic_bool is_done;

ssize_t writev(int fd, const struct iovec *parts, int n)
{
	const char *text = getenv("MIST_BREAK_WRITEV");
	ssize_t (*real)(int, const struct iovec *, int) = NULL;
	for (int i = 0; text && i < n; i++) {
		if (!parts[i].iov_len ||
			!memmem(parts[i].iov_base, parts[i].iov_len, text, strlen(text)) ||
			atomic_exchange(&is_done, true))
			continue;
		shutdown(fd, SHUT_RDWR);
		errno = EPIPE;
		return -1;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "writev");
	return real(fd, parts, n);
}
