/* SPDX-License-Identifier: Apache-2.0 */
/* The Content-Type of a form (RFC 7578). Any thread. */
#pragma once

/* The same type as 'multipart/form-data;boundary="B"', with B as it stands in the body; the caller
 * frees it. NULL: it is none of multipart/form-data, or has not one boundary. */
char *multipart_content_type(const char *given);
