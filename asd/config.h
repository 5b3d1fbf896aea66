/* Configuration of alba-asd. One thread. */
#ifndef ASD_CONFIG_H
#define ASD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/config.h"
#include "daemon/tls_config.h"

struct asd_config {
    struct config_strings ips; /* empty: every interface */
    int64_t port;              /* 0: the kernel picks one; CONFIG_NONE: only TLS */
    struct tls_config_server tls;
    bool allow_plain;
    char *home;
    char *node_id;
    char *asd_id;     /* NULL: as the home has it, or a fresh one */
    char *socket_dir; /* NULL: it listens on no unix socket */
    char *log_level;
    int64_t threads;
    int64_t limit_percent;
    int64_t capacity_bytes; /* CONFIG_NONE: what the file system has */
    bool verify_checksums;
    bool io_uring;
    int64_t scrub_rate;
    int64_t scrub_interval_h;
    int64_t block_cache_bytes; /* CONFIG_NONE: a default */
    int64_t slab_bytes;
    int64_t evacuation_rate; /* bytes per second; 0: off */
    int64_t connections_max;
    int64_t request_bytes_max;
    int64_t reply_bytes_max;
    int64_t slow_request_ms; /* 0: none is slow */
    int64_t http_port;       /* CONFIG_NONE: no HTTP */
    struct config_strings http_ips;

    bool sync; /* these have one allowed value each */
    bool write_blobs;
    char *transport;
};

extern const struct config_key asd_config_keys[];

/* What the table cannot say: a way in, and none without TLS but from this machine; names and
 * addresses that are some. A daemon_options.check. */
int asd_config_check(const void *config, struct err *e);

#endif
