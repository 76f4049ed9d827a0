/* SPDX-License-Identifier: Apache-2.0 */
/* The two text formats differ in what stands above the samples: OpenMetrics names a counter's
 * family without _total and an info's without _info, knows units, and ends with a mark, so that a
 * text that was cut off is noticed. The samples are the same.
 *
 * Both want the samples of one family together, while several transports each have some of it. So
 * samples are gathered by family, and all is put in order at the end. */
#include "base/metrics/exposition.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

enum { FAMILIES_MAX = 256, LABELS_MAX = 1 << 20 };

struct family {
	const struct metric *metric;
	struct buf samples;
};

struct exposition {
	enum exposition_format format;
	size_t left; /* bytes of samples for which there is room */
	size_t n, last;
	struct family families[FAMILIES_MAX];
};

const char *exposition_content_type(enum exposition_format format)
{
	return format == EXPOSITION_OPENMETRICS
		       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		       : "text/plain; version=0.0.4; charset=utf-8";
}

struct exposition *exposition_new(enum exposition_format format, size_t max)
{
	struct exposition *e = xcalloc(1, sizeof *e);
	e->format = format;
	e->left = max;
	return e;
}

void exposition_declare(struct exposition *e, const struct metric *families, size_t n)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->families[i].metric == families)
			return;
	for (size_t i = 0; i < n; i++) {
		must(e->n < FAMILIES_MAX);
		e->families[e->n] = (struct family){ .metric = &families[i] };
		buf_init(&e->families[e->n++].samples, e->left);
	}
}

static struct family *family_of(struct exposition *e, const struct metric *m)
{
	for (size_t i = 0; i < e->n; i++) { /* mostly the same as before, or the next */
		size_t at = (e->last + i) % e->n;
		if (e->families[at].metric == m) {
			e->last = at;
			return &e->families[at];
		}
	}
	must(!"declared");
	return NULL;
}

/* Whole samples only: what there is no room for is left out. */
static void add(struct exposition *e, struct family *f, const char *text, size_t len)
{
	if (len > e->left || buf_add(&f->samples, text, len) != 0)
		return;
	e->left -= len;
}

/* `name="value",…`, without braces: in ret, which is for the caller to end. */
static void print_labels(struct buf *ret, const char *const *labels)
{
	buf_init(ret, LABELS_MAX);
	for (size_t i = 0; labels[i]; i += 2) {
		buf_printf(ret, "%s%s=\"", i ? "," : "", labels[i]);
		for (const char *p = labels[i + 1]; *p;) {
			size_t n = strcspn(p, "\n\"\\");
			buf_add(ret, p, n);
			p += n;
			if (*p == '\n')
				buf_puts(ret, "\\n");
			else if (*p)
				buf_printf(ret, "\\%c", *p);
			p += *p != '\0';
		}
		buf_puts(ret, "\"");
	}
}

static void put(
	struct exposition *e, const struct metric *m, const char *const *labels, const char *value)
{
	struct family *f = family_of(e, m);
	struct buf shown, line;
	print_labels(&shown, labels);
	buf_init(&line, 2 * LABELS_MAX);
	if (shown.len)
		buf_printf(&line, "%s{%s} %s\n", m->name, shown.data, value);
	else
		buf_printf(&line, "%s %s\n", m->name, value);
	add(e, f, line.data, line.len);
	buf_done(&line);
	buf_done(&shown);
}

void exposition_put(
	struct exposition *e, const struct metric *m, const char *const *labels, int64_t value)
{
	char text[32];
	snprintf(text, sizeof text, "%" PRId64, value);
	put(e, m, labels, text);
}

void exposition_put_real(
	struct exposition *e, const struct metric *m, const char *const *labels, double value)
{
	char text[32];
	snprintf(text, sizeof text, "%.15g", value);
	put(e, m, labels, text);
}

/* Seconds with a point: OpenMetrics wants bounds to be told apart from whole numbers. */
static void print_seconds(char ret[static 32], uint64_t us)
{
	bool is_whole = us % 1000000 == 0;
	snprintf(ret, 32, is_whole ? "%.1f" : "%.15g", (double)us / 1e6);
}

void exposition_put_histogram(struct exposition *e, const struct metric *m,
	const char *const *labels, const struct histogram *h, const struct histogram_bounds *b)
{
	struct family *f = family_of(e, m);
	struct buf shown, lines;
	uint64_t n = 0;
	char text[32];
	print_labels(&shown, labels);
	const char *own = shown.len ? shown.data : "", *comma = shown.len ? "," : "";
	buf_init(&lines, (HISTOGRAM_BOUNDS_MAX + 4) * 2 * LABELS_MAX);
	for (size_t i = 0; i < b->n; i++) {
		n += counter_read(&h->counts[i]);
		print_seconds(text, b->us[i]);
		buf_printf(&lines, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", m->name, own, comma,
			text, n);
	}
	n += counter_read(&h->counts[b->n]);
	buf_printf(&lines, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", m->name, own, comma, n);
	print_seconds(text, counter_read(&h->sum_us));
	const char *open = shown.len ? "{" : "", *close = shown.len ? "}" : "";
	buf_printf(&lines, "%s_count%s%s%s %" PRIu64 "\n", m->name, open, own, close, n);
	buf_printf(&lines, "%s_sum%s%s%s %s\n", m->name, open, own, close, text);
	add(e, f, lines.data, lines.len);
	buf_done(&lines);
	buf_done(&shown);
}

static bool ends_with(const char *text, size_t len, const char *end)
{
	size_t n = strlen(end);
	return len >= n && memcmp(text + len - n, end, n) == 0;
}

static void print_head(const struct exposition *e, const struct metric *m, struct buf *out)
{
	static const char *const types[] = { [METRIC_GAUGE] = "gauge",
		[METRIC_COUNTER] = "counter",
		[METRIC_HISTOGRAM] = "histogram",
		[METRIC_INFO] = "info" };
	static const char *const units[] = { "seconds", "bytes" };
	bool is_open = e->format == EXPOSITION_OPENMETRICS;
	size_t len = strlen(m->name);
	if (is_open && m->type == METRIC_COUNTER)
		len -= strlen("_total");
	if (is_open && m->type == METRIC_INFO)
		len -= strlen("_info");
	const char *type = !is_open && m->type == METRIC_INFO ? "gauge" : types[m->type];
	buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)len, m->name, m->help, (int)len,
		m->name, type);
	for (size_t i = 0; is_open && i < ARRAY_SIZE(units); i++)
		if (ends_with(m->name, len, units[i]))
			buf_printf(out, "# UNIT %.*s %s\n", (int)len, m->name, units[i]);
}

void exposition_free(struct exposition *e)
{
	for (size_t i = 0; e && i < e->n; i++)
		buf_done(&e->families[i].samples);
	free(e);
}

char *exposition_take(struct exposition *e)
{
	struct buf out;
	buf_init(&out, SIZE_MAX / 2);
	for (size_t i = 0; i < e->n; i++) {
		struct family *f = &e->families[i];
		print_head(e, f->metric, &out);
		if (f->samples.len)
			buf_add(&out, f->samples.data, f->samples.len);
	}
	if (e->format == EXPOSITION_OPENMETRICS)
		buf_puts(&out, "# EOF\n");
	exposition_free(e);
	return buf_take(&out);
}
