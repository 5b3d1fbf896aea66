/* Configuration of alba-proxy. One thread. */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/tls_config.h"

struct proxy_config {
    char *registry_url; /* engine URL or the path of a file that holds one */
    struct config_strings ips;
    int64_t port; /* CONFIG_NONE: no TCP */
    char *socket; /* NULL: no unix socket */
    struct config_strings fs_dirs;
    struct config_strings key_files;
    char *log_level;
    int64_t manifest_cache_bytes;
    int64_t index_cache_bytes;
    int64_t block_cache_bytes;
    int64_t memory_bytes;
    int64_t connections_max;
    int64_t request_bytes_max;
    int64_t object_bytes_max; /* CONFIG_NONE: what a manifest can hold */
    double request_timeout_s;
    int64_t slow_request_ms; /* 0: none is logged */
    double osd_timeout_s;
    bool hedge_reads;
    double upload_slack;
    double refresh_s;
    struct config_strings near_places;
    char *asd_socket_dir;           /* NULL: ASDs are asked by TCP */
    struct config_strings announce; /* empty: where it listens */
    double announce_s;              /* 0: not in the registry */
    int64_t http_port;              /* CONFIG_NONE: no HTTP */
    struct config_strings http_ips;

    struct tls_config_client tls;
    struct tls_config_server server_tls;
    bool allow_plain;

    char *transport; /* one allowed value */
};

extern const struct config_key proxy_config_keys[];

/* What the table cannot say: at least one way in, keys that can be read. */
int proxy_config_check(const void *config, struct err *e);

#endif
