#include "alba/osd_usage.h"

#include "alba/asd_call.h"

enum { USAGE_TIMEOUT_MS = 5000 };

int osd_usage(struct session *s, const struct registry_osd *osd, uint64_t *ret_used,
              uint64_t *ret_total, struct err *e)
{
    struct asd_client_options options = {.tls = s->tls};
    struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
    const struct asd_request request = {.code = ASD_GET_DISK_USAGE};
    struct asd_answer answer;
    int rc = registry_osd_client_options(osd, addrs, &options, e);

    if (rc == 0) {
        rc = asd_call(&s->loop, &options, &request, USAGE_TIMEOUT_MS, &answer, e);
    }
    if (rc != 0) {
        return rc;
    }
    *ret_used = (uint64_t)answer.reply.usage.used_bytes;
    *ret_total = (uint64_t)answer.reply.usage.capacity_bytes;
    asd_answer_release(&answer);
    return 0;
}
