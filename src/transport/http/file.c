/* SPDX-License-Identifier: Apache-2.0 */
/* A file as an answer: entity tag, conditions and one range (RFC 9110, sections 8.8, 13 and 14).
 *
 * The tag is made of the file's inode, size and time: a re-upload is another inode. A range that
 * cannot be had is 416; several ranges, or a range of another unit, are answered with the whole
 * file, as the RFC allows. */
#include "transport/http/request.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "domain/tag.h"

#define DATE "%a, %d %b %Y %H:%M:%S GMT"

enum range { RANGE_NONE, RANGE_GOOD, RANGE_BAD };

static bool read_number(const char **p, uint64_t *ret)
{
	char *end;
	if (**p < '0' || **p > '9')
		return false;
	*ret = strtoull(*p, &end, 10);
	*p = end;
	return true;
}

static enum range read_range(const char *text, uint64_t size, uint64_t *ret_from, uint64_t *ret_len)
{
	uint64_t from = 0, to = 0;
	if (!text || strncmp(text, "bytes=", 6) != 0 || strchr(text, ','))
		return RANGE_NONE;
	text += 6;
	bool has_from = read_number(&text, &from);
	if (*text++ != '-')
		return RANGE_NONE;
	bool has_to = read_number(&text, &to);
	if (*text || (!has_from && !has_to) || (has_from && has_to && to < from))
		return RANGE_NONE;
	if (!has_from) { /* the last `to` bytes */
		from = to < size ? size - to : 0;
		to = to ? size - 1 : 0;
		has_from = size > 0;
	} else if (!has_to || to >= size) {
		to = size - 1;
	}
	if (!has_from || from >= size || to < from)
		return RANGE_BAD;
	*ret_from = from;
	*ret_len = to - from + 1;
	return RANGE_GOOD;
}

static struct MHD_Response *empty(struct request *rq, unsigned status)
{
	rq->status = status;
	return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
}

/* RFC 9110, 5.6.7, in the form that is written. 0: it is none. */
static time_t read_date(const char *text)
{
	struct tm tm = { 0 };
	const char *rest = text ? strptime(text, DATE, &tm) : NULL;
	return rest && !*rest ? timegm(&tm) : 0;
}

static bool is_unchanged(struct request *rq, const char *tag, const struct stat *st)
{
	const char *known = header_text(rq, "If-None-Match");
	if (known)
		return tag_is_listed(known, tag, TAG_WHOLE);
	return read_date(header_text(rq, "If-Modified-Since")) >= st->st_mtim.tv_sec;
}

struct MHD_Response *file_response(struct request *rq)
{
	struct stat st;
	char tag[80], range_text[80], date[40];
	uint64_t from = 0, len;
	struct MHD_Response *response;
	if (fstat(rq->answer_fd, &st) < 0)
		return empty(rq, 503);
	snprintf(tag, sizeof tag, "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "%09lx\"",
		(uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
		st.st_mtim.tv_nsec);
	len = st.st_size;
	const char *if_range = header_text(rq, "If-Range");
	enum range range =
		if_range && strcmp(if_range, tag) != 0 && read_date(if_range) != st.st_mtim.tv_sec
			? RANGE_NONE
			: read_range(header_text(rq, "Range"), len, &from, &len);
	if (is_unchanged(rq, tag, &st)) {
		response = empty(rq, 304);
	} else if (range == RANGE_BAD) {
		response = empty(rq, 416);
		snprintf(range_text, sizeof range_text, "bytes */%" PRIu64, (uint64_t)st.st_size);
		MHD_add_response_header(response, "Content-Range", range_text);
	} else {
		response =
			MHD_create_response_from_fd_at_offset64(len, TAKE_FD(rq->answer_fd), from);
	}
	if (response && range == RANGE_GOOD && rq->status == 200) {
		rq->status = 206;
		snprintf(range_text, sizeof range_text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
			from, from + len - 1, (uint64_t)st.st_size);
		MHD_add_response_header(response, "Content-Range", range_text);
	}
	if (response) {
		struct tm tm;
		strftime(date, sizeof date, DATE, gmtime_r(&st.st_mtim.tv_sec, &tm));
		MHD_add_response_header(response, "ETag", tag);
		MHD_add_response_header(response, "Last-Modified", date);
		MHD_add_response_header(response, "Accept-Ranges", "bytes");
	}
	return response;
}
