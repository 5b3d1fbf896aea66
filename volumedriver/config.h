/* Configuration of the volumedriver. One thread. */
#ifndef VOLUMEDRIVER_CONFIG_H
#define VOLUMEDRIVER_CONFIG_H

#include <stdint.h>

#include "daemon/config.h"
#include "daemon/tls_config.h"

struct driver_config {
    char *registry_url; /* engine URL or the path of a file that holds one */
    struct tls_config_client tls;
    struct config_strings proxies; /* "unix:///…", "tcp://…" */
    char *home;                    /* journal/ and map/ lie in it */
    char *driver_id;               /* owner of the volumes opened here */
    char *default_preset;          /* NULL: the registry's */
    char *log_level;
    int64_t journal_bytes;
    int64_t segment_bytes;
    int64_t journal_full_ms;
    int64_t map_bytes;
    int64_t sco_age_ms;
    int64_t backend_timeout_ms;
    int64_t checkpoint_bytes;
    struct config_strings nbd_ips;
    int64_t nbd_port; /* CONFIG_NONE: no TCP */
    char *nbd_socket; /* NULL: no unix socket */
    char *socket;     /* management API */
    int64_t http_port;
    struct config_strings http_ips;
};

extern const struct config_key driver_config_keys[];

/* What the table cannot say: a way in for NBD clients. */
int driver_config_check(const void *config, struct err *e);

#endif
