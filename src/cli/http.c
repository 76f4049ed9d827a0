/* SPDX-License-Identifier: Apache-2.0 */
/* The way to the gateway, over libcurl: one handle for the whole command, so that polling keeps its
 * connection.
 *
 * An answer comes whole into a buffer, but for an artifact's bytes, which go to a file when the
 * answer is good. What goes wrong is told here, once, in one sentence: no answer, or the gateway's
 * own words out of its problem document (RFC 9457). No redirect is followed: the token would go
 * along. The environment's proxies are used as curl uses them, but not for this machine. */
#include "cli/http.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/near.h"
#include "base/utf8.h"
#include "cli/interrupt.h"

enum { CONNECT_MS = 10000, ANSWER_S = 120, LOADED_S = 3600, NAMED_MS = 10000, NOT_FOUND = 404 };
#define SHOWN_MAX   ((size_t)64 * 1024)
#define NEAR_MAX    ((size_t)4 << 20)
#define ANSWER_MAX  ((size_t)1 << 30)
#define STALL_BYTES 1L

struct http {
	CURL *curl;
	char reason[CURL_ERROR_SIZE];
	char *no_proxy, *authorization;
};

struct transfer {
	struct http *http;
	const struct http_call *call;
	struct http_reply *reply;
	int64_t interrupted_ms; /* monotonic; 0: it was not */
	/* Of a form: */
	curl_off_t n_moved;    /* bytes, both ways */
	int64_t moved_ms;      /* monotonic: when the last of them did; 0: it is new */
	bool is_sent, is_late; /* as a whole; it was given up */
	/* Of any call: */
	bool has_begun; /* something may have been sent */
};

int http_open(struct cli *cli)
{
	const char *no_proxy = getenv("no_proxy");
	if (!no_proxy)
		no_proxy = getenv("NO_PROXY");
	struct http *h = xcalloc(1, sizeof *h);
	cli->http = h;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(h->curl = curl_easy_init()))
		return complain(EXIT_GATEWAY, "libcurl cannot start");
	h->no_proxy = xasprintf(
		"localhost,127.0.0.1,::1%s%s", no_proxy ? "," : "", no_proxy ? no_proxy : "");
	if (cli->token)
		h->authorization = xasprintf("Authorization: Bearer %s", cli->token);
	return 0;
}

void http_close(struct cli *cli)
{
	struct http *h = TAKE_PTR(cli->http);
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	curl_global_cleanup();
	free(h->no_proxy);
	free(h->authorization);
	free(h);
}

void http_reply_done(struct http_reply *reply)
{
	buf_done(&reply->body);
	free(reply->job);
	reply->job = NULL;
}

/* What comes as it happens is shown at once. */
static size_t write_out(const struct http_call *call, const char *data, size_t len)
{
	size_t n = fwrite(data, 1, len, call->to);
	if (call->is_patient)
		fflush(call->to);
	return n;
}

static size_t take_bytes(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	long status = 0;
	curl_easy_getinfo(t->http->curl, CURLINFO_RESPONSE_CODE, &status);
	if (t->call->to && status / 100 == 2)
		return write_out(t->call, data, size * n);
	return buf_add(&t->reply->body, data, size * n) == 0 ? size * n : 0;
}

/* A form is sent for as long as that takes, and the gateway may load functions before it answers;
 * but nobody waits for ever for a gateway that takes nothing, or says nothing. */
static void look_at_time(struct transfer *t, curl_off_t size, curl_off_t n_sent, curl_off_t n_come)
{
	int64_t now_ms = clock_mono_ms();
	if (!t->moved_ms || n_sent + n_come != t->n_moved) {
		t->n_moved = n_sent + n_come;
		t->moved_ms = now_ms;
	}
	t->is_sent = size > 0 && n_sent >= size;
	t->is_late = now_ms - t->moved_ms > (t->is_sent ? LOADED_S : ANSWER_S) * (int64_t)1000;
}

static bool is_interrupted(struct transfer *t)
{
	if (!interrupt_came())
		return false;
	if (!t->interrupted_ms)
		t->interrupted_ms = clock_mono_ms();
	return !t->call->makes_job || !t->has_begun ||
	       clock_mono_ms() - t->interrupted_ms >= NAMED_MS;
}

/* libcurl asks once a second or more often whether to go on. */
static int look_at_transfer(
	void *arg, curl_off_t answer_size, curl_off_t n_come, curl_off_t size, curl_off_t n_sent)
{
	struct transfer *t = arg;
	(void)answer_size;
	if (t->call->parts)
		look_at_time(t, size, n_sent, n_come);
	return t->is_late || is_interrupted(t);
}

/* There is a connection, and the request goes out next; but not after an interrupt. */
static int begin(void *arg, char *peer, char *own, int peer_port, int own_port)
{
	struct transfer *t = arg;
	(void)peer, (void)own, (void)peer_port, (void)own_port;
	if (interrupt_came() && !t->has_begun)
		return CURL_PREREQFUNC_ABORT;
	t->has_begun = true;
	return CURL_PREREQFUNC_OK;
}

static void set_up(const struct cli *cli, const struct http_call *call, struct transfer *t)
{
	struct http *h = cli->http;
	CURL *curl = h->curl;
	const char *method = call->method ? call->method : "GET";
	curl_easy_reset(curl);
	h->reason[0] = '\0';
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, h->reason);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "mist/" MIST_VERSION);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, h->no_proxy);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	if (call->to && !call->is_patient) {
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)ANSWER_S);
	} else if (!call->parts && !call->is_patient) {
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ANSWER_S);
	}
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_transfer);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, begin);
	curl_easy_setopt(curl, CURLOPT_PREREQDATA, t);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	if (call->body)
		curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, call->body);
	if (strcmp(method, "GET") != 0)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static struct curl_slist *make_headers(const struct cli *cli, const struct http_call *call)
{
	struct curl_slist *headers = NULL;
	if (cli->http->authorization)
		headers = curl_slist_append(headers, cli->http->authorization);
	if (call->body)
		headers = curl_slist_append(headers, "Content-Type: application/json");
	if (call->key) {
		_cleanup_(freep) char *key = xasprintf("Idempotency-Key: %s", call->key);
		headers = curl_slist_append(headers, key);
	}
	if (call->from > 0) {
		_cleanup_(freep) char *range =
			xasprintf("Range: bytes=%lld-", (long long)call->from);
		headers = curl_slist_append(headers, range);
	}
	return headers;
}

static curl_mime *make_form(CURL *curl, const struct http_call *call)
{
	if (!call->parts)
		return NULL;
	curl_mime *form = curl_mime_init(curl);
	for (size_t i = 0; i < call->n_parts; i++) {
		const struct http_part *from = &call->parts[i];
		curl_mimepart *part = curl_mime_addpart(form);
		curl_mime_name(part, from->name);
		if (from->file) {
			curl_mime_filedata(part, from->file);
			curl_mime_filename(part, from->filename);
		} else {
			curl_mime_data(part, from->text, CURL_ZERO_TERMINATED);
		}
		curl_mime_type(part, from->type ? from->type : "application/octet-stream");
	}
	curl_easy_setopt(curl, CURLOPT_MIMEPOST, form);
	return form;
}

static int explain(const struct cli *cli, const struct transfer *t, CURLcode code)
{
	if (t->is_late)
		return complain(EXIT_UNREACHABLE,
			"the gateway at %s gave no answer: for %d s it has %s", cli->url,
			t->is_sent ? LOADED_S : ANSWER_S,
			t->is_sent ? "said nothing" : "taken nothing of what is sent");

	const char *reason = cli->http->reason[0] ? cli->http->reason : curl_easy_strerror(code);
	switch (code) {
	case CURLE_ABORTED_BY_CALLBACK:
		return t->call->is_watched ? EXIT_INTERRUPTED
					   : complain(EXIT_INTERRUPTED, "interrupted");
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return complain(
			EXIT_USAGE, "\"%s\" is no address of a gateway: %s", cli->url, reason);
	case CURLE_WRITE_ERROR:
		return complain(EXIT_GATEWAY, "the answer cannot be kept: %s", reason);
	default:
		return complain(
			EXIT_UNREACHABLE, "the gateway at %s gave no answer: %s", cli->url, reason);
	}
}

static char *job_of_location(CURL *curl)
{
	static const char jobs[] = "/v2/api/jobs/";
	struct curl_header *h;
	if (curl_easy_header(curl, "Location", 0, CURLH_HEADER, -1, &h) != CURLHE_OK ||
		strncmp(h->value, jobs, strlen(jobs)) != 0)
		return NULL;
	return xstrdup(h->value + strlen(jobs));
}

static int64_t retry_after_ms(CURL *curl)
{
	enum { S_MAX = 1 << 30 };
	curl_off_t s = 0;
	curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &s);
	return (int64_t)(s < S_MAX ? s : S_MAX) * 1000;
}

int http_ask(struct cli *cli, const struct http_call *call, struct http_reply *ret)
{
	CURL *curl = cli->http->curl;
	struct transfer t = { .http = cli->http, .call = call, .reply = ret };
	size_t len = strlen(cli->url);
	while (len && cli->url[len - 1] == '/')
		len--;
	_cleanup_(freep) char *url = xasprintf("%.*s%s", (int)len, cli->url, call->path);
	*ret = (struct http_reply){ 0 };
	buf_init(&ret->body, call->max ? call->max : ANSWER_MAX);
	set_up(cli, call, &t);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	struct curl_slist *headers = make_headers(cli, call);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_mime *form = make_form(curl, call);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
	if (code == CURLE_OK)
		ret->job = job_of_location(curl);
	ret->retry_after_ms = retry_after_ms(curl);
	curl_slist_free_all(headers);
	curl_mime_free(form);
	return code == CURLE_OK ? 0 : call->max ? EXIT_GATEWAY : explain(cli, &t, code);
}

/* The gateway's words as they are, in as many lines as they have; a terminal gets them as shown.h
 * says. What is far too long for a sentence is cut, and shows it. */
static void print_words(const char *text, size_t len)
{
	size_t n = len;
	while (n && text[n - 1] == '\n')
		n--;
	bool is_cut = n > SHOWN_MAX;
	if (is_cut)
		n = utf8_whole(text, SHOWN_MAX);
	fwrite(text, 1, n, stderr);
	fputs(is_cut ? "…" : "", stderr);
}

int http_code(const struct http_reply *reply)
{
	return reply->status / 100 == 2   ? 0
	       : reply->status / 100 == 4 ? EXIT_REFUSED
					  : EXIT_GATEWAY;
}

json_t *http_problem(const struct http_reply *reply, struct fault *f)
{
	_cleanup_(json_decrefp) json_t *problem = json_parse(
		reply->body.data ? reply->body.data : "", reply->body.len, JSON_KEPT_DEPTH, f);
	return json_is_object(problem) ? TAKE_PTR(problem) : NULL;
}

int http_judge(const struct http_reply *reply)
{
	struct fault f;
	if (http_code(reply) == 0)
		return 0;
	_cleanup_(json_decrefp) json_t *problem = http_problem(reply, &f);
	const char *detail = problem ? json_string_of(problem, "detail") : NULL;
	if (!detail && problem)
		detail = json_string_of(problem, "title");
	fflush(stdout);
	fputs("mist: ", stderr);
	if (detail)
		print_words(detail, strlen(detail));
	else if (reply->body.len)
		print_words(reply->body.data, reply->body.len);
	else
		fprintf(stderr, "the gateway answered %ld", reply->status);
	if (reply->job)
		fprintf(stderr, " (job %s)", reply->job);
	fputc('\n', stderr);
	return http_code(reply);
}

/* One of the latest jobs, whose id is like that of the path, or goes on where it ends. */
static void suggest_job(struct cli *cli, const char *path)
{
	static const char jobs[] = "/v2/api/jobs/";
	enum { PREFIX_MIN = 8 };
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	struct near n;
	struct fault f;
	json_t *job;
	size_t i;
	if (strncmp(path, jobs, strlen(jobs)) != 0)
		return;
	const char *id = path + strlen(jobs);
	_cleanup_(freep) char *written = strndup(id, strcspn(id, "/?"));
	const struct http_call call = { .path = "/v2/api/jobs?limit=100", .max = NEAR_MAX };
	if (http_ask(cli, &call, &reply) || http_code(&reply))
		return;
	_cleanup_(json_decrefp) json_t *list = json_parse(
		reply.body.data ? reply.body.data : "", reply.body.len, JSON_KEPT_DEPTH, &f);
	near_init(&n, written);
	json_array_foreach (list, i, job) {
		const char *there = json_is_object(job) ? json_string_of(job, "jobId") : NULL;
		if (there && strlen(written) >= PREFIX_MIN &&
			strncmp(there, written, strlen(written)) == 0)
			n.found = there;
		else if (there && !n.found)
			near_try(&n, there);
	}
	if (n.found && strcmp(n.found, written) != 0)
		fprintf(stderr, "mist: did you mean %s?\n", n.found);
}

int http_conclude(struct cli *cli, const struct http_call *call, const struct http_reply *reply)
{
	int code = http_judge(reply);
	if (code == EXIT_REFUSED && reply->status == NOT_FOUND)
		suggest_job(cli, call->path);
	return code;
}

int http_do(struct cli *cli, const struct http_call *call, struct http_reply *ret)
{
	int code = http_ask(cli, call, ret);
	return code ? code : http_conclude(cli, call, ret);
}

json_t *http_json(const struct http_reply *reply)
{
	struct fault f;
	json_t *json = json_parse(
		reply->body.data ? reply->body.data : "", reply->body.len, JSON_KEPT_DEPTH, &f);
	if (!json)
		complain(EXIT_GATEWAY, "the gateway's answer is no JSON: %s", f.text);
	return json;
}

int http_get_json(struct cli *cli, const char *path, json_t **ret)
{
	_cleanup_(http_reply_done) struct http_reply reply = { 0 };
	int code = http_do(cli, &(struct http_call){ .path = path }, &reply);
	if (code)
		return code;
	*ret = http_json(&reply);
	return *ret ? 0 : EXIT_GATEWAY;
}

static void add_escaped(struct buf *out, const char *text)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	for (; *text; text++) {
		if (strchr(plain, *text))
			buf_add(out, text, 1);
		else
			buf_printf(out, "%%%02X", (unsigned char)*text);
	}
}

char *path_of(const char *noun, const char *name, const char *tail)
{
	struct buf path;
	buf_init(&path, ANSWER_MAX);
	buf_printf(&path, "/v2/api/%s", noun);
	if (name) {
		buf_puts(&path, "/");
		add_escaped(&path, name);
	}
	if (tail)
		buf_printf(&path, "/%s", tail);
	return buf_take(&path);
}

char *path_query(char *path, const char *name, const char *value)
{
	struct buf longer;
	if (!value)
		return path;
	buf_init(&longer, ANSWER_MAX);
	buf_printf(&longer, "%s%c%s=", path, strchr(path, '?') ? '&' : '?', name);
	add_escaped(&longer, value);
	free(path);
	return buf_take(&longer);
}
