/* SPDX-License-Identifier: Apache-2.0 */
/* The names by which this gateway may be called. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct hosts;

/* `own` is the address it listens on, `listed` is http.hosts: names with commas between, "*.b" is
 * all names below b, "*" is every name. Finds out the machine's names meanwhile. */
struct hosts *hosts_new(const char *own, const char *listed);
void hosts_free(struct hosts *h); /* NULL is fine */

enum host_verdict { HOST_GOOD, HOST_FOREIGN, HOST_MALFORMED };

/* An authority, "name", "name:port", "[::1]:port". Any thread. An address in digits is always good:
 * only names can be pointed at another machine. */
enum host_verdict hosts_judge(const struct hosts *h, const char *authority, size_t len);
