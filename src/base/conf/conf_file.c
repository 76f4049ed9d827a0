/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the file of settings before libconfig has it.
 *
 * libconfig 1.5 reads files itself, with three habits a gateway cannot have: an integer that does
 * not fit in 32 bits silently becomes another one, a text ends at a NUL, and an @include of
 * something unreadable (a folder) ends the process, also on a reload. So the bytes are read here,
 * and walked once with just enough of libconfig's grammar to know strings and comments from the
 * rest: numbers are measured, included files are walked too, and a mistake is told with file and
 * line. What is not refused is left for libconfig's own parser; nothing is rewritten. Included
 * files count from the folder of the main file, also in each other. Pure but for reading files; any
 * thread. */
#include "base/conf/conf_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FILE_MAX = 16 * 1024 * 1024,
	SECRET_MAX = 4096,
	INCLUDES_MAX = 10, /* libconfig's own limit */
	NESTED_MAX = 100,  /* libconfig's parser is out of memory at 2000 groups, and says no more
			      than that; the deepest thing that is read has fewer than 70 */
};

struct walk {
	const char *file, *folder;
	const char *at, *end;
	unsigned line, depth;
	unsigned nested; /* in so many groups and lists, over the included files */
	struct fault *f;
};

static int walk_text(struct walk *w);

static int read_all(int fd, struct buf *text)
{
	char chunk[16 * 1024];
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (buf_add(text, chunk, (size_t)n) == BUF_E_FULL)
			return -EFBIG;
	}
}

int conf_file_read(const char *path, struct buf *text, struct fault *f)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	buf_init(text, FILE_MAX);
	int r = fd < 0 ? -errno : read_all(fd, text);
	if (r == 0)
		return 0;
	buf_done(text);
	return fault_set(f, FAULT_BAD_REQUEST, "%s: cannot be read: %s", path, strerror(-r));
}

static int refuse(const struct walk *w, const char *what)
{
	return fault_set(w->f, FAULT_BAD_REQUEST, "%s:%u: %s", w->file, w->line, what);
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '*';
}

static int walk_string(struct walk *w)
{
	unsigned begin = w->line;
	for (w->at++; w->at < w->end; w->at++) {
		if (*w->at == '"') {
			w->at++;
			return 0;
		}
		if (*w->at == '\\' && w->at + 1 < w->end)
			w->at++;
		if (*w->at == '\n')
			w->line++;
	}
	w->line = begin;
	return refuse(w, "a string without its closing quote");
}

static void walk_line_comment(struct walk *w)
{
	while (w->at < w->end && *w->at != '\n')
		w->at++;
}

static void walk_block_comment(struct walk *w)
{
	for (w->at += 2; w->at < w->end; w->at++) {
		if (*w->at == '\n')
			w->line++;
		if (w->at[0] == '*' && w->at + 1 < w->end && w->at[1] == '/') {
			w->at += 2;
			return;
		}
	}
}

static int walk_number(struct walk *w)
{
	char *end;
	const char *digits = w->at + (*w->at == '-' || *w->at == '+');
	bool is_hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
	errno = 0;
	unsigned long long hex = is_hex ? strtoull(digits, &end, 16) : 0;
	long long value = is_hex ? (long long)hex : strtoll(w->at, &end, 10);
	bool is_out = errno == ERANGE || (is_hex && hex > LLONG_MAX);
	w->at = end;
	bool is_real = !is_hex && w->at < w->end && memchr(".eE", *w->at, 3);
	if (is_real) {
		while (w->at < w->end && (is_name_char(*w->at) || memchr(".+", *w->at, 2)))
			w->at++;
		return 0; /* it has no such limits */
	}
	if (is_out)
		return refuse(w, "an integer that does not fit in 64 bits");
	bool is_long = w->at < w->end && *w->at == 'L';
	while (w->at < w->end && is_name_char(*w->at))
		w->at++;
	if (!is_long && (value > INT_MAX || value < INT_MIN))
		return fault_set(w->f, FAULT_BAD_REQUEST,
			"%s:%u: %lld is more than 32 bits, write it as %lldL", w->file, w->line,
			value, value);
	return 0;
}

static int walk_file(struct walk *w, const char *path)
{
	if (w->depth == INCLUDES_MAX)
		return refuse(w, "@include goes deeper than 10 files, perhaps in a circle");
	struct stat st;
	if (stat(path, &st) < 0)
		return fault_set(w->f, FAULT_BAD_REQUEST, "%s:%u: @include \"%s\": %s", w->file,
			w->line, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fault_set(w->f, FAULT_BAD_REQUEST, "%s:%u: @include \"%s\": not a file",
			w->file, w->line, path);
	_cleanup_(buf_done) struct buf text;
	int r = conf_file_read(path, &text, w->f);
	if (r < 0)
		return fault_prefix(w->f, "%s:%u: @include", w->file, w->line);
	if (!text.len)
		return 0;
	struct walk inner = { .file = path,
		.folder = w->folder,
		.at = text.data,
		.end = text.data + text.len,
		.line = 1,
		.depth = w->depth + 1,
		.nested = w->nested,
		.f = w->f };
	r = walk_text(&inner);
	w->nested = inner.nested; /* it may begin a group that ends after it */
	return r;
}

static int walk_include(struct walk *w)
{
	static const char word[] = "@include";
	if ((size_t)(w->end - w->at) < sizeof word || memcmp(w->at, word, sizeof word - 1) != 0) {
		w->at++;
		return 0;
	}
	w->at += sizeof word - 1;
	w->at += strspn(w->at, " \t");
	if (w->at == w->end || *w->at != '"')
		return 0;
	size_t len = strcspn(w->at + 1, "\"\n");
	_cleanup_(freep) char *path =
		xasprintf("%s%.*s", w->folder, (int)(len < PATH_MAX ? len : PATH_MAX), w->at + 1);
	int r = walk_string(w);
	return r < 0 ? r : walk_file(w, path);
}

static int walk_bracket(struct walk *w)
{
	if (!memchr("{([", *w->at, 3))
		w->nested -= w->nested > 0;
	else if (w->nested++ == NESTED_MAX)
		return refuse(w, "groups and lists are nested deeper than 100");
	w->at++;
	return 0;
}

static int walk_text(struct walk *w)
{
	const char *nul = memchr(w->at, '\0', (size_t)(w->end - w->at));
	if (nul) {
		for (; w->at < nul; w->at++)
			w->line += *w->at == '\n';
		return refuse(w, "a NUL byte");
	}
	int r = 0;
	while (r == 0 && w->at < w->end) {
		char c = *w->at, next = w->at + 1 < w->end ? w->at[1] : '\0';
		if (c == '"') {
			r = walk_string(w);
		} else if (c == '#' || (c == '/' && next == '/')) {
			walk_line_comment(w);
		} else if (c == '/' && next == '*') {
			walk_block_comment(w);
		} else if (c == '@') {
			r = walk_include(w);
		} else if (memchr("{([)]}", c, 6)) {
			r = walk_bracket(w);
		} else if ((c >= '0' && c <= '9') ||
			   ((c == '-' || c == '+') && next >= '0' && next <= '9')) {
			r = walk_number(w);
		} else if (is_name_char(c)) {
			while (w->at < w->end && is_name_char(*w->at))
				w->at++;
		} else {
			w->line += c == '\n';
			w->at++;
		}
	}
	return r;
}

int conf_file_check(const char *path, const char *folder, const struct buf *text, struct fault *f)
{
	if (!text->len)
		return 0;
	struct walk w = { .file = path,
		.folder = folder,
		.at = text->data,
		.end = text->data + text->len,
		.line = 1,
		.f = f };
	return walk_text(&w);
}

static int cannot_be_read(const char *name, const char *path, const char *why, struct fault *f)
{
	return fault_set(f, FAULT_BAD_REQUEST, "%s: %s cannot be read: %s", name, path, why);
}

int conf_check_file(const char *name, const char *path, struct fault *f)
{
	struct stat st;
	if (!*path)
		return 0;
	if (stat(path, &st) < 0 || access(path, R_OK) < 0)
		return cannot_be_read(name, path, strerror(errno), f);
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return 0;
	return cannot_be_read(name, path, "it is not a file", f);
}

int conf_read_secret(const char *name, const char *path, char **ret, struct fault *f)
{
	*ret = NULL;
	int r = conf_check_file(name, path, f);
	if (r < 0 || !*path)
		return r;
	/* It may have become another since. */
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char line[SECRET_MAX + 2];
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
	if (n < 0)
		return cannot_be_read(name, path, strerror(errno), f);
	line[n] = '\0';
	size_t len = strcspn(line, "\r\n");
	if (n == 0)
		return cannot_be_read(name, path, "it is empty", f);
	if (len > SECRET_MAX)
		return cannot_be_read(name, path, "its first line has more than 4096 bytes", f);
	*ret = strndup(line, len);
	must(*ret);
	return 0;
}
