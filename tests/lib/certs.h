/* Certificates made when a test runs, so that no key lies about and none expires. Blocks. */
#ifndef TESTS_LIB_CERTS_H
#define TESTS_LIB_CERTS_H

#include <stdbool.h>

struct certs_ca; /* a certification authority */

/* Its certificate is in `path`. A failure ends the program. */
struct certs_ca *certs_ca_new(const char *name, const char *path);
void certs_ca_free(struct certs_ca *ca);

struct certs_leaf {
    const char *name;      /* common name */
    const char *alt_names; /* "IP:127.0.0.1,DNS:store-1"; NULL: none */
    bool expired;          /* an hour ago */
    const char *cert_path; /* PEM files to write */
    const char *key_path;
};

void certs_leaf_make(struct certs_ca *ca, const struct certs_leaf *leaf);

#endif
