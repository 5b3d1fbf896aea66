#include "alba/proxies.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meta/registry_view.h"

enum { PROBE_TIMEOUT_MS = 3000, CHOOSE_TIMEOUT_MS = 10000, OPTIONAL_TIMEOUT_MS = 1000 };

/* ---- list ---- */

struct listing {
    struct session *s;
    struct proxies *proxies;
};

static void on_list(void *ctx, int rc, const struct err *e, const struct proxy_record *records,
                    size_t count, size_t damaged)
{
    struct listing *l = ctx;

    if (rc == 0) {
        *l->proxies = (struct proxies){.records = mem_dup(records, count * sizeof(*records)),
                                       .count = count,
                                       .damaged = damaged};
    }
    session_done(l->s, rc, e);
}

int proxies_list(struct session *s, struct proxies *ret_proxies)
{
    struct listing l = {.s = s, .proxies = ret_proxies};

    *ret_proxies = (struct proxies){0};
    proxy_records_list(s->kv, on_list, &l);
    return session_wait(s);
}

void proxies_release(struct proxies *proxies)
{
    free(proxies->records);
    *proxies = (struct proxies){0};
}

/* ---- use ---- */

struct choice {
    struct session *s;
    char machine[PROXY_RECORD_TEXT_BYTES];
    const char *uris[PROXIES_USED_MAX]; /* borrowed of the records */
    unsigned count;
    unsigned tried;
    unsigned wanted;
    unsigned probe_ms;
    unsigned choose_ms; /* then what was found is enough */
    bool is_optional;   /* nothing, too */
};

/* Can it be reached from here at all, as far as one can tell? */
static bool is_usable(const struct choice *c, const struct proxy_record *record, const char *uri)
{
    bool is_tls = strncmp(uri, "tls:", 4) == 0;

    if (is_tls && c->s->tls == NULL) {
        return false;
    }
    if (proxy_record_is_near(uri)) {
        return record->machine[0] != '\0' && strcmp(record->machine, c->machine) == 0;
    }
    return is_tls || c->s->tls == NULL;
}

/* Whatever answers there may be another alba's: addresses are those of its machine. */
static bool answers_as_ours(struct session *s, const char *uri, unsigned probe_ms)
{
    const struct proxy_request request = {.code = PROXY_GET_ALBA_ID};
    const char *alba_id = registry_view_alba_id(registry_view(s->registry));
    struct proxy_reply reply;
    bool is_ours = false;

    if (session_use_proxy(s, uri) != 0) {
        return false;
    }
    if (session_proxy(s, &request, probe_ms, &reply) == 0) {
        is_ours = slice_eq(reply.text, slice_str(alba_id));
        if (!is_ours) {
            err_say(&s->err, ERR_IDENTITY, "proxy %s is of another alba", uri);
        }
        proxy_reply_release(&reply);
    }
    if (s->proxy != NULL) { /* a signal may have ended it */
        session_drop_proxy(s);
    }
    return is_ours;
}

/* The first endpoint of this proxy that works, if any. */
static void try_proxy(struct choice *c, const struct proxy_record *record)
{
    for (unsigned i = 0; i < record->endpoint_count; i++) {
        if (is_usable(c, record, record->endpoints[i])) {
            c->tried++;
            if (answers_as_ours(c->s, record->endpoints[i], c->probe_ms)) {
                c->uris[c->count++] = record->endpoints[i];
                return;
            }
        }
    }
}

static void shuffle(struct proxies *p)
{
    uint64_t seed;
    struct rnd rnd;

    rnd_bytes(&seed, sizeof(seed));
    rnd = rnd_seed(seed);
    for (size_t i = p->count; i > 1; i--) {
        size_t j = rnd_below(&rnd, i);
        struct proxy_record record = p->records[i - 1];

        p->records[i - 1] = p->records[j];
        p->records[j] = record;
    }
}

static void choose(struct choice *c, struct proxies *p)
{
    uint64_t end_ms = clock_mono_ms() + c->choose_ms;

    shuffle(p);
    for (unsigned pass = 0; pass < 2; pass++) { /* those of this machine first */
        for (size_t i = 0; i < p->count && c->count < c->wanted; i++) {
            if ((c->count != 0 || c->is_optional) && clock_mono_ms() >= end_ms) {
                return;
            }
            if ((strcmp(p->records[i].machine, c->machine) == 0) == (pass == 0)) {
                try_proxy(c, &p->records[i]);
            }
        }
    }
}

static int use(struct session *s, struct choice *c)
{
    struct proxies p = {0};
    int rc = proxies_list(s, &p);

    c->s = s;
    if (rc == 0 && p.count != 0) {
        proxy_record_this_machine(c->machine);
        choose(c, &p);
        if (c->count != 0) {
            rc = session_use_proxies(s, c->uris, c->count);
        } else if (c->tried == 0) {
            rc = err_say(&s->err, ERR_NOT_FOUND,
                         "none of the proxies that the registry lists (%zu) can be reached from "
                         "here%s; see alba list-proxies",
                         p.count, s->tls == NULL ? " without --tls" : "");
        } else {
            rc = err_wrap(&s->err, "none of the proxies that the registry lists (%zu) answers",
                          p.count);
        }
    }
    proxies_release(&p);
    return rc;
}

int proxies_use(struct session *s)
{
    struct choice c = {
        .wanted = PROXIES_USED_MAX, .probe_ms = PROBE_TIMEOUT_MS, .choose_ms = CHOOSE_TIMEOUT_MS};

    return use(s, &c);
}

int proxies_use_one(struct session *s)
{
    struct choice c = {.wanted = 1,
                       .probe_ms = OPTIONAL_TIMEOUT_MS,
                       .choose_ms = OPTIONAL_TIMEOUT_MS,
                       .is_optional = true};

    return use(s, &c);
}
