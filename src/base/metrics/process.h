/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of this process, by the names that Prometheus' own clients use. Any thread.
 */
#pragma once

#include <stdint.h>

struct exposition;

/* Declares and puts the metrics process_*. */
void process_metrics_put(struct exposition *e);

int64_t process_resident_bytes(void); /* 0: not known */

/* How many entries the folder has, such as /proc/self/task, one for each thread. 0: it cannot be
 * read. Any thread. */
int process_count(const char *folder);
