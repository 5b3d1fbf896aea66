/* TLS in a daemon's configuration: rows, and contexts made of them. Any thread; blocks. */
#ifndef DAEMON_TLS_CONFIG_H
#define DAEMON_TLS_CONFIG_H

#include "daemon/config.h"
#include "net/tls.h"

struct tls_config_server { /* "tls" */
    bool given;
    char *ca_cert;
    char *cert;
    char *key;
    int64_t port;
};

struct tls_config_client { /* "tls_client" */
    bool given;
    char *ca_cert;
    struct config_strings creds; /* certificate and key, or empty */
};

/* Tables of keys: `member` of `struct_type` is one of the structs above. A reload reads the files
 * again. */
#define TLS_CONFIG_SERVER_KEYS(struct_type, member)                                                \
    {                                                                                              \
        {.name = "ca_cert",                                                                        \
         .type = CONFIG_PATH,                                                                      \
         .flags = CONFIG_REQUIRED | CONFIG_LIVE,                                                   \
         .offset = CONFIG_AT(struct_type, member.ca_cert),                                         \
         .help = "PEM file: who signs the certificates of clients; others are refused"},           \
            {.name = "cert",                                                                       \
             .type = CONFIG_PATH,                                                                  \
             .flags = CONFIG_REQUIRED | CONFIG_LIVE,                                               \
             .offset = CONFIG_AT(struct_type, member.cert),                                        \
             .help = "PEM file: its certificate, with the addresses it listens on as subject "     \
                     "alternative names, and what stands between it and the CA"},                  \
            {.name = "key",                                                                        \
             .type = CONFIG_PATH,                                                                  \
             .flags = CONFIG_REQUIRED | CONFIG_LIVE,                                               \
             .offset = CONFIG_AT(struct_type, member.key),                                         \
             .help = "PEM file: the key of that certificate, without a password"},                 \
            {.name = "port",                                                                       \
             .type = CONFIG_INT,                                                                   \
             .flags = CONFIG_REQUIRED,                                                             \
             .max = 65535,                                                                         \
             .offset = CONFIG_AT(struct_type, member.port),                                        \
             .help = "TCP port for TLS; 0: any free one, which the log tells"},                    \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define TLS_CONFIG_CLIENT_KEYS(struct_type, member)                                                \
    {                                                                                              \
        {.name = "ca_cert",                                                                        \
         .type = CONFIG_PATH,                                                                      \
         .flags = CONFIG_REQUIRED | CONFIG_LIVE,                                                   \
         .offset = CONFIG_AT(struct_type, member.ca_cert),                                         \
         .help = "PEM file: who signs the certificates of ASDs"},                                  \
            {.name = "creds",                                                                      \
             .type = CONFIG_STRINGS,                                                               \
             .flags = CONFIG_LIVE,                                                                 \
             .default_json = "[]",                                                                 \
             .offset = CONFIG_AT(struct_type, member.creds),                                       \
             .help = "[certificate, key]: PEM files; our ASDs refuse who has none"},               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define TLS_CONFIG_CLIENT_ROW(table, struct_type, member)                                          \
    {                                                                                              \
        .name = "tls_client", .type = CONFIG_OBJECT, .keys = (table),                              \
        .offset = CONFIG_AT(struct_type, member.given),                                            \
        .help = "for ASDs and metadata where TLS is spoken; null: they cannot be reached"          \
    }

/* *ret_tls NULL when there is no such object. */
int tls_config_open_server(const struct tls_config_server *config, struct net_tls **ret_tls,
                           struct err *e);
int tls_config_open_client(const struct tls_config_client *config, struct net_tls **ret_tls,
                           struct err *e);
/* For check(): the same, and nothing is kept. */
int tls_config_check_server(const struct tls_config_server *config, struct err *e);
int tls_config_check_client(const struct tls_config_client *config, struct err *e);
/* Read the files again; a failure is logged and changes nothing. `tls` may be NULL. */
void tls_config_reload_server(const struct tls_config_server *config, struct net_tls *tls);
void tls_config_reload_client(const struct tls_config_client *config, struct net_tls *tls);

#endif
