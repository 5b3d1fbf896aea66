/* The context: PEM files become an SSL_CTX, which a reload replaces. A session keeps the one it was
 * made from. */
#include "net/tls.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/tls_private.h"

/* AES-128 first: as safe here, and a quarter cheaper. */
static const char ciphers[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

static int fail_file(struct err *e, const char *what, const char *file)
{
    unsigned long code = ERR_peek_error(); /* those behind it only say who noticed */
    const char *why =
        ERR_SYSTEM_ERROR(code) ? err_text(-ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    err_say(e, ERR_TLS, "%s %.200s: %s", what, file, why != NULL ? why : "not usable");
    ERR_clear_error();
    return ERR_TLS;
}

/* A daemon has nobody to ask. */
static int no_password(char *ret_password, int bytes, int writing, void *ctx)
{
    (void)ret_password;
    (void)bytes;
    (void)writing;
    (void)ctx;
    return 0;
}

static void warn_expired(SSL_CTX *ctx, const char *file)
{
    const X509 *cert = SSL_CTX_get0_certificate(ctx);

    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        log_warn("tls", "certificate has expired: peers will refuse it", "file=%s", file);
    } else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        log_warn("tls", "certificate is not valid yet: peers will refuse it", "file=%s", file);
    }
}

static int load_files(SSL_CTX *ctx, const struct net_tls_files *files, struct err *e)
{
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(ctx, files->ca_cert) != 1) {
        return fail_file(e, "CA certificate", files->ca_cert);
    }
    if (files->cert == NULL) {
        return 0;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, files->cert) != 1) {
        return fail_file(e, "certificate", files->cert);
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM) != 1) {
        return fail_file(e, "key", files->key);
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        return fail_file(e, "key", files->key);
    }
    warn_expired(ctx, files->cert);
    return 0;
}

static int make_ctx(enum net_tls_role role, const struct net_tls_files *files, SSL_CTX **ret_ctx,
                    struct err *e)
{
    bool server = role == NET_TLS_SERVER;
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    int rc;

    CHECK(ctx != NULL);
    CHECK(SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1);
    CHECK(SSL_CTX_set_ciphersuites(ctx, ciphers) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    CHECK(SSL_CTX_set_num_tickets(ctx, 0) == 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* Idle connections hold no record buffers; nobody needs the CA's certificate from us. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    rc = load_files(ctx, files, e);
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *ret_ctx = ctx;
    return 0;
}

static int check_files(enum net_tls_role role, const struct net_tls_files *files, struct err *e)
{
    if (files->ca_cert == NULL) {
        return err_say(e, ERR_CONFIG, "TLS needs a CA certificate ('ca_cert')");
    }
    if ((files->cert == NULL) != (files->key == NULL)) {
        return err_say(e, ERR_CONFIG, "TLS needs a certificate and its key, not one of them");
    }
    if (role == NET_TLS_SERVER && files->cert == NULL) {
        return err_say(e, ERR_CONFIG, "a TLS server needs a certificate and a key");
    }
    return 0;
}

static char *dup_or_null(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

static void free_files(struct net_tls_files *files)
{
    free((void *)(uintptr_t)files->ca_cert);
    free((void *)(uintptr_t)files->cert);
    free((void *)(uintptr_t)files->key);
}

int net_tls_reload(struct net_tls *tls, const struct net_tls_files *files, struct err *e)
{
    struct net_tls_files old = tls->files;
    SSL_CTX *old_ctx;
    SSL_CTX *ctx;
    int rc;

    files = files != NULL ? files : &tls->files;
    rc = check_files(tls->role, files, e);
    rc = rc != 0 ? rc : make_ctx(tls->role, files, &ctx, e);
    if (rc != 0) {
        return rc;
    }
    if (files != &tls->files) {
        tls->files = (struct net_tls_files){.ca_cert = dup_or_null(files->ca_cert),
                                            .cert = dup_or_null(files->cert),
                                            .key = dup_or_null(files->key)};
        free_files(&old);
    }
    pthread_mutex_lock(&tls->lock);
    old_ctx = tls->ctx;
    tls->ctx = ctx;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old_ctx); /* sessions hold their own reference */
    return 0;
}

int net_tls_new(enum net_tls_role role, const struct net_tls_files *files, struct net_tls **ret_tls,
                struct err *e)
{
    struct net_tls *tls = mem_zalloc(sizeof *tls);
    int rc;

    tls->role = role;
    tls->records_per_key = NET_TLS_RECORDS_PER_KEY;
    tls->bio = net_tls_bio_new();
    pthread_mutex_init(&tls->lock, NULL);
    rc = net_tls_reload(tls, files, e);
    if (rc != 0) {
        net_tls_free(tls);
        return rc;
    }
    *ret_tls = tls;
    return 0;
}

const struct net_tls_files *net_tls_files(const struct net_tls *tls)
{
    return &tls->files;
}

void net_tls_free(struct net_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->bio);
    pthread_mutex_destroy(&tls->lock);
    free_files(&tls->files);
    free(tls);
}
