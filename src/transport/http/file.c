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

#define DATE     "%a, %d %b %Y %H:%M:%S GMT"
#define DATE_MIN 0
#define DATE_MAX 253402300799 /* the end of the year 9999 */

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

/* RFC 9110, 5.6.7, in the form that is written. False: it is none. */
static bool read_date(const char *text, time_t *ret)
{
	struct tm tm = { 0 };
	const char *rest = text ? strptime(text, DATE, &tm) : NULL;
	if (!rest || *rest)
		return false;
	*ret = timegm(&tm);
	return true;
}

/* A file may have any time that its file system has. Of one that is none of those four digits can
 * tell there is no date. */
static bool print_date(time_t t, char *ret, size_t size)
{
	struct tm tm;
	return t >= DATE_MIN && t <= DATE_MAX && gmtime_r(&t, &tm) &&
	       strftime(ret, size, DATE, &tm) > 0;
}

static bool is_unchanged(struct request *rq, const char *tag, const struct stat *st)
{
	const char *known = header_text(rq, "If-None-Match");
	if (known)
		return tag_is_listed(known, tag, TAG_WHOLE);
	time_t since;
	return read_date(header_text(rq, "If-Modified-Since"), &since) &&
	       since >= st->st_mtim.tv_sec;
}

struct MHD_Response *file_response(struct request *rq)
{
	struct stat st;
	char tag[80], range_text[80], date[40];
	uint64_t from = 0, len;
	time_t written;
	struct MHD_Response *response;
	if (fstat(rq->answer_fd, &st) < 0)
		return empty(rq, 503);
	snprintf(tag, sizeof tag, "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "%09lx\"",
		(uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
		st.st_mtim.tv_nsec);
	len = st.st_size;
	const char *if_range = header_text(rq, "If-Range");
	bool is_same = !if_range || strcmp(if_range, tag) == 0 ||
		       (read_date(if_range, &written) && written == st.st_mtim.tv_sec);
	enum range range =
		is_same ? read_range(header_text(rq, "Range"), len, &from, &len) : RANGE_NONE;
	if (is_unchanged(rq, tag, &st)) {
		response = empty(rq, 304);
	} else if (range == RANGE_BAD) {
		response = empty(rq, 416);
		snprintf(range_text, sizeof range_text, "bytes */%" PRIu64, (uint64_t)st.st_size);
		if (response)
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
		MHD_add_response_header(response, "ETag", tag);
		if (print_date(st.st_mtim.tv_sec, date, sizeof date))
			MHD_add_response_header(response, "Last-Modified", date);
		MHD_add_response_header(response, "Accept-Ranges", "bytes");
	}
	return response;
}
