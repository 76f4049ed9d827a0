/* SPDX-License-Identifier: Apache-2.0 */
/* Every file of a corpus, once, through a parser.
 *
 * This is the main of a fuzz target when no engine is linked, so that any compiler can run what the
 * engine once found: each argument is a folder or a file, folders are not entered deeper. The bytes
 * are handed over in a block of exactly their size, so that AddressSanitizer sees a parser that
 * reads one too many. The name is printed before the parser runs: after a crash it is the last line
 * of the log. An empty folder is a mistake of the caller, and says so. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"

enum { INPUT_MAX = 1024 * 1024 };

static void replay_file(const char *path)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	must(file);
	_cleanup_(buf_done) struct buf text;
	buf_init(&text, INPUT_MAX);
	char chunk[4096];
	for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
		must(buf_add(&text, chunk, n) == 0);
	must(!ferror(file));
	printf("%s\n", path);
	fflush(stdout);
	_cleanup_(freep) uint8_t *exact = xrealloc(NULL, text.len);
	if (text.len)
		memcpy(exact, text.data, text.len);
	must(LLVMFuzzerTestOneInput(exact, text.len) == 0);
}

static unsigned replay(const char *path)
{
	DIR *folder = opendir(path);
	unsigned n = 0;
	if (!folder) {
		replay_file(path);
		return 1;
	}
	for (const struct dirent *entry; (entry = readdir(folder));) {
		_cleanup_(freep) char *inner = xasprintf("%s/%s", path, entry->d_name);
		struct stat st;
		if (stat(inner, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		replay_file(inner);
		n++;
	}
	closedir(folder);
	return n;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		unsigned n = replay(argv[i]);
		if (n == 0) {
			fprintf(stderr, "%s: nothing to replay\n", argv[i]);
			return 1;
		}
	}
	return argc > 1 ? 0 : 1;
}
