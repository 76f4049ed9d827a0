/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts: fetched, sent, compared by their SHA-1, which is what Mist's API tells of one.
 *
 * A fetched artifact is written beside the file it is to be and moved there when it is whole, so
 * that a broken transfer leaves what was there. "-" is standard output. */
#include "cli/artifacts.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/http.h"

enum { SHA1_BYTES = 20, NOT_FOUND = 404 };

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

int artifact_show(struct cli *cli, const char *name)
{
	char sha1[SHA1_TEXT];
	int code = artifact_sha1(cli, name, sha1);
	if (code)
		return code;
	if (!*sha1)
		return complain(EXIT_REFUSED, "there is no artifact %s", name);
	puts(sha1);
	return EXIT_FINE;
}

static int fetch(struct cli *cli, const char *name, FILE *to)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path = path_of("artifacts", name, NULL);
	return http_do(cli, &(struct http_call){ .path = path, .to = to }, &reply);
}

int artifact_get(struct cli *cli, const char *name, const char *file)
{
	if (file && strcmp(file, "-") == 0)
		return fetch(cli, name, stdout);
	if (!file)
		file = last_part(name);
	if (!*file || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
		return complain(EXIT_USAGE, "\"%s\" is no name of a file", file);
	_cleanup_(freep) char *part = xasprintf("%s.part-%ld", file, (long)getpid());
	FILE *to = fopen(part, "wxe");
	if (!to)
		return complain(EXIT_USAGE, "%s: cannot be written: %s", part, strerror(errno));
	int code = fetch(cli, name, to);
	if (fclose(to) != 0 && code == 0)
		code = complain(EXIT_USAGE, "%s: cannot be written: %s", part, strerror(errno));
	if (code == 0 && rename(part, file) < 0)
		code = complain(EXIT_USAGE, "%s: cannot be written: %s", file, strerror(errno));
	if (code)
		unlink(part);
	return code;
}

static int check_file(const char *file)
{
	struct stat st;
	if (stat(file, &st) < 0)
		return complain(EXIT_USAGE, "%s: cannot be read: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return complain(EXIT_USAGE, "%s: not a file", file);
	if (access(file, R_OK) < 0)
		return complain(EXIT_USAGE, "%s: cannot be read: %s", file, strerror(errno));
	return 0;
}

/* As a deployment the gateway loads the functions in it first. */
static int send_file(struct cli *cli, const char *file, const char *name, bool is_unchecked)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	const struct http_part part = { .name = "file", .file = file, .filename = name };
	struct http_call call = { .method = "POST",
		.path = is_unchecked ? "/v2/api/artifacts?force=true" : "/v2/api/deployments",
		.parts = &part,
		.n_parts = 1 };
	return http_do(cli, &call, &reply);
}

static int send_new(struct cli *cli, const char *file, const char *name, bool is_unchecked)
{
	char here[SHA1_TEXT], there[SHA1_TEXT];
	int code = artifact_sha1_of_file(file, here);
	if (code == 0)
		code = artifact_sha1(cli, name, there);
	if (code)
		return code;
	if (strcasecmp(here, there) == 0)
		return EXIT_FINE;
	if (!*there)
		return send_file(cli, file, name, false);
	_cleanup_(freep) char *question =
		xasprintf("replace artifact %s, which is another one", name);
	code = confirm(cli, question);
	return code ? code : send_file(cli, file, name, is_unchecked);
}

int artifact_put(struct cli *cli, const char *file, bool is_unchecked)
{
	const char *name = last_part(file);
	int code = check_file(file);
	if (code == 0)
		code = send_new(cli, file, name, is_unchecked);
	if (code == 0)
		puts(name);
	return code;
}

int artifact_sha1_of_file(const char *file, char ret[static SHA1_TEXT])
{
	unsigned char digest[SHA1_BYTES];
	char chunk[65536];
	gnutls_hash_hd_t hash;
	size_t n;
	int code = check_file(file);
	if (code)
		return code;
	_cleanup_(fclosep) FILE *from = fopen(file, "re");
	if (!from)
		return complain(EXIT_USAGE, "%s: cannot be read: %s", file, strerror(errno));
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA1) < 0)
		return complain(EXIT_GATEWAY, "SHA-1 is not to be had here");
	while ((n = fread(chunk, 1, sizeof chunk, from)) > 0)
		gnutls_hash(hash, chunk, n);
	gnutls_hash_deinit(hash, digest);
	if (ferror(from))
		return complain(EXIT_USAGE, "%s: cannot be read: %s", file, strerror(errno));
	for (size_t i = 0; i < SHA1_BYTES; i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

int artifact_sha1(struct cli *cli, const char *name, char ret[static SHA1_TEXT])
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	_cleanup_(freep) char *path = path_of("artifacts", name, "sha");
	int code = http_ask(cli, &(struct http_call){ .path = path }, &reply);
	ret[0] = '\0';
	if (code || reply.status == NOT_FOUND)
		return code;
	code = http_judge(&reply);
	if (code)
		return code;
	const char *text = reply.body.data ? reply.body.data : "";
	if (strspn(text, "0123456789abcdefABCDEF") < SHA1_TEXT - 1)
		return complain(EXIT_GATEWAY, "the gateway's answer is no SHA-1");
	snprintf(ret, SHA1_TEXT, "%s", text);
	return 0;
}
