#include "proxy/config.h"

#include "daemon/addrs.h"
#include "daemon/config_rows.h"
#include "proxy/key_files.h"
#include "proxy/own_record.h"

#define AT(member) CONFIG_AT(struct proxy_config, member)

static const struct config_key tls_keys[] = TLS_CONFIG_CLIENT_KEYS(struct proxy_config, tls);
static const struct config_key server_tls_keys[] =
    TLS_CONFIG_SERVER_KEYS(struct proxy_config, server_tls);

const struct config_key proxy_config_keys[] = {
    CONFIG_ROW_REGISTRY_URL(AT(registry_url)),
    CONFIG_ROW_IPS(AT(ips)),
    {.name = "port",
     .type = CONFIG_INT,
     .min = 0,
     .max = 65535,
     .offset = AT(port),
     .help = "TCP port without TLS; 0: any free one, which the log tells; null: none"},
    {.name = "tls",
     .type = CONFIG_OBJECT,
     .keys = server_tls_keys,
     .offset = AT(server_tls.given),
     .help = "TLS 1.3 with client certificates, on a port of its own"},
    {.name = "allow_plain",
     .type = CONFIG_BOOL,
     .default_json = "false",
     .offset = AT(allow_plain),
     .help = "let 'port' be reached from other machines: whoever reaches it reads and writes all"},
    {.name = "socket", .type = CONFIG_PATH, .offset = AT(socket), .help = "unix socket"},
    {.name = "fs_dirs",
     .type = CONFIG_STRINGS,
     .default_json = "[]",
     .offset = AT(fs_dirs),
     .help = "folders below which local clients may name files to read and write"},
    CONFIG_ROW_KEY_FILES(AT(key_files)),
    CONFIG_ROW_LOG_LEVEL(AT(log_level)),
    {.name = "manifest_cache_size",
     .type = CONFIG_SIZE,
     .max = INT64_MAX,
     .default_json = "67108864",
     .offset = AT(manifest_cache_bytes),
     .help = "memory for manifests"},
    {.name = "trailer_cache_size",
     .type = CONFIG_SIZE,
     .max = INT64_MAX,
     .default_json = "67108864",
     .offset = AT(index_cache_bytes),
     .help = "memory for fragment trailers"},
    {.name = "block_cache_size",
     .type = CONFIG_SIZE,
     .max = INT64_MAX,
     .default_json = "67108864",
     .offset = AT(block_cache_bytes),
     .help = "memory for data that slices were read from; 0: none is kept"},
    {.name = "memory",
     .type = CONFIG_SIZE,
     .min = 16 << 20,
     .max = INT64_MAX,
     .default_json = "402653184",
     .offset = AT(memory_bytes),
     .help = "memory of all transfers together, half as much again of puts that come in parts, and "
             "as much "
             "again of replies under way; more wait"},
    {.name = "max_client_connections",
     .type = CONFIG_INT,
     .min = 1,
     .max = 65536,
     .default_json = "128",
     .offset = AT(connections_max),
     .help = "more are closed at once"},
    {.name = "request_memory",
     .type = CONFIG_SIZE,
     .min = 1 << 20,
     .max = INT64_MAX,
     .default_json = "402653184",
     .offset = AT(request_bytes_max),
     .help = "memory of large requests, coming or running; more wait. One of more than half of it "
             "may come beside"},
    {.name = "max_object_size",
     .type = CONFIG_SIZE,
     .flags = CONFIG_LIVE,
     .min = 1,
     .max = INT64_MAX,
     .offset = AT(object_bytes_max),
     .help = "larger objects are refused; null: what the preset's fragments allow"},
    {.name = "request_timeout",
     .type = CONFIG_FLOAT,
     .flags = CONFIG_LIVE,
     .min = 1,
     .max = 86400,
     .default_json = "120.0",
     .offset = AT(request_timeout_s),
     .help = "seconds a request may take that names no deadline itself"},
    {.name = "slow_request_ms",
     .type = CONFIG_INT,
     .flags = CONFIG_LIVE,
     .min = 0,
     .max = 3600000,
     .default_json = "5000",
     .offset = AT(slow_request_ms),
     .help = "log requests that take so many milliseconds, one in a second; 0: none"},
    {.name = "osd_timeout",
     .type = CONFIG_FLOAT,
     .min = 0,
     .max = 3600,
     .default_json = "10.0",
     .offset = AT(osd_timeout_s),
     .help = "seconds an OSD may take to answer"},
    {.name = "hedge_reads",
     .type = CONFIG_BOOL,
     .flags = CONFIG_LIVE,
     .default_json = "true",
     .offset = AT(hedge_reads),
     .help = "reads whose OSD takes far longer than usual are tried another way as well"},
    {.name = "upload_slack",
     .type = CONFIG_FLOAT,
     .flags = CONFIG_LIVE,
     .min = 0,
     .max = 100,
     .default_json = "0.2",
     .offset = AT(upload_slack),
     .help = "patience with stragglers once enough fragments are stored, as part of the time so "
             "far"},
    {.name = "registry_interval",
     .type = CONFIG_FLOAT,
     .min = 0,
     .max = 3600,
     .default_json = "2.0",
     .offset = AT(refresh_s),
     .help = "seconds between looks at the registry"},
    {.name = "asd_socket_dir",
     .type = CONFIG_PATH,
     .offset = AT(asd_socket_dir),
     .help = "the 'socket_dir' of ASDs on this machine, which are asked there instead of by TCP"},
    {.name = "read_preference",
     .type = CONFIG_STRINGS,
     .default_json = "[]",
     .offset = AT(near_places),
     .help = "node ids and datacenters whose OSDs are asked first; far ones only when there is no "
             "other way"},
    {.name = "announce",
     .type = CONFIG_STRINGS,
     .default_json = "[]",
     .offset = AT(announce),
     .help = "where clients reach this proxy (tcp://, tls:// or unix://), as the registry tells "
             "them; none: where it listens"},
    {.name = "announce_interval",
     .type = CONFIG_FLOAT,
     .min = 0,
     .max = 1200,
     .default_json = "30.0",
     .offset = AT(announce_s),
     .help = "seconds between renewals of its record in the registry, which is gone after three; "
             "0: no record"},
    CONFIG_ROW_HTTP_PORT(AT(http_port)),
    CONFIG_ROW_HTTP_IPS(AT(http_ips)),
    CONFIG_ROW_TRANSPORT(AT(transport)),
    TLS_CONFIG_CLIENT_ROW(tls_keys, struct proxy_config, tls),
    CONFIG_ROW_UNUSED("albamgr_cfg_file"),
    CONFIG_ROW_UNUSED("albamgr_connection_pool_size"),
    CONFIG_ROW_UNUSED("nsm_host_connection_pool_size"),
    CONFIG_ROW_UNUSED("osd_connection_pool_size"),
    CONFIG_ROW_UNUSED("lwt_preemptive_thread_pool_min_size"),
    CONFIG_ROW_UNUSED("lwt_preemptive_thread_pool_max_size"),
    CONFIG_ROW_UNUSED("fragment_cache"),
    CONFIG_ROW_UNUSED("fragment_cache_dir"),
    CONFIG_ROW_UNUSED("fragment_cache_size"),
    CONFIG_ROW_UNUSED("chattiness"),
    CONFIG_ROW_UNUSED("tcp_keepalive"),
    CONFIG_ROW_UNUSED("use_fadvise"),
    CONFIG_ROW_UNUSED("propagate_osd_info_delay"),
    {0},
};

int proxy_config_check(const void *config, struct err *e)
{
    const struct proxy_config *c = config;

    int rc = 0;

    if (c->port == CONFIG_NONE && c->socket == NULL && !c->server_tls.given) {
        return err_say(e, ERR_CONFIG,
                       "neither 'port' nor 'socket' nor 'tls': nobody could connect");
    }
    rc = daemon_addrs_check_plain(&c->ips, c->port, c->allow_plain, e);
    rc = rc != 0 ? rc
                 : key_files_check((const char *const *)c->key_files.items, c->key_files.count, e);
    rc = rc != 0 ? rc : own_record_check(c, e);
    rc = rc != 0 ? rc : tls_config_check_server(&c->server_tls, e);
    return rc != 0 ? rc : tls_config_check_client(&c->tls, e);
}
