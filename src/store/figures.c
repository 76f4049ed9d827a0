/* SPDX-License-Identifier: Apache-2.0 */
/* The store's figures. A disk may hang, so nobody but the store's thread asks it anything: whoever
 * reads metrics gets what that thread saw last. */
#include "store/figures.h"

#include <stdbool.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics/exposition.h"

enum { MEASURE_MS = 1000 };
enum { COMMIT, OPERATIONS, FAILURES, REFUSED_LOGS, DATABASE, FREE, SIZE };

static const struct metric families[] = {
	[COMMIT] = { METRIC_HISTOGRAM, "mist_store_commit_seconds",
		"Time that a commit took to be on the disk." },
	[OPERATIONS] = { METRIC_COUNTER, "mist_store_operations_total",
		"Operations that were committed; many share one commit." },
	[FAILURES] = { METRIC_COUNTER, "mist_store_commit_failures_total",
		"Commits that the disk refused." },
	[REFUSED_LOGS] = { METRIC_GAUGE, "mist_store_refused_log_bytes",
		"Memory of what the disk refuses of the logs of jobs; it is tried again." },
	[DATABASE] = { METRIC_GAUGE, "mist_store_database_bytes",
		"Size of the database's files, without logs of jobs and artifacts." },
	[FREE] = { METRIC_GAUGE, "mist_data_directory_free_bytes",
		"Room on the disk of the data directory, as this user may use it." },
	[SIZE] = { METRIC_GAUGE, "mist_data_directory_size_bytes",
		"Size of the disk of the data directory." },
};

void figures_init(struct store_figures *f)
{
	*f = (struct store_figures){ .free_bytes = -1, .size_bytes = -1, .database_bytes = -1 };
}

void figures_measure(struct store_figures *f, const char *directory, int64_t database_bytes)
{
	struct statvfs fs;
	int64_t now = clock_mono_ms();
	if (f->measured_ms && now - f->measured_ms < MEASURE_MS)
		return;
	f->measured_ms = now;
	bool is_known = statvfs(directory, &fs) == 0;
	atomic_store(&f->free_bytes, is_known ? (int64_t)(fs.f_bavail * fs.f_frsize) : -1);
	atomic_store(&f->size_bytes, is_known ? (int64_t)(fs.f_blocks * fs.f_frsize) : -1);
	atomic_store(&f->database_bytes, database_bytes);
}

void figures_set_refused_logs(struct store_figures *f, size_t bytes)
{
	atomic_store(&f->refused_log_bytes, (int64_t)bytes);
}

static void put_known(struct exposition *e, const struct metric *m, int64_t value)
{
	if (value >= 0)
		exposition_put(e, m, NO_LABELS, value);
}

void figures_put(const struct store_figures *f, struct exposition *e)
{
	exposition_declare(e, families, ARRAY_SIZE(families));
	exposition_put_histogram(
		e, &families[COMMIT], NO_LABELS, &f->commits, &histogram_call_bounds);
	exposition_put(e, &families[OPERATIONS], NO_LABELS, (int64_t)counter_read(&f->operations));
	exposition_put(e, &families[FAILURES], NO_LABELS, (int64_t)counter_read(&f->failures));
	exposition_put(e, &families[REFUSED_LOGS], NO_LABELS, atomic_load(&f->refused_log_bytes));
	put_known(e, &families[DATABASE], atomic_load(&f->database_bytes));
	put_known(e, &families[FREE], atomic_load(&f->free_bytes));
	put_known(e, &families[SIZE], atomic_load(&f->size_bytes));
}
