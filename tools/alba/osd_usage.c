#include "alba/osd_usage.h"

#include <stdio.h>

#include "alba/asd_call.h"
#include "base/crc32c.h"
#include "meta/osd_identity.h"
#include "wire/osd_keys.h"

enum { USAGE_TIMEOUT_MS = 5000 };

/* Of one that this alba has claimed. */
static int call_ours(struct session *s, const struct registry_osd *osd,
                     const struct asd_request *request, struct asd_answer *ret_answer,
                     struct err *e)
{
    const char *alba_id = registry_view_alba_id(registry_view(s->registry));
    struct asd_client_options options = {.tls = s->tls, .owner = alba_id};
    struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
    int rc = registry_osd_client_options(osd, addrs, &options, e);

    return rc != 0 ? rc : asd_call(&s->loop, &options, request, USAGE_TIMEOUT_MS, ret_answer, e);
}

static int ask_ours(struct session *s, const struct registry_osd *osd, struct osd_usage *ret_usage,
                    struct err *e)
{
    const struct asd_request request = {.code = ASD_GET_DISK_USAGE};
    struct asd_answer answer;
    int rc = call_ours(s, osd, &request, &answer, e);

    if (rc != 0) {
        return rc;
    }
    ret_usage->used_bytes = (uint64_t)answer.reply.usage.used_bytes;
    ret_usage->total_bytes = (uint64_t)answer.reply.usage.capacity_bytes;
    snprintf(ret_usage->owner, sizeof(ret_usage->owner), "%s",
             registry_view_alba_id(registry_view(s->registry)));
    asd_answer_release(&answer);
    return 0;
}

struct question {
    struct session *s;
    struct osd_usage *usage;
};

static void on_identity(void *ctx, int rc, const struct err *e, const struct osd_identity *identity)
{
    struct question *q = ctx;

    if (rc == 0) {
        q->usage->used_bytes = identity->used_bytes;
        q->usage->total_bytes = identity->capacity_bytes;
        snprintf(q->usage->owner, sizeof(q->usage->owner), "%s", identity->owner);
    }
    session_done(q->s, rc, e);
}

/* Whose it is says the OSD alone. */
static int ask_anybodys(struct session *s, const struct registry_osd *osd,
                        struct osd_usage *ret_usage, struct err *e)
{
    struct osd_question question = {
        .tls = s->tls, .long_id = osd->long_id, .timeout_ms = USAGE_TIMEOUT_MS};
    struct question q = {.s = s, .usage = ret_usage};
    int rc;

    for (unsigned i = 0; i == 0 || i < osd->ip_count; i++) {
        rc = registry_osd_addr(osd, i, &question.addr, e);
        if (rc == 0) {
            osd_ask(&s->loop, &question, on_identity, &q);
            rc = session_wait(s);
            err_copy(e, &s->err);
        }
        if (rc == 0) {
            break;
        }
    }
    return rc;
}

int osd_usage(struct session *s, const struct registry_osd *osd, struct osd_usage *ret_usage,
              struct err *e)
{
    *ret_usage = (struct osd_usage){0};
    return osd->is_claimed ? ask_ours(s, osd, ret_usage, e) : ask_anybodys(s, osd, ret_usage, e);
}

/* An OSD looks for room before it looks at asserts: this one fails on each that is claimed, so that
 * nothing is stored. */
int osd_takes_values(struct session *s, const struct registry_osd *osd, struct err *e)
{
    struct asd_assert claimed = {.key = slice_str(OSD_KEY_INSTANCE_NEXT)};
    struct asd_update update = {.key = slice_str(OSD_KEY_TEST),
                                .value = slice_str("?"),
                                .checksum = checksum_crc32c(crc32c(0, "?", 1))};
    const struct asd_request request = {
        .code = ASD_APPLY,
        .apply = {.asserts = &claimed, .assert_count = 1, .updates = &update, .update_count = 1}};
    struct asd_answer answer;
    int rc = call_ours(s, osd, &request, &answer, e);

    if (rc == 0) {
        asd_answer_release(&answer);
    }
    return rc == ERR_ASSERT_FAILED ? 0 : rc;
}
