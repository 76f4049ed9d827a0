/* SPDX-License-Identifier: Apache-2.0 */
/* What every command of `mist` is given, and what it may answer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct http;

/* A command returns one of these, after it has told the person why. */
enum {
	EXIT_FINE = 0,
	EXIT_JOB = 1,         /* the job failed or was cancelled */
	EXIT_USAGE = 2,       /* the command line, or a file it names, is not right */
	EXIT_REFUSED = 3,     /* not found, or refused (4xx) */
	EXIT_UNREACHABLE = 4, /* no answer */
	EXIT_GATEWAY = 5,     /* the gateway's own failure (5xx), or an answer that is not one */
	EXIT_TIME = 124,      /* the time that --timeout gave `wait` is over */
	EXIT_INTERRUPTED = 130
};

struct cli {
	const char *url, *token;     /* token may be NULL */
	bool is_json;                /* the gateway's JSON on stdout, no tables */
	bool is_yes;                 /* ask nothing */
	bool is_terminal, is_talked; /* stdout, stderr is a terminal */
	struct http *http;
};

struct command;

struct args {
	const struct command *command;
	char **words; /* what is left when the options are taken out */
	int n_words;
	const char *context, *timeout, *file, *prefix, *status, *limit; /* NULL: not given */
	const char *level, *external_id, *key, *offset, *function;      /* the same */
	const char *priority, *tail;                                    /* the same */
	bool is_following, is_dry, is_forced;
};

struct command {
	const char *name;
	const char *options; /* keys of rows in args.c, besides those that every command has */
	int min, max;        /* words; max negative: any number */
	int (*run)(struct cli *cli, const struct args *args);
	const char *help; /* one line, usage, explanation */
};

/* args.c: reads options up to the command's name, or after it (command not NULL). 0, or
 * EXIT_USAGE. What is to be printed instead of running anything comes in *ret_show. */
enum show { SHOW_NOTHING, SHOW_HELP, SHOW_VERSION };
int args_read(struct cli *cli, const struct command *command, int argc, char **argv,
	struct args *ret, enum show *ret_show);

/* "mist: …" on stderr; returns `code`, so that a refusal is one line. */
int complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Asks on the terminal; without one, --yes must have been said. 0, or EXIT_USAGE. */
int confirm(const struct cli *cli, const char *question);
