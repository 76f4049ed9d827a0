/* SPDX-License-Identifier: Apache-2.0 */
/* The program of JVM workers, for a cluster that fetches it from the gateway: Spark on Kubernetes,
 * or deploy mode cluster. It is there when it was installed. */
#include "transport/http/request.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

void artifact_worker_jar(struct request *rq)
{
	struct fault f;
	int fd = open(MIST_INSTALLED_JVM_RUNNER "/mist-worker.jar", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		answer_fd(rq, "application/java-archive", fd);
		return;
	}
	fault_set(&f, errno == ENOENT ? FAULT_NOT_FOUND : FAULT_UNAVAILABLE,
		"the JVM runner is not installed: " MIST_INSTALLED_JVM_RUNNER
		"/mist-worker.jar: %s",
		strerror(errno));
	answer_fault(rq, &f);
}
