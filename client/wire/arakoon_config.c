#include "wire/arakoon_config.h"

#include <stdlib.h>

#include "base/mem.h"
#include "wire/llio.h"

enum { CONFIG_V1 = 1, CONFIG_V2 = 2, NODE_BYTES_MIN = 4 + 4 + 4 /* name, ips, port */ };

void arakoon_config_put(struct buf *b, const struct arakoon_config *config)
{
    buf_put_u8(b, CONFIG_V1);
    llio_put_string(b, config->cluster_id);
    llio_put_count(b, config->node_count);
    for (uint32_t i = config->node_count; i-- > 0;) {
        const struct arakoon_node *node = &config->nodes[i];

        llio_put_string(b, node->name);
        llio_put_strings(b, node->ips, node->ip_count);
        llio_put_i32(b, node->port);
    }
}

static void get_cluster(struct rd *r, struct arakoon_config *config)
{
    uint32_t count;

    config->cluster_id = llio_string(r);
    count = llio_count(r, NODE_BYTES_MIN);
    config->node_count = count;
    config->nodes = count != 0 ? mem_array(count, sizeof(config->nodes[0])) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct arakoon_node *node = &config->nodes[i];

        node->name = llio_string(r);
        node->ip_count = llio_strings(r, &node->ips);
        node->port = llio_i32(r);
    }
}

void arakoon_config_get(struct rd *r, struct arakoon_config *ret_config)
{
    struct rd sub;

    *ret_config = (struct arakoon_config){0};
    switch (rd_u8(r)) {
    case CONFIG_V1:
        get_cluster(r, ret_config);
        break;
    case CONFIG_V2:
        sub = llio_sub(r);
        get_cluster(&sub, ret_config);
        r->bad = r->bad || sub.bad;
        break;
    default:
        rd_fail(r);
    }
}

void arakoon_config_release(struct arakoon_config *config)
{
    for (uint32_t i = 0; i < config->node_count; i++) {
        free(config->nodes[i].ips);
    }
    free(config->nodes);
    *config = (struct arakoon_config){0};
}
