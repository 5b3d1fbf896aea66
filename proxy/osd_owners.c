#include "proxy/osd_owners.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/kv.h"
#include "meta/osd_identity.h"

static void on_answer(void *ctx, int rc, const struct err *e, const struct osd_identity *identity)
{
    struct osd_owner_ask *ask = ctx;
    struct osd_owners *owners = ask->owners;

    (void)e; /* not told: nothing is known of it */
    if (rc == 0 && identity->owner[0] != '\0') {
        ask->owner = mem_strdup(identity->owner);
    }
    if (--owners->pending == 0) {
        owners->cb(owners);
    }
}

bool osd_owners_ask(struct osd_owners *owners, uv_loop_t *loop, const struct registry *registry,
                    osd_owners_cb cb)
{
    const struct registry_view *view = registry_view(registry);

    *owners = (struct osd_owners){.cb = cb};
    for (size_t i = 0; i < registry_view_osd_count(view); i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);
        struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
        struct err e;
        unsigned count = osd->is_claimed ? 0 : registry_osd_addrs(osd, addrs, &e);

        for (unsigned a = 0; a < count && owners->count < OSD_OWNERS_ASKS_MAX; a++) {
            struct osd_owner_ask *ask = &owners->asks[owners->count++];

            *ask = (struct osd_owner_ask){.owners = owners, .long_id = mem_strdup(osd->long_id)};
            owners->pending++;
            osd_ask(loop,
                    &(struct osd_question){.addr = addrs[a],
                                           .tls = kv_tls(registry_kv(registry)),
                                           .long_id = ask->long_id,
                                           .timeout_ms = OSD_OWNERS_TIMEOUT_MS},
                    on_answer, ask);
        }
    }
    return owners->pending != 0;
}

const char *osd_owners_of(const struct osd_owners *owners, const char *long_id)
{
    for (unsigned i = 0; i < owners->count; i++) {
        if (owners->asks[i].owner != NULL && strcmp(owners->asks[i].long_id, long_id) == 0) {
            return owners->asks[i].owner;
        }
    }
    return NULL;
}

void osd_owners_release(struct osd_owners *owners)
{
    for (unsigned i = 0; i < owners->count; i++) {
        free(owners->asks[i].long_id);
        free(owners->asks[i].owner);
    }
    owners->count = 0;
}
