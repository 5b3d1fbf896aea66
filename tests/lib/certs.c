#include "lib/certs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "base/mem.h"

enum { HOUR_S = 3600 };

struct certs_ca {
    X509 *cert;
    EVP_PKEY *key;
    long serial;
};

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *make_cert(const char *name, EVP_PKEY *key, X509 *issuer, long serial, long from_s,
                       long to_s)
{
    X509 *cert = X509_new();
    X509_NAME *subject;

    CHECK(cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
    subject = X509_get_subject_name(cert);
    CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                                     -1, 0) == 1);
    CHECK(X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : subject) ==
          1);
    CHECK(X509_set_pubkey(cert, key) == 1);
    return cert;
}

static FILE *create(const char *path, int mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    FILE *file;

    CHECK(fd >= 0);
    file = fdopen(fd, "w");
    CHECK(file != NULL);
    return file;
}

static void write_cert(const char *path, X509 *cert)
{
    FILE *file = create(path, 0644);

    CHECK(PEM_write_X509(file, cert) == 1 && fclose(file) == 0);
}

struct certs_ca *certs_ca_new(const char *name, const char *path)
{
    struct certs_ca *ca = mem_zalloc(sizeof *ca);

    ca->key = EVP_EC_gen("P-256");
    CHECK(ca->key != NULL);
    ca->cert = make_cert(name, ca->key, NULL, 1, -24 * HOUR_S, 24 * HOUR_S);
    add_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    CHECK(X509_sign(ca->cert, ca->key, EVP_sha256()) != 0);
    write_cert(path, ca->cert);
    return ca;
}

void certs_ca_free(struct certs_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    free(ca);
}

void certs_leaf_make(struct certs_ca *ca, const struct certs_leaf *leaf)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert;
    FILE *file;

    CHECK(key != NULL);
    cert = make_cert(leaf->name, key, ca->cert, ++ca->serial + 1, -12 * HOUR_S,
                     leaf->expired ? -HOUR_S : 12 * HOUR_S);
    add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth");
    if (leaf->alt_names != NULL) {
        add_extension(cert, ca->cert, NID_subject_alt_name, leaf->alt_names);
    }
    CHECK(X509_sign(cert, ca->key, EVP_sha256()) != 0);
    write_cert(leaf->cert_path, cert);
    file = create(leaf->key_path, 0600);
    CHECK(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}
