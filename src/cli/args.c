/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: options, complaints about them, and the question before something is deleted.
 *
 * Options are rows of one table. A command names the rows it takes by their keys; those of `common`
 * every command takes, and they may also stand before its name. getopt_long gets a table made for
 * the command, so that `-f` is a switch of `logs` and takes a file in `apply`. Values are borrowed
 * from argv. */
#include "cli/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/near.h"

static const char common[] = "ujyhV";

static const struct {
	char key, letter;
	const char *name;
	int has_value;
} options[] = {
	{ 'u', 'u', "url", required_argument },
	{ 'j', 'j', "json", no_argument },
	{ 'y', 'y', "yes", no_argument },
	{ 'h', 'h', "help", no_argument },
	{ 'V', 'V', "version", no_argument },
	{ 'c', 'c', "context", required_argument },
	{ 't', 't', "timeout", required_argument },
	{ 'f', 'f', "follow", no_argument },
	{ 'F', 'f', "file", required_argument },
	{ 'n', 'n', "dry-run", no_argument },
	{ 'p', 'p', "prefix", required_argument },
	{ 's', 's', "status", required_argument },
	{ 'l', 'l', "limit", required_argument },
	{ 'L', 'L', "level", required_argument },
	{ 'O', 'o', "force", no_argument },
	{ 'x', 'x', "external-id", required_argument },
	{ 'P', 'P', "priority", required_argument },
	{ 'k', 'k', "idempotency-key", required_argument },
	{ 'T', 'n', "tail", required_argument },
	{ 'S', 'O', "offset", required_argument },
	{ 'N', 'F', "function", required_argument },
};

struct tables {
	struct option longs[ARRAY_SIZE(options) + 1];
	char letters[2 * ARRAY_SIZE(options) + 3];
	char keys[256]; /* of a letter */
};

static void make_tables(const struct command *command, struct tables *t)
{
	char *letter = t->letters;
	size_t n = 0;
	*t = (struct tables){ 0 };
	if (!command)
		*letter++ = '+'; /* stop at the command's name */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		bool is_taken = strchr(common, options[i].key) ||
				(command && strchr(command->options, options[i].key));
		if (!is_taken)
			continue;
		t->longs[n++] = (struct option){ options[i].name, options[i].has_value, NULL,
			options[i].letter };
		t->keys[(unsigned char)options[i].letter] = options[i].key;
		*letter++ = options[i].letter;
		if (options[i].has_value)
			*letter++ = ':';
	}
}

static void take(struct cli *cli, struct args *args, char key, enum show *show)
{
	switch (key) {
	case 'u':
		cli->url = optarg;
		break;
	case 'j':
		cli->is_json = true;
		break;
	case 'y':
		cli->is_yes = true;
		break;
	case 'h':
		*show = SHOW_HELP;
		break;
	case 'V':
		*show = SHOW_VERSION;
		break;
	case 'c':
		args->context = optarg;
		break;
	case 't':
		args->timeout = optarg;
		break;
	case 'f':
		args->is_following = true;
		break;
	case 'F':
		args->file = optarg;
		break;
	case 'n':
		args->is_dry = true;
		break;
	case 'p':
		args->prefix = optarg;
		break;
	case 's':
		args->status = optarg;
		break;
	case 'l':
		args->limit = optarg;
		break;
	case 'O':
		args->is_forced = true;
		break;
	case 'x':
		args->external_id = optarg;
		break;
	case 'P':
		args->priority = optarg;
		break;
	case 'k':
		args->key = optarg;
		break;
	case 'T':
		args->tail = optarg;
		break;
	case 'S':
		args->offset = optarg;
		break;
	case 'N':
		args->function = optarg;
		break;
	case 'L':
		args->level = optarg;
		break;
	}
}

/* For a long option that there is not. */
static const char *option_hint(
	const struct tables *t, const char *written, char ret[static NEAR_HINT])
{
	_cleanup_(freep) char *name = NULL;
	struct near n;
	ret[0] = '\0';
	if (strncmp(written, "--", 2) != 0)
		return ret;
	name = strndup(written + 2, strcspn(written + 2, "="));
	near_init(&n, name);
	for (const struct option *o = t->longs; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return ret; /* it lacks its value, or has one */
	for (const struct option *o = t->longs; o->name; o++)
		near_try(&n, o->name);
	if (n.found)
		snprintf(ret, NEAR_HINT, "; did you mean --%s?", n.found);
	return ret;
}

int args_read(struct cli *cli, const struct command *command, int argc, char **argv,
	struct args *ret, enum show *ret_show)
{
	static char program[] = "mist"; /* what getopt starts its complaints with */
	struct tables t;
	char hint[NEAR_HINT];
	int letter;
	make_tables(command, &t);
	*ret = (struct args){ .command = command };
	*ret_show = SHOW_NOTHING;
	argv[0] = program;
	optind = 0;
	while ((letter = getopt_long(argc, argv, t.letters, t.longs, NULL)) != -1) {
		if (letter == '?')
			return complain(EXIT_USAGE, "see mist %s%s--help%s",
				command ? command->name : "", command ? " " : "",
				option_hint(&t, argv[optind - 1], hint));
		take(cli, ret, t.keys[letter], ret_show);
	}
	ret->words = argv + optind;
	ret->n_words = argc - optind;
	if (!command || *ret_show != SHOW_NOTHING)
		return 0;
	if (ret->n_words < command->min)
		return complain(EXIT_USAGE, "%s: too few words; see mist %s --help", command->name,
			command->name);
	if (command->max >= 0 && ret->n_words > command->max)
		return complain(EXIT_USAGE, "%s: \"%s\" is one word too many; see mist %s --help",
			command->name, ret->words[command->max], command->name);
	return 0;
}

int complain(int code, const char *format, ...)
{
	va_list args;
	fflush(stdout);
	fputs("mist: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

int confirm(const struct cli *cli, const char *question)
{
	if (cli->is_yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return complain(EXIT_USAGE, "%s? Nobody can be asked here: say --yes", question);
	fprintf(stderr, "%s? [y/N] ", question);
	_cleanup_(freep) char *line = NULL;
	size_t size = 0;
	if (getline(&line, &size, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y'))
		return 0;
	return complain(EXIT_USAGE, "nothing was done");
}
