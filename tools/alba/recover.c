/* Sources: those named, then, from the newest copy so far, the OSDs that it lists, until there is
 * none that was not asked. */
#include "alba/recover_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/copy_read.h"
#include "base/clock.h"
#include "base/mem.h"
#include "meta/osd_identity.h"
#include "net/asd_client.h"

enum { PORT_MAX = 65535 };

void recover_init(struct recover *r, struct session *s)
{
    *r = (struct recover){.s = s, .doubts = json_array()};
}

void recover_release(struct recover *r)
{
    for (size_t i = 0; i < r->source_count; i++) {
        free(r->sources[i].where);
        free(r->sources[i].long_id);
    }
    free(r->sources);
    free(r->found);
    buf_release(&r->snapshot);
    registry_view_drop(r->view);
    json_decref(r->doubts);
}

void recover_doubt(struct recover *r, char *take_text)
{
    json_array_append_new(r->doubts, json_string(take_text));
    free(take_text);
}

/* ---- sources ---- */

static struct recover_source *add_source(struct recover *r, const struct net_addr *addr)
{
    struct recover_source *source;

    for (size_t i = 0; i < r->source_count; i++) {
        if (strcmp(r->sources[i].addr.text, addr->text) == 0) {
            return NULL;
        }
    }
    r->sources = mem_realloc(r->sources, (r->source_count + 1) * sizeof(*r->sources));
    source = &r->sources[r->source_count++];
    *source = (struct recover_source){.addr = *addr};
    source->where =
        mem_strdup(strstr(addr->text, "://") != NULL ? strstr(addr->text, "://") + 3 : addr->text);
    return source;
}

static int add_address(struct recover *r, char *text)
{
    char *colon = strrchr(text, ':');
    char *host = text;
    char *end;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    struct net_addr addr;
    int rc;

    if (colon == NULL || colon == text || *end != '\0' || port < 1 || port > PORT_MAX) {
        return err_say(&r->s->err, -EINVAL, "--from-osds: '%.100s' is not HOST:PORT", text);
    }
    *colon = '\0';
    if (host[0] == '[' && colon[-1] == ']') {
        host++;
        colon[-1] = '\0';
    }
    rc = net_addr_tcp(&addr, host, (uint16_t)port, &r->s->err);
    if (rc == 0 && r->s->tls != NULL) {
        net_addr_set_tls(&addr);
    }
    if (rc == 0) {
        add_source(r, &addr);
    }
    return rc;
}

int recover_add(struct recover *r, const char *addresses)
{
    char *copy = mem_strdup(addresses);
    char *rest = NULL;
    int rc = 0;

    for (char *one = strtok_r(copy, ",", &rest); rc == 0 && one != NULL;
         one = strtok_r(NULL, ",", &rest)) {
        rc = add_address(r, one);
    }
    free(copy);
    return rc == 0 && r->source_count == 0 ? err_say(&r->s->err, -EINVAL, "--from-osds: no address")
                                           : rc;
}

/* ---- asking one ---- */

struct asking {
    struct session *s;
    struct recover_source *source;
    char owner[REGISTRY_ALBA_ID_BYTES];
};

static void on_identity(void *ctx, int rc, const struct err *e, const struct osd_identity *identity)
{
    struct asking *a = ctx;

    if (rc == 0) {
        free(a->source->long_id);
        a->source->long_id = mem_strdup(identity->long_id);
        snprintf(a->owner, sizeof(a->owner), "%s", identity->owner);
    }
    session_done(a->s, rc, e);
}

struct asd_client *recover_connect(struct recover *r, const struct recover_source *source)
{
    struct asd_client_options options = {
        .addr = source->addr, .tls = r->s->tls, .long_id = source->long_id, .owner = r->alba_id};

    return asd_client_new(&r->s->loop, &options);
}

/* All that were named must be of one alba: whose registry else? */
static int check_owner(struct recover *r, struct recover_source *source, const char *owner)
{
    if (owner[0] == '\0' || strcmp(owner, OSD_OWNER_METADATA) == 0) {
        snprintf(source->why, sizeof(source->why), "%s",
                 owner[0] == '\0' ? "it is claimed by no alba" : "it holds metadata");
        return 0;
    }
    if (r->alba_id[0] == '\0') {
        snprintf(r->alba_id, sizeof(r->alba_id), "%s", owner);
    }
    if (strcmp(owner, r->alba_id) != 0) {
        snprintf(source->why, sizeof(source->why), "it is claimed by alba %s", owner);
        return r->has_copy ? 0
                           : err_say(&r->s->err, -EINVAL,
                                     "OSDs of two albas: %s belongs to %s, others to %s; name "
                                     "those of one",
                                     source->where, owner, r->alba_id);
    }
    source->answers = true;
    return 0;
}

static void read_head(struct recover *r, struct recover_source *source)
{
    struct asd_client *client = recover_connect(r, source);
    struct err e;
    int rc = copy_read_head(r->s, client, &source->head, &e);

    source->has_head = rc == 0;
    if (rc == 0 && strcmp(source->head.alba_id, r->alba_id) != 0) {
        source->has_head = false;
        rc = err_say(&e, ERR_CORRUPT, "a copy of another alba's registry");
    }
    if (rc == 0 && source->head.version > COPY_VERSION_MAX / 2) {
        source->has_head = false;
        rc = err_say(&e, ERR_CORRUPT, "its version %" PRIu64 " is one that no registry reaches",
                     source->head.version);
    }
    source->is_damaged = rc == ERR_CORRUPT || rc == ERR_VERSION;
    source->answers = rc == 0 || rc == ERR_NOT_FOUND || source->is_damaged;
    if (rc != 0) {
        snprintf(source->why, sizeof(source->why), "%s", e.msg);
    }
    if (source->has_head && source->head.version > r->version_seen) {
        r->version_seen = source->head.version;
    }
    blocking_asd_close(&r->s->loop, client);
}

static int ask(struct recover *r, struct recover_source *source)
{
    struct asking a = {.s = r->s, .source = source};
    struct osd_question question = {
        .addr = source->addr, .tls = r->s->tls, .timeout_ms = RECOVER_TIMEOUT_MS};
    int rc;

    osd_ask(&r->s->loop, &question, on_identity, &a);
    if (session_wait(r->s) != 0) {
        snprintf(source->why, sizeof(source->why), "%s", r->s->err.msg);
        return 0;
    }
    rc = check_owner(r, source, a.owner);
    if (rc == 0 && source->answers) {
        read_head(r, source);
    }
    return rc;
}

/* ---- the newest whole copy ---- */

static bool is_newer(const struct copy_head *a, const struct copy_head *b)
{
    return a->version != b->version ? a->version > b->version : a->time_us > b->time_us;
}

static struct recover_source *newest(struct recover *r)
{
    struct recover_source *best = NULL;

    for (size_t i = 0; i < r->source_count; i++) {
        struct recover_source *source = &r->sources[i];

        if (source->has_head && !source->is_damaged &&
            (best == NULL || is_newer(&source->head, &best->head))) {
            best = source;
        }
    }
    return best;
}

/* Reads the newest; what is not whole is marked, and the next one is tried. */
static int choose(struct recover *r)
{
    struct recover_source *source;
    struct err e;

    while ((source = newest(r)) != NULL) {
        struct asd_client *client;
        int rc;

        if (r->has_copy && !is_newer(&source->head, &r->head)) {
            return 0;
        }
        client = recover_connect(r, source);
        r->snapshot.len = 0;
        rc = copy_read_snapshot(r->s, client, &source->head, &r->snapshot, &e);
        blocking_asd_close(&r->s->loop, client);
        if (rc == 0) {
            registry_view_drop(r->view);
            r->view = NULL;
            rc = copy_view(slice_buf(&r->snapshot), source->head.version, &r->view, &e);
        }
        r->has_copy = rc == 0;
        if (rc == 0) {
            r->head = source->head;
            r->from = (size_t)(source - r->sources);
            return 0;
        }
        source->is_damaged = true;
        snprintf(source->why, sizeof(source->why), "%s", e.msg);
    }
    return err_say(&r->s->err, ERR_NOT_FOUND,
                   "none of the %zu OSDs that were asked holds a whole copy of a registry%s%.150s",
                   r->source_count, r->source_count == 1 ? ": " : "",
                   r->source_count == 1 ? r->sources[0].why : "");
}

/* The OSDs that the copy lists. */
static void add_listed(struct recover *r)
{
    for (size_t i = 0; i < registry_view_osd_count(r->view); i++) {
        const struct registry_osd *osd = registry_view_osd(r->view, i);
        struct net_addr addr;
        struct err e;
        bool known = false;

        for (size_t j = 0; j < r->source_count; j++) {
            known = known || (r->sources[j].long_id != NULL &&
                              strcmp(r->sources[j].long_id, osd->long_id) == 0);
        }
        if (!known && osd->is_claimed && registry_osd_addr(osd, 0, &addr, &e) == 0) {
            struct recover_source *source = add_source(r, &addr);

            if (source != NULL) {
                source->long_id = mem_strdup(osd->long_id);
            }
        }
    }
}

/* ---- judging ---- */

static bool answered(const struct recover *r, const char *long_id)
{
    for (size_t i = 0; i < r->source_count; i++) {
        if (r->sources[i].answers && r->sources[i].long_id != NULL &&
            strcmp(r->sources[i].long_id, long_id) == 0) {
            return true;
        }
    }
    return false;
}

static void judge(struct recover *r)
{
    for (size_t i = 0; i < r->source_count; i++) {
        const struct recover_source *source = &r->sources[i];

        if (source->is_damaged && (!source->has_head || is_newer(&source->head, &r->head))) {
            recover_doubt(r, mem_printf("the copy on OSD %s cannot be read%s: %s", source->long_id,
                                        source->has_head ? ", and it is newer" : "", source->why));
        } else if (source->has_head && source->head.version == r->head.version &&
                   strcmp(source->head.commit, r->head.commit) != 0) {
            recover_doubt(r,
                          mem_printf("the copy on OSD %s has the same version and another history",
                                     source->long_id));
        } else if (source->has_head && source->head.version < r->head.version &&
                   source->head.time_us > r->head.time_us) {
            recover_doubt(
                r, mem_printf("the copy on OSD %s is of a lower version, but was written later: "
                              "of a registry that was restored from something older, or by a "
                              "clock that is ahead",
                              source->long_id));
        }
    }
    for (size_t i = 0; i < registry_view_osd_count(r->view); i++) {
        const struct registry_osd *osd = registry_view_osd(r->view, i);

        /* One that is decommissioned gets neither copies nor fragments. */
        if (osd->is_claimed && !osd->is_decommissioned && !answered(r, osd->long_id)) {
            recover_doubt(
                r, mem_printf("OSD %s (node %s) does not answer: it may hold a newer copy, and "
                              "namespaces that nobody else knows",
                              osd->long_id, osd->node_id));
        }
    }
}

int recover_look(struct recover *r)
{
    size_t asked = 0;
    int rc = 0;

    while (rc == 0 && asked < r->source_count) {
        while (rc == 0 && asked < r->source_count) {
            rc = ask(r, &r->sources[asked++]);
        }
        rc = rc != 0 ? rc : choose(r);
        if (rc == 0) {
            add_listed(r);
        }
    }
    if (rc == 0) {
        recover_scan(r);
        judge(r);
    }
    return rc;
}

/* ---- writing ---- */

int recover_write(struct recover *r, struct kv *kv, bool accept_older)
{
    struct restore_options options = {.head = &r->head,
                                      .snapshot = slice_buf(&r->snapshot),
                                      .version_seen = r->version_seen,
                                      .namespace_id_seen = r->namespace_id_seen,
                                      .found = r->found,
                                      .found_count = r->found_count};
    size_t doubts = json_array_size(r->doubts);

    if (doubts != 0 && !accept_older) {
        return err_say(&r->s->err, ERR_STALE,
                       "this may not be the newest: %.180s%s; bring that back, or go on with "
                       "--accept-older",
                       json_string_value(json_array_get(r->doubts, 0)),
                       doubts > 1 ? " (and more, see --dry-run)" : "");
    }
    registry_restore(kv, &options, session_done, r->s);
    return session_wait(r->s);
}
