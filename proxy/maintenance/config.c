#include "proxy/maintenance/config.h"

#include "daemon/config_rows.h"
#include "proxy/key_files.h"

#define AT(member) CONFIG_AT(struct maintenance_config, member)

static const struct config_key tls_keys[] = TLS_CONFIG_CLIENT_KEYS(struct maintenance_config, tls);

const struct config_key maintenance_config_keys[] = {
    CONFIG_ROW_REGISTRY_URL(AT(registry_url)),
    CONFIG_ROW_KEY_FILES(AT(key_files)),
    CONFIG_ROW_LOG_LEVEL(AT(log_level)),
    {.name = "osd_timeout",
     .type = CONFIG_FLOAT,
     .min = 1,
     .max = 3600,
     .default_json = "30.0",
     .offset = AT(osd_timeout_s),
     .help = "seconds an OSD may take to answer"},
    {.name = "gc_grace_seconds",
     .type = CONFIG_INT,
     .min = 1,
     .max = 2592000,
     .default_json = "3600",
     .offset = AT(grace_s),
     .help = "how long a put may take: uploads that nothing names are deleted one to two times "
             "this later. Less than 3600 is for tests: slow puts then fail again and again"},
    {.name = "round_pause_seconds",
     .type = CONFIG_FLOAT,
     .min = 0,
     .max = 86400,
     .default_json = "10.0",
     .offset = AT(pause_s),
     .help = "pause between two rounds over all namespaces"},
    {.name = "operations_per_second",
     .type = CONFIG_INT,
     .min = 1,
     .max = 1000000,
     .default_json = "200",
     .offset = AT(rate_per_s),
     .help = "requests to OSDs and metadata, at most; one may delete hundreds of fragments"},
    {.name = "unknown_scan_seconds",
     .type = CONFIG_INT,
     .min = 1,
     .max = 2592000,
     .default_json = "3600",
     .offset = AT(unknown_scan_s),
     .help = "how often namespaces that the registry does not know are looked for; they are "
             "deleted when seen twice with gc_grace_seconds between"},
    CONFIG_ROW_HTTP_PORT(AT(http_port)),
    CONFIG_ROW_HTTP_IPS(AT(http_ips)),
    TLS_CONFIG_CLIENT_ROW(tls_keys, struct maintenance_config, tls),
    CONFIG_ROW_UNUSED("albamgr_cfg_file"),
    CONFIG_ROW_UNUSED("fragment_cache"),
    CONFIG_ROW_UNUSED("albamgr_connection_pool_size"),
    CONFIG_ROW_UNUSED("nsm_host_connection_pool_size"),
    CONFIG_ROW_UNUSED("osd_connection_pool_size"),
    CONFIG_ROW_UNUSED("lwt_preemptive_thread_pool_min_size"),
    CONFIG_ROW_UNUSED("lwt_preemptive_thread_pool_max_size"),
    CONFIG_ROW_UNUSED("chattiness"),
    CONFIG_ROW_UNUSED("load"),
    CONFIG_ROW_UNUSED("tcp_keepalive"),
    CONFIG_ROW_UNUSED("__retry_timeout"),
    CONFIG_ROW_UNUSED("read_preference"),
    CONFIG_ROW_UNUSED("multicast_discover_osds"),
    CONFIG_ROW_UNUSED("propagate_osd_info_delay"),
    {0},
};

int maintenance_config_check(const void *config, struct err *e)
{
    const struct maintenance_config *c = config;

    if (key_files_check((const char *const *)c->key_files.items, c->key_files.count, e) != 0) {
        return e->code;
    }
    return tls_config_check_client(&c->tls, e);
}
