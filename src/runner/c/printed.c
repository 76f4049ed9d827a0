/* SPDX-License-Identifier: Apache-2.0 */
/* What a function prints: it goes to the worker's output, a file, and what a call has added to that
 * is the job's, since functions run one after the other.
 *
 * So the file is looked at: before a call, after it, and by the pulse thread while it takes long.
 * The position is kept, not a pipe read: who prints never waits for who reads, and what was printed
 * before a crash is in the file whatever becomes of us. The gateway moves a part of the file away
 * when it becomes large (workers.output); what is lost to the job's log by that is in the other
 * part. A line belongs to the log as an entry INFO: which of both descriptors it came from the file
 * does not tell.
 *
 * What libmist itself has to say while a function runs, such as that the gateway is away, stands in
 * the file as well, and so in the log. */
#include "runner/c/printed.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text/plural.h"
#include "runner/c/job.h"

enum { LINE_MAX_BYTES = 8 * 1024, PIECE = 16 * 1024, TURN_BYTES = 4 << 20, PARTIAL_MS = 1000 };

void printed_open(struct printed *p)
{
	struct stat st;
	*p = (struct printed){ .fd = -1 };
	buf_init(&p->line, LINE_MAX_BYTES);
	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		p->fd = open("/proc/self/fd/1", O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

void printed_close(struct printed *p)
{
	closep(&p->fd);
	buf_done(&p->line);
}

static int64_t size_of(const struct printed *p)
{
	struct stat st;
	return p->fd >= 0 && fstat(p->fd, &st) == 0 ? st.st_size : 0;
}

static void drop_line(struct printed *p)
{
	buf_drop(&p->line, p->line.len);
	p->n_cut = p->line_ms = 0;
	p->is_told = false;
}

void printed_begin(struct printed *p)
{
	p->at = size_of(p);
	drop_line(p);
}

static void tell_line(struct printed *p, struct mist_job *job)
{
	for (size_t i = 0; i < p->line.len; i++)
		if (p->line.data[i] == '\0')
			p->line.data[i] = '?';
	_cleanup_(freep) char *text =
		p->n_cut ? xasprintf("%.*s ... %lld byte%s left out", (int)p->line.len,
				   p->line.data, (long long)p->n_cut, plural((uint64_t)p->n_cut))
			 : xasprintf("%.*s", (int)p->line.len, p->line.len ? p->line.data : "");
	job_add_entry(job, MIST_INFO, text);
	drop_line(p);
}

static void add_text(struct printed *p, const char *text, size_t len)
{
	size_t room = LINE_MAX_BYTES - p->line.len, n = len < room ? len : room;
	if (n && buf_add(&p->line, text, n))
		n = 0;
	p->n_cut += (int64_t)(len - n);
	if (!p->line_ms && len)
		p->line_ms = clock_mono_ms();
}

static void add_piece(struct printed *p, struct mist_job *job, const char *text, size_t len)
{
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;
		add_text(p, text, n);
		if (!end)
			return;
		if (p->line_ms || !p->is_told) /* of what was told only the end was missing */
			tell_line(p, job);
		p->is_told = false;
		text += n + 1;
		len -= n + 1;
	}
}

void printed_take(struct printed *p, struct mist_job *job, bool is_end)
{
	char piece[PIECE];
	int64_t size = size_of(p), until;
	if (size < p->at)
		p->at = 0; /* a part was moved away */
	/* Of what is printed faster than a job's log takes it, the newest. */
	if (size - p->at > TURN_BYTES) {
		int64_t n = size - p->at - TURN_BYTES;
		_cleanup_(freep) char *text = xasprintf("%lld byte%s printed %s left out here; the "
							"worker's output has %s",
			(long long)n, by_count((uint64_t)n, " that was", "s that were"),
			by_count((uint64_t)n, "is", "are"), by_count((uint64_t)n, "it", "them"));
		job_add_entry(job, MIST_WARN, text);
		p->at = size - TURN_BYTES;
		drop_line(p);
	}
	for (until = size; p->at < until;) {
		size_t most = until - p->at < PIECE ? (size_t)(until - p->at) : sizeof piece;
		ssize_t n = pread(p->fd, piece, most, p->at);
		if (n <= 0)
			break;
		p->at += n;
		add_piece(p, job, piece, (size_t)n);
	}
	if (p->line_ms && (is_end || clock_mono_ms() - p->line_ms >= PARTIAL_MS)) {
		tell_line(p, job);
		p->is_told = true;
	}
}
