/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the file of settings before libconfig has it.
 *
 * libconfig 1.5 reads files itself, with three habits a gateway cannot have: an integer that does
 * not fit in 32 bits silently becomes another one, a text ends at a NUL, and an @include of
 * something unreadable (a folder) ends the process, also on a reload. So the bytes are read here,
 * and walked once with just enough of libconfig's grammar to know strings and comments from the
 * rest: numbers are measured, included files are walked too, and a mistake is told with file and
 * line. What is not refused is left for libconfig's own parser, as one text in which included files
 * stand in the place of their @include, since libconfig joins the folder even with the name of a
 * file that is absolute; a table tells what each line of it was. Relative names of included files
 * count from the folder of the main file, also in each other. Pure but for reading files; any
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
	INCLUDES_MAX = 10, /* of a file in a file: libconfig's own limit */
	FILES_MAX = 1000,  /* a file may be included many times, by many */
	NESTED_MAX = 100,  /* libconfig's parser is out of memory at 2000 groups, and says no more
			      than that; the deepest thing that is read has fewer than 70 */
};

struct walk {
	struct conf_text *to;
	const char *file, *folder;
	const char *begin, *at, *end;
	const char *copied; /* up to here the text is in `to` */
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

static int read_path(const char *path, struct buf *text, struct fault *f)
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

static int walk_block_comment(struct walk *w)
{
	unsigned begin = w->line;
	for (w->at += 2; w->at < w->end; w->at++) {
		if (*w->at == '\n')
			w->line++;
		if (w->at[0] == '*' && w->at + 1 < w->end && w->at[1] == '/') {
			w->at += 2;
			return 0;
		}
	}
	w->line = begin;
	return refuse(w, "a comment without its end");
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

/* Some editors put it there; it says no more than that the text is UTF-8. */
static void skip_byte_order_mark(struct walk *w)
{
	if (w->end - w->at >= 3 && memcmp(w->at, "\xef\xbb\xbf", 3) == 0)
		w->begin = w->copied = w->at += 3;
}

static int put(struct walk *w, const char *text, size_t len)
{
	if (buf_add(&w->to->flat, text, len) == BUF_E_FULL)
		return refuse(w, "more than 16 MiB, with the files that are included");
	for (size_t i = 0; i < len; i++)
		w->to->n_lines += text[i] == '\n';
	return 0;
}

/* The next line of the text is this one of the file. */
static void begin_lines(struct walk *w)
{
	struct conf_text *to = w->to;
	to->runs = xrealloc(to->runs, (to->n_runs + 1) * sizeof *to->runs);
	to->runs[to->n_runs++] =
		(struct conf_run){ .from = to->n_lines + 1, .file = w->file, .line = w->line };
}

/* What has been walked and is not in the text yet. */
static int put_walked(struct walk *w, const char *end)
{
	int r = put(w, w->copied, (size_t)(end - w->copied));
	w->copied = w->at;
	return r;
}

static int read_included(struct walk *w, const char *path, struct buf *text)
{
	struct stat st;
	if (w->depth == INCLUDES_MAX)
		return refuse(w, "@include goes deeper than 10 files, perhaps in a circle");
	if (w->to->n_files == FILES_MAX)
		return refuse(w, "more than 1000 files are included");
	if (stat(path, &st) < 0)
		return fault_set(w->f, FAULT_BAD_REQUEST, "%s:%u: @include \"%s\": %s", w->file,
			w->line, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fault_set(w->f, FAULT_BAD_REQUEST, "%s:%u: @include \"%s\": not a file",
			w->file, w->line, path);
	int r = read_path(path, text, w->f);
	return r < 0 ? fault_prefix(w->f, "%s:%u: @include", w->file, w->line) : 0;
}

/* Takes the path, which the lines of the text are told by. */
static int walk_file(struct walk *w, char *path)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	struct conf_text *to = w->to;
	int r = read_included(w, path, &text);
	if (r < 0) {
		free(path);
		return r;
	}
	to->files = xrealloc(to->files, (to->n_files + 1) * sizeof *to->files);
	to->files[to->n_files++] = path;
	if (!text.len)
		return 0;
	struct walk inner = { .to = to,
		.file = path,
		.folder = w->folder,
		.begin = text.data,
		.at = text.data,
		.copied = text.data,
		.end = text.data + text.len,
		.line = 1,
		.depth = w->depth + 1,
		.nested = w->nested,
		.f = w->f };
	skip_byte_order_mark(&inner);
	begin_lines(&inner);
	r = walk_text(&inner);
	w->nested = inner.nested; /* it may begin a group that ends after it */
	return r;
}

static bool is_first_in_line(const struct walk *w)
{
	const char *c = w->at;
	while (c > w->begin && (c[-1] == ' ' || c[-1] == '\t'))
		c--;
	return c == w->begin || c[-1] == '\n';
}

/* The file that stands between the quotes, as libconfig would read them. */
static char *included_path(const struct walk *w, const char *name, size_t len)
{
	char *path = xcalloc(1, strlen(w->folder) + len + 1), *end = path;
	if (name[0] != '/')
		end = stpcpy(end, w->folder);
	for (size_t i = 0; i < len; i++) {
		i += name[i] == '\\' && i + 1 < len;
		*end++ = name[i];
	}
	return path;
}

/* Elsewhere there is no such sign but in strings: what only looks like one, or is the second in its
 * line, is a mistake. */
static int walk_include(struct walk *w)
{
	static const char word[] = "@include";
	const char *name = w->at + sizeof word - 1, *start = w->at;
	bool is_it = (size_t)(w->end - w->at) > sizeof word &&
		     memcmp(w->at, word, sizeof word - 1) == 0 && strchr(" \t", *name) &&
		     is_first_in_line(w);
	if (is_it)
		name += strspn(name, " \t");
	if (!is_it || name == w->end || *name != '"')
		return refuse(w, "syntax error");
	w->at = name;
	int r = walk_string(w);
	if (r < 0)
		return r;
	size_t len = (size_t)(w->at - name) - 2;
	if (len > PATH_MAX || memchr(name, '\n', len + 1))
		return refuse(w, "@include: the name of a file is in one line, and no longer than "
				 "4096 bytes");
	r = put_walked(w, start);
	r = r ? r : put(w, "\n", 1);
	r = r ? r : walk_file(w, included_path(w, name + 1, len));
	r = r ? r : put(w, "\n", 1);
	if (r == 0)
		begin_lines(w);
	return r;
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
			r = walk_block_comment(w);
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
	return r ? r : put_walked(w, w->end);
}

int conf_text_read(const char *path, const char *folder, struct conf_text *to, struct fault *f)
{
	_cleanup_(buf_done) struct buf text;
	buf_init(&to->flat, FILE_MAX);
	int r = read_path(path, &text, f);
	if (r < 0 || !text.len)
		return r;
	struct walk w = { .to = to,
		.file = path,
		.folder = folder,
		.begin = text.data,
		.at = text.data,
		.copied = text.data,
		.end = text.data + text.len,
		.line = 1,
		.f = f };
	skip_byte_order_mark(&w);
	begin_lines(&w);
	r = walk_text(&w);
	return r ? r : put(&w, "\n", 1); /* a comment without it is no comment to libconfig */
}

const char *conf_text_line(const struct conf_text *text, unsigned *line)
{
	size_t low = 0, high = text->n_runs;
	while (high - low > 1) {
		size_t middle = (low + high) / 2;
		if (text->runs[middle].from <= *line)
			low = middle;
		else
			high = middle;
	}
	if (low == high)
		return NULL;
	*line = text->runs[low].line + (*line - text->runs[low].from);
	return text->runs[low].file;
}

void conf_text_done(struct conf_text *text)
{
	for (size_t i = 0; i < text->n_files; i++)
		free(text->files[i]);
	free(text->files);
	free(text->runs);
	buf_done(&text->flat);
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
