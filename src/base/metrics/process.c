/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics process_*, from /proc. What cannot be read is left out. Counting descriptors takes
 * some milliseconds when there are thousands, so this is not for the core's thread. */
#include "base/metrics/process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/metrics/exposition.h"

enum { CPU, START, RESIDENT, VIRTUAL, OPEN, MAX, THREADS };

static const struct metric families[] = {
	[CPU] = { METRIC_COUNTER, "process_cpu_seconds_total",
		"Total user and system CPU time spent in seconds." },
	[START] = { METRIC_GAUGE, "process_start_time_seconds",
		"Start time of the process since unix epoch in seconds." },
	[RESIDENT] = { METRIC_GAUGE, "process_resident_memory_bytes",
		"Resident memory size in bytes." },
	[VIRTUAL] = { METRIC_GAUGE, "process_virtual_memory_bytes",
		"Virtual memory size in bytes." },
	[OPEN] = { METRIC_GAUGE, "process_open_fds", "Number of open file descriptors." },
	[MAX] = { METRIC_GAUGE, "process_max_fds", "Maximum number of open file descriptors." },
	[THREADS] = { METRIC_GAUGE, "process_threads", "Number of OS threads in the process." },
};

/* Of /proc/self/stat: times in ticks, memory in bytes and pages. */
struct process_stat {
	unsigned long long user, system, start, virtual;
	long long threads, resident;
};

static bool read_stat(struct process_stat *ret)
{
	char text[1024];
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/stat", "re");
	if (!f || !fgets(text, sizeof text, f))
		return false;
	const char *p = strrchr(text, ')'); /* of the name, which may have any characters */
	return p && sscanf(p + 1,
			    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
			    "%*d %lld %*d %llu %llu %lld",
			    &ret->user, &ret->system, &ret->threads, &ret->start, &ret->virtual,
			    &ret->resident) == 6;
}

int64_t process_resident_bytes(void)
{
	struct process_stat stat;
	return read_stat(&stat) ? stat.resident * sysconf(_SC_PAGESIZE) : 0;
}

/* When the kernel started; 0: not known. */
static double boot_seconds(void)
{
	char line[256];
	unsigned long long at = 0;
	_cleanup_(fclosep) FILE *f = fopen("/proc/stat", "re");
	while (f && !at && fgets(line, sizeof line, f))
		if (sscanf(line, "btime %llu", &at) != 1)
			at = 0;
	return (double)at;
}

int process_count(const char *folder)
{
	int n = 0;
	DIR *d = opendir(folder);
	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int count_descriptors(void)
{
	int n = process_count("/proc/self/fd");
	return n ? n - 1 : 0; /* without the one by which they are counted */
}

void process_metrics_put(struct exposition *e)
{
	struct process_stat stat;
	struct rlimit limit;
	double boot = boot_seconds(), hz = (double)sysconf(_SC_CLK_TCK);
	int64_t n_open = count_descriptors();
	exposition_declare(e, families, ARRAY_SIZE(families));
	if (read_stat(&stat)) {
		double cpu = (double)(stat.user + stat.system) / hz;
		exposition_put_real(e, &families[CPU], NO_LABELS, cpu);
		if (boot > 0)
			exposition_put_real(
				e, &families[START], NO_LABELS, boot + (double)stat.start / hz);
		exposition_put(
			e, &families[RESIDENT], NO_LABELS, stat.resident * sysconf(_SC_PAGESIZE));
		exposition_put(e, &families[VIRTUAL], NO_LABELS, (int64_t)stat.virtual);
		exposition_put(e, &families[THREADS], NO_LABELS, stat.threads);
	}
	if (n_open > 0)
		exposition_put(e, &families[OPEN], NO_LABELS, n_open);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		exposition_put(e, &families[MAX], NO_LABELS, (int64_t)limit.rlim_cur);
}
