/* Rows of config_key tables that several daemons have. Data only: each takes where its value
 * goes, CONFIG_AT(struct …, member). */
#ifndef DAEMON_CONFIG_ROWS_H
#define DAEMON_CONFIG_ROWS_H

#include "daemon/config.h"

extern const char *const config_log_levels[]; /* what log_level_parse() takes, then NULL */

#define CONFIG_ROW_REGISTRY_URL(at)                                                                \
    {                                                                                              \
        .name = "albamgr_cfg_url", .type = CONFIG_STRING, .flags = CONFIG_REQUIRED,                \
        .offset = (at), .help = "engine URL of the registry, or a file that holds one"             \
    }
#define CONFIG_ROW_LOG_LEVEL(at)                                                                   \
    {                                                                                              \
        .name = "log_level", .type = CONFIG_STRING, .flags = CONFIG_LIVE,                          \
        .default_json = "\"info\"", .choices = config_log_levels, .offset = (at),                  \
        .help = "the least that is logged"                                                         \
    }
#define CONFIG_ROW_IPS(at)                                                                         \
    {                                                                                              \
        .name = "ips", .type = CONFIG_STRINGS, .default_json = "[]", .offset = (at),               \
        .help = "addresses to listen on; [] or \"::\": every one, of IPv4, too, unless some of "   \
                "those are listed"                                                                 \
    }
#define CONFIG_ROW_HTTP_PORT(at)                                                                   \
    {                                                                                              \
        .name = "http_port", .type = CONFIG_INT, .min = 0, .max = 65535, .offset = (at),           \
        .help = "port of /metrics, /status and /healthz; null: none"                               \
    }
#define CONFIG_ROW_HTTP_IPS(at)                                                                    \
    {                                                                                              \
        .name = "http_ips", .type = CONFIG_STRINGS, .default_json = "[\"127.0.0.1\"]",             \
        .offset = (at), .help = "addresses of the HTTP port; []: every one"                        \
    }
#define CONFIG_ROW_TRANSPORT(at)                                                                   \
    {                                                                                              \
        .name = "transport", .type = CONFIG_STRING, .flags = CONFIG_FIXED,                         \
        .default_json = "\"tcp\"", .offset = (at), .help = "no RDMA here"                          \
    }
#define CONFIG_ROW_KEY_FILES(at)                                                                   \
    {                                                                                              \
        .name = "key_files", .type = CONFIG_STRINGS, .flags = CONFIG_LIVE, .default_json = "[]",   \
        .offset = (at),                                                                            \
        .help = "encryption keys: files of 32 bytes with mode 600, or directories of such"         \
    }
#define CONFIG_ROW_UNUSED(key)                                                                     \
    {                                                                                              \
        .name = (key), .type = CONFIG_JSON, .flags = CONFIG_UNUSED, .help = "not used"             \
    }

#endif
