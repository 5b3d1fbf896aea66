#include "daemon/tls_config.h"

#include "base/log.h"

static struct net_tls_files server_files(const struct tls_config_server *config)
{
    return (struct net_tls_files){
        .ca_cert = config->ca_cert, .cert = config->cert, .key = config->key};
}

static struct net_tls_files client_files(const struct tls_config_client *config)
{
    struct net_tls_files files = {.ca_cert = config->ca_cert};

    if (config->creds.count == 2) {
        files.cert = config->creds.items[0];
        files.key = config->creds.items[1];
    }
    return files;
}

static int check_creds(const struct tls_config_client *config, struct err *e)
{
    return config->creds.count == 0 || config->creds.count == 2
               ? 0
               : err_say(e, ERR_CONFIG, "key 'tls_client.creds': want [certificate, key]");
}

int tls_config_open_server(const struct tls_config_server *config, struct net_tls **ret_tls,
                           struct err *e)
{
    struct net_tls_files files = server_files(config);

    *ret_tls = NULL;
    return config->given ? net_tls_new(NET_TLS_SERVER, &files, ret_tls, e) : 0;
}

int tls_config_open_client(const struct tls_config_client *config, struct net_tls **ret_tls,
                           struct err *e)
{
    struct net_tls_files files = client_files(config);
    int rc = check_creds(config, e);

    *ret_tls = NULL;
    return rc == 0 && config->given ? net_tls_new(NET_TLS_CLIENT, &files, ret_tls, e) : rc;
}

int tls_config_check_server(const struct tls_config_server *config, struct err *e)
{
    struct net_tls *tls;
    int rc = tls_config_open_server(config, &tls, e);

    net_tls_free(tls);
    return rc;
}

int tls_config_check_client(const struct tls_config_client *config, struct err *e)
{
    struct net_tls *tls;
    int rc = tls_config_open_client(config, &tls, e);

    net_tls_free(tls);
    return rc;
}

static void reload(struct net_tls *tls, const struct net_tls_files *files)
{
    struct err e;

    if (tls != NULL && net_tls_reload(tls, files, &e) != 0) {
        log_error("tls", "certificates not reloaded, those at hand stay", "error=\"%s\"", e.msg);
    }
}

void tls_config_reload_server(const struct tls_config_server *config, struct net_tls *tls)
{
    struct net_tls_files files = server_files(config);

    reload(tls, &files);
}

void tls_config_reload_client(const struct tls_config_client *config, struct net_tls *tls)
{
    struct net_tls_files files = client_files(config);
    struct err e;

    if (check_creds(config, &e) != 0) {
        log_error("tls", "certificates not reloaded, those at hand stay", "error=\"%s\"", e.msg);
        return;
    }
    reload(tls, &files);
}
