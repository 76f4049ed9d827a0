/* SPDX-License-Identifier: Apache-2.0 */
/* mist: the command line of the gateway. The commands are one table; a command gets its words and
 * options and answers with an exit status (cli.h). Every command is a few questions over HTTP
 * (http.c), on this one thread. stdout has what was asked for, stderr everything said to a person.
 */
#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "cli/apply.h"
#include "cli/cli.h"
#include "cli/http.h"
#include "cli/interrupt.h"
#include "cli/jobs.h"
#include "cli/nouns.h"
#include "cli/shown.h"
#include "cli/store.h"

#define RUN_OPTIONS                                                                                \
	"  -c, --context CONTEXT       not the function's own\n"                                   \
	"  -t, --timeout TIME          the gateway cancels the job after this time: 10s, 5m, 1h\n" \
	"  -P, --priority N            from -100 to 100; jobs of a higher one start first (0)\n"   \
	"  -x, --external-id ID        a name of your own for the job\n"                           \
	"  -k, --idempotency-key KEY   the same key and arguments again are the same job\n"

static const struct command commands[] = {
	{ "status", "", 0, 0, status_command,
		"what the gateway says of itself\n"
		"usage: mist status\n" },
	{ "functions", "", 0, 2, noun_command,
		"functions the gateway can run\n"
		"usage: mist functions [list | show NAME | delete NAME]\n" },
	{ "contexts", "", 0, 2, noun_command,
		"contexts that functions run in\n"
		"usage: mist contexts [list | show NAME | delete NAME]\n" },
	{ "workers", "fT", 0, 2, noun_command,
		"processes that run jobs\n"
		"usage: mist workers [list | show NAME | output [options] NAME | delete NAME]\n"
		"\n"
		"  -f, --follow   of output: go on until the worker has ended\n"
		"  -n, --tail N   of output: only the last N lines (the last MiB)\n"
		"\n"
		"output prints what the worker and its jobs have printed, also of one that "
		"crashed.\n"
		"delete stops the worker; a job that runs on it fails, or runs again where its\n"
		"function has retries.\n" },
	{ "jobs", "slSNcx", 0, 2, noun_command,
		"jobs, the latest first\n"
		"usage: mist jobs [list [options] | show ID | delete ID]\n"
		"\n"
		"  -s, --status STATUS,…   only those: initialized, queued, job-file-downloading,\n"
		"                          started, cancelling, finished, cancelled, failed\n"
		"  -F, --function NAME     only those of this function\n"
		"  -c, --context CONTEXT   only those in this context\n"
		"  -x, --external-id ID    only those that were given this one\n"
		"  -l, --limit N           at most so many (25)\n"
		"  -O, --offset N          without the latest N\n"
		"\n"
		"delete cancels the job, as mist cancel does.\n" },
	{ "artifacts", "O", 0, 3, noun_command,
		"files that the gateway keeps for functions\n"
		"usage: mist artifacts [list | show NAME | get NAME [FILE] | put [--force] FILE |\n"
		"                       delete [--force] NAME]\n"
		"\n"
		"  -o, --force   delete it although functions use it; put it although functions\n"
		"                of it would not load any more\n"
		"\n"
		"show prints the SHA-1; get writes to FILE (NAME; - is standard output); put sends "
		"a\n"
		"file under its own name.\n" },
	{ "store", "", 1, 2, store_command,
		"what the gateway could not read of what it keeps\n"
		"usage: mist store check | show ID | drop ID | drop all\n"
		"\n"
		"check lists the rows that were set aside, and ends with 5 if there are any or "
		"the\n"
		"store has another trouble; show prints one with all that was in it; drop forgets "
		"it.\n" },
	{ "apply", "Fnp", 0, 0, apply_command,
		"bring artifacts, contexts and functions to what files say\n"
		"usage: mist apply -f FILE|DIR [--dry-run] [--prefix USER]\n"
		"\n"
		"  -f, --file FILE|DIR   a file, or every *.conf below a folder\n"
		"  -n, --dry-run         say what would be done, and do nothing\n"
		"  -p, --prefix USER     put USER_ before every name\n"
		"\n"
		"What is as the files say stays; nothing is deleted. All of it is made, or, if a\n"
		"function does not load or anything else is wrong, nothing. What is changed is "
		"asked\n"
		"for first; where nobody can be asked that needs --yes. mist(1) shows the "
		"files.\n" },
	{ "run", "ctxPk", 1, -1, run_command,
		"run a function, and print its result\n"
		"usage: mist run FUNCTION [KEY=VALUE… | '{JSON}' | @FILE] [options]\n"
		"\n" RUN_OPTIONS "\n"
		"A VALUE that is JSON is taken as JSON, unless the function takes a text there;\n"
		"anything else is a text. On a terminal the job's log is shown, and Ctrl-C "
		"cancels\n"
		"the job.\n" },
	{ "submit", "ctxPk", 1, -1, submit_command,
		"start a job, and print its id\n"
		"usage: mist submit FUNCTION [KEY=VALUE… | '{JSON}' | @FILE] [options]\n"
		"\n" RUN_OPTIONS "\n"
		"Takes what mist run takes, and does not wait.\n" },
	{ "wait", "t", 1, 1, wait_command,
		"wait for the end of a job, and print its result\n"
		"usage: mist wait ID [--timeout TIME]\n"
		"\n"
		"  -t, --timeout TIME   wait so long at most: 10s, 5m, 1h\n"
		"\n"
		"Ends with 4 when the gateway goes away; the job goes on, and can be waited for "
		"again.\n" },
	{ "logs", "fL", 1, 1, logs_command,
		"print the log of a job\n"
		"usage: mist logs [--follow] [--level debug|info|warn|error] ID\n"
		"\n"
		"  -f, --follow        go on until the job ends\n"
		"  -L, --level LEVEL   only entries of this level and above\n" },
	{ "cancel", "", 1, 1, cancel_command,
		"cancel a job\n"
		"usage: mist cancel ID\n"
		"\n"
		"Ends with 0 when the job is cancelled, or is about to be, and with 1 when it had\n"
		"ended before by itself.\n" },
};

static const char general[] =
	"\n"
	"  -u, --url URL   the gateway (MIST_URL, or http://127.0.0.1:2003)\n"
	"  -j, --json      print the gateway's JSON also on a terminal\n"
	"  -y, --yes       ask nothing\n"
	"  -h, --help      of a command: mist COMMAND --help\n"
	"  -V, --version\n"
	"\n"
	"MIST_TOKEN is sent as a bearer token, for a proxy in front: the gateway itself asks\n"
	"for none. Exit status: 0 done, 1 the job failed, 2 usage or a no, 3 not found or\n"
	"refused, 4 no answer, 5 the gateway's failure, 124 the time to wait is over,\n"
	"130 interrupted.\n";

static void print_commands(FILE *to)
{
	fputs("usage: mist [options] COMMAND …\n\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-11s%.*s\n", commands[i].name, (int)strcspn(commands[i].help, "\n"),
			commands[i].help);
	fputs(general, to);
}

static int show_instead(enum show show, const struct command *command)
{
	if (show == SHOW_VERSION)
		puts("mist " MIST_VERSION);
	else if (command)
		printf("%s%s", strchr(command->help, '\n') + 1, general);
	else
		print_commands(stdout);
	return EXIT_FINE;
}

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int no_such_command(const char *name)
{
	struct near n;
	char hint[NEAR_HINT];
	near_init(&n, name);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		near_try(&n, commands[i].name);
	return complain(EXIT_USAGE, "there is no command \"%s\"%s; see mist --help", name,
		near_hint(&n, hint));
}

/* `mist help`, `mist help run`: as --help says it. */
static int help_command(int n_words, char **words)
{
	const struct command *command = n_words > 1 ? command_find(words[1]) : NULL;
	if (n_words > 2)
		return complain(EXIT_USAGE, "help: \"%s\" is one word too many", words[2]);
	return n_words > 1 && !command ? no_such_command(words[1])
				       : show_instead(SHOW_HELP, command);
}

/* What the environment says, options later override. */
static void set_defaults(struct cli *cli)
{
	const char *url = getenv("MIST_URL"), *token = getenv("MIST_TOKEN");
	*cli = (struct cli){ .url = url && *url ? url : "http://127.0.0.1:2003",
		.token = token && *token ? token : NULL,
		.is_terminal = isatty(STDOUT_FILENO),
		.is_talked = isatty(STDERR_FILENO) };
}

static int perform(struct cli *cli, const struct args *args)
{
	interrupt_catch();
	int code = http_open(cli);
	if (code == 0)
		code = args->command->run(cli, args);
	http_close(cli);
	if (fflush(stdout) != 0 && code == 0)
		code = complain(EXIT_USAGE, "standard output cannot be written");
	return code;
}

int main(int argc, char **argv)
{
	struct cli cli;
	struct args args;
	enum show show;
	shown_begin();
	set_defaults(&cli);
	int code = args_read(&cli, NULL, argc, argv, &args, &show);
	if (code)
		return code;
	if (show != SHOW_NOTHING)
		return show_instead(show, NULL);
	if (args.n_words == 0) {
		print_commands(stderr);
		return EXIT_USAGE;
	}
	const struct command *command = command_find(args.words[0]);
	if (!command && strcmp(args.words[0], "help") == 0)
		return help_command(args.n_words, args.words);
	if (!command)
		return no_such_command(args.words[0]);
	code = args_read(&cli, command, args.n_words, args.words, &args, &show);
	if (code)
		return code;
	return show == SHOW_NOTHING ? perform(&cli, &args) : show_instead(show, command);
}
