/* Configuration of alba-maintenance. One thread. */
#ifndef PROXY_MAINTENANCE_CONFIG_H
#define PROXY_MAINTENANCE_CONFIG_H

#include <stdint.h>

#include "daemon/config.h"
#include "daemon/tls_config.h"

enum { MAINTENANCE_GRACE_SAFE_S = 3600 };

struct maintenance_config {
    char *registry_url; /* engine URL or the path of a file that holds one */
    char *log_level;
    struct config_strings key_files;
    double osd_timeout_s;
    int64_t grace_s;
    double pause_s;
    int64_t rate_per_s;
    int64_t unknown_scan_s;
    int64_t http_port; /* CONFIG_NONE: no HTTP */
    struct config_strings http_ips;
    struct tls_config_client tls;
};

extern const struct config_key maintenance_config_keys[];

/* What the table cannot say: keys and certificates are there. */
int maintenance_config_check(const void *config, struct err *e);

#endif
