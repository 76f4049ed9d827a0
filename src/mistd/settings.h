/* SPDX-License-Identifier: Apache-2.0 */
/* The whole configuration of mistd, read and checked. */
#pragma once

#include "core/catalog.h"
#include "core/core.h"
#include "transport/http/http.h"
#include "worker/room.h"

enum mist_compatibility { COMPATIBLE_WITH_NONE, COMPATIBLE_WITH_MIST_11 };
enum watchdog_action { WATCHDOG_LOG, WATCHDOG_EXIT };

struct mist_settings {
	char *data_directory;
	int log_level, log_format; /* enum log_level, enum log_format */
	int log_job_ends;          /* enum job_ends */
	int unknown_arguments;     /* enum unknown_arguments: refuse or ignore */
	int64_t mailbox_max;
	int compatibility; /* enum mist_compatibility */
	/* Of the two words of each the second is Mist's way. */
	int unknown_contexts, broken_functions, used_artifacts;
	int64_t watchdog_ms, stop_timeout_ms;
	int watchdog_action; /* enum watchdog_action */
};

extern const struct conf_field mist_conf[];

/* One of `transports`. */
struct transport_setting {
	char *name;
	const struct conf_section *kind;
	const struct transport_ops *ops; /* NULL: of a plugin */
	void *settings;                  /* of the kind's fields */
	bool is_required;                /* as `required` among these says */
};

struct settings {
	struct mist_settings mist;
	struct http_settings http;
	struct transport_setting *transports;
	size_t n_transports;
	struct core_limits limits;
	struct room_settings room;
	struct catalog *catalog; /* taken by the core */
	bool is_empty;           /* the file has no setting, or there is none */
};

extern const struct conf_section settings_sections[]; /* ended by { 0 } */

/* On failure *ret_problems has all that is wrong, a sentence a line, for whoever starts the
 * gateway; the caller frees it, and nothing else. `s` is uninitialised. */
int settings_read(struct settings *s, const char *path, const char *const *sets, size_t n_sets,
	char **ret_problems);

/* What is right by itself and refers to something that is not there: files, folders, programs,
 * contexts. A sentence a line, NULL for nothing; the caller frees it. The gateway starts all the
 * same: a file may come later, a context may have been made by the API. Before the core has taken
 * the catalog. */
char *settings_check_references(const struct settings *s);
/* The same in two steps: what is to be looked at, without a disk; and the look, which takes as long
 * as the disks take and may be on any thread, also when the settings are gone. references_free()
 * frees the former (NULL is fine), the caller the text. */
struct references;
struct references *references_of(const struct settings *s);
char *references_check(const struct references *r);
void references_free(struct references *r);

/* Names of settings that are not as in `running` and need a restart, with commas between; NULL:
 * none. The caller frees it. */
char *settings_need_restart(const struct settings *running, const struct settings *s);
void settings_done(struct settings *s);
