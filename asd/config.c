#include "asd/config.h"

#include <string.h>

#include "asd/home.h"
#include "asd/server.h"
#include "daemon/addrs.h"
#include "daemon/config_rows.h"

#define AT(member) CONFIG_AT(struct asd_config, member)

static const struct config_key tls_keys[] = TLS_CONFIG_SERVER_KEYS(struct asd_config, tls);

const struct config_key asd_config_keys[] = {
    {.name = "home",
     .type = CONFIG_PATH,
     .flags = CONFIG_REQUIRED,
     .offset = AT(home),
     .help = "directory of the store, on the disk it is for"},
    {.name = "node_id",
     .type = CONFIG_STRING,
     .flags = CONFIG_REQUIRED,
     .offset = AT(node_id),
     .help = "the machine this disk is in; fragments are spread over nodes"},
    {.name = "asd_id",
     .type = CONFIG_STRING,
     .offset = AT(asd_id),
     .help = "its long id; by default the home's own, made at the first start"},
    CONFIG_ROW_IPS(AT(ips)),
    {.name = "port",
     .type = CONFIG_INT,
     .min = 0,
     .max = 65535,
     .offset = AT(port),
     .help = "TCP port without TLS; 0: any free one, which the log tells; null: none"},
    {.name = "socket_dir",
     .type = CONFIG_PATH,
     .offset = AT(socket_dir),
     .help = "directory of a unix socket, named <asd_id>.sock, for proxies on this machine: large "
             "values cost less there than by TCP. Whoever may write to it reads and writes all"},
    {.name = "tls",
     .type = CONFIG_OBJECT,
     .keys = tls_keys,
     .offset = AT(tls.given),
     .help = "TLS 1.3 with client certificates, on a port of its own"},
    {.name = "allow_plain",
     .type = CONFIG_BOOL,
     .default_json = "false",
     .offset = AT(allow_plain),
     .help = "let 'port' be reached from other machines: whoever reaches it reads and writes all"},
    {.name = "threads",
     .type = CONFIG_INT,
     .min = 1,
     .max = ASD_SERVER_THREADS_MAX,
     .default_json = "1",
     .offset = AT(threads),
     .help = "loops that serve connections, each in a thread of its own; more than one for "
             "devices that one cannot keep busy"},
    CONFIG_ROW_LOG_LEVEL(AT(log_level)),
    {.name = "capacity",
     .type = CONFIG_SIZE,
     .flags = CONFIG_LIVE,
     .min = 1 << 20,
     .max = INT64_MAX,
     .offset = AT(capacity_bytes),
     .help = "bytes it may use, for several ASDs on one disk, and never more than the "
             "file system has left; null: all that"},
    {.name = "limit",
     .type = CONFIG_INT,
     .flags = CONFIG_LIVE,
     .min = 1,
     .max = 100,
     .default_json = "99",
     .offset = AT(limit_percent),
     .help = "per cent of the capacity that may be used; the last 2 % of that only to repair, "
             "collect garbage and keep metadata"},
    {.name = "io_uring",
     .type = CONFIG_BOOL,
     .default_json = "true",
     .offset = AT(io_uring),
     .help = "small reads by the kernel's io_uring, where it may be used; false: by threads"},
    {.name = "verify_checksums",
     .type = CONFIG_BOOL,
     .flags = CONFIG_LIVE,
     .default_json = "true",
     .offset = AT(verify_checksums),
     .help = "refuse a value that is not what the checksum sent with it says, and look at that "
             "checksum when scrubbing; CRC-32C is free, SHA-1 costs 1 ms per MiB or so"},
    {.name = "scrub_rate",
     .type = CONFIG_SIZE,
     .flags = CONFIG_LIVE,
     .max = INT64_MAX,
     .default_json = "16777216",
     .offset = AT(scrub_rate),
     .help =
         "bytes per second it reads to look for rot: 1 TiB takes 18 hours at 16 MiB, which is a "
         "tenth of what a disk with heads reads in order; 0: it does not"},
    {.name = "scrub_interval",
     .type = CONFIG_INT,
     .flags = CONFIG_LIVE,
     .min = 1,
     .max = 24 * 366,
     .default_json = "168",
     .offset = AT(scrub_interval_h),
     .help =
         "hours from the end of one look at all values to the next; POST /scrub begins one now"},
    {.name = "rocksdb_block_cache_size",
     .type = CONFIG_SIZE,
     .max = INT64_MAX,
     .offset = AT(block_cache_bytes),
     .help = "memory for the index; null: 32 MiB"},
    {.name = "slab_size",
     .type = CONFIG_SIZE,
     .min = 1 << 20,
     .max = (int64_t)1 << 40,
     .default_json = "\"4GiB\"",
     .offset = AT(slab_bytes),
     .help = "of new slab files, which take space as they are written; a larger value gets one of "
             "its own"},
    {.name = "evacuation_rate",
     .type = CONFIG_SIZE,
     .flags = CONFIG_LIVE,
     .min = 0,
     .max = INT64_MAX,
     .default_json = "\"32MiB\"",
     .offset = AT(evacuation_rate),
     .help = "bytes per second that may be moved to empty slab files of which little is left; "
             "0: none"},
    {.name = "max_connections",
     .type = CONFIG_INT,
     .min = 1,
     .max = 1000000,
     .default_json = "4096",
     .offset = AT(connections_max),
     .help = "more are closed at once; fewer where descriptors are short (LimitNOFILE)"},
    {.name = "request_memory",
     .type = CONFIG_SIZE,
     .min = 1 << 20,
     .max = INT64_MAX,
     .default_json = "\"96MiB\"",
     .offset = AT(request_bytes_max),
     .help = "memory of large requests, coming or running; more wait. One of more than half of it "
             "may come beside"},
    {.name = "reply_memory",
     .type = CONFIG_SIZE,
     .min = 1 << 20,
     .max = INT64_MAX,
     .default_json = "\"64MiB\"",
     .offset = AT(reply_bytes_max),
     .help = "memory of values that were read and are not sent yet; more wait"},
    {.name = "slow_request_ms",
     .type = CONFIG_INT,
     .flags = CONFIG_LIVE,
     .min = 0,
     .max = 3600000,
     .default_json = "500",
     .offset = AT(slow_request_ms),
     .help = "log requests that take so many milliseconds, one in a second; 0: none"},
    CONFIG_ROW_HTTP_PORT(AT(http_port)),
    CONFIG_ROW_HTTP_IPS(AT(http_ips)),
    {.name = "__sync_dont_use",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FIXED,
     .default_json = "true",
     .offset = AT(sync),
     .help = "an acknowledged write is always on the disk"},
    {.name = "__warranty_void__write_blobs",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FIXED,
     .default_json = "true",
     .offset = AT(write_blobs),
     .help = "a store that drops its values is no store"},
    CONFIG_ROW_TRANSPORT(AT(transport)),
    CONFIG_ROW_UNUSED("multicast"),
    CONFIG_ROW_UNUSED("tcp_keepalive"),
    CONFIG_ROW_UNUSED("use_fadvise"),
    CONFIG_ROW_UNUSED("use_fallocate"),
    CONFIG_ROW_UNUSED("lwt_unix_pool_size"),
    CONFIG_ROW_UNUSED("buffer_size"),
    CONFIG_ROW_UNUSED("rora_ips"),
    CONFIG_ROW_UNUSED("rora_port"),
    CONFIG_ROW_UNUSED("rora_transport"),
    CONFIG_ROW_UNUSED("rora_num_cores"),
    CONFIG_ROW_UNUSED("rora_queue_depth"),
    {0},
};

static int check_name(const char *key, const char *name, struct err *e)
{
    if (name != NULL && (name[0] == '\0' || strlen(name) > ASD_NAME_BYTES_MAX)) {
        return err_say(e, ERR_CONFIG, "key '%s': want 1 to %d characters, got %zu", key,
                       ASD_NAME_BYTES_MAX, strlen(name));
    }
    return 0;
}

static int check_ips(const char *key, const struct config_strings *ips, struct err *e)
{
    struct daemon_addrs addrs = {0};
    int rc = daemon_addrs_tcp(&addrs, ips, 0, e);

    return rc == 0 ? 0 : err_wrap(e, "key '%s'", key);
}

int asd_config_check(const void *config, struct err *e)
{
    const struct asd_config *c = config;
    int rc = check_name("node_id", c->node_id, e);

    rc = rc != 0 ? rc : check_name("asd_id", c->asd_id, e);
    rc = rc != 0 ? rc : check_ips("ips", &c->ips, e);
    rc = rc != 0 ? rc : check_ips("http_ips", &c->http_ips, e);
    if (rc == 0 && c->port == CONFIG_NONE && !c->tls.given) {
        rc = err_say(e, ERR_CONFIG, "neither 'port' nor 'tls': nobody could connect");
    }
    rc = rc != 0 ? rc : daemon_addrs_check_plain(&c->ips, c->port, c->allow_plain, e);
    return rc != 0 ? rc : tls_config_check_server(&c->tls, e);
}
