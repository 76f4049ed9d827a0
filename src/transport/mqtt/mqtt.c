/* SPDX-License-Identifier: Apache-2.0 */
/* One MQTT broker, seen from the core.
 *
 * Connections: one sends, one gets what is for every gateway (control.c), some take requests
 * (receiver.c). Beside paho's threads there is one of our own for each broker: it connects what is
 * down, gives waiting letters to paho, and reports outcomes that arrived. The core's thread only
 * adds letters: it never calls paho, whose mutex may be held by a receiver that waits for the core.
 *
 * At the end the thread sends what it can in a little time, "offline" last; what was owed and did
 * not go out is told after the next start. No call into paho is waited for without a limit then: a
 * thread that does not come back is left behind, with all that it may use. */
#include "transport/mqtt/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "transport/reserved.h"

enum {
	DRAINED_MS = 3000,
	/* At the end: for what is to be sent, for the thread, for the good-byes, for callbacks. */
	FAREWELL_MS = 2000,
	THREAD_MS = FAREWELL_MS + 2000,
	GOOD_BYE_MS = 3000,
	CALLBACKS_MS = 1000,
};

/* What the registry allocates: the rest is left, not freed, if a thread does not come back from
 * paho. */
struct instance {
	struct mqtt *mqtt;
};

static struct mqtt *mqtt_of(void *self)
{
	return ((struct instance *)self)->mqtt;
}

bool mqtt_speaks_5(const struct mqtt *m)
{
	return !m->is_old && m->settings.version != MQTT_311;
}

/* Requests are split by a shared subscription, which MQTT 3.1.1 does not have. */
static bool is_used(const struct mqtt *m, size_t i)
{
	if (i == LINK_ALONE)
		return m->n_quarantined || m->alone;
	return i <= LINK_RECEIVER ||
	       (mqtt_speaks_5(m) && m->settings.share[0] && !m->links[i]->is_leftover);
}

static void say_gateway(struct mqtt *m, const char *status)
{
	struct letter *l = mqtt_letter_new(m->gateway_topic);
	buf_puts(&l->payload, status);
	l->content_type = "application/json";
	l->is_kept = l->is_retained = true;
	mqtt_outbox_add_locked(m, l);
}

/* When both are up: it is the one connection that says it, and the other that hears the answers. */
static void ask_peers(struct mqtt *m)
{
	_cleanup_(freep) char *question = peers_question(m);
	if (m->links[LINK_SENDER]->state == LINK_UP && m->links[LINK_CONTROL]->state == LINK_UP)
		say_gateway(m, question);
}

static void sender_is_up(struct mqtt *m)
{
	say_gateway(m, m->gateway_online);
	ask_peers(m);
}

/* Another one has come, and asks by that who is there. */
static void say_again(struct mqtt *m)
{
	int64_t now = clock_mono_ms();
	if (!m->questions.answer_at_ms || now < m->questions.answer_at_ms)
		return;
	m->questions.answer_at_ms = 0;
	m->questions.answered_ms = now;
	_cleanup_(freep) char *answer = peers_answer(m);
	if (m->links[LINK_SENDER]->state == LINK_UP)
		say_gateway(m, answer);
}

static void alone_is_up(struct mqtt *m)
{
	mqtt_outbox_judge(m);
}

static void control_is_up(struct mqtt *m)
{
	peers_begin_anew(m);
	control_say(m, true);
	ask_peers(m);
}

static void ignore(struct link *l, const char *topic, const MQTTAsync_message *message)
{
	(void)l, (void)topic, (void)message;
}

static int check_topic(const char *setting, const char *topic, struct fault *f)
{
	if (!*topic || mqtt_topic_is_good(topic))
		return 0;
	return fault_set(f, FAULT_BAD_REQUEST, "%s: expected a topic without + and #, got \"%.*s\"",
		setting, utf8_cut(topic, 128), topic);
}

static int check(const struct mqtt_settings *s, struct fault *f)
{
	static const char *const schemes[] = { "tcp://", "ssl://", "mqtt://", "mqtts://", "ws://",
		"wss://" };
	size_t n = 0;
	while (n < ARRAY_SIZE(schemes) && strncmp(s->url, schemes[n], strlen(schemes[n])) != 0)
		n++;
	if (n == ARRAY_SIZE(schemes))
		return fault_set(f, FAULT_BAD_REQUEST,
			"url: expected tcp://HOST:PORT or ssl://HOST:PORT, got \"%.*s\"",
			utf8_cut(s->url, 128), s->url);
	int r = check_topic("subscribe-topic", s->subscribe_topic, f);
	if (r == 0)
		r = check_topic("publish-topic", s->publish_topic, f);
	if (r == 0 && (!*s->prefix || strchr("/$", s->prefix[0])))
		r = fault_set(f, FAULT_BAD_REQUEST,
			"prefix: expected the beginning of a topic, got \"%.*s\"",
			utf8_cut(s->prefix, 128), s->prefix);
	if (r == 0)
		r = check_topic("prefix", s->prefix, f);
	if (r == 0 && (strpbrk(s->share, "/+#") || !utf8_is_valid(s->share, strlen(s->share))))
		r = fault_set(f, FAULT_BAD_REQUEST,
			"share: expected a name without /, + and #, got \"%.*s\"",
			utf8_cut(s->share, 128), s->share);
	if (r == 0 && *s->password && *s->password_file)
		r = fault_set(f, FAULT_BAD_REQUEST,
			"password-file: not beside password: one of them must be empty");
	const struct {
		const char *name, *path;
	} files[] = { { "tls-ca", s->tls_ca }, { "tls-certificate", s->tls_certificate },
		{ "tls-key", s->tls_key } };
	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		r = conf_check_file(files[i].name, files[i].path, f);
	return r;
}

static void make_names(struct mqtt *m)
{
	const struct mqtt_settings *s = &m->settings;
	const char *gateway = m->env.gateway;
	m->client_id =
		*s->client_id ? xstrdup(s->client_id) : peers_client_id(gateway, m->env.name);
	m->status_topic = xasprintf("%s/status", s->prefix);
	m->gateway_topic = xasprintf("%s/status/%s", s->prefix, gateway);
	m->gateway_online = peers_status(m, "online");
	m->gateway_offline = peers_status(m, "offline");
}

/* By which requests come, and on which Mist tells. */
static void reserve_topics(struct mqtt *m)
{
	static const char *const branches[] = { "functions", "jobs", "models", "workers",
		"status" };
	const struct mqtt_settings *s = &m->settings;
	for (size_t i = 0; i < ARRAY_SIZE(branches); i++) {
		_cleanup_(freep) char *branch = xasprintf("%s/%s", s->prefix, branches[i]);
		_cleanup_(freep) char *below = xasprintf("%s/*", branch);
		reserved_add("mqtt", m->env.self, branch);
		reserved_add("mqtt", m->env.self, below);
	}
	reserved_add("mqtt", m->env.self, s->subscribe_topic);
}

static void add_filter(struct link *l, char *filter)
{
	must(l->n_filters < ARRAY_SIZE(l->filters));
	l->filters[l->n_filters++] = filter;
}

static struct link *add_link(struct mqtt *m, const char *suffix, struct fault *f)
{
	_cleanup_(freep) char *id = xasprintf("%s%s", m->client_id, suffix);
	struct link *l = link_new(m, id, f);
	if (l)
		m->links[m->n_links++] = l;
	return l;
}

/* Those that share have a number, one that gets all has none: its session is another. */
static void name_receiver(int i, char ret[static 16])
{
	if (i < RECEIVERS_MAX)
		snprintf(ret, 16, "-%d", i);
	else
		snprintf(ret, 16, "-all");
}

static int add_links(struct mqtt *m, struct fault *f)
{
	const struct mqtt_settings *s = &m->settings;
	struct link *l = add_link(m, "", f);
	if (!l)
		return -EINVAL;
	l->arrived = ignore;
	l->is_up_now = sender_is_up;
	l->will_topic = xstrdup(m->gateway_topic);
	l->will_text = xstrdup(m->gateway_offline);
	l = add_link(m, "-control", f);
	if (!l)
		return -EINVAL;
	l->arrived = control_arrived;
	l->is_up_now = control_is_up;
	l->will_topic = xstrdup(m->status_topic);
	l->will_text = xstrdup("offline");
	add_filter(l, xasprintf("%s/jobs/+/cancel", s->prefix));
	add_filter(l, xstrdup(m->status_topic));
	add_filter(l, xasprintf("%s/+", m->status_topic));
	l = add_link(m, "-alone", f);
	if (!l)
		return -EINVAL;
	l->arrived = ignore;
	l->is_up_now = alone_is_up;
	l->is_brief = true;
	for (int64_t i = 0; i < (*s->share ? s->receivers : 1); i++) {
		char suffix[16];
		name_receiver(*s->share ? (int)i : RECEIVERS_MAX, suffix);
		l = add_link(m, suffix, f);
		if (!l)
			return -EINVAL;
		l->arrived = receiver_arrived;
		add_filter(l, xasprintf("%s/functions/+/jobs", s->prefix));
		if (*s->subscribe_topic)
			add_filter(l, xstrdup(s->subscribe_topic));
	}
	return 0;
}

static int mqtt_open(
	void *self, const void *settings, const struct transport_env *env, struct fault *f)
{
	struct mqtt *m = xcalloc(1, sizeof *m);
	pthread_condattr_t monotonic;
	((struct instance *)self)->mqtt = m;
	conf_copy(mqtt_conf, &m->settings, settings);
	m->env = *env;
	m->env.name = m->name = xstrdup(env->name);
	m->env.gateway = m->gateway = xstrdup(env->gateway);
	m->events = m->settings.events;
	m->buffer = (size_t)m->settings.buffer;
	m->buffer_bytes = (size_t)m->settings.buffer_bytes;
	m->outbox_bytes = (size_t)m->settings.outbox_bytes;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->refusals_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&m->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	list_init(&m->replies);
	list_init(&m->news);
	list_init(&m->flying);
	quarantine_init(&m->quarantine);
	int r = check(&m->settings, f);
	if (r == 0)
		r = conf_read_secret("password-file", m->settings.password_file, &m->password, f);
	if (r == 0 && !m->password)
		m->password = xstrdup(m->settings.password);
	if (r < 0)
		return r;
	make_names(m);
	reserve_topics(m);
	return add_links(m, f);
}

/* The next moment at which one is to be connected. */
static int64_t connect_due(struct mqtt *m)
{
	int64_t next = INT64_MAX;
	for (size_t i = 0; i < m->n_links; i++) {
		struct link *l = m->links[i];
		bool is_wanted = is_used(m, i) || l->is_leftover;
		if (l->state != LINK_DOWN || !is_wanted || (i != LINK_SENDER && !m->is_settled))
			continue;
		if (l->retry_at_ms > clock_mono_ms()) {
			next = l->retry_at_ms < next ? l->retry_at_ms : next;
			continue;
		}
		l->state = LINK_CONNECTING;
		bool is_sending = i == LINK_SENDER || i == LINK_ALONE;
		bool afresh =
			is_sending && (mqtt_outbox_recall(m, l) || l->has_lost || l->is_damaged);
		pthread_mutex_unlock(&m->lock);
		link_connect(l, afresh);
		pthread_mutex_lock(&m->lock);
	}
	return next;
}

/* The sessions that this gateway would have with more receivers, or without sharing. The broker may
 * have kept requests for them. The caller frees the name. */
static char *next_leftover(struct mqtt *m)
{
	const struct mqtt_settings *s = &m->settings;
	char suffix[16];
	if (m->next_leftover == 0 && *s->share)
		m->next_leftover = (int)s->receivers;
	if (m->next_leftover > RECEIVERS_MAX || (m->next_leftover == RECEIVERS_MAX && !*s->share))
		return NULL;
	name_receiver(m->next_leftover++, suffix);
	return xasprintf("%s%s", m->client_id, suffix);
}

static bool may_look(const struct mqtt *m)
{
	const struct link *l = m->leftover;
	return mqtt_speaks_5(m) && m->links[LINK_RECEIVER]->state == LINK_UP &&
	       (!l || l->state == LINK_NEEDLESS || (l->state == LINK_UP && !l->is_taken)) &&
	       (m->n_links < LINKS_MAX || (l && l->state == LINK_NEEDLESS));
}

/* One after the other, then those of gateways that are gone. */
static void look_for_leftovers(struct mqtt *m)
{
	struct link *l = m->leftover;
	struct fault f;
	if (!may_look(m))
		return;
	_cleanup_(freep) char *own = next_leftover(m);
	_cleanup_(freep) char *theirs = own ? NULL : peers_next_session(m);
	const char *id = own ? own : theirs;
	if (!id)
		return;
	pthread_mutex_unlock(&m->lock);
	bool is_needless = l && l->state == LINK_NEEDLESS;
	if (is_needless && link_rename(l, id, &f) < 0)
		l = NULL;
	else if (!is_needless)
		l = link_new(m, id, &f);
	pthread_mutex_lock(&m->lock);
	if (!l) {
		log_warn("transport %s: %s", m->env.name, f.text);
		return;
	}
	l->arrived = receiver_arrived;
	l->is_leftover = true;
	l->is_taken = theirs;
	l->state = LINK_DOWN;
	l->retry_at_ms = 0;
	if (!is_needless)
		m->links[m->n_links++] = l;
	m->leftover = l;
	mqtt_wake(m);
}

/* One that was taken over is left when it is empty. When to look again. */
static int64_t session_due(struct mqtt *m)
{
	struct link *l = m->leftover;
	if (!l || !l->is_taken ||
		l->state == LINK_NEEDLESS) /* who cannot look is woken when it can */
		return may_look(m) ? peers_due(m) : INT64_MAX;
	if (l->state == LINK_UP && link_is_idle(l, DRAINED_MS)) {
		l->state = LINK_NEEDLESS;
		mqtt_wake(m);
		log_info("transport %s: nothing waits in session %s of a gateway that is away",
			m->env.name, l->id);
		pthread_mutex_unlock(&m->lock);
		link_let_go(l);
		pthread_mutex_lock(&m->lock);
	}
	return clock_mono_ms() + DRAINED_MS / 3;
}

static void wait_until(struct mqtt *m, int64_t at_ms)
{
	const struct timespec until = { at_ms / 1000, at_ms % 1000 * 1000000 };
	if (at_ms == INT64_MAX)
		pthread_cond_wait(&m->changed, &m->lock);
	else
		pthread_cond_timedwait(&m->changed, &m->lock, &until);
}

/* Before it leaves its share of the requests to others: see peers.c. */
static bool awaits_own_status(const struct mqtt *m)
{
	return !m->has_own_status && m->links[LINK_CONTROL]->state == LINK_UP &&
	       peers_is_any_online(m);
}

static void *run(void *arg)
{
	struct mqtt *m = arg;
	pthread_mutex_lock(&m->lock);
	while (!m->is_stopping) {
		uint64_t seen = m->n_changes;
		look_for_leftovers(m);
		say_again(m);
		int64_t next = connect_due(m), own = session_due(m);
		next = own < next ? own : next;
		own = peers_answer_due(m);
		next = own < next ? own : next;
		int64_t send_due = mqtt_outbox_due(m); /* may pass before it has been looked at */
		mqtt_outbox_send(m);
		if (m->n_delivered && m->report_at_ms <= clock_mono_ms())
			mqtt_outbox_report(m);
		if (m->n_delivered && m->report_at_ms < next)
			next = m->report_at_ms;
		next = send_due < next ? send_due : next;
		send_due = mqtt_outbox_due(m);
		next = send_due < next ? send_due : next;
		if (seen == m->n_changes)
			wait_until(m, next);
	}
	if (m->links[LINK_SENDER]->state == LINK_UP) {
		control_say(m, false);
		say_gateway(m, m->gateway_offline);
	}
	int64_t deadline = clock_mono_ms() + FAREWELL_MS;
	while (m->links[LINK_SENDER]->state == LINK_UP &&
		(m->n_waiting || m->n_flying || awaits_own_status(m)) &&
		clock_mono_ms() < deadline) {
		uint64_t seen = m->n_changes;
		mqtt_outbox_send(m);
		if (seen == m->n_changes)
			wait_until(m, deadline);
	}
	m->is_silent = true;
	mqtt_wake(m);
	mqtt_outbox_report(m);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

struct listener {
	struct watch watch;
	struct mqtt *mqtt;
};

static void watch_begun(struct watch *w)
{
	(void)w;
}

static bool watch_event(struct watch *w, const struct watch_event *ev)
{
	struct mqtt *m = container_of(w, struct listener, watch)->mqtt;
	const char *common = m->settings.publish_topic;
	bool is_of_ours = ev->door == m->env.self && ev->to;
	bool is_told = m->events == MQTT_EVENTS_ALL ||
		       (m->events == MQTT_EVENTS_FINAL && ev->rank == EVENT_RANK_FINAL);
	if (ev->is_logs && !ev->len)
		return true;
	if (*common && !(is_of_ours && reply_is_on_common(ev->to->text)))
		mqtt_outbox_add(m, news_letter(common, ev));
	if (is_told && !(is_of_ours && reply_is_on_own(ev->to->text))) {
		char id[UUID_TEXT];
		uuid_format(ev->job, id);
		_cleanup_(freep) char *topic = xasprintf(
			"%s/jobs/%s/%s", m->settings.prefix, id, ev->is_logs ? "logs" : "events");
		mqtt_outbox_add(m, news_letter(topic, ev));
	}
	return true;
}

static void watch_flush(struct watch *w)
{
	(void)w;
}

static void watch_ended(struct watch *w)
{
	free(container_of(w, struct listener, watch));
}

static int start_watch(struct mqtt *m)
{
	struct listener *l = xcalloc(1, sizeof *l);
	l->watch.with_logs = true;
	l->watch.with_progress = m->settings.with_progress;
	l->watch.begun = watch_begun;
	l->watch.event = watch_event;
	l->watch.flush = watch_flush;
	l->watch.ended = watch_ended;
	l->mqtt = m;
	int r = intake_watch(m->env.in, &l->watch);
	if (r < 0)
		free(l);
	return r;
}

static int mqtt_start(void *self, struct fault *f)
{
	struct mqtt *m = mqtt_of(self);
	int r = start_watch(m);
	if (r == 0)
		r = -pthread_create(&m->thread, NULL, run, m);
	if (r < 0)
		return fault_set(f, FAULT_INTERNAL, "transport %s cannot be started: %s",
			m->env.name, strerror(-r));
	m->is_started = true;
	return 0;
}

/* An answer that cannot go anywhere is not owed for ever. Requests are refused for such a topic, so
 * it was kept under other settings, or is damaged. */
static void leave_untold(struct mqtt *m, const struct reply_to *to, const struct job_event *ev)
{
	struct fault f = { .text = "it has no topic" };
	char id[UUID_TEXT];
	if (!(EVENT_BIT(ev->kind) & EVENTS_FINAL))
		return;
	uuid_format(&ev->job->id, id);
	(void)reply_is_allowed(m, to->text, &f);
	log_warn("transport %s: the outcome of job %s is told to nobody: %s", m->env.name, id,
		f.text);
	pthread_mutex_lock(&m->lock);
	m->counts.dropped++;
	pthread_mutex_unlock(&m->lock);
	if (to->is_owed)
		intake_delivered(m->env.in, &ev->job->id, 1);
}

static void tell(struct mqtt *m, const struct reply_to *to, const struct job_event *ev)
{
	struct fault f;
	bool is_final = EVENT_BIT(ev->kind) & EVENTS_FINAL;
	struct letter *l = reply_is_allowed(m, to->text, &f) ? reply_letter(m, to->text, ev) : NULL;
	if (!l) {
		leave_untold(m, to, ev);
		return;
	}
	l->is_owed = to->is_owed && is_final;
	l->job = ev->job->id;
	l->at_ms = ev->at_ms;
	if (l->is_owed)
		mqtt_outbox_add_owed(m, l, to->text);
	else
		mqtt_outbox_add(m, l);
}

static void mqtt_publish(void *self, const struct reply_to *to, const struct job_event *ev)
{
	struct mqtt *m = mqtt_of(self);
	bool is_answer = to->live && (ev->kind == EVENT_ACCEPTED || ev->kind == EVENT_REFUSED);
	if (ev->kind == EVENT_REFUSED) {
		/* Told by the thread that waits, if it does not try again. */
		if (to->live)
			receiver_answer(to->live, ev->fault);
		return;
	}
	if (ev->kind != EVENT_ACCEPTED || reply_wants(m, to->text) & EVENT_BIT(EVENT_QUEUED))
		tell(m, to, ev);
	if (is_answer)
		receiver_answer(to->live, NULL);
}

static int mqtt_restore(void *self, struct reply_to *to)
{
	struct fault f;
	int r = reply_check(to->text, &f);
	if (r == 0)
		to->wants = reply_wants(mqtt_of(self), to->text);
	return r;
}

static void mqtt_state(void *self, struct transport_state *ret)
{
	struct mqtt *m = mqtt_of(self);
	pthread_mutex_lock(&m->lock);
	*ret = m->counts;
	ret->in_flight = atomic_load(&m->n_arrived);
	ret->waiting = m->n_waiting + m->n_flying;
	ret->sent = m->n_flying;
	histogram_merge(&ret->deliveries, &m->deliveries);
	ret->outbox_bytes = m->kept_bytes;
	for (size_t i = 0; i < m->n_links && !ret->is_down; i++) {
		const struct link *l = m->links[i];
		/* That of quarantined letters comes and goes. */
		if (l->state == LINK_UP || !is_used(m, i) || (l->is_brief && !link_fails(l)))
			continue;
		ret->is_down = true;
		sentence_print(ret->why, sizeof ret->why, "%s", l->why);
	}
	pthread_mutex_unlock(&m->lock);
}

static bool mqtt_has_room(void *self)
{
	return mqtt_outbox_takes_outcomes(mqtt_of(self));
}

static void mqtt_reload(void *self, const void *settings)
{
	struct mqtt *m = mqtt_of(self);
	const struct mqtt_settings *s = settings;
	m->events = s->events;
	pthread_mutex_lock(&m->lock);
	m->buffer = (size_t)s->buffer;
	m->buffer_bytes = (size_t)s->buffer_bytes;
	m->outbox_bytes = (size_t)s->outbox_bytes;
	pthread_mutex_unlock(&m->lock);
}

/* One thread for each link. */
struct leaving {
	struct link *link;
	bool unsubscribes;
};

static void *leave(void *arg)
{
	_cleanup_(freep) struct leaving *of = arg;
	link_leave(of->link, of->unsubscribes);
	return NULL;
}

static bool begin_to_leave(struct link *l, bool unsubscribes)
{
	pthread_t thread;
	_cleanup_(freep) struct leaving *of = xcalloc(1, sizeof *of);
	*of = (struct leaving){ l, unsubscribes };
	if (pthread_create(&thread, NULL, leave, of) != 0)
		return false;
	pthread_detach(thread);
	(void)TAKE_PTR(of);
	return true;
}

/* Holding the lock. The first that has not left; NULL: all have. */
static struct link *next_to_leave(const struct mqtt *m)
{
	for (size_t i = 0; i < m->n_links; i++)
		if (!m->links[i]->has_left)
			return m->links[i];
	return NULL;
}

/* False: a thread did not come back. */
static bool leave_all(struct mqtt *m)
{
	pthread_mutex_lock(&m->lock);
	int64_t until_ms = clock_mono_ms() + GOOD_BYE_MS;
	bool is_shared = m->settings.share[0] && mqtt_speaks_5(m) && m->has_own_status &&
			 peers_is_any_online(m);
	for (size_t i = 0; i < m->n_links; i++)
		if (!begin_to_leave(m->links[i], is_shared && i >= LINK_RECEIVER))
			m->links[i]->has_left = true; /* the broker sees it break */
	while (next_to_leave(m) && clock_mono_ms() < until_ms)
		wait_until(m, until_ms);
	struct link *l = next_to_leave(m);
	if (l && l->state != LINK_PARKED)
		log_warn("transport %s: paho does not let go of connection %s within %d s; it is "
			 "left behind with its threads",
			m->env.name, l->id, GOOD_BYE_MS / 1000);
	pthread_mutex_unlock(&m->lock);
	until_ms = clock_mono_ms() + CALLBACKS_MS;
	bool is_over = !l;
	for (size_t i = 0; i < m->n_links; i++) {
		if (link_close(m->links[i], until_ms))
			continue;
		log_warn("transport %s: a message of connection %s is not seen to yet; its thread "
			 "is left behind",
			m->env.name, m->links[i]->id);
		is_over = false;
	}
	return is_over;
}

static void mqtt_stop(void *self)
{
	struct mqtt *m = mqtt_of(self);
	pthread_mutex_lock(&m->lock);
	m->is_stopping = true;
	mqtt_wake(m);
	pthread_mutex_unlock(&m->lock);
	bool has_ended = !m->is_started || thread_ends(m->thread, THREAD_MS);
	if (!has_ended)
		log_error("transport %s: paho does not come back from a call; the thread is left "
			  "behind",
			m->env.name);
	pthread_mutex_lock(&m->lock);
	m->is_left = !has_ended;
	m->is_silent = true;
	mqtt_wake(m);
	pthread_mutex_unlock(&m->lock);
	bool has_left = leave_all(m);
	pthread_mutex_lock(&m->lock);
	m->is_left = !has_ended || !has_left;
	pthread_mutex_unlock(&m->lock);
}

static void mqtt_close(void *self)
{
	struct mqtt *m = mqtt_of(self);
	if (!m) /* never opened */
		return;
	reserved_drop(m->env.self);
	if (m->is_left)
		return;
	peers_free(m);
	mqtt_outbox_free(m);
	for (size_t i = 0; i < m->n_links; i++)
		link_free(m->links[i]);
	free(m->client_id);
	free(m->password);
	free(m->status_topic);
	free(m->gateway_topic);
	free(m->gateway_online);
	free(m->gateway_offline);
	free(m->name);
	free(m->gateway);
	conf_done(mqtt_conf, &m->settings);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->refusals_lock);
	free(m);
}

const struct transport_ops mqtt_transport = {
	.scheme = "mqtt",
	.size = sizeof(struct instance),
	.conf = mqtt_conf,
	.settings_size = sizeof(struct mqtt_settings),
	.open = mqtt_open,
	.start = mqtt_start,
	.publish = mqtt_publish,
	.restore = mqtt_restore,
	.state = mqtt_state,
	.reload = mqtt_reload,
	.stop = mqtt_stop,
	.close = mqtt_close,
	.has_room = mqtt_has_room,
};
