/* SPDX-License-Identifier: Apache-2.0 */
/* spark-submit's own rules, as far as they decide where the master is.
 *
 * A flag wins over a property of the command line, that one over the file of properties (the one of
 * --properties-file, else conf/spark-defaults.conf), that over MASTER of the environment, and where
 * nobody says anything it is `local[*]`. Spark then listens on the address of the host's name, for
 * executors on other machines; those of a local master are threads. So who runs Spark on his own
 * machine offers its ports to the network without having asked for it, unless the gateway says
 * otherwise. It only says what nobody else says. */
#include "worker/spark_local.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_MAX_BYTES = 4096, LINES_MAX = 10000 };

/* The value of "--flag VALUE" or "--flag=VALUE" at word i; NULL: it is another one. */
static const char *flag_value(const struct spark_said *s, size_t i, const char *flag)
{
	const char *word = s->options[i];
	size_t len = strlen(flag);
	if (strncmp(word, flag, len) != 0)
		return NULL;
	if (word[len] == '=')
		return word + len + 1;
	return word[len] == '\0' && i + 1 < s->n_options ? s->options[i + 1] : NULL;
}

/* The last one wins. */
static const char *option_flag(const struct spark_said *s, const char *flag)
{
	const char *found = NULL;
	for (size_t i = 0; i < s->n_options; i++) {
		const char *value = flag_value(s, i, flag);
		found = value ? value : found;
	}
	return found;
}

static const char *option_property(const struct spark_said *s, const char *key)
{
	const char *found = NULL;
	size_t len = strlen(key);
	for (size_t i = 0; i < s->n_options; i++) {
		const char *pair = flag_value(s, i, "--conf");
		if (!pair)
			pair = flag_value(s, i, "-c");
		if (pair && strncmp(pair, key, len) == 0 && pair[len] == '=')
			found = pair + len + 1;
	}
	return found;
}

static FILE *open_defaults(const struct spark_said *s)
{
	const char *named = option_flag(s, "--properties-file");
	_cleanup_(freep) char *path = named ? xstrdup(named)
				      : s->conf_folder
					      ? xasprintf("%s/spark-defaults.conf", s->conf_folder)
				      : s->home ? xasprintf("%s/conf/spark-defaults.conf", s->home)
						: xstrdup("");
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
	if (!file)
		closep(&fd);
	return file;
}

/* "key value", "key=value" or "key: value", as Java's properties have it. */
static const char *line_value(char *line, const char *key)
{
	size_t len = strlen(key);
	line += strspn(line, " \t");
	if (strncmp(line, key, len) != 0 || !strchr(" \t=:\r\n", line[len]))
		return NULL;
	line += len;
	line += strspn(line, " \t");
	line += *line == '=' || *line == ':';
	line += strspn(line, " \t");
	line[strcspn(line, "\r\n")] = '\0';
	return line;
}

static char *file_property(const struct spark_said *s, const char *key)
{
	char line[LINE_MAX_BYTES];
	char *found = NULL;
	_cleanup_(fclosep) FILE *file = open_defaults(s);
	for (int i = 0; file && i < LINES_MAX && fgets(line, sizeof line, file); i++) {
		const char *value = line_value(line, key);
		if (!value)
			continue;
		free(found);
		found = xstrdup(value);
	}
	return found;
}

/* A copy, or NULL. */
static char *property(const struct spark_said *s, const char *key)
{
	const char *value = option_property(s, key);
	if (!value)
		value = json_string_of(s->conf, key);
	return value ? xstrdup(value) : file_property(s, key);
}

bool spark_says(const struct spark_said *said, const char *key)
{
	_cleanup_(freep) char *value = property(said, key);
	return value;
}

bool spark_is_local(const struct spark_said *said)
{
	static const char local[] = "local";
	const char *flag = option_flag(said, "--master");
	if (option_flag(said, "--remote") || spark_says(said, "spark.remote"))
		return false;
	_cleanup_(freep) char *master = flag ? xstrdup(flag) : property(said, "spark.master");
	const char *where = master ? master : said->master;
	return !where || (strncmp(where, local, sizeof local - 1) == 0 &&
				 strchr("[-", where[sizeof local - 1]));
}
