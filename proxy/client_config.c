#include "proxy/client_config.h"

#include <string.h>

static const char *last_of(const char *begin, const char *end, char wanted)
{
    while (end > begin) {
        if (*--end == wanted) {
            return end;
        }
    }
    return NULL;
}

/* The decimal number from `begin` to `end`; -1: none, or no port. */
static int32_t port_of(const char *begin, const char *end)
{
    int32_t port = 0;

    if (begin == end) {
        return -1;
    }
    for (; begin < end; begin++) {
        if (*begin < '0' || *begin > '9') {
            return -1;
        }
        port = port * 10 + (*begin - '0');
        if (port > UINT16_MAX) {
            return -1;
        }
    }
    return port;
}

static void add_node(struct client_config *c, const char *begin, const char *end)
{
    const char *colon = last_of(begin, end, ':');
    int32_t port = colon != NULL ? port_of(colon + 1, end) : -1;
    uint32_t at = c->config.node_count;
    const char *host_end = colon;

    if (port < 0 || at == CLIENT_CONFIG_NODES_MAX) {
        return;
    }
    c->nodes[at].name = slice_of(begin, (size_t)(end - begin));
    if (*begin == '[' && host_end > begin + 1 && host_end[-1] == ']') {
        begin++;
        host_end--;
    }
    if (host_end == begin) {
        return;
    }
    c->hosts[at] = slice_of(begin, (size_t)(host_end - begin));
    c->nodes[at].ips = &c->hosts[at];
    c->nodes[at].ip_count = 1;
    c->nodes[at].port = port;
    c->config.node_count++;
}

void client_config_init(struct client_config *ret_config, const char *alba_id, const char *url)
{
    const char *scheme_end = strstr(url, "://");
    const char *at = scheme_end != NULL ? scheme_end + 3 : url;
    const char *end = at + strcspn(at, "/?#");
    const char *user_end = last_of(at, end, '@');

    *ret_config = (struct client_config){.config = {.cluster_id = slice_str(alba_id)}};
    ret_config->config.nodes = ret_config->nodes;
    at = user_end != NULL ? user_end + 1 : at;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *node_end = comma != NULL ? comma : end;

        add_node(ret_config, at, node_end);
        at = node_end + 1;
    }
}
