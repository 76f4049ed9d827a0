/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as text, in the two formats that Prometheus and those who speak like it read. One thread
 * at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/metrics/histogram.h"

enum exposition_format {
	EXPOSITION_PROMETHEUS,  /* the text format 0.0.4 */
	EXPOSITION_OPENMETRICS, /* OpenMetrics 1.0 */
};

/* "text/plain; …" */
const char *exposition_content_type(enum exposition_format format);

enum metric_type {
	METRIC_GAUGE,
	METRIC_COUNTER,   /* its name ends in _total */
	METRIC_HISTOGRAM, /* of durations: its name ends in _seconds */
	METRIC_INFO,      /* its name ends in _info, its value is 1 */
};

/* A family of metrics, static: its address is what it is known by. */
struct metric {
	enum metric_type type;
	const char *name; /* as samples have it, with its suffix */
	const char *help; /* one sentence */
};

struct exposition;

/* At most so many bytes of samples: those that have no room are left out. EXPOSITION_MAX is for all
 * that a gateway has. */
enum { EXPOSITION_MAX = 64 << 20 };
struct exposition *exposition_new(enum exposition_format format, size_t max);

/* The families are shown in this order, those without samples, too. Samples may be put in any
 * order, and by several hands: they stand with their family. Declared again, they stay as they
 * are. */
void exposition_declare(struct exposition *e, const struct metric *families, size_t n);

/* Names and values of labels by turns, ended by NULL; values may be any text. */
#define LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NO_LABELS   ((const char *const[]){ NULL })

/* Of a family that was declared. */
void exposition_put(
	struct exposition *e, const struct metric *m, const char *const *labels, int64_t value);
void exposition_put_real(
	struct exposition *e, const struct metric *m, const char *const *labels, double value);
void exposition_put_histogram(struct exposition *e, const struct metric *m,
	const char *const *labels, const struct histogram *h, const struct histogram_bounds *b);

void exposition_free(struct exposition *e); /* NULL is fine */

/* The text, which the caller owns; frees e. */
char *exposition_take(struct exposition *e);
