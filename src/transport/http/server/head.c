/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request, looked at strictly.
 *
 * libmicrohttpd 0.9.75 is lenient where it must not be: of two Content-Lengths it takes the first,
 * beside a Transfer-Encoding it takes none, a name with a space behind it is another name, and a
 * field that goes on in the next line (obs-fold) gets the continuation glued to its name. Whoever
 * stands in front of the gateway may have read all these otherwise, and then what one of the two
 * takes for a body is a request to the other. So all that is left open is refused, and the
 * connection ends with it, since nobody knows where the next request begins. */
#include "transport/http/server/head.h"

#include <string.h>
#include <strings.h>

#define NAME(text) (name_len == sizeof(text) - 1 && strncasecmp(name, text, name_len) == 0)

static bool is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
			    (c && strchr("!#$%&'*+-.^_`|~", c))))
			return false;
	}
	return len > 0;
}

static bool is_value(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
			return false;
	return true;
}

/* Whitespace around a value is none of it. */
static bool is_text(const char *value, size_t len, const char *text)
{
	while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len--;
	return len == strlen(text) && strncasecmp(value, text, len) == 0;
}

void head_add(
	struct head *h, const char *name, size_t name_len, const char *value, size_t value_len)
{
	if (h->fault.code)
		return;
	if (!is_token(name, name_len))
		fault_set(&h->fault, FAULT_BAD_REQUEST,
			"header \"%.64s\": expected a name of letters, digits and \"-\" with "
			"nothing between it and its colon",
			name);
	else if (!is_value(value, value_len))
		fault_set(&h->fault, FAULT_BAD_REQUEST,
			"header %.64s: expected a value without control characters", name);
	if (NAME("Host")) {
		h->n_hosts++;
		h->host = value;
		h->host_len = value_len;
	} else if (NAME("Content-Length")) {
		h->n_lengths++;
	} else if (NAME("Transfer-Encoding")) {
		h->n_encodings++;
		if (!is_text(value, value_len, "chunked") && !h->fault.code)
			fault_set(&h->fault, FAULT_BAD_REQUEST,
				"header Transfer-Encoding: expected chunked, got \"%.64s\"", value);
	}
}

int head_check(struct head *h)
{
	struct fault *f = &h->fault;
	if (f->code)
		return -1;
	if (h->n_hosts != 1 && (h->is_http_1_1 || h->n_hosts > 1))
		return fault_set(f, FAULT_BAD_REQUEST,
			"header Host: expected one, got %u (RFC 9112, section 3.2)", h->n_hosts);
	if (h->n_lengths > 1)
		return fault_set(f, FAULT_BAD_REQUEST,
			"header Content-Length: expected one, got %u", h->n_lengths);
	if (h->n_encodings > 1)
		return fault_set(f, FAULT_BAD_REQUEST,
			"header Transfer-Encoding: expected one, got %u", h->n_encodings);
	if (h->n_encodings && h->n_lengths)
		return fault_set(f, FAULT_BAD_REQUEST,
			"headers Content-Length and Transfer-Encoding: expected one of the two");
	if (h->n_encodings && !h->is_http_1_1)
		return fault_set(
			f, FAULT_BAD_REQUEST, "header Transfer-Encoding: HTTP/1.0 has none");
	return 0;
}

/* libmicrohttpd keeps name and value where they came in, one behind the other with only the colon
 * and whitespace between, save those of a field with a continuation. */
static bool is_folded(const char *name, size_t name_len, const char *value)
{
	const char *p = name + name_len;
	if (value <= p)
		return true;
	for (; p < value; p++)
		if (*p != '\0' && *p != ' ' && *p != '\t')
			return true;
	return false;
}

static enum MHD_Result read_field(void *arg, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	struct head *h = arg;
	(void)kind;
	if (value && is_folded(name, name_len, value) && !h->fault.code)
		fault_set(&h->fault, FAULT_BAD_REQUEST,
			"a header goes on in the next line: expected each in one line (RFC 9112, "
			"section 5.2)");
	head_add(h, name, name_len, value ? value : "", value ? value_len : 0);
	return MHD_YES;
}

int head_read(struct head *h, struct MHD_Connection *mhd, const char *version)
{
	*h = (struct head){ .is_http_1_1 = strcmp(version, "HTTP/1.0") != 0 };
	MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, read_field, h);
	return head_check(h);
}

const char *target_split(const char *uri, const char **ret_authority, size_t *ret_len)
{
	size_t scheme = strncasecmp(uri, "http://", 7) == 0    ? 7
			: strncasecmp(uri, "https://", 8) == 0 ? 8
							       : 0;
	*ret_authority = NULL;
	*ret_len = 0;
	for (const char *p = uri; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '#')
			return NULL;
	if (*uri == '/' || strcmp(uri, "*") == 0)
		return uri;
	if (!scheme)
		return NULL;
	*ret_authority = uri + scheme;
	*ret_len = strcspn(*ret_authority, "/?");
	return *ret_authority + *ret_len;
}

unsigned target_count_parameters(const char *uri)
{
	const char *p = strchr(uri, '?');
	unsigned n = p != NULL;
	for (; p && *p; p++)
		n += *p == '&';
	return n;
}
