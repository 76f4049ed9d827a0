/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of multipart/form-data whose files go to the disk as they come in. */
#pragma once

#include "transport/http/request.h"

enum { UPLOAD_FILES_MAX = 256 };

struct upload_file {
	char *name; /* owned, a good one */
	char *path; /* where it lies; owned */
};

struct upload {
	struct MHD_PostProcessor *parts;
	char *content_type;        /* as `parts` reads it; owned */
	struct upload_file *files; /* in the order in which they came */
	size_t n_files;
	int fd; /* of the last one */
	int64_t size, total, max, total_max;
	struct fault fault;
	/* Of a deployment, which may have several files, each under its own name in a folder: */
	bool is_deployment;
	char *folder;        /* owned; NULL: none so far */
	struct buf document; /* the part `deployment` */
	bool has_document;
};

/* On the query pool: the body has come. 0, or negative with the fault: it is not well-formed, or
 * something in it was refused. */
int upload_end(struct upload *u, struct fault *f);

/* Query pool: the SHA of an open file, `algorithm` of gnutls, as text; the caller frees it. NULL:
 * it cannot be read, errno says why. */
char *digest_new(int fd, int algorithm);
