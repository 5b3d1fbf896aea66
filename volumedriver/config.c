#include "volumedriver/config.h"

#include <ctype.h>
#include <string.h>

#include "daemon/config_rows.h"
#include "meta/registry_volume.h"

#define AT(member) CONFIG_AT(struct driver_config, member)

static const struct config_key tls_keys[] = TLS_CONFIG_CLIENT_KEYS(struct driver_config, tls);

const struct config_key driver_config_keys[] = {
    CONFIG_ROW_REGISTRY_URL(AT(registry_url)),
    TLS_CONFIG_CLIENT_ROW(tls_keys, struct driver_config, tls),
    {.name = "proxies",
     .type = CONFIG_STRINGS,
     .flags = CONFIG_REQUIRED,
     .offset = AT(proxies),
     .help = "where proxies are: unix:///path, tcp://ip:port or tls://ip:port; volumes are spread "
             "over them"},
    {.name = "home",
     .type = CONFIG_PATH,
     .flags = CONFIG_REQUIRED,
     .offset = AT(home),
     .help = "directory of the journal and the local map, on a fast local disk"},
    {.name = "driver_id",
     .type = CONFIG_STRING,
     .flags = CONFIG_REQUIRED,
     .offset = AT(driver_id),
     .help = "name of this driver as owner of volumes; never give one to two drivers"},
    {.name = "default_preset",
     .type = CONFIG_STRING,
     .offset = AT(default_preset),
     .help = "preset of volumes made without one; null: the registry's default preset"},
    CONFIG_ROW_LOG_LEVEL(AT(log_level)),
    {.name = "journal_bytes",
     .type = CONFIG_SIZE,
     .min = 8 << 20,
     .max = INT64_MAX,
     .default_json = "4294967296",
     .offset = AT(journal_bytes),
     .help = "size of the journal that the volumes share"},
    {.name = "journal_segment_bytes",
     .type = CONFIG_SIZE,
     .min = 1 << 20,
     .max = 1 << 30,
     .default_json = "67108864",
     .offset = AT(segment_bytes),
     .help = "unit of the journal's space; an existing journal keeps its own"},
    {.name = "journal_full_ms",
     .type = CONFIG_INT,
     .min = 1000,
     .max = INT64_MAX,
     .default_json = "60000",
     .offset = AT(journal_full_ms),
     .help = "a write waits so long for room in the journal, then it fails (ENOSPC)"},
    {.name = "map_cache_bytes",
     .type = CONFIG_SIZE,
     .min = 16 << 20,
     .max = INT64_MAX,
     .default_json = "268435456",
     .offset = AT(map_bytes),
     .help = "memory for the maps of all volumes"},
    {.name = "sco_age_ms",
     .type = CONFIG_INT,
     .min = 100,
     .max = 3600000,
     .default_json = "60000",
     .offset = AT(sco_age_ms),
     .help = "a write is uploaded after this long at the latest"},
    {.name = "backend_timeout_ms",
     .type = CONFIG_INT,
     .min = 1000,
     .max = 3600000,
     .default_json = "60000",
     .offset = AT(backend_timeout_ms),
     .help = "a read waits so long for a proxy that can serve it, then it fails"},
    {.name = "checkpoint_bytes",
     .type = CONFIG_SIZE,
     .min = 1 << 16,
     .max = INT64_MAX,
     .default_json = "67108864",
     .offset = AT(checkpoint_bytes),
     .help = "map changes gathered before they are put into the backend"},
    {.name = "nbd_ips",
     .type = CONFIG_STRINGS,
     .default_json = "[\"127.0.0.1\"]",
     .offset = AT(nbd_ips),
     .help = "addresses for NBD clients (no TLS yet: trusted networks only)"},
    {.name = "nbd_port",
     .type = CONFIG_INT,
     .flags = CONFIG_NULLABLE,
     .min = 0,
     .max = 65535,
     .default_json = "10809",
     .offset = AT(nbd_port),
     .help = "their TCP port; null: none"},
    {.name = "nbd_socket",
     .type = CONFIG_PATH,
     .offset = AT(nbd_socket),
     .help = "unix socket for NBD clients"},
    {.name = "socket",
     .type = CONFIG_PATH,
     .flags = CONFIG_REQUIRED,
     .offset = AT(socket),
     .help = "unix socket of the management API"},
    CONFIG_ROW_HTTP_PORT(AT(http_port)),
    CONFIG_ROW_HTTP_IPS(AT(http_ips)),
    {0},
};

/* It is the owner's name in the registry, whole; an empty one there is nobody's. */
static int check_driver_id(const char *id, struct err *e)
{
    size_t len = strlen(id);
    bool is_printable = true;

    for (size_t i = 0; i < len; i++) {
        is_printable = is_printable && isgraph((unsigned char)id[i]);
    }
    if (len == 0 || len >= REGISTRY_OWNER_BYTES || !is_printable) {
        return err_say(e, ERR_CONFIG,
                       "'driver_id' has %zu bytes: it must be 1 to %d printable characters without "
                       "blanks",
                       len, REGISTRY_OWNER_BYTES - 1);
    }
    return 0;
}

static int check_proxies(const struct driver_config *c, struct err *e)
{
    if (c->proxies.count == 0) {
        return err_say(e, ERR_CONFIG, "'proxies' is empty: the data has to go somewhere");
    }
    for (size_t i = 0; i < c->proxies.count && !c->tls.given; i++) {
        if (strncmp(c->proxies.items[i], "tls://", 6) == 0) {
            return err_say(e, ERR_CONFIG,
                           "'proxies' has %s, but 'tls_client' is missing: name the CA, and a "
                           "certificate and key for this driver",
                           c->proxies.items[i]);
        }
    }
    return 0;
}

int driver_config_check(const void *config, struct err *e)
{
    const struct driver_config *c = config;

    if (check_driver_id(c->driver_id, e) != 0 || check_proxies(c, e) != 0) {
        return e->code;
    }
    if (c->nbd_port == CONFIG_NONE && c->nbd_socket == NULL) {
        return err_say(e, ERR_CONFIG, "neither 'nbd_port' nor 'nbd_socket': nobody could connect");
    }
    /* Elsewhere an empty list is every interface, which nobody shall get by leaving it out here. */
    if (c->nbd_port != CONFIG_NONE && c->nbd_ips.count == 0) {
        return err_say(
            e, ERR_CONFIG,
            "'nbd_ips' is empty: name the addresses of 'nbd_port' (\"::\" is every one), "
            "or make 'nbd_port' null and give 'nbd_socket'");
    }
    return tls_config_check_client(&c->tls, e);
}
