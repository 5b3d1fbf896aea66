/* About the proxy itself and the session. */
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/client_config.h"
#include "proxy/ops.h"
#include "proxy/rc.h"

void op_statistics(struct session *s)
{
    struct stats *stats = &s->server->engine->stats;
    struct proxy_reply reply = {.code = s->request.code};
    struct proxy_ns_stats *items;
    bool clear = s->request.statistics.clear;

    for (uint32_t i = 0; i < s->request.statistics.forget_count; i++) {
        stats_forget(stats, s->request.statistics.forget[i]);
    }
    stats_report(stats, &reply.statistics);
    items = reply.statistics.items;
    session_reply(s, &reply, NULL, NULL);
    free(items);
    if (clear) {
        stats_clear(stats);
    }
}

void op_version(struct session *s)
{
    struct proxy_reply reply = {.code = s->request.code,
                                .version = {.major = ALBACORE_VERSION_MAJOR,
                                            .minor = ALBACORE_VERSION_MINOR,
                                            .patch = ALBACORE_VERSION_PATCH,
                                            .hash = slice_str("albacore")}};

    session_reply(s, &reply, NULL, NULL);
}

/* ---- ping ---- */

struct ping {
    uv_timer_t timer;
    struct session *session;
    bool is_canceled;
};

static void on_ping_closed(uv_handle_t *handle)
{
    struct ping *ping = container_of((uv_timer_t *)handle, struct ping, timer);
    struct session *s = ping->session;
    bool is_canceled = ping->is_canceled;
    struct proxy_reply reply = {.code = s->request.code, .time_s = (double)clock_wall_us() / 1e6};

    free(ping);
    if (is_canceled) {
        session_fail(s, PROXY_RC_UNKNOWN, "canceled");
    } else {
        session_reply(s, &reply, NULL, NULL);
    }
}

static void on_ping_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, on_ping_closed);
}

static void on_ping_cancel(struct session *s)
{
    struct ping *ping = s->op;

    ping->is_canceled = true;
    if (!uv_is_closing((uv_handle_t *)&ping->timer)) {
        uv_close((uv_handle_t *)&ping->timer, on_ping_closed);
    }
}

void op_ping(struct session *s)
{
    double delay_s = s->request.delay_s;
    struct ping *ping;

    if (!isfinite(delay_s) || delay_s < 0 ||
        delay_s * 1000 > (double)s->server->options.request_timeout_ms) {
        session_fail(s, PROXY_RC_UNKNOWN, "ping: no such delay");
        return;
    }
    ping = mem_zalloc(sizeof(*ping));
    ping->session = s;
    s->op = ping;
    s->cancel = on_ping_cancel;
    CHECK(uv_timer_init(s->server->engine->loop, &ping->timer) == 0);
    CHECK(uv_timer_start(&ping->timer, on_ping_timer, (uint64_t)(delay_s * 1000), 0) == 0);
}

/* ---- constants ---- */

void op_alba_id(struct session *s)
{
    const struct registry_view *view = registry_view(s->server->engine->registry);
    struct proxy_reply reply = {.code = s->request.code,
                                .text = slice_str(registry_view_alba_id(view))};

    session_reply(s, &reply, NULL, NULL);
}

void op_client_config(struct session *s)
{
    const struct registry *registry = s->server->engine->registry;
    struct proxy_reply reply = {.code = s->request.code};
    struct client_config config;

    client_config_init(&config, registry_view_alba_id(registry_view(registry)),
                       kv_url(registry_kv(registry)));
    reply.client_config = config.config;
    session_reply(s, &reply, NULL, NULL);
}

void op_has_local_fragment_cache(struct session *s)
{
    session_reply(s, &(struct proxy_reply){.code = s->request.code, .yes = false}, NULL, NULL);
}

/* ---- session ---- */

/* Only what is understood is answered. */
void op_update_session(struct session *s)
{
    uint8_t version = 0;
    struct proxy_setting answer = {.key = slice_str(PROXY_SESSION_MANIFEST_SER)};
    struct proxy_reply reply = {.code = s->request.code};

    for (uint32_t i = 0; i < s->request.session.count; i++) {
        const struct proxy_session_entry *entry = &s->request.session.items[i];

        if (slice_eq(entry->key, answer.key) && entry->has_value && entry->value.len == 1) {
            version = (uint8_t)proxy_session_manifest_version(entry->value.data[0]);
        }
    }
    if (version != 0) {
        s->manifest_version = version;
        answer.value = slice_of(&version, 1);
        reply.session.items = &answer;
        reply.session.count = 1;
    }
    session_reply(s, &reply, NULL, NULL);
}

/* The raw key, for clients that read fragments directly and decrypt by themselves. Fragments under
 * an authenticated cipher are not read that way, so those keys never leave. */
static void reply_key(struct session *s, const struct registry_namespace *ns)
{
    struct engine *engine = s->server->engine;
    const struct preset *preset =
        registry_view_preset_find(registry_view(engine->registry), ns->preset);
    struct proxy_reply reply = {.code = s->request.code};
    const struct master_key *key;
    struct err e;

    if (preset == NULL || preset->cipher == CIPHER_NONE) {
        session_reply(s, &reply, NULL, NULL);
    } else if (cipher_is_aead(preset->cipher)) {
        session_fail(s, PROXY_RC_UNKNOWN,
                     "keys of authenticated ciphers are not given out: read through a proxy");
    } else if (key_files_find(engine->options.keys, preset->key_id, &key, &e) != 0) {
        session_fail(s, PROXY_RC_UNKNOWN, e.msg);
    } else {
        reply.key.has_key = true;
        reply.key.key = slice_of(key->bytes, CIPHER_KEY_BYTES);
        session_reply(s, &reply, NULL, NULL);
    }
}

static const struct registry_namespace *namespace_asked_for(const struct session *s)
{
    int64_t id = s->request.key.namespace_id;

    return id >= 0 ? registry_view_namespace_by_id(registry_view(s->server->engine->registry),
                                                   (uint64_t)id)
                   : NULL;
}

static void on_key_refreshed(void *ctx, int rc, const struct err *e)
{
    struct session *s = ctx;
    const struct registry_namespace *ns = namespace_asked_for(s);

    if (ns != NULL) {
        reply_key(s, ns);
    } else if (rc != 0) {
        session_fail(s, rc_of(rc), e->msg);
    } else {
        session_fail(s, PROXY_RC_NAMESPACE_NOT_FOUND, "no namespace has this id");
    }
}

void op_fragment_key(struct session *s)
{
    struct registry *registry = s->server->engine->registry;
    const struct registry_namespace *ns = namespace_asked_for(s);
    const char *alba_id = registry_view_alba_id(registry_view(registry));

    if (!s->may_have_keys) {
        session_fail(s, PROXY_RC_UNKNOWN,
                     "keys are given only over a unix socket, to this machine, or over TLS");
    } else if (!slice_eq(s->request.key.alba_id, slice_str(alba_id))) {
        session_fail(s, PROXY_RC_UNKNOWN, "another alba id");
    } else if (ns == NULL) { /* or it is newer than what we know */
        registry_refresh(registry, on_key_refreshed, s);
    } else {
        reply_key(s, ns);
    }
}
